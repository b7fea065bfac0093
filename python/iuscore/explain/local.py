"""Why single images score as they do: shares, features with the range of real images, like images, and maps."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch

from iuscore.errors import UserError, closest_match
from iuscore.explain.conventions import Shown, frame_of
from iuscore.explain.image import ImageExplanation
from iuscore.explain.maps import CountedImage, measured_image
from iuscore.explain.nearest import Gallery, Neighbor
from iuscore.explain.overlay import image_figure, picture_name, shares_figure
from iuscore.explain.ranges import feature_reasons, range_of
from iuscore.explain.relevance import relevance_maps
from iuscore.explain.slopes import mean_slopes
from iuscore.features import Mask
from iuscore.features.bytes import as_bytes
from iuscore.models import EPUCNN, TextureModel
from iuscore.ops import resize
from iuscore.ops._images import Layout
from iuscore.ops._range import said_once
from iuscore.scoring import Scorer
from iuscore.scoring._masks import masks_of_all, masks_of_some
from iuscore.scoring.explanation import plain_values
from iuscore.scoring.inputs import Inputs, ScorerInput

NEIGHBORS = 3
"""Images that are shown as the nearest ones."""


@dataclass(frozen=True, eq=False)
class LocalExplanation(Shown):
    """Explanations of images, with InterpretML's conventions; ``images`` holds one `ImageExplanation` for each.

    ``data(i)``: "names" are the components, "scores" their shares, which sum to the IUS (so the intercept in "extra"
    is 0), and "values" their contributions.

    Attributes:
        images: in the order they were given.
        classes: of the model. positive, negative: what a contribution above and below 0 speaks for.
        name: for a title.
    """

    images: tuple[ImageExplanation, ...]
    classes: tuple[str, ...]
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    name: str = "IUS"

    explanation_type: ClassVar[Literal["local", "global"]] = "local"

    @property
    def feature_names(self) -> list[str]:
        return [c.name for c in self.images[0].why.components]

    @property
    def feature_types(self) -> list[str]:
        return ["continuous"] * len(self.feature_names)

    def choices(self) -> list[dict[str, Any]]:
        return [
            {"Image": each.uid, "Class": each.why.target, "IUS": _rounded(each.why.ius)}
            for each in self.images
        ]  # fmt: skip

    def _overall(self) -> dict[str, Any]:
        shares = np.array([[c.share for c in each.why.components] for each in self.images])
        shares = shares[np.isfinite(shares).all(1)]
        mean = shares.mean(0).tolist() if len(shares) else [None] * len(self.feature_names)
        return {"type": "univariate", "names": self.feature_names, "scores": mean}

    def _specific(self, key: int) -> dict[str, Any]:
        each = self.images[key]
        found: dict[str, Any] = plain_values(
            {
                "type": "univariate",
                "names": self.feature_names,
                "scores": [c.share for c in each.why.components],
                "values": [c.contribution for c in each.why.components],
                "extra": {"names": ["Intercept"], "scores": [0.0], "values": [1]},
                "perf": None,
                "meta": {"label_names": list(self.classes)},
                "image": each.to_json(),
            }
        )
        return found

    def to_frame(self) -> Any:
        """One row for each image and component.

        Raises:
            UserError: pandas is not installed.
        """
        rows = []
        for each in self.images:
            for c in each.why.components:
                low, high = each.ranges.get(c.name, (math.nan, math.nan))
                near = each.nearest_real[0].uid if each.nearest_real else None
                rows.append(
                    {
                        "image": each.uid, "target": each.why.target, "ius": each.why.ius, "component": c.name,
                        "share": c.share, "contribution": c.contribution, "baseline": c.baseline, "low": low,
                        "high": high, "nearest_real": near,
                    }
                )  # fmt: skip
        return frame_of(rows)

    def plot(self, key: int | None = None) -> Any:
        """The picture of one image with its maps and shares; None: mean shares over the images."""
        if key is None:
            return shares_figure(self.images)
        return image_figure(self.images[self._checked(key)], self.positive, self.negative)

    def write_pictures(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write one PNG for each image, ``000_name.png``, into a folder that exists.

        Raises:
            UserError: matplotlib is missing.
        """
        written = []
        for i, each in enumerate(self.images):
            path = Path(folder) / f"{picture_name(i, each.uid)}.png"
            self.plot(i).savefig(path, metadata={"Software": "iuscore"})
            written.append(path)
        return written


@said_once()
def explain_local(
    scorer: Scorer,
    images: ScorerInput,
    *,
    target: str | int,
    layout: Layout | None = None,
    mask: Mask | None = None,
    names: Sequence[str] | None = None,
    real: Gallery | None = None,
    generated: Gallery | None = None,
    maps: bool | Sequence[str] = True,
) -> LocalExplanation:
    """Explain images one by one; the result of an image does not depend on the others.

    Args:
        scorer: the model.
        images: as in calling the scorer, B of them.
        target: the real class, by its name or its index in ``scorer.classes``.
        layout, mask: as in calling the scorer.
        names: of the images; None: their paths, or their places.
        real, generated: where the nearest images are looked for.
        maps: whether to make maps of where in the image the contributions of all components come from; or the
            components and features to make maps of.

    Raises:
        UserError: as of the scorer; another number of names than images; no image; no such component or feature.

    Example:
        >>> import tempfile, iuscore
        >>> from iuscore import demo
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scorer = iuscore.load(demo.tiny_model(folder))
        >>> found = explain_local(scorer, iuscore.phantoms.draw("radiograph", "normal", 2, size=32), target="normal")
        >>> shares = found.data(0)["scores"]
        >>> len(found), bool(np.isclose(sum(shares), found.images[0].why.ius))
        (2, True)
    """
    (name,) = scorer.targets(target, 1)
    given = Inputs(images, layout)
    if not len(given):
        raise UserError("images: expected at least one to explain, got none")
    uids = _uids(given, names)
    wanted = _wanted(scorer, maps)
    masks = masks_of_all(scorer.model, mask, len(given), single=given.single)
    found = []
    for i in range(len(given)):
        batch, batch_layout, warnings = given.batch(i, i + 1)
        one = _explained(scorer, batch, batch_layout, masks_of_some(masks, i, i + 1), name, uids[i], wanted)
        near: list[tuple[Neighbor, ...]] = []
        for gallery in (real, generated):
            look = gallery is not None and math.isfinite(one.why.ius)
            near.append(gallery.of_image(batch, NEIGHBORS, layout=batch_layout) if gallery and look else ())
        read = () if warnings is None else warnings[0]
        found.append(replace(one, nearest_real=near[0], nearest_generated=near[1], warnings=(*read, *one.warnings)))
    classes = scorer.classes
    positive, negative = ((classes[1],), (classes[0],)) if len(classes) == 2 else ((name,), tuple(
        other for other in classes if other != name))  # fmt: skip
    return LocalExplanation(tuple(found), classes, positive, negative, f"IUS against real {name}")


def _wanted(scorer: Scorer, maps: bool | Sequence[str]) -> tuple[str, ...]:
    """Names of components and features to make maps of."""
    if isinstance(maps, bool):
        return scorer.components if maps else ()
    known = [*scorer.components, *(feature.name for feature in scorer.model.features)]
    for name in maps if not isinstance(maps, str) else [maps]:
        if name not in known:
            close = closest_match(name, known)
            hint = f"; did you mean {close!r}?" if close else f": expected one of {', '.join(scorer.components)}"
            what = "component or feature" if scorer.model.features else "component"
            raise UserError(f"maps: the model has no {what} {name!r}{hint}")
    return (maps,) if isinstance(maps, str) else tuple(dict.fromkeys(maps))


def _uids(given: Inputs, names: Sequence[str] | None) -> list[str]:
    if names is not None:
        if len(names) != len(given):
            raise UserError(f"names: expected one per image, {len(given)}, got {len(names)}")
        return [str(name) for name in names]
    return [
        str(image) if isinstance(image, str | Path) else f"images[{i}]" for i, image in enumerate(given.images)
    ]  # fmt: skip


@torch.no_grad()
def _explained(
    scorer: Scorer, batch: Any, layout: Layout | None, masks: Any, target: str, uid: str, maps: tuple[str, ...]
) -> ImageExplanation:
    """The explanation of a batch of one image."""
    border = isinstance(masks, str)
    scores = scorer(batch, target=target, layout=layout, mask=None if border else masks)
    contributions, shares = scores.contributions[0].cpu().numpy(), scores.shares[0].cpu().numpy()
    values = None if scores.features is None else scores.features[0].cpu().numpy()
    why = scorer.explained(target, contributions, shares, values)
    profile = scorer.profiles[target]
    found = ImageExplanation(
        uid, why, (), (), (), np.zeros((0, 0, 1), np.uint8), {}, "relevance", {}, np.zeros((0, 0), bool),
        {name: range_of(profile.mean[g], profile.sd[g]) for g, name in enumerate(scorer.components)}
        if profile.sd is not None else {},
        scores.warnings[0],
    )  # fmt: skip
    rounded, _ = as_bytes(batch, layout)
    member = scorer.model.members[0]
    if isinstance(member, TextureModel):
        mask = masks if masks is None or border else masks[0]
        return _of_texture(scorer, member, found, rounded[0], mask, values, maps)
    if isinstance(member, EPUCNN):
        picture = resize(rounded[0][None], member.size, layout="NHWC")[0].cpu().numpy()
        found = replace(found, picture=picture, mask=np.ones(picture.shape[:2], bool))
        if maps and math.isfinite(why.ius):
            relevance = relevance_maps(scorer.model, scorer.model.prepare(batch, layout))[0]
            found = replace(found, maps={name: relevance[scorer.components.index(name)] for name in maps})
    return found


def _of_texture(
    scorer: Scorer,
    member: TextureModel,
    found: ImageExplanation,
    image: torch.Tensor,
    mask: Any,
    values: npt.NDArray[np.float32] | None,
    maps: tuple[str, ...],
) -> ImageExplanation:
    pixels, counted = measured_image(image, mask, member.size)
    shown = np.ones(pixels.shape[:2], bool) if counted is None else counted
    found = replace(found, picture=pixels, map_kind="parts", mask=shown)
    profile = scorer.feature_profiles.get(found.why.target)
    if profile is None or values is None or not math.isfinite(found.why.ius):
        return found
    means = np.array(profile.mean)
    along = mean_slopes(scorer.model, means, values.astype(np.float64), found.why.target, scorer.space)
    parts = along.slopes * (values - means)
    reached = dict(zip(scorer.components, (along.end - along.start).tolist(), strict=True))
    columns = {feature.name: i for i, feature in enumerate(scorer.model.features)}
    reached |= {name: float(parts[columns[name]]) for name in maps if name in columns}
    found = replace(found, features=feature_reasons(scorer.model.features, profile, values, parts), reached=reached)
    if not maps:
        return found
    of_pixels = CountedImage(
        torch.from_numpy(pixels), None if counted is None else torch.from_numpy(counted), member.color
    ).parts(np.stack([_row(scorer, name, along.slopes) for name in maps]), means)
    return replace(found, maps=dict(zip(maps, of_pixels.astype(np.float32), strict=True)))


def _row(scorer: Scorer, name: str, slopes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Slopes [F] of the features of a component, or of one feature; 0 of all others."""
    own = [name in (feature.group, feature.name) for feature in scorer.model.features]
    return np.where(own, slopes, 0.0)


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
