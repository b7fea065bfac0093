"""Read and write model folders: ``model.safetensors`` and ``config.json``, no pickle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from iuscore._run.files import atomic_write
from iuscore._run.records import parse_json, require_format
from iuscore._run.regular_files import regular_only
from iuscore.errors import UserError, bounded
from iuscore.models.base import KINDS, AdditiveModel
from iuscore.models.ensemble import Ensemble
from iuscore.models.record import MAX_MEMBERS, MemberRecord, ModelRecord, config_sha256

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"


def save_model(folder: str | os.PathLike[str], model: AdditiveModel, *, record: ModelRecord) -> Path:
    """Write a model folder; a model in it is replaced.

    Each file is written in one atomic write, the configuration last: after a crash the folder holds the old model, the
    new model, or two files whose hash does not match, which :func:`load_model` refuses.

    Args:
        folder: created if it does not exist.
        model: an :class:`Ensemble`, or a single model, which is saved as an ensemble of one.
        record: everything besides the weights. This function sets its format, kind, model and hashes, and its members
            if there are none; a record of `load_model` can therefore be saved again.

    Returns:
        The folder.

    Raises:
        UserError: the weights are not finite (training diverged), there are more than 1,000 members, or ``folder`` is
            a file.
        ValueError: the record has another number of members.

    Example:
        >>> import tempfile
        >>> from iuscore.models import EPUCNN
        >>> model = EPUCNN(["a", "b"], size=(8, 8), base_channels=2, hidden_units=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save_model(folder, model, record=ModelRecord(members=(MemberRecord(seed=0),)))
        ...     sorted(file.name for file in path.iterdir())
        ['config.json', 'model.safetensors']
    """
    ensemble = model if isinstance(model, Ensemble) else Ensemble([model])
    count = len(ensemble.members)
    if count > MAX_MEMBERS:
        raise UserError(f"model: expected at most {MAX_MEMBERS} members, got {count}")
    members = record.members or (MemberRecord(),) * count
    if len(members) != count:
        raise ValueError(f"record.members: expected {count}, got {len(members)}")
    tensors = {name: value.detach().cpu().contiguous() for name, value in ensemble.state_dict().items()}
    if nonfinite := _not_finite(tensors):
        raise UserError(f"the model is not saved: {nonfinite} is not finite (did training diverge?)")
    weights = safetensors.torch.save(tensors)
    described = ensemble.config()
    config = replace(
        record,
        format=ModelRecord.FORMAT,
        kind=described["kind"],
        model=described["model"],
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        members=members,
    ).to_json()
    config["config_sha256"] = config_sha256(config)
    text = json.dumps(config, indent=1, allow_nan=False, ensure_ascii=False)
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file: give the folder that the model shall be written to")
    target.mkdir(parents=True, exist_ok=True)
    for name, content in ((WEIGHTS_NAME, weights), (CONFIG_NAME, (text + "\n").encode())):
        with atomic_write(target / name) as file:
            file.write(content)
    return target


def load_model(folder: str | os.PathLike[str]) -> tuple[Ensemble, ModelRecord]:
    """Read a model folder.

    Args:
        folder: a folder that :func:`save_model` wrote.

    Returns:
        The model on the CPU, in evaluation mode, always an :class:`Ensemble` (perhaps of one member), and the content
        of ``config.json``.

    Raises:
        UserError: a file is missing, damaged, of another program or of a newer version; the message names the file
            and says what to do.

    Example:
        >>> load_model("no/such/folder")
        Traceback (most recent call last):
        ...
        iuscore.errors.UserError: no model folder no/such/folder: give the folder that 'iuscore fit' wrote
    """
    source = Path(folder)
    if not source.is_dir():
        raise UserError(f"no model folder {source}: give the folder that 'iuscore fit' wrote")
    record = _read_config(source / CONFIG_NAME)
    model = _build(record, source / CONFIG_NAME)
    tensors = _read_weights(source / WEIGHTS_NAME, record.weights_sha256)
    fill(model, tensors, source / WEIGHTS_NAME)
    return model, record


def fill(model: AdditiveModel, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Assign weights to a model that was built on the meta device, and set evaluation mode.

    Args:
        model: the module to fill; its state gives the expected names, shapes and dtypes.
        tensors: parameter name -> tensor.
        path: file of the tensors, for messages.

    Raises:
        UserError: missing or extra tensors, wrong shapes or dtypes, or values that are not finite.
    """
    expected = model.state_dict()
    advice = "the weights belong to another model; take both files from the same folder"
    if missing := sorted(set(expected) - set(tensors)):
        raise UserError(f"{path}: {_some(missing)} missing; {advice}")
    if extra := sorted(set(tensors) - set(expected)):
        raise UserError(f"{path}: {_some(extra)} unexpected; {advice}")
    for name, want in expected.items():
        got = tensors[name]
        if got.shape != want.shape or got.dtype != want.dtype:
            raise UserError(f"{path}: {name}: expected {_described(want)}, got {_described(got)}; {advice}")
    if nonfinite := _not_finite(tensors):
        raise UserError(f"{path}: {nonfinite} is not finite; fit the model again")
    model.load_state_dict(dict(tensors), assign=True)
    model.eval()


def _read_config(path: Path) -> ModelRecord:
    if not path.exists():
        raise UserError(f"no {path}: not a model folder, or its writing was interrupted; fit the model again")
    try:
        config = parse_json(_content(path))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); copy the model folder again") from None
    if not isinstance(config, dict) or "format" not in config:
        raise UserError(f'{path}: no "format", so this is not an iuscore model; give another folder')
    try:
        require_format(config["format"], ModelRecord.FORMAT)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    try:
        record = ModelRecord.from_json(config)
        for key in ("kind", "model", "weights_sha256", "members"):
            if not getattr(record, key):
                raise UserError(f"{key}: is missing or empty")
    except UserError as error:
        raise UserError(
            f"{path}: {error}; copy the model folder again, or fit the model again; no value in it can be edited"
        ) from None
    return record


def _content(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=regular_only) as file:
            return file.read()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; copy the model folder again") from None


def _build(record: ModelRecord, path: Path) -> Ensemble:
    if record.kind not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise UserError(f"{path}: unknown kind {bounded(record.kind)}, known are {known}; upgrade iuscore")
    described = {"kind": record.kind, "model": record.model, "members": len(record.members)}
    try:
        # On the meta device a damaged, huge size allocates no memory, and the random state does not change.
        with torch.device("meta"):
            return Ensemble.from_config(described)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f'{path}: "model": {reason}; copy the model folder again') from error


def _read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    if not path.exists():
        raise UserError(f"no {path}: a model is two files, {CONFIG_NAME} and {WEIGHTS_NAME}; copy both")
    content = _content(path)
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: cut short or damaged ({error}); copy the model folder again") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(
            f"{path}: changed since {CONFIG_NAME} was written (its SHA-256 differs); "
            "copy both files from the same folder again"
        )
    return tensors


def _not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            return name
    return None


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
