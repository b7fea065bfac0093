"""Train one additive model on prepared inputs, with early stopping, best weights, and resume after every epoch."""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from iuscore._run.signals import deferred_interrupts
from iuscore.errors import UserError
from iuscore.models import AdditiveModel
from iuscore.models.text import with_present_mode

Inputs = npt.NDArray[np.float32]

MAX_EPOCHS = 1_000_000
MAX_BATCH_SIZE = 65_536
"""Most images in one training step."""


@dataclass(frozen=True)
class TrainingOptions:
    """How a member is trained; the defaults are the published ones.

    Gradient descent on binary cross-entropy (two classes) or cross-entropy (more). Training ends after
    ``epochs``, or once the validation loss has not fallen for ``patience`` epochs; the weights of the epoch with
    the lowest validation loss are kept. A decrease by less than ``least_gain`` does not count: if the classes are
    perfectly separable, the loss decreases for ever while the weights grow.

    ``optimizer`` "sgd" is stochastic gradient descent with momentum, as published. "adamw" (Loshchilov, Hutter,
    ICLR 2019) uses ``momentum`` as decay of the first moment, and 0.999 as decay of the second.

    Source: training configuration of the published implementation (Gatoula, Dimas, Iakovidis, IEEE TMI 2026).
    """

    epochs: int = 200
    batch_size: int = 8
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-3
    patience: int = 10
    optimizer: Literal["sgd", "adamw"] = "sgd"
    least_gain: float = 0.0

    def __post_init__(self) -> None:
        # At least 2 images: batch normalization needs a variance over the batch.
        bounds = {"epochs": (1, MAX_EPOCHS), "batch_size": (2, MAX_BATCH_SIZE), "patience": (1, MAX_EPOCHS)}
        for name, (least, most) in bounds.items():
            if getattr(self, name) < least:
                raise UserError(f"{name}: expected at least {least}, got {getattr(self, name)}")
            if getattr(self, name) > most:
                raise UserError(f"{name}: expected at most {most}, got {getattr(self, name):.3g}")
        if self.optimizer not in _OPTIMIZERS:
            raise UserError(f"optimizer: expected {' or '.join(_OPTIMIZERS)}, got {self.optimizer!r}")
        if not self.learning_rate > 0 or not math.isfinite(self.learning_rate):
            raise UserError(f"learning_rate: expected a positive number, got {self.learning_rate}")
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum: expected a number in [0, 1), got {self.momentum}")
        if not 0 <= self.least_gain < math.inf:
            raise UserError(f"least_gain: expected 0 or more, got {self.least_gain}")
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"weight_decay: expected 0 or more, got {self.weight_decay}")


@dataclass(frozen=True)
class LabeledInputs:
    """Prepared inputs (first axis N), int64 labels [N], and the group of each image, such as its patient, if known."""

    inputs: Inputs
    labels: npt.NDArray[np.int64]
    groups: tuple[str | None, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: npt.NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.inputs[indices]).to(device), torch.from_numpy(self.labels[indices]).to(device)


@dataclass
class MemberProgress:
    """State of one member after ``epoch`` finished epochs; ``history`` has one entry per epoch."""

    seed: int
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float | None = None
    finished: bool = False
    history: list[dict[str, float | None]] = field(default_factory=list)

    @property
    def bad_epochs(self) -> int:
        return self.epoch - self.best_epoch


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let PyTorch use ``n`` CPU threads inside the block.

    Example:
        >>> with threads(1):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


EpochHook = Callable[[MemberProgress], None]
BatchHook = Callable[[int, float], None]


def train(
    model: AdditiveModel,
    data: LabeledInputs,
    validation: LabeledInputs,
    *,
    options: TrainingOptions,
    seed: int,
    state: Path,
    identity: Mapping[str, Any],
    resume: bool = False,
    on_batch: BatchHook = lambda images, loss: None,
    on_epoch: EpochHook = lambda progress: None,
) -> MemberProgress:
    """Train ``model`` in place and leave it with its best weights, in evaluation mode.

    Args:
        model: with fresh weights, on the device to train on.
        data: training inputs.
        validation: validation inputs.
        options: see `TrainingOptions`.
        seed: random seed of shuffling and dropout. Every epoch draws from (seed, epoch), so a resumed training gives
            the same weights as an uninterrupted one.
        state: file of the resumable state, rewritten after every epoch.
        identity: JSON-able description of the training; a resume with another description is refused.
        resume: continue from ``state`` if it exists.
        on_batch: called with (images, loss) after every step.
        on_epoch: called after every epoch.

    Returns:
        The progress. ``finished`` is False if a KeyboardInterrupt stopped the training; the model has the best weights
        so far.

    Raises:
        UserError: ``state`` is of a training with other options or data, or the loss is not finite.
        KeyboardInterrupt: stopped before the first epoch was complete, so there are no weights to keep.
    """
    device = model.bias.device
    optimizer = _OPTIMIZERS[options.optimizer](model.parameters(), options)
    progress, best = MemberProgress(seed), copy.deepcopy(model.state_dict())
    if resume and state.exists():
        progress, best = _restore(state, model, optimizer, identity)
    try:
        while not progress.finished:
            # Seed inside a fork of the random state, so that the caller's random state stays unchanged.
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(_epoch_seed(seed, progress.epoch))
                train_loss = _train_epoch(model, data, optimizer, options.batch_size, device, on_batch)
            entry = {"epoch": progress.epoch + 1, "train_loss": train_loss, **evaluate(model, validation)}
            with deferred_interrupts():
                progress.epoch += 1
                progress.history.append(entry)
                val_loss = entry["val_loss"]
                assert val_loss is not None
                if progress.best_loss is None or val_loss < progress.best_loss - options.least_gain:
                    progress.best_loss, progress.best_epoch = val_loss, progress.epoch
                    best = copy.deepcopy(model.state_dict())
                progress.finished = progress.epoch >= options.epochs or progress.bad_epochs >= options.patience
                _save(state, model, optimizer, best, progress, identity)
                on_epoch(progress)
    except KeyboardInterrupt:
        if progress.epoch == 0:
            raise
    model.load_state_dict(best)
    model.eval()
    return progress


_Parameters = Iterator[torch.nn.Parameter]


def _sgd(parameters: _Parameters, o: TrainingOptions) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=o.learning_rate, momentum=o.momentum, weight_decay=o.weight_decay)


def _adamw(parameters: _Parameters, o: TrainingOptions) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        parameters, lr=o.learning_rate, betas=(o.momentum, 0.999), weight_decay=o.weight_decay, foreach=True
    )


_OPTIMIZERS: Mapping[str, Callable[[_Parameters, TrainingOptions], torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "adamw": _adamw,
}


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def loss_of(model: AdditiveModel, logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits [B, K]: binary for two classes, softmax for more."""
    if model.n_outputs == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))
    return F.cross_entropy(logits, labels)


def _train_epoch(model: AdditiveModel, data: LabeledInputs, optimizer: torch.optim.Optimizer, batch_size: int,
                 device: torch.device, on_batch: BatchHook) -> float:  # fmt: skip
    model.train()
    total, seen = 0.0, 0
    order = torch.randperm(len(data)).numpy()
    for start in range(0, len(data), batch_size):
        chosen = order[start : start + batch_size]
        # Skip a last batch of one image: batch normalization of a map pooled to 1x1 has no variance over one image.
        if len(chosen) == 1 and start > 0:
            continue
        inputs, labels = data.batch(np.sort(chosen), device)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model, model(inputs), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        value = _finite(loss, "training")
        total, seen = total + value * len(chosen), seen + len(chosen)
        on_batch(len(chosen), value)
    return total / seen


def _finite(loss: Tensor, of: str) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise UserError(f"the {of} loss is not finite: lower the learning rate")
    return value


@torch.no_grad()
def predict(model: AdditiveModel, inputs: Inputs, *, batch_size: int = 64) -> Tensor:
    """Logits [N, K] on the CPU, in evaluation mode."""
    model.eval()
    device = model.bias.device
    parts = [
        model(torch.from_numpy(inputs[i : i + batch_size]).to(device)).cpu() for i in range(0, len(inputs), batch_size)
    ]
    return torch.cat(parts) if parts else torch.empty(0, model.n_outputs)


def evaluate(model: AdditiveModel, data: LabeledInputs) -> dict[str, float | None]:
    """{"val_loss", "val_auroc", "val_accuracy"} of validation inputs; AUROC is None if there is one class only.

    Raises:
        UserError: the loss is not finite, for example because the learning rate is too high.
    """
    logits, labels = predict(model, data.inputs), torch.from_numpy(data.labels)
    loss = _finite(loss_of(model, logits, labels), "validation")
    return {
        "val_loss": loss,
        "val_auroc": auroc(logits.numpy(), data.labels),
        "val_accuracy": float((model.probabilities(logits).argmax(1) == labels).float().mean()),
    }


def auroc(logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]) -> float | None:
    """Area under the ROC curve; macro average of one class against the rest where there are more than two.

    Images are ranked by logits, not probabilities: above a logit of 16.6 a float32 probability is 1, which gives ties.
    With more than two classes, class k is ranked by its log odds: logit k minus the logsumexp of the other logits, in
    float64.

    Args:
        logits: float [N, K]; K = 1 for two classes, else one per class.
        labels: int64 [N].

    Returns:
        In [0, 1]; None where a class is absent.

    Example:
        >>> auroc(np.array([[40.0], [41.0]]), np.array([0, 1]))
        1.0
    """
    from sklearn.metrics import roc_auc_score  # a slow import, as slow as PyTorch's

    wide = logits.astype(np.float64)
    odds = wide if wide.shape[1] == 1 else np.stack([_log_odds(wide, k) for k in range(wide.shape[1])], axis=1)
    if len(np.unique(labels)) < max(2, odds.shape[1]):
        return None
    if odds.shape[1] == 1:
        return float(roc_auc_score(labels, odds[:, 0]))
    return float(np.mean([roc_auc_score(labels == k, odds[:, k]) for k in range(odds.shape[1])]))


def _log_odds(logits: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.float64]:
    others = np.delete(logits, k, axis=1)
    odds: npt.NDArray[np.float64] = logits[:, k] - np.logaddexp.reduce(others, axis=1)
    return odds


def _save(state: Path, model: AdditiveModel, optimizer: torch.optim.Optimizer, best: Mapping[str, Tensor],
          progress: MemberProgress, identity: Mapping[str, Any]) -> None:  # fmt: skip
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{key}.{name}"] = value
    # One file, so that a process killed at any instant leaves the complete state of one epoch.
    payload = {"progress": json.dumps(asdict(progress)), "identity": json.dumps(dict(identity))}
    content = safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, payload)
    # A killed training may leave a file of this name behind; the next training removes it.
    temporary = state.with_name(state.name + ".tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, state)
    except OSError as error:
        error.filename = str(state)
        with suppress(OSError):
            temporary.unlink()
        raise


def _restore(
    state: Path, model: AdditiveModel, optimizer: torch.optim.Optimizer, identity: Mapping[str, Any]
) -> tuple[MemberProgress, dict[str, Tensor]]:
    try:
        with safetensors.safe_open(state, "pt") as file:
            progress = MemberProgress(**json.loads(file.metadata()["progress"]))
            stored = json.loads(file.metadata()["identity"])
            stored["model"] = with_present_mode(stored.get("model"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise UserError(f"{state}: damaged ({error}); fit again in a new folder") from None
    if changed := _difference(stored, identity):
        raise ResumeDiffers(*changed)
    model.load_state_dict(_part(tensors, "model."))
    parameters = dict(model.named_parameters())
    for name, value in _part(tensors, "optimizer.").items():
        key, _, of = name.partition(".")
        # AdamW counts its steps on the CPU.
        optimizer.state[parameters[of]][key] = value if key == "step" else value.to(parameters[of].device)
    return progress, _part(tensors, "best.")


class ResumeDiffers(UserError):
    """A resume with another value of an argument, or with other images, than the interrupted training.

    Attributes:
        name: name of the argument, or of the part of the data.
        was, now: value of the interrupted training, and value given now.
    """

    def __init__(self, name: str, was: object, now: object) -> None:
        self.name, self.was, self.now = name, was, now
        super().__init__(self.called(name))

    def called(self, name: str) -> str:
        """The message, with the argument called ``name``.

        Example:
            >>> ResumeDiffers("learning_rate", 0.1, 0.2).called("--lr")
            '--resume: --lr was 0.1, now it is 0.2; use the same options and data, or another folder'
        """
        difference = f"{name} was {self.was!r}, now it is {self.now!r}"
        if self.name in ("train", "val", "test"):  # their values are hashes, which tell a reader nothing
            difference = f"the {self.name} images are others than before"
        return f"--resume: {difference}; use the same options and data, or another folder"


def _difference(stored: Mapping[str, Any], identity: Mapping[str, Any]) -> tuple[str, object, object] | None:
    """The first difference: (name, stored value, present value); None if there is none."""
    # Compare the seed before the images: another seed chooses other images.
    for key, value in sorted(identity.items(), key=lambda item: isinstance(item[1], Mapping)):
        was = stored.get(key)
        if isinstance(value, Mapping) and isinstance(was, Mapping):
            if changed := _difference(was, value):
                return changed
        elif was != value:
            return key, was, value
    return None


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
