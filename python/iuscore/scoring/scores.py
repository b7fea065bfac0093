"""Scores of images: as tensors, plain values, or a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from iuscore.errors import UserError

NO_SCORE = "no score: pixels that are not finite, or a mask that leaves no pixel"


@dataclass(frozen=True)
class ImageScore:
    """The scores of one image: an element of `Scores`, or a row of ``scores.parquet``.

    Attributes:
        target: the real class that the image is compared with.
        ius: IUS in [-1, 1]; NaN for an image with non-finite pixels, None for an image that could not be read.
        ius_sd: standard deviation of the IUS over the members; None for a single model.
        contributions: component -> contribution towards the target's output; empty if ``ius`` is None.
        shares: component -> share of the IUS; empty if ``ius`` is None.
        probabilities: class -> probability.
        warnings: texts that limit the meaning of the score.
        uid, group, width, height: for a row of the table only: name of the image, its group (None without groups), and
            its size.
        error: why the image could not be read; None if it was read.
    """

    target: str
    ius: float | None
    ius_sd: float | None
    contributions: dict[str, float]
    shares: dict[str, float]
    probabilities: dict[str, float]
    warnings: tuple[str, ...] = ()
    uid: str = ""
    group: str | None = None
    width: int | None = None
    height: int | None = None
    error: str | None = None

    @classmethod
    def from_columns(cls, row: Mapping[str, Any]) -> ImageScore:
        """Read the columns of ``scores.parquet``, as of `Scores.to_dict`.

        Example:
            >>> score = ImageScore.from_columns({"target": "a", "ius": 0.5, "share_x": 0.5, "warnings": "gray; dark"})
            >>> score.shares, score.warnings
            ({'x': 0.5}, ('gray', 'dark'))
        """

        def values_of(prefix: str) -> dict[str, float]:
            named = ((name.removeprefix(prefix), value) for name, value in row.items() if name.startswith(prefix))
            return {name: value for name, value in named if value is not None}

        warnings = row.get("warnings") or ""
        return cls(
            target=row["target"],
            ius=row["ius"],
            ius_sd=row.get("ius_sd"),
            contributions=values_of("contribution_"),
            shares=values_of("share_"),
            probabilities=values_of("probability_"),
            warnings=tuple(warnings.split("; ")) if warnings else (),
            uid=row.get("uid", ""),
            group=row.get("group"),
            width=row.get("width"),
            height=row.get("height"),
            error=row.get("error"),
        )


@dataclass(frozen=True, repr=False)
class Scores:
    """Scores of B images, on the device of the images.

    Attributes:
        target: the real class that each image is compared with, B names.
        ius: float32 [B] in [-1, 1]; NaN for an image with non-finite pixels.
        ius_sd: float32 [B], standard deviation of the members' IUS; None for a single model.
        contributions: float32 [B, G], towards the target's output.
        shares: float32 [B, G]; rows sum to ``ius``.
        probabilities: float32 [B, n_classes].
        warnings: one tuple of texts per image, such as "degenerate map red-green".
        components: G names.
        classes: names in label order.
        features: float32 [B, F], measured features; None for a model without named features.
        judge: called by `out_of_distribution`; None if there is no scorer to ask.

    Example:
        >>> half = torch.tensor([[0.3, 0.2]])
        >>> scores = Scores(("a",), half.sum(1), None, half, half, torch.tensor([[0.9, 0.1]]), ((),), ("x", "y"),
        ...                 ("a", "b"))
        >>> scores
        Scores(1 image against a: IUS 0.500)
        >>> sorted(scores.to_dict())[:3]
        ['contribution_x', 'contribution_y', 'ius']
    """

    target: tuple[str, ...]
    ius: Tensor
    ius_sd: Tensor | None
    contributions: Tensor
    shares: Tensor
    probabilities: Tensor
    warnings: tuple[tuple[str, ...], ...]
    components: tuple[str, ...]
    classes: tuple[str, ...]
    features: Tensor | None = None
    judge: Callable[[Scores], tuple[str, ...]] | None = field(default=None, compare=False)

    @property
    def out_of_distribution(self) -> tuple[str, ...]:
        """Classes whose images, taken together, lie so far from real images of every class that the IUS is a guess.

        Empty of a model without named features, such as "epu", which cannot tell. Computed when asked for, on the CPU.
        """
        return () if self.judge is None else self.judge(self)

    def __getstate__(self) -> dict[str, Any]:
        """Without the scorer behind ``judge``, which would bring the model along."""
        return {**self.__dict__, "judge": None}

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, place: int) -> ImageScore:
        """The scores of one image as plain values.

        Raises:
            IndexError: ``place`` is out of range.
        """
        place = range(len(self))[place]
        return ImageScore.from_columns({name: column[place] for name, column in self.to_dict().items()})

    def __repr__(self) -> str:
        n, classes = len(self), list(dict.fromkeys(self.target))
        against = ", ".join(classes) if len(classes) <= 4 else f"{len(classes)} classes"
        text = f"{n} image{'s' if n != 1 else ''}" + (f" against {against}" if n else "")
        values = self.ius.detach().to("cpu", torch.float64)
        finite = values[values.isfinite()]
        if len(finite):
            low, high = finite.min(), finite.max()
            text += f": IUS {finite.mean():.3f}" + (f" on average, {low:.3f} to {high:.3f}" if len(finite) > 1 else "")
        if missing := len(values) - len(finite):
            text += f"{', ' if len(finite) else ': '}{missing} without a score"
        if far := self.out_of_distribution:
            text += f", a guess: those against {', '.join(far)} lie far outside real images"
        return f"Scores({text})"

    def to_dict(self) -> dict[str, list[Any]]:
        """The scores as columns of plain values, one value per image.

        Returns:
            Name -> B values: target, ius, ius_sd (for an ensemble), contribution_<component>, share_<component>,
            probability_<class> and warnings (text, separated by "; "): columns of ``scores.parquet``, in its order.
            Measured features are not included. A missing number is NaN.
        """
        columns: dict[str, list[Any]] = {"target": list(self.target), "ius": self.ius.tolist()}
        if self.ius_sd is not None:
            columns["ius_sd"] = self.ius_sd.tolist()
        for prefix, names, table in (
            ("contribution", self.components, self.contributions),
            ("share", self.components, self.shares),
            ("probability", self.classes, self.probabilities),
        ):
            columns |= {f"{prefix}_{name}": column for name, column in zip(names, table.T.tolist(), strict=True)}
        return {**columns, "warnings": ["; ".join(texts) for texts in self.warnings]}

    def to_pandas(self) -> Any:
        """The scores as a ``pandas.DataFrame``, one row per image, with the columns of `to_dict`.

        Raises:
            UserError: pandas is not installed.

        Example, of ``scores`` that a scorer returned::

            table = scores.to_pandas()
            table.nsmallest(10, "ius")
        """
        try:
            import pandas
        except ImportError:
            raise UserError("to_pandas: pandas is not installed: pip install pandas, or use to_dict()") from None
        table = pandas.DataFrame(self.to_dict())
        numbers = [name for name in table.columns if name not in ("target", "warnings")]
        return table.astype(dict.fromkeys(numbers, "float32"))


def joined(parts: Sequence[Scores]) -> Scores:
    """Scores of several batches as one."""
    spreads = [p.ius_sd for p in parts if p.ius_sd is not None]
    return Scores(
        target=tuple(chain.from_iterable(p.target for p in parts)),
        ius=torch.cat([p.ius for p in parts]),
        ius_sd=torch.cat(spreads) if spreads else None,
        contributions=torch.cat([p.contributions for p in parts]),
        shares=torch.cat([p.shares for p in parts]),
        probabilities=torch.cat([p.probabilities for p in parts]),
        warnings=tuple(chain.from_iterable(p.warnings for p in parts)),
        components=parts[0].components,
        classes=parts[0].classes,
        features=torch.cat(features) if (features := [p.features for p in parts if p.features is not None]) else None,
        judge=parts[0].judge,
    )


def with_reasons(scores: Scores) -> Scores:
    """Say of an image on the CPU without a score why it has none; those on a GPU would have to be waited for."""
    if scores.ius.device.type != "cpu" or bool(scores.ius.isfinite().all()):
        return scores
    warnings = [
        texts if math.isfinite(ius) else (*texts, NO_SCORE)
        for texts, ius in zip(scores.warnings, scores.ius.tolist(), strict=True)
    ]
    return replace(scores, warnings=tuple(warnings))
