"""Score images against the baseline profile of a real class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.errors import UserError, class_named, closest_match
from iuscore.features import GroupChange, Mask, changes
from iuscore.models import Ensemble, ModelRecord, Space
from iuscore.ops import Precision
from iuscore.ops._blocks import in_blocks
from iuscore.ops._images import Layout, image_views
from iuscore.ops._on_device import on_device, to_device
from iuscore.ops._range import range_is_known, said_once
from iuscore.scoring._masks import masks_of_all, masks_of_some
from iuscore.scoring.baseline import feature_profiles_of, profiles_of
from iuscore.scoring.color import color_warning, with_color
from iuscore.scoring.explanation import Explanation, explain_contributions, n_images
from iuscore.scoring.inputs import Inputs, ScorerInput
from iuscore.scoring.scores import Scores, joined, with_reasons
from iuscore.scoring.similarity import ius, shares
from iuscore.scoring.words import is_jointly_out_of_distribution, is_out_of_distribution

Target: TypeAlias = "str | int | Sequence[str] | Sequence[int] | Tensor | npt.NDArray[np.generic]"
"""A class, by its name or its index in `Scorer.classes`, or one class per image."""


class Scorer:
    """A fitted model with its baseline profiles. `iuscore.load` makes one.

    Attributes:
        model: the `Ensemble`, in evaluation mode, without gradients to its weights.
        record: the content of ``config.json``.
        space: "paper" or "evidence".
        precision: "exact" or "fast": the precision that this model uses on this machine's CPU; `precision_on` gives
            the precision on any device.
        profiles: class -> baseline `Profile` in that space.
        feature_profiles: class -> `FeatureProfile`; empty for a model without named features.
        folder: folder that the model was loaded from; None if it was not loaded.
    """

    folder: Path | None = None

    def __init__(
        self, model: Ensemble, record: ModelRecord, *, space: Space = "paper", precision: Precision = "exact"
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.record = record
        self.space = space
        self._precision: Precision = precision
        self.precision = self.precision_on("cpu")
        self.profiles = profiles_of(record, model, space)
        self.feature_profiles = feature_profiles_of(record, model)

    def __repr__(self) -> str:
        """Kind, classes, members and folder of the model.

        Example:
            >>> import tempfile, iuscore
            >>> from iuscore import demo
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     iuscore.load(demo.tiny_model(folder), space="evidence")  # doctest: +ELLIPSIS
            Scorer('...', epu of normal, abnormal; 1 member, space evidence)
        """
        names = list(self.classes[:4]) + ([f"{len(self.classes) - 4} more"] if len(self.classes) > 4 else [])
        members = f"{len(self.model.members)} member{'s' if len(self.model.members) > 1 else ''}"
        other = [f"space {self.space}"] * (self.space != "paper") + [self.precision] * (self.precision != "exact")
        where = "" if self.folder is None else f"{str(self.folder)!r}, "
        return f"Scorer({where}{self.model.member_kind} of {', '.join(names)}; {', '.join([members, *other])})"

    def precision_on(self, device: torch.device | str) -> Precision:
        """The precision that this model uses on a device, "exact" or "fast"."""
        return self.model.chosen_precision(self._precision, device)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.model.classes

    @property
    def components(self) -> tuple[str, ...]:
        """Component names, in the order of contributions."""
        return self.model.components

    def targets(self, target: Target, n: int) -> tuple[str, ...]:
        """``target`` as one class name per image, checked.

        Args:
            target: a class as its name or its index in ``classes``, or one per image (also integers in a tensor or an
                array).
            n: number of images.

        Raises:
            UserError: an unknown class, a class without a profile, or another number of classes than images.

        Example:
            >>> import tempfile, iuscore
            >>> from iuscore import demo
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     scorer = iuscore.load(demo.tiny_model(folder))
            >>> scorer.targets(0, 2), scorer.targets(["abnormal", 0], 2)
            (('normal', 'normal'), ('abnormal', 'normal'))
        """
        given: Any = target.tolist() if hasattr(target, "tolist") else target
        if isinstance(given, str | int):
            return (self._class(given),) * n
        if not isinstance(given, Sequence) or isinstance(given, bytes):
            raise UserError(f"target: expected {self._expected_class()}; or one class per image; got {given!r}")
        if len(given) != n:
            raise UserError(f"target: expected one class or {n} classes, got {len(given)}")
        checked = [self._checked_class(each) for each in given]
        names = {each: self._class(each) for each in dict.fromkeys(checked)}
        return tuple(names[each] for each in checked)

    def _class(self, given: Any) -> str:
        given = self._checked_class(given)
        name = given if isinstance(given, str) else self.classes[given]
        if (found := class_named(name, self.profiles)) is None:
            close = closest_match(name, self.profiles)
            hint = f"; did you mean {close!r}?" if close else ""
            raise UserError(f"target: no class {name!r}: the model has profiles of {', '.join(self.profiles)}{hint}")
        return found

    def _checked_class(self, given: Any) -> str | int:
        """A name, or a valid index."""
        if isinstance(given, str):
            return given
        index = given.item() if getattr(given, "ndim", None) == 0 else given  # a tensor, or a NumPy scalar
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(self.classes):
            raise UserError(f"target: expected {self._expected_class()}, got {given!r}")
        return index

    def _expected_class(self) -> str:
        return f"names of classes, or labels 0 to {len(self.classes) - 1} of {', '.join(self.classes)}"

    @said_once()
    def __call__(
        self,
        images: ScorerInput,
        *,
        target: Target,
        layout: Layout | None = None,
        batch_size: int = 64,
        mask: Mask | None = None,
    ) -> Scores:
        """Score images.

        The model is moved to the images' device and computes there. If ``images`` is a tensor that requires a gradient,
        the scores are differentiable with respect to the pixels.

        Args:
            images: [B, H, W, C] or [B, C, H, W], or gray [B, H, W] or [H, W], torch or NumPy; a PIL image or the path
                of an image file; or a list of arrays, PIL images and paths. dtypes and ranges as in
                `iuscore.ops.perceptual_maps`.
            target: the real class to compare with, by its name or its index in ``classes``; or one per image.
            layout: "NHWC" or "NCHW", needed where a shape fits both.
            batch_size: images scored at once.
            mask: only for a model fitted with masks: bool or uint8 [B, H, W], or one [H, W] per image of a list, on the
                images' device, nonzero = counted. A model fitted with "border" finds the border itself.

        Returns:
            `Scores`; NaN for an image whose mask has no counted pixel at the model's size.

        Raises:
            UserError: unknown class, a file that is not an image, a mask that the model does not use, or a missing
                mask. TypeError, ValueError: images or masks of a wrong type or shape.

        Warns:
            UserWarning: on the CPU, floats far out of 0..1, such as 0..255 or -1..1, or uint16 that holds bytes.

        Example:
            >>> import tempfile, iuscore
            >>> from iuscore import demo
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     scorer = iuscore.load(demo.tiny_model(folder))
            >>> images = iuscore.phantoms.draw("radiograph", "normal", 3, size=32)
            >>> scores = scorer(images, target="normal")
            >>> scores.ius.shape, bool(torch.allclose(scores.shares.sum(1), scores.ius))
            (torch.Size([3]), True)
        """
        if batch_size < 1:
            raise UserError(f"batch_size: expected at least 1, got {batch_size}")
        given = Inputs(images, layout)
        names = self.targets(target, len(given))
        masks = masks_of_all(self.model, mask, len(given), single=given.single)
        parts = []
        for i in range(0, max(len(given), 1), batch_size):
            batch, batch_layout, on_reading = given.batch(i, i + batch_size)
            some = masks_of_some(masks, i, i + batch_size)
            inputs, warnings = self.model.prepare_with_warnings(batch, batch_layout, some)
            if color_warning(self.model) is not None:
                views = batch if isinstance(batch, Tensor) else image_views(batch, batch_layout)
                warnings = with_color(self.model, views, warnings)
            if on_reading is not None:
                warnings = [(*a, *b) for a, b in zip(on_reading, warnings, strict=True)]
            parts.append(with_reasons(self.score_inputs(inputs, warnings, names[i : i + batch_size])))
        return parts[0] if len(parts) == 1 else joined(parts)

    def explain(
        self, images: ScorerInput, *, target: Target, layout: Layout | None = None, batch_size: int = 64,
        mask: Mask | None = None,
    ) -> list[Explanation]:  # fmt: skip
        """Why each image scores as it does, one `Explanation` per image, ready to print; arguments as for scoring.

        Example:
            >>> import tempfile, iuscore
            >>> from iuscore import demo
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     scorer = iuscore.load(demo.tiny_model(folder))
            >>> images = iuscore.phantoms.draw("radiograph", "normal", 1, size=32)
            >>> [len(e.components) for e in scorer.explain(images, target="normal")]
            [4]
        """
        scores = self(images, target=target, layout=layout, batch_size=batch_size, mask=mask)
        contributions, parts = scores.contributions.detach().cpu().numpy(), scores.shares.detach().cpu().numpy()
        features = None if scores.features is None else scores.features.detach().cpu().numpy()
        return [
            self.explained(name, contributions[i], parts[i], None if features is None else features[i])
            for i, name in enumerate(scores.target)
        ]

    def explained(
        self,
        target: str | int,
        contributions: npt.NDArray[np.floating[Any]],
        shares: npt.NDArray[np.floating[Any]],
        features: npt.NDArray[np.floating[Any]] | None = None,
        *,
        n: int | None = None,
    ) -> Explanation:
        """Why an image, or a set, scores as it does against ``target``.

        Args:
            target: the real class, by its name or its index in ``classes``.
            contributions, shares: [G] of an image or [N, G] of a set.
            features: [F] of the image, or their mean over the set; None for a model without named features.
            n: number of images, if ``contributions`` are their mean.
        """
        (name,) = self.targets(target, 1)
        others = [other for other in self.classes if other != name]
        n = n or n_images(contributions)
        why = explain_contributions(
            self.profiles[name], contributions, shares, target=name, components=self.components,
            other=self.profiles.get(others[0]) if len(others) == 1 else None,
            changes=self.changes(name, features, n), n=n,
        )  # fmt: skip
        return replace(why, out_of_distribution=self.is_out_of_distribution(features, n))

    def explain_set(
        self, images: ScorerInput, *, target: str | int, layout: Layout | None = None, batch_size: int = 64,
        mask: Mask | None = None,
    ) -> Explanation:  # fmt: skip
        """Why a set of images scores as it does, taken together; arguments as in calling the scorer, with one target.

        Raises:
            UserError: no image has a score.

        Example:
            >>> import tempfile, iuscore
            >>> from iuscore import demo
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     scorer = iuscore.load(demo.tiny_model(folder))
            >>> scorer.explain_set(iuscore.phantoms.draw("radiograph", "normal", 5, size=32), target="normal").n
            5
        """
        scores = self(images, target=target, layout=layout, batch_size=batch_size, mask=mask)
        usable = scores.ius.isfinite()
        if not bool(usable.any()):
            raise UserError(f"images: expected at least one that has a score, got {len(scores)} without")
        features = None if scores.features is None else scores.features[usable].double().mean(0).cpu().numpy()
        contributions, parts = (t[usable].detach().cpu().numpy() for t in (scores.contributions, scores.shares))
        return self.explained(target, contributions, parts, features)

    def is_out_of_distribution(self, features: npt.NDArray[np.floating[Any]] | None, n: int) -> bool:
        """Whether images lie so far from real ones of every class that their IUS is a guess.

        Args:
            features: [F], of an image or the mean of a set; None where there are none, which is False.
            n: number of images.
        """
        far = is_out_of_distribution([self.changes(each, features, n) for each in self.feature_profiles])
        return far or is_jointly_out_of_distribution(self.feature_profiles, features, self.model.features, n)

    def _far_classes(self, scores: Scores) -> tuple[str, ...]:
        features, found = scores.features, []
        for name in dict.fromkeys(scores.target):
            rows = [i for i, other in enumerate(scores.target) if other == name]
            values = None if features is None else features[rows].detach().cpu().double().numpy()
            values = None if values is None else values[np.isfinite(values).all(axis=1)]
            if values is not None and len(values) and self.is_out_of_distribution(values.mean(axis=0), len(values)):
                found.append(name)
        return tuple(found)

    def distance_from_real(self, features: npt.NDArray[np.floating[Any]] | None) -> float | None:
        """Distance of features [F] from the nearest real class, in the farthest group of features; None if unknown."""
        every = [self.changes(name, features) for name in self.feature_profiles]
        return min((max(change.moved for change in found) for found in every if found), default=None)

    def changes(
        self, target: str, features: npt.NDArray[np.floating[Any]] | None, n: int = 1
    ) -> tuple[GroupChange, ...] | None:
        """Changes of features [F] (of an image, or the mean of n images) from a real class; None if unknown."""
        profile = self.feature_profiles.get(target)
        if profile is None or features is None:
            return None
        return changes(profile, features, self.model.features, n)

    def score_list(
        self, images: Sequence[Tensor], names: Sequence[str], masks: Sequence[Tensor] | None = None
    ) -> Scores:
        """Scores of single images [H, W, C] of any sizes, each with its class and perhaps its mask [H, W].

        The range of values is not checked: the reader of the images does that.
        """
        with range_is_known():
            inputs, warnings = self.model.prepare_with_warnings(list(images), "NHWC", masks)
        return self.score_inputs(inputs, with_color(self.model, images, warnings), names)

    def score_inputs(self, inputs: Tensor, warnings: Sequence[tuple[str, ...]], names: Sequence[str]) -> Scores:
        """Scores of prepared inputs (first axis B) against one class per image."""
        if self.model.bias.device != inputs.device:
            with torch.inference_mode(False):  # weights moved in inference mode could never pass on a gradient
                self.model.to(inputs.device)
        with torch.set_grad_enabled(inputs.requires_grad and torch.is_grad_enabled()):
            inputs = inputs.to(self.model.bias.dtype)
            evidence = self.model.member_contributions(inputs, "evidence", precision=self._precision)
            columns, baselines = self._columns_and_baselines(names, inputs.device)
            finished = in_blocks(self._finish, evidence.transpose(0, 1), columns, baselines)
            parts = torch.split(finished, list(self._widths), dim=1)
            return Scores(
                target=tuple(names),
                ius=parts[0][:, 0],
                ius_sd=parts[1][:, 0] if self._widths[1] else None,
                contributions=parts[2],
                shares=parts[3],
                probabilities=parts[4],
                warnings=tuple(warnings),
                components=self.components,
                classes=self.classes,
                features=inputs if self.model.features else None,
                judge=self._far_classes if self.model.features else None,
            )

    @property
    def _widths(self) -> tuple[int, ...]:
        """Numbers of columns of IUS, its standard deviation, contributions, shares and probabilities."""
        g = len(self.components)
        return (1, int(len(self.model.members) > 1), g, g, len(self.classes))

    def _finish(self, evidence: Tensor, columns: Tensor, baselines: Tensor) -> Tensor:
        """Scores from the members' evidence [B, M, G, K], output columns [B] and baselines [B, 1 + M, G].

        Returns:
            [B, columns], the columns as in ``_widths``.
        """
        paper = self.model.to_paper(evidence)
        members = paper if self.space == "paper" else evidence
        index = columns.view(-1, 1, 1, 1).expand(*members.shape[:3], 1)
        towards = members.gather(3, index)[..., 0]
        contributions = towards.mean(1)
        parts = shares(baselines[:, 0], contributions)
        found = [parts.sum(1, keepdim=True)]
        if towards.shape[1] > 1:
            each = [ius(baselines[:, 1 + m], towards[:, m]) for m in range(towards.shape[1])]
            found.append(torch.stack(each, dim=1).std(1, keepdim=True))
        logits = self.model.bias + paper.mean(1).sum(1)
        return torch.cat([*found, contributions, parts, self.model.probabilities(logits)], dim=1)

    def _columns_and_baselines(self, names: Sequence[str], device: torch.device) -> tuple[Tensor, Tensor]:
        """Output column of each image's class, int64 [B], and baselines of the class and its members, [B, 1 + M, G].

        The tables of all classes are cached on the device: a copy per batch would wait for the previous batch.
        """
        columns = tuple(self.model.target_column(name) for name in self.profiles)
        means = tuple((profile.mean, *profile.member_means) for profile in self.profiles.values())
        tables = on_device(
            ("targets", columns, means),
            device,
            lambda: (torch.tensor(columns), torch.tensor(means, dtype=torch.float32)),
        )
        place = {name: i for i, name in enumerate(self.profiles)}
        if len(set(names)) == 1:
            which = torch.full((len(names),), place[names[0]], dtype=torch.int64, device=device)
        else:
            which = to_device(torch.tensor([place[name] for name in names], dtype=torch.int64), device)
        return tables[0][which], tables[1][which]
