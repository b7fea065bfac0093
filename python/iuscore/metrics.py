"""The score as a torchmetrics metric, for the training of generators (extra ``metrics``)."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor

from iuscore.errors import UserError
from iuscore.ops._images import batch_view
from iuscore.ops._range import beyond
from iuscore.scoring import Scorer, load
from iuscore.scoring.scorer import Target

try:
    from torchmetrics import Metric
    from torchmetrics.utilities import rank_zero_warn
except ImportError:
    raise ImportError("metrics need the extra: pip install -c constraints.txt '.[metrics]'") from None

if TYPE_CHECKING:
    from typing_extensions import Self

    from iuscore.ops._images import Layout

__all__ = ["UtilitySimilarity"]

WITHOUT_FLOAT64 = ("mps",)
"""Device types without float64; for these the sums are kept on the CPU."""


@dataclass(frozen=True)
class _Shared:
    """Hides a scorer from the module's parameters, and lets all copies of a metric share one scorer."""

    scorer: Scorer

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


class UtilitySimilarity(Metric):
    """Mean IUS of generated images, over batches and processes.

    The metric keeps sums in float64, so its memory does not grow with the number of images. `merge_state` and
    ``torch.distributed`` give the same result as one metric over all images, and the order of batches does not matter.
    The model's weights are not part of the metric's ``state_dict`` or parameters. Copies share the weights; a pickled
    metric contains them. `compute` returns a dict of scalars, float32 on the metric's device:

    ``ius``
        mean over the images.
    ``ius_se``
        standard error of that mean: standard deviation (n - 1) over the square root of n; NaN below two images.
    ``below_ceiling``
        mean IUS of held-out real images of the same classes (the ceiling) minus ``ius``; negative where the images
        score higher. NaN if a class has no ceiling; absent if the model has no ceilings at all.
    ``scored``, ``left_out``
        number of images in the means, and number of images with pixels that are not finite, which are left out.
    ``out_of_distribution``
        1 where the images, taken together, lie so far from real ones of every class that ``ius`` is a guess, else 0;
        left out of a model without named features, which cannot tell.
    ``share/<component>``
        mean share of each component; the shares sum to ``ius``.
    ``contribution/<component>``
        mean contribution of each component.

    Without images all means are NaN. A model without named features, such as "epu", is differentiable: the value that
    calling the metric returns for a batch carries a gradient to the pixels. Surrounding autocast has no effect.

    Args:
        model: a model folder, or a `iuscore.Scorer` (from `iuscore.load`, to choose space and precision).
        target: the real class to compare with, by its name or its index in ``scorer.classes``; None if every
            update gives a target.
        layout: "NHWC" or "NCHW", needed where a shape fits both.
        batch_size: images scored at once.
        components: whether `compute` returns ``share/`` and ``contribution/``.
        kwargs: arguments of ``torchmetrics.Metric``, such as ``process_group`` or ``dist_sync_on_step``.

    Raises:
        UserError: not a model folder, or an unknown class. ImportError: torchmetrics is missing.

    Example:
        >>> import tempfile, torch, iuscore
        >>> from iuscore import demo
        >>> from iuscore.metrics import UtilitySimilarity
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     metric = UtilitySimilarity(demo.tiny_model(folder), target="abnormal")
        >>> for seed in range(3):
        ...     images = iuscore.phantoms.draw("radiograph", "abnormal", 4, size=32, seed=seed)
        ...     metric.update(torch.from_numpy(images))  # or metric.update(images, labels)
        >>> values = metric.compute()
        >>> int(values["scored"]), bool(values["ius"].abs() <= 1)
        (12, True)
    """

    full_state_update: ClassVar[bool] = False  # type: ignore[misc]  # class constants, as in torchmetrics
    higher_is_better: ClassVar[bool] = True  # type: ignore[misc]
    plot_lower_bound: ClassVar[float] = -1.0  # type: ignore[misc]
    plot_upper_bound: ClassVar[float] = 1.0  # type: ignore[misc]

    fingerprint: Tensor  # int64 [8]; only metrics with the same fingerprint may add their sums
    counts: Tensor  # int64 [2]: images scored, left out
    sums: Tensor  # float64 [3 + 2 G]: IUS, its square, ceiling, shares, contributions
    features: Tensor  # float64 [F]

    def __init__(
        self,
        model: str | os.PathLike[str] | Scorer,
        target: str | int | None = None,
        *,
        layout: Layout | None = None,
        batch_size: int = 64,
        components: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._model = _Shared(model if isinstance(model, Scorer) else load(model))
        target = None if target is None else self.scorer.targets(target, 1)[0]
        if batch_size < 1:
            raise UserError(f"batch_size: expected at least 1, got {batch_size}")
        self.target = target
        self.layout = layout
        self.batch_size = batch_size
        self.components = components
        self._ceilings = {name: _ceiling(self.scorer, name) for name in self.scorer.classes}
        self._range_warned = False
        where, groups = _place(self.device), len(self.scorer.components)
        # A collection of torchmetrics merges metrics whose states are equal after one batch (before 1.9: whose first
        # states are equal). The sums of different models are equal if the batch was empty. The fingerprint, as first
        # state, is equal only for the same model and target.
        self.add_state("fingerprint", _fingerprint(self.scorer, target).to(where), dist_reduce_fx="max")
        self.add_state("counts", torch.zeros(2, dtype=torch.int64, device=where), dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(3 + 2 * groups, dtype=torch.float64, device=where), dist_reduce_fx="sum")
        n_features = len(self.scorer.model.features)
        self.add_state("features", torch.zeros(n_features, dtype=torch.float64, device=where), dist_reduce_fx="sum")

    @property
    def scorer(self) -> Scorer:
        """The model, shared by all copies of this metric."""
        return self._model.scorer

    @property
    def is_differentiable(self) -> bool:  # type: ignore[override]  # depends on the model
        """Whether the value of a batch carries a gradient to the pixels; False for models with named features."""
        return not self.scorer.model.features

    def update(self, images: Tensor, target: Target | None = None, *, mask: Tensor | None = None) -> None:
        """Add images.

        Args:
            images: [B, C, H, W] or [B, H, W, C], C = 1 or 3, uint8, uint16 or floating in [0, 1], on any device, where
                they are scored. B may be 0.
            target: the real class to compare these images with instead of the metric's target: a name or a label (an
                index in ``scorer.classes``), or one per image, such as integers [B].
            mask: for a model fitted with masks: bool or uint8 [B, H, W], nonzero = counted. A model fitted with
                "border" finds the border itself.

        Raises:
            UserError: unknown class or label, no target, a mask that the model does not use, or a missing mask.
            TypeError, ValueError: ``images`` has a wrong type or shape.
        """
        if not isinstance(images, Tensor) or images.ndim != 4:
            got = list(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise TypeError(f"images: expected a tensor [B, C, H, W] or [B, H, W, C], got {got}")
        names = self._names(target, len(images))
        with _own_precision(images.device):
            scores = self.scorer(
                images if self.is_differentiable else images.detach(),
                target=names,
                layout=self.layout,
                batch_size=self.batch_size,
                mask=mask,
            )
        self._check_range(images)
        usable = scores.ius.isfinite().to(self.sums.device)
        ius, shares, contributions = (
            part.to(self.sums.device).double() for part in (scores.ius, scores.shares, scores.contributions)
        )
        ceilings = ius.new_tensor([self._ceilings[name] for name in names])
        rows = torch.cat([torch.stack([ius, ius**2, ceilings], dim=1), shares, contributions], dim=1)
        n = usable.sum()
        self.counts = self.counts + torch.stack([n, len(images) - n])
        self.sums = self.sums + rows[usable].sum(0)
        if scores.features is not None:
            self.features = self.features + scores.features.to(self.sums.device).double()[usable].sum(0)

    def compute(self) -> dict[str, Tensor]:
        """The dict that the class describes, over all images since the last ``reset`` and over all processes.

        Raises:
            UserError: another process or a loaded state has sums of another model or target.
        """
        self._check_same(self.fingerprint)
        n, groups = self.counts[0], len(self.scorer.components)
        mean = self.sums / n
        spread = ((mean[1] - mean[0] ** 2).clamp(min=0) * n / (n - 1)).sqrt()
        values = {"ius": mean[0], "ius_se": torch.where(n > 1, spread / n.sqrt(), math.nan)}
        if any(math.isfinite(ceiling) for ceiling in self._ceilings.values()):
            values["below_ceiling"] = mean[2] - mean[0]
        values |= {"scored": n, "left_out": self.counts[1]}
        if len(self.features):
            n_images = int(n)
            far = n_images > 0 and self.scorer.is_out_of_distribution((self.features / n).cpu().numpy(), n_images)
            values["out_of_distribution"] = n.new_tensor(int(far))
        if self.components:
            for prefix, means in (("share", mean[3 : 3 + groups]), ("contribution", mean[3 + groups :])):
                values |= {f"{prefix}/{name}": means[g] for g, name in enumerate(self.scorer.components)}
        wide = torch.float64 if self.dtype == torch.float64 else torch.float32
        return {name: value.to(wide).to(self.device) for name, value in values.items()}

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the sums of another metric of the same model and target (or its ``metric_state``).

        Raises:
            UserError: another model or target.
        """
        state = incoming_state.metric_state if isinstance(incoming_state, UtilitySimilarity) else incoming_state
        self._check_same(state.get("fingerprint") if isinstance(state, dict) else None)
        super().merge_state(incoming_state)
        # Otherwise torchmetrics would return the cached result, and warn that the metric had no update.
        self._computed = None
        self._update_count += incoming_state.update_count if isinstance(incoming_state, Metric) else 1

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the mean IUS and the shares that sum to it, with the plot of torchmetrics.

        Args:
            val: a result of `compute`, or a list of results, one per step; None: the current result.
            ax: axis of matplotlib to draw into.

        Returns:
            Figure (None if ``ax`` is given) and axis.

        Raises:
            UserError: matplotlib is missing.
        """
        if importlib.util.find_spec("matplotlib") is None:
            raise UserError("a plot needs the extra: pip install -c constraints.txt '.[plot]'")
        found = self.compute() if val is None else val
        return self._plot(_drawn(found) if isinstance(found, Mapping) else [_drawn(step) for step in found], ax)

    def _apply(self, fn: Callable[..., Any], exclude_state: Sequence[str] = "") -> Self:
        """Move the sums to a device, but keep float64: ``to(torch.bfloat16)`` of a whole trainer would ruin them."""
        super()._apply(fn, exclude_state=tuple(self._defaults))
        where = _place(self.device)
        for name, default in self._defaults.items():
            self._defaults[name] = cast(Tensor, default).to(where)
            setattr(self, name, getattr(self, name).to(where))
        return self

    def _names(self, target: Target | None, n: int) -> tuple[str, ...]:
        target = self.target if target is None else target
        if target is None:
            raise UserError("target: expected a class, of the metric or of this update, got none")
        return self.scorer.targets(target, n)

    def _check_range(self, images: Tensor) -> None:
        """Warn once about floats on a GPU that are clearly outside [0, 1]; the scorer checks floats on the CPU."""
        if self._range_warned or images.device.type == "cpu":
            return
        if warning := beyond(batch_view(images, self.layout)):
            self._range_warned = True
            rank_zero_warn(warning, UserWarning)

    def _check_same(self, found: object) -> None:
        if isinstance(found, Tensor) and not torch.equal(found.cpu(), _fingerprint(self.scorer, self.target)):
            raise UserError("sums of another model or target: every process and state needs the same of both")


def _place(device: torch.device) -> torch.device:
    return torch.device("cpu") if device.type in WITHOUT_FLOAT64 else device


def _ceiling(scorer: Scorer, name: str) -> float:
    """Mean IUS of held-out real images of a class in the scorer's space; NaN if unknown."""
    found = scorer.record.ceiling_of(scorer.space, name)
    return math.nan if found is None else found.mean


def _fingerprint(scorer: Scorer, target: str | None) -> Tensor:
    """The first 8 bytes, as int64 [8], of a hash of weights, baselines, space and target."""
    baselines = {name: profile.mean for name, profile in scorer.profiles.items()}
    parts = [scorer.record.weights_sha256, baselines, scorer.space, target]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()
    return torch.tensor(list(digest[:8]), dtype=torch.int64, device="cpu")


def _own_precision(device: torch.device) -> AbstractContextManager[object]:
    """Switch autocast off: scores must not depend on the precision of a training loop."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def _drawn(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The values that are in the range of the IUS."""
    return {name: value for name, value in values.items() if name == "ius" or name.startswith("share/")}
