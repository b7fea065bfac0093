"""Scores of images, as tensors, as plain values and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from iuscore.errors import UserError


@dataclass(frozen=True, repr=False)
class Scores:
    """Scores of B images, on the device of the images.

    Attributes:
        target: the real class each image is compared with, B names.
        ius: float32 [B] in [-1, 1]; NaN for an image with non-finite pixels.
        ius_sd: float32 [B], standard deviation of the members' IUS; None for a single model.
        contributions: float32 [B, G], towards the target's output.
        shares: float32 [B, G]; rows sum to ``ius``.
        probabilities: float32 [B, n_classes].
        warnings: one tuple of texts an image, such as "degenerate map red-green".
        components: G names.
        classes: names in label order.
        features: float32 [B, F], what the model measured; None of a model without named features.

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

    def __len__(self) -> int:
        return len(self.target)

    def __repr__(self) -> str:
        n, classes = len(self), list(dict.fromkeys(self.target))
        against = ", ".join(classes) if len(classes) <= 4 else f"{len(classes)} classes"
        said = f"{n} image{'s' if n != 1 else ''}" + (f" against {against}" if n else "")
        values = self.ius.detach().to("cpu", torch.float64)
        finite = values[values.isfinite()]
        if len(finite):
            low, high = finite.min(), finite.max()
            said += f": IUS {finite.mean():.3f}" + (f" on average, {low:.3f} to {high:.3f}" if len(finite) > 1 else "")
        if missing := len(values) - len(finite):
            said += f"{', ' if len(finite) else ': '}{missing} without a score"
        return f"Scores({said})"

    def to_dict(self) -> dict[str, list[Any]]:
        """The scores as columns of plain values, one value an image.

        Returns:
            Name -> B values: target, ius, ius_sd (of an ensemble), contribution_<component>, share_<component>,
            probability_<class> and warnings (text, separated by "; "): the columns of ``scores.parquet``, in its order.
            Measured features are not among them. A missing number is NaN.
        """
        columns: dict[str, list[Any]] = {"target": list(self.target), "ius": self.ius.tolist()}
        if self.ius_sd is not None:
            columns["ius_sd"] = self.ius_sd.tolist()
        for kind, names, table in (
            ("contribution", self.components, self.contributions),
            ("share", self.components, self.shares),
            ("probability", self.classes, self.probabilities),
        ):
            columns |= {f"{kind}_{name}": column for name, column in zip(names, table.T.tolist(), strict=True)}
        return {**columns, "warnings": ["; ".join(texts) for texts in self.warnings]}

    def to_pandas(self) -> Any:
        """The scores as a ``pandas.DataFrame``, one row an image, with the columns of `to_dict`.

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
    )
