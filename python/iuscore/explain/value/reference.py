"""Real reference images as their views: what a set and an image are compared with, fitted once and kept in a folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from iuscore._run.files import atomic_write
from iuscore._run.records import SHA256, from_json, parse_json, require_format, to_json
from iuscore._run.regular_files import regular_only
from iuscore.errors import UserError, bounded
from iuscore.explain.value.arguments import checked_classes, checked_size, label_numbers
from iuscore.explain.value.duplicates import RealPairs, balanced_places
from iuscore.explain.value.learners import Floats
from iuscore.explain.value.linear import Labels
from iuscore.explain.value.views import (
    COMPONENTS,
    FILTERS,
    PATCH_SIDE,
    VIEWS,
    WINDOW,
    PatchFilters,
    View,
    count_of,
    has_color,
    learned_filters,
    prepared,
    texture,
    thumb_and_patch,
)
from iuscore.features.change import MIN_SD
from iuscore.features.registry import VERSION
from iuscore.ops import Kind
from iuscore.ops._blocks import in_blocks
from iuscore.ops._images import Images, Layout

LIMIT = 8.0
"""Standard deviations of real images at which a column of a view is clipped."""

THUMB_RIDGE = 2.0
"""Gray levels added to the standard deviation of a pixel of the thumbnail."""

PATCH_RIDGE = 0.3
"""Added to the standard deviation of a principal component of patch responses."""

MIN_REAL = 10
"""Real images of each class without which no reference is fitted."""

BALANCED = 500
"""Real images of a class, at most, in the class-balanced reference."""

WEIGHTS_NAME = "reference_views.safetensors"
CONFIG_NAME = "reference_views.json"
_ADVICE = "fit the reference again"


@dataclass(frozen=True)
class ReferenceRecord:
    """What stands in ``reference_views.json``.

    Attributes:
        classes: names, in the order of the labels.
        counts: real images of each class.
        n_groups: number of groups (patients); None where these are not known.
        kind: "color" or "gray"; "gray" where no real image has color.
        size: (height, width) that all views are taken at.
        seed: of the patches that were drawn and of the class-balanced reference.
        features: version of the texture features.
        weights_sha256: of ``reference_views.safetensors``.
        uids: names of the real images, in the order of the rows; None where these were not given.
    """

    classes: tuple[str, ...]
    counts: tuple[Annotated[int, msgspec.Meta(ge=1)], ...]
    n_groups: Annotated[int, msgspec.Meta(ge=1)] | None
    kind: Kind
    size: tuple[Annotated[int, msgspec.Meta(ge=PATCH_SIDE)], ...]
    seed: Annotated[int, msgspec.Meta(ge=0)]
    features: Annotated[int, msgspec.Meta(ge=1)]
    weights_sha256: Annotated[str, msgspec.Meta(pattern=SHA256)]
    uids: tuple[str, ...] | None = None
    format: int = 1

    FORMAT: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.classes):
            raise ValueError(f"counts: expected one for each of {len(self.classes)} classes, got {len(self.counts)}")
        if len(self.size) != 2:
            raise ValueError(f"size: expected height and width, got {len(self.size)}")
        if self.uids is not None and len(self.uids) != sum(self.counts):
            raise ValueError(f"uids: expected one for each of {sum(self.counts)} images, got {len(self.uids)}")


@dataclass(frozen=True, eq=False)
class ReferenceViews:
    """Real images with their labels, as the three views and what is needed to see other images the same way.

    No pixels at full size are kept. A thumbnail of 8x8 pixels of every real image can be computed from its ``thumb``
    row, and filters are whitened patches of 6x6 pixels: treat the folder as carefully as the images.

    Attributes:
        record: names, counts, size, seed.
        filters: of the view ``patch``.
        pca_mean, pca: float32 [512] and [512, c]: from patch responses to c = 64 components, fewer of few images.
        mean, scale: view -> float32 [d]: what a column is moved and divided by.
        rows: view -> float32 [N, d] in [-8, 8], of the real images.
        labels: int64 [N], places in ``record.classes``.
        groups: int64 [N], numbers of groups; each image its own where groups are not known.

    Example:
        >>> from iuscore import phantoms
        >>> images = np.concatenate([phantoms.draw("radiograph", c, 12, size=32) for c in ("normal", "abnormal")])
        >>> real = ReferenceViews.fit(images, [0] * 12 + [1] * 12, ["normal", "abnormal"], size=(32, 32))
        >>> real.record.kind, real.rows["thumb"].shape, real.rows["patch"].shape
        ('gray', (24, 64), (24, 23))
    """

    record: ReferenceRecord
    filters: PatchFilters
    pca_mean: Tensor
    pca: Tensor
    mean: Mapping[View, npt.NDArray[np.float32]]
    scale: Mapping[View, npt.NDArray[np.float32]]
    rows: Mapping[View, npt.NDArray[np.float32]]
    labels: Labels
    groups: Labels

    @staticmethod
    def fit(
        images: Images,
        labels: Sequence[str] | Sequence[int] | npt.NDArray[Any],
        classes: Sequence[str],
        groups: Sequence[str] | None = None,
        size: tuple[int, int] = (128, 128),
        seed: int = 0,
        *,
        uids: Sequence[str] | None = None,
        layout: Layout | None = None,
    ) -> ReferenceViews:
        """Fit the views to real images.

        Args:
            images: as in `iuscore.features.texture_features`, N of them. Never those a learner is tested on.
            labels: class name of each image, or its place in ``classes``.
            classes: two names or more.
            groups: name of each image's group, such as its patient: images of one group are drawn together.
            size: (height, width), each at least 32, that every image is brought to first.
            seed: of the patches drawn and of the class-balanced reference.
            uids: names of the images, by which others can be told which of them they resemble.
            layout: "NHWC" or "NCHW"; needed only where the shape fits both.

        Raises:
            UserError: fewer than 10 images of a class, unknown labels, other lengths, images that are not finite or
                flat. TypeError, ValueError: see `iuscore.ops.texture_stats`.
        """
        names = checked_classes(classes)
        size = checked_size(size)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise UserError(f"seed: expected a whole number of at least 0, got {bounded(seed)}")
        found = label_numbers(labels, names, count_of(images))
        counts = np.bincount(found, minlength=len(names))
        few = int(counts.argmin())
        if counts[few] < MIN_REAL:
            raise UserError(
                f"labels: expected at least {MIN_REAL} real images of each class, got {counts[few]} of {names[few]!r}"
            )
        for name, given in (("groups", groups), ("uids", uids)):
            if given is not None and len(given) != len(found):
                raise UserError(f"{name}: expected one name per image, {len(found)}, got {len(given)}")
        kind: Kind = "color" if any(has_color(part) for part in prepared(images, size, layout)) else "gray"
        filters = learned_filters(prepared(images, size, layout), len(found), kind, seed)
        thumbs, responses, textures = [], [], []
        for part in prepared(images, size, layout):
            thumbs_of_part, responses_of_part = thumb_and_patch(part, kind, filters)
            thumbs.append(thumbs_of_part)
            responses.append(responses_of_part)
            textures.append(texture(part, kind))
        pca_mean, pca = _principal(np.concatenate(responses))
        raw: dict[View, npt.NDArray[np.float32]] = {
            "thumb": np.concatenate(thumbs),
            "patch": _projected(np.concatenate(responses), pca_mean, pca),
            "texture": np.concatenate(textures),
        }
        mean, scale, rows = {}, {}, {}
        for view in VIEWS:
            wide = raw[view].astype(np.float64)
            mean[view] = wide.mean(0).astype(np.float32)
            scale[view] = _scale(view, wide.std(0)).astype(np.float32)
            rows[view] = _standard(raw[view], mean[view], scale[view])
        numbers = np.arange(len(found)) if groups is None else np.unique(list(groups), return_inverse=True)[1]
        n_groups = None if groups is None else len(set(groups))
        record = ReferenceRecord(
            names, tuple(counts.tolist()), n_groups, kind, size, seed, VERSION, "0" * 64,
            None if uids is None else tuple(uids),
        )  # fmt: skip
        return ReferenceViews(record, filters, pca_mean, pca, mean, scale, rows, found, numbers.astype(np.int64))

    def embed(self, images: Images, *, layout: Layout | None = None) -> dict[View, npt.NDArray[np.float32]]:
        """The three views of other images, in standard deviations of the real ones.

        Args:
            images: B of them, as in `fit`, of any sizes, gray or color.

        Returns:
            view -> float32 [B, d] in [-8, 8]. On one machine a row has the same bits whatever stands beside it.

        Raises:
            UserError: values that are not finite. TypeError, ValueError: see `iuscore.ops.texture_stats`.
        """
        kind = self.record.kind
        height, width = self.record.size
        parts: dict[View, list[npt.NDArray[np.float32]]] = {view: [] for view in VIEWS}
        for part in prepared(images, (height, width), layout):
            thumbs, responses = thumb_and_patch(part, kind, self.filters)
            raw = (thumbs, _projected(responses, self.pca_mean, self.pca), texture(part, kind))
            for view, values in zip(VIEWS, raw, strict=True):
                parts[view].append(_standard(values, self.mean[view], self.scale[view]))
        return {view: np.concatenate(some or [self.rows[view][:0]]) for view, some in parts.items()}

    def only(self, places: Labels) -> ReferenceViews:
        """The reference with the real images at some places alone, in the same views."""
        record, labels, groups = self.record, self.labels[places], self.groups[places]
        counts = tuple(np.bincount(labels, minlength=len(record.classes)).tolist())
        n_groups = None if record.n_groups is None else len(np.unique(groups))
        uids = None if record.uids is None else tuple(record.uids[place] for place in places)
        return replace(
            self, record=replace(record, counts=counts, n_groups=n_groups, uids=uids),
            rows={view: rows[places] for view, rows in self.rows.items()}, labels=labels, groups=groups,
        )  # fmt: skip

    @cached_property
    def balanced(self) -> Labels:
        """Places of as many images of each class, `BALANCED` at most, drawn by seed."""
        return balanced_places(self.labels, len(self.record.classes), self.record.seed, BALANCED)

    @cached_property
    def median_distance(self) -> dict[View, float]:
        """Median distance between two images, at most 150 of each class, of the views ``texture`` and ``patch``."""
        return RealPairs(self.rows, self.labels, len(self.record.classes), self.record.seed).median_distance()

    def sha256(self) -> str:
        """SHA-256 over all that views of other images, and their value, depend on, in hex."""
        weights = hashlib.sha256(safetensors.torch.save(self._tensors())).hexdigest()
        record = to_json(replace(self.record, weights_sha256=weights, uids=None))
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``reference_views.safetensors`` and ``reference_views.json`` into a folder, made where missing.

        Returns:
            The folder.

        Raises:
            UserError: ``folder`` is a file.
        """
        target = Path(folder)
        if target.exists() and not target.is_dir():
            raise UserError(f"{target} is a file: give the folder that the reference shall be written to")
        target.mkdir(parents=True, exist_ok=True)
        weights = safetensors.torch.save(self._tensors())
        record = replace(self.record, weights_sha256=hashlib.sha256(weights).hexdigest())
        text = json.dumps(to_json(record), indent=1, allow_nan=False, ensure_ascii=False)
        for name, content in ((WEIGHTS_NAME, weights), (CONFIG_NAME, (text + "\n").encode())):
            with atomic_write(target / name) as file:
                file.write(content)
        return target

    def _tensors(self) -> dict[str, Tensor]:
        arrays: dict[str, npt.NDArray[Any]] = {"labels": self.labels, "groups": self.groups}
        for view in VIEWS:
            arrays |= {
                f"{view}.mean": self.mean[view],
                f"{view}.scale": self.scale[view],
                f"{view}.rows": self.rows[view],
            }
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        tensors |= {"patch.filters": self.filters.weights, "patch.bias": self.filters.bias}
        tensors |= {"patch.pca_mean": self.pca_mean, "patch.pca": self.pca}
        return {name: tensor.contiguous() for name, tensor in sorted(tensors.items())}

    @staticmethod
    def load(folder: str | os.PathLike[str]) -> ReferenceViews:
        """Read what `save` wrote.

        Raises:
            UserError: anything missing, damaged, foreign or from a newer version; the message names the file.
        """
        config, weights = Path(folder) / CONFIG_NAME, Path(folder) / WEIGHTS_NAME
        try:
            described = parse_json(_content(config))
            if not isinstance(described, dict):
                raise UserError("expected names with values")
            require_format(described.get("format"), ReferenceRecord.FORMAT)
            record = from_json(ReferenceRecord, described)
            if record.features != VERSION:
                raise UserError(f"features: expected version {VERSION}, got {record.features}; {_ADVICE}")
        except ValueError as error:
            where = "" if str(error).startswith(str(config)) else f"{config}: "
            raise UserError(f"{where}{error}") from None
        content = _content(weights)
        if hashlib.sha256(content).hexdigest() != record.weights_sha256:
            raise UserError(
                f"{weights}: changed since {CONFIG_NAME} was written (its SHA-256 differs); "
                "copy both files from the same folder again"
            )
        try:
            return _rebuilt(record, safetensors.torch.load(content))
        except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise UserError(f"{weights}: damaged ({error}); {_ADVICE}") from None


def _rebuilt(record: ReferenceRecord, tensors: Mapping[str, Tensor]) -> ReferenceViews:
    n, classes = sum(record.counts), len(record.classes)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    for name in ("labels", "groups"):
        if arrays[name].shape != (n,) or arrays[name].dtype != np.int64:
            raise ValueError(f"{name}: expected int64 [{n}], got {list(arrays[name].shape)}")
    if np.bincount(arrays["labels"], minlength=classes).tolist() != list(record.counts):
        raise ValueError("labels: other counts than in the record")
    for view in VIEWS:
        width = len(arrays[f"{view}.mean"])
        if arrays[f"{view}.rows"].shape != (n, width) or arrays[f"{view}.scale"].shape != (width,):
            raise ValueError(f"{view}: expected [{n}, {width}], got {list(arrays[f'{view}.rows'].shape)}")
    components = len(arrays["patch.mean"])
    values = WINDOW**2 * (3 if record.kind == "color" else 1)
    wanted = {"patch.filters": (values, FILTERS), "patch.bias": (FILTERS,), "patch.pca_mean": (8 * FILTERS,)}
    for name, shape in (wanted | {"patch.pca": (8 * FILTERS, components)}).items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name}: expected {list(shape)}, got {list(arrays[name].shape)}")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("values that are not finite")
    return ReferenceViews(
        record,
        PatchFilters(tensors["patch.filters"], tensors["patch.bias"]),
        tensors["patch.pca_mean"],
        tensors["patch.pca"],
        {view: arrays[f"{view}.mean"] for view in VIEWS},
        {view: arrays[f"{view}.scale"] for view in VIEWS},
        {view: arrays[f"{view}.rows"] for view in VIEWS},
        arrays["labels"],
        arrays["groups"],
    )


def _content(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=regular_only) as file:
            return file.read()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read: {error.strerror}; give the folder that ReferenceViews.save wrote"
        ) from None


def _scale(view: View, sd: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if view == "thumb":
        return sd + THUMB_RIDGE
    return sd + PATCH_RIDGE if view == "patch" else np.maximum(sd, MIN_SD)


def _standard(
    values: npt.NDArray[np.float32], mean: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = np.clip((values - mean) / scale, -LIMIT, LIMIT)
    return found


def _principal(responses: Floats) -> tuple[Tensor, Tensor]:
    """Mean [512] and the directions of largest variance [512, c], each with its largest entry above 0."""
    wide = responses.astype(np.float64)
    mean = wide.mean(0)
    _, vectors = np.linalg.eigh(np.cov(wide.T, bias=True))
    kept = vectors[:, ::-1][:, : min(COMPONENTS, len(wide) - 1)]
    kept = kept * np.sign(kept[np.abs(kept).argmax(0), np.arange(kept.shape[1])])
    return torch.from_numpy(mean).float(), torch.from_numpy(np.ascontiguousarray(kept)).float()


def _projected(responses: npt.NDArray[np.float32], mean: Tensor, directions: Tensor) -> npt.NDArray[np.float32]:
    rows = in_blocks(lambda part: (part - mean) @ directions, torch.from_numpy(responses))
    found: npt.NDArray[np.float32] = rows.numpy()
    return found
