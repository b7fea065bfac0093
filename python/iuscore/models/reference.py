"""Import models that were trained with the published implementation of IUS."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iuscore.errors import UserError, bounded
from iuscore.models.base import check_weights
from iuscore.models.ensemble import Ensemble
from iuscore.models.epu import CONVOLUTIONS, EPUCNN
from iuscore.models.files import fill
from iuscore.models.record import MemberRecord, ModelRecord, Profile, TrainingRecord
from iuscore.models.text import LARGEST
from iuscore.models.yaml_subset import read_yaml
from iuscore.ops import Kind

CONFIG_NAME = "epu_config.yaml"
_MAX_BYTES = 256 << 10  # largest configuration or baseline file; published files have a few kB
_MAX_LETTERS = 200

_COLORS: dict[str, Kind] = {"rgb": "color", "gray": "gray", "grayscale": "gray"}

# torch.load raises different errors on a damaged file, depending on where the damage is.
_UNPICKLING_ERRORS = (
    OSError,
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)

# Published name -> name in iuscore, after the prefix "subnetworks.<i>." or "subnets.<i>.".
_BLOCKS = {"block_one": "blocks.0", "block_two": "blocks.1", "block_three": "blocks.2"}
_HEAD = {"0": "hidden.0", "3": "hidden.1", "6": "out"}


def import_reference(folder: str | Path) -> tuple[Ensemble, ModelRecord]:
    """Read a model of the published implementation.

    Args:
        folder: contains ``ckpt.pt`` (or one ``ckpt_<experiment>.pt``), ``epu_config.yaml`` and one
            ``cb_vector_<class>.npy`` per class, float [4] or [4, K]. The published scripts write these files to two
            folders; copy them into one. With three or more classes the baselines may be missing, because the
            published scoring cannot use them.

    Returns:
        The model, in evaluation mode with mode "published", and the record for ``save_model``: the
        baselines as profiles without spread (sd, low, high and n are None, as the published files do not contain
        them), no ceiling and no floor.

    Raises:
        UserError: a file is missing, is damaged or does not fit the others, or the architecture
            is not the published one; the message names the file and says what to do.

    Example:
        >>> import_reference("no/such/folder")
        Traceback (most recent call last):
        ...
        iuscore.errors.UserError: no folder no/such/folder: give the folder with ckpt.pt and epu_config.yaml
    """
    source = Path(folder)
    if not source.is_dir():
        raise UserError(f"no folder {source}: give the folder with ckpt.pt and {CONFIG_NAME}")
    settings = _read_settings(source / CONFIG_NAME)
    options = _model_options(settings, source / CONFIG_NAME)
    checkpoint = _find_checkpoint(source)
    try:
        check_weights(EPUCNN, options)
    except UserError as error:
        raise UserError(f"{source / CONFIG_NAME}: {error}") from None
    state = {_renamed(name): value for name, value in _read_checkpoint(checkpoint).items()}
    _check_base_channels(state, options["base_channels"], checkpoint, source / CONFIG_NAME)
    with torch.device("meta"):
        member = EPUCNN(**options)
    fill(member, state, checkpoint)
    model = Ensemble([member]).eval()
    profiles = {name: _read_profile(source, model, name) for name in model.classes}
    return model, _record(settings, checkpoint, {k: v for k, v in profiles.items() if v is not None})


def _read_settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"no {path}: copy it from the folder the published training script wrote")
    if path.stat().st_size > _MAX_BYTES:
        raise UserError(f"{path}: expected at most {_MAX_BYTES} bytes, got {path.stat().st_size}; copy the file again")
    try:
        settings = read_yaml(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path}: not YAML ({error}); copy the file again") from None
    if not isinstance(settings, dict):
        raise UserError(f"{path}: expected the published configuration, got {type(settings).__name__}")
    return settings


def _setting(settings: Mapping[str, Any], key: str, path: Path) -> Any:
    value: Any = settings
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise UserError(f"{path}: {key} is missing; add it as it was when the model was trained")
        value = value[part]
    return value


def _model_options(settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    net, data = "model.subnetwork_config", "data_params.data_preprocessing"
    classes = _class_order(_setting(settings, f"{data}.label_mapping", path), path)
    outputs = _setting(settings, "model.num_classes", path)
    if outputs != (1 if len(classes) == 2 else len(classes)):
        raise UserError(
            f"{path}: num_classes {bounded(outputs)} does not fit the {len(classes)} classes of label_mapping: "
            "expected 1 for two classes, else their number"
        )
    fixed = {
        f"{net}.architecture": "base_one",
        f"{net}.input_channels": 1,
        f"{net}.pred_activation": "tanh",
        "model.num_subnetworks": 4,
        "model.epu_activation": "sigmoid" if outputs == 1 else "softmax",
    }
    for key, expected in fixed.items():
        if (got := _setting(settings, key, path)) != expected:
            raise UserError(f"{path}: {key}: only {expected!r} can be imported, got {bounded(got)}")
    data_mode = _setting(settings, f"{data}.data_mode", path)
    if not isinstance(data_mode, str) or data_mode.lower() not in _COLORS:
        raise UserError(f"{path}: {data}.data_mode: expected rgb, gray or grayscale, got {bounded(data_mode)}")
    return {
        "classes": classes,
        "color": _COLORS[data_mode.lower()],
        "mode": "published",
        "size": _setting(settings, f"{data}.resize_dims", path),
        "base_channels": _setting(settings, f"{net}.base_channels", path),
        "hidden_units": _setting(settings, f"{net}.fc_hidden_units", path),
    }


def _class_order(mapping: Any, path: Path) -> list[str]:
    labels = list(mapping.values()) if isinstance(mapping, Mapping) else []
    whole = all(type(label) is int for label in labels)
    if len(labels) < 2 or not whole or sorted(labels) != list(range(len(labels))):
        raise UserError(f"{path}: label_mapping: expected class names with labels 0, 1, ..., got {bounded(mapping)}")
    names = [str(name) for name, _ in sorted(mapping.items(), key=lambda item: item[1])]
    for name in names:
        # The name of a class is part of a file name.
        if len(name) > _MAX_LETTERS or any(c in "/\\" or not c.isprintable() for c in name):
            raise UserError(
                f"{path}: label_mapping: expected class names of at most {_MAX_LETTERS} letters that can stand in the "
                f"name of a file, got {bounded(name)}"
            )
    return names


def _find_checkpoint(folder: Path) -> Path:
    if (folder / "ckpt.pt").is_file():
        return folder / "ckpt.pt"
    found = sorted(path for path in folder.glob("ckpt*.pt") if path.is_file())
    if not found:
        raise UserError(f"no {folder / 'ckpt.pt'}: copy the checkpoint of the published training there")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder}: several checkpoints ({names}); rename the one to import to ckpt.pt")
    return found[0]


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    content = path.read_bytes()
    try:
        _check_compression(content)
        # weights_only: an untrusted pickle must not run code. The message of PyTorch for such a file is not shown, as
        # it advises to load the file without this protection.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about old and rare formats; unusable files are refused below
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except _UNPICKLING_ERRORS:
        raise UserError(
            f"{path}: damaged, or more than plain weights, which could run code and is not read; copy it again, or "
            "save model.state_dict() where it was trained"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: expected a state dict of plain tensors; save model.state_dict()")
    for name, value in state.items():
        _check_tensor(value, len(content), f"{path}: {bounded(name)}")
    return {str(name): value.contiguous() for name, value in state.items()}


def _check_compression(content: bytes) -> None:
    """Raise for a compressed archive: PyTorch writes none, and a small file could expand until memory is full."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > len(content):
            raise ValueError("compressed")


def _check_tensor(value: Tensor, size: int, where: str) -> None:
    """Raise unless ``value`` is a dense tensor whose numbers fit in a file of ``size`` bytes."""
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        kind = "quantized" if value.is_quantized else "without numbers" if value.is_meta else "sparse"
        raise UserError(f"{where}: expected a dense tensor, got one that is {kind}; save model.state_dict() as trained")
    if value.numel() * value.element_size() > size:
        raise UserError(f"{where}: {bounded(list(value.shape))} is more than the file holds; save model.state_dict()")


def _renamed(name: str) -> str:
    """Return the name in `EPUCNN` of a parameter of the published module; unknown names are returned unchanged."""
    parts = name.split(".")
    if parts[0] != "subnetworks" or len(parts) < 5:
        return name
    subnet = f"subnets.{parts[1]}"
    if parts[2] in _BLOCKS and parts[3] == "conv_layers":
        return ".".join([subnet, _BLOCKS[parts[2]], "convs", *parts[4:]])
    if parts[2] in _BLOCKS and parts[3] == "_batch_norm":
        return ".".join([subnet, _BLOCKS[parts[2]], "norm", *parts[4:]])
    if parts[2:4] == ["head", "_dense_layers"] and parts[4] in _HEAD:
        return ".".join([subnet, _HEAD[parts[4]], *parts[5:]])
    return name


def _check_base_channels(state: Mapping[str, Tensor], stated: Any, checkpoint: Path, config: Path) -> None:
    """Raise a clear error for the most common mistake: a configuration and a checkpoint of different trainings."""
    first = state.get(f"subnets.0.blocks.{len(CONVOLUTIONS) - 1}.convs.0.weight")
    if first is None or first.ndim != 4:
        raise UserError(f"{checkpoint}: not the published EPU-CNN (architecture base_one)")
    actual = first.shape[0] // 2 ** (len(CONVOLUTIONS) - 1)
    if stated != actual:
        raise UserError(
            f"{config}: base_channels is {bounded(stated)}, but {checkpoint.name} has {actual}; "
            "give the configuration and the checkpoint of the same run"
        )


def _read_profile(folder: Path, model: Ensemble, name: str) -> Profile | None:
    path = folder / f"cb_vector_{name}.npy"
    if not path.is_file():
        if model.n_outputs > 1:
            return None
        raise UserError(f"no {path}: copy the baseline of class {name!r} from the published cb_vectors folder")
    if path.stat().st_size > _MAX_BYTES:
        raise UserError(f"{path}: expected at most {_MAX_BYTES} bytes, got {path.stat().st_size}; copy it again")
    try:
        vector = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError, OverflowError, TypeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a NumPy array of numbers ({reason}); copy it again") from None
    groups, outputs = len(model.components), model.n_outputs
    if not isinstance(vector, np.ndarray):
        raise UserError(f"{path}: expected one array (.npy), got an archive; copy it again")
    if vector.shape not in ((groups, outputs), (groups,) if outputs == 1 else None):
        raise UserError(f"{path}: expected shape ({groups}, {outputs}), got {vector.shape}")
    if vector.dtype.kind != "f" or not (np.abs(vector) <= LARGEST).all():
        raise UserError(
            f"{path}: expected finite floating point numbers up to {LARGEST:.0e}; compute the baseline again"
        )
    mean = tuple(float(value) for value in vector.reshape(groups, outputs)[:, model.target_column(name)])
    return Profile(mean, sd=None, low=None, high=None, n=None, member_means=(mean,))


def _record(settings: Mapping[str, Any], checkpoint: Path, profiles: dict[str, Profile]) -> ModelRecord:
    options = settings.get("train_params")
    scalars = options.items() if isinstance(options, Mapping) else ()
    return ModelRecord(
        members=(MemberRecord(),),
        profiles={"paper": profiles},
        training=TrainingRecord(
            source="imported from the published implementation",
            checkpoint_sha256=hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
            published={str(key): value for key, value in scalars if isinstance(value, str | int | float)},
        ),
    )
