"""What is fuzzed: one function of bytes for each place where iuscore reads what strangers made.

A target returns where the bytes were read or refused in words (`UserError`; for ops ``TypeError`` or ``ValueError``).
Anything else that it raises is a fault, and so is a result that breaks what its docstring promises.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import iuscore
from iuscore import ops
from iuscore.engine.records import RunRecord
from iuscore.errors import UserError
from iuscore.images import UnreadableImage, decode, open_shards, open_source, read_item
from iuscore.models import EPUCNN, ModelRecord, import_reference, load_model, save_model

MAX_PIXELS = 1 << 20
"""Larger images are refused from their header: an input then costs at most some megabytes."""

MAX_IMAGES = 1000
"""Images of one archive that are looked at."""


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="iuscore-fuzz-"))


def clean_up() -> None:
    """Remove what the targets wrote."""
    shutil.rmtree(_folder(), ignore_errors=True)
    _folder.cache_clear()
    _model.cache_clear()


def decode_file(data: bytes) -> None:
    """One image file of any format, DICOM included."""
    try:
        found = decode(data, max_pixels=MAX_PIXELS)
    except UnreadableImage as error:
        refused: str | None = str(error)
    else:
        refused = None
    if refused is not None:
        assert refused.isprintable(), f"an error that is no single printable line: {refused!r}"
        return
    pixels = found.pixels
    assert pixels.shape == (found.height, found.width, pixels.shape[2]), pixels.shape
    assert pixels.shape[2] in (1, 3), pixels.shape
    assert pixels.dtype in (np.uint8, np.uint16, np.float32), pixels.dtype
    assert found.width * found.height <= MAX_PIXELS
    if pixels.dtype == np.float32:
        finite = pixels[np.isfinite(pixels)]
        assert finite.size == 0 or (finite.min() >= 0 and finite.max() <= 1)


def _read_archive(name: str, data: bytes) -> None:
    path = _folder() / name
    path.write_bytes(data)
    for labeled in (False, True):
        try:
            source = open_shards(path, labeled=labeled, max_pixels=MAX_PIXELS)
            seen = 0
            for shard in source.shards(7):
                samples = [read_item(item, MAX_PIXELS) for item in source.items(shard)]
                assert len(samples) == shard.n, (len(samples), shard.n)
                assert all((sample.pixels is None) == (sample.error is not None) for sample in samples)
                seen += len(samples)
                if seen > MAX_IMAGES:
                    break
        except UserError:
            pass


def read_tar(data: bytes) -> None:
    """A .tar archive of images and classes."""
    _read_archive("fuzz.tar", data)


def read_parquet(data: bytes) -> None:
    """A Parquet file of images and classes."""
    _read_archive("fuzz.parquet", data)


def read_npy(data: bytes) -> None:
    """An array of images."""
    _read_archive("fuzz.npy", data)


def read_npz(data: bytes) -> None:
    """A MedMNIST archive: ``data`` as the archive, and as the images of a valid archive."""
    _read_archive("fuzz.npz", data)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in ("train", "val", "test"):
            archive.writestr(f"{part}_images.npy", data)
            archive.writestr(f"{part}_labels.npy", _npy(np.zeros((2, 1), np.uint8)))
    _read_archive("fuzz.npz", stream.getvalue())
    with contextlib.suppress(UserError):
        open_source(_folder() / "fuzz.npz", split="train")


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zero_model() -> EPUCNN:
    """A tiny model whose weights are the same bytes on every machine."""
    model = EPUCNN(["a", "b"], size=(8, 8), base_channels=2, hidden_units=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model


def zero_record() -> dict[str, Any]:
    """What ``config.json`` holds beside the weights of `zero_model`."""
    profile = {
        "mean": [0.5, -0.5, 0.25, 0.0],
        "sd": [0.1, 0.1, 0.1, 0.1],
        "low": [0.4, -0.6, 0.2, -0.1],
        "high": [0.6, -0.4, 0.3, 0.1],
        "n": 9,
        "member_means": [[0.5, -0.5, 0.25, 0.0]],
    }
    reached = {
        "n": 9,
        "mean": 0.5,
        "quantiles": dict.fromkeys(("0.05", "0.25", "0.5", "0.75", "0.95"), 0.5),
        "source": "test",
    }
    of_classes = {"paper": {"a": profile, "b": profile}, "evidence": {"a": profile, "b": profile}}
    levels = {space: {"a": reached, "b": reached} for space in ("paper", "evidence")}
    return {"members": [{"seed": 0}], "profiles": of_classes, "ceiling": levels, "floor": levels, "data": {"n": 18}}


@cache
def _model() -> tuple[Path, str]:
    folder = save_model(_folder() / "model", zero_model(), record=ModelRecord.from_json(zero_record()))
    return folder, hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def load_config(data: bytes) -> None:
    """The ``config.json`` of a model with valid weights."""
    folder, weights = _model()
    (folder / "config.json").write_bytes(data.replace(b"WEIGHTS", weights.encode()))
    try:
        load_model(folder)
        scorer = iuscore.load(folder)
        scorer(torch.zeros(1, 3, 8, 8), target=scorer.classes[0])
    except UserError:
        pass


def load_weights(data: bytes) -> None:
    """A ``model.safetensors`` with the correct hash in ``config.json``."""
    folder, _ = _model()
    record = {
        "format": 1,
        "kind": "epu",
        "model": zero_model().config(),
        "weights_sha256": hashlib.sha256(data).hexdigest(),
    }
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data)
    (folder / "config.json").write_text(json.dumps({**zero_record(), **record}))
    try:
        load_model(folder)
    except UserError:
        pass
    finally:
        (folder / "model.safetensors").write_bytes(whole)


def read_run(data: bytes) -> None:
    """The ``run.json`` of a run that is resumed."""
    path = _folder() / "run.json"
    path.write_bytes(data)
    with contextlib.suppress(UserError):
        RunRecord.read(path)


def read_reference(data: bytes) -> None:
    """The ``epu_config.yaml`` of a published checkpoint."""
    folder = _folder() / "reference"
    folder.mkdir(exist_ok=True)
    (folder / "epu_config.yaml").write_bytes(data)
    checkpoint = folder / "ckpt.pt"
    if not checkpoint.exists():
        torch.save({"w": torch.zeros(1)}, checkpoint)
    with contextlib.suppress(UserError):
        import_reference(folder)


_DTYPES = (
    torch.uint8,
    torch.uint16,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int32,
    torch.bool,
)
_NUMBERS = (
    0,
    1,
    2,
    -1,
    3,
    8,
    255,
    256,
    257,
    2**31,
    2**63,
    -(2**63),
    1.5,
    0.0,
    float("nan"),
    float("inf"),
    -1e300,
    None,
    "1",
    True,
)


class Drawn:
    """Values drawn from bytes, as `hypothesis` draws them from its own; zeros where the bytes end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def byte(self) -> int:
        self.place += 1
        return self.data[self.place - 1] if self.place <= len(self.data) else 0

    def of(self, values: Any) -> Any:
        return values[self.byte() % len(values)]

    def size(self) -> int:
        return self.of((0, 1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 70))


def _images(drawn: Drawn) -> Any:
    shape = tuple(drawn.size() for _ in range(drawn.of((4, 4, 4, 3, 2, 5, 0))))
    if np.prod(shape, dtype=np.float64) > MAX_PIXELS:
        shape = tuple(min(size, 8) for size in shape)
    if len(shape) == 4 and drawn.byte() % 2:
        shape = (*shape[:3], drawn.of((1, 3, 2)))
    dtype = drawn.of(_DTYPES)
    count = int(np.prod(shape)) if shape else 1
    rng = np.random.default_rng(drawn.byte())
    values = torch.from_numpy(rng.integers(0, 256, count).astype(np.uint8)).reshape(shape)
    images = (values.to(torch.float64) / 255).to(dtype) if dtype.is_floating_point else values.to(dtype)
    if dtype.is_floating_point and count and drawn.byte() % 4 == 0:
        images.view(-1)[drawn.byte() % count] = drawn.of((float("nan"), float("inf"), -1.0, 300.0))
    if drawn.byte() % 4 == 0 and images.ndim:
        images = images.flip(0)[..., ::2] if drawn.byte() % 2 else images.transpose(0, -1)
    return images.numpy() if dtype not in (torch.bfloat16,) and drawn.byte() % 3 == 0 else images


_OPTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    "color_histogram": {
        "bins": (2, 64, 256, (2, 3, 4), *_NUMBERS),
        "space": ("rgb", "gray", "lab", "hsv", "xyz", 1),
        "range": (None, (0, 1), (0, 256), (1, 0), ((0, 1), (0, 1), (0, 1)), (float("nan"), 1), 5),
        "joint": (False, True, 1, "yes"),
        "normalize": (False, True, None),
    },
    "glcm": {
        "levels": (2, 8, 32, 256, *_NUMBERS),
        "distances": ((1,), (1, 2), 1, (0,), (1e9,), (-1,), "1", ()),
        "angles": ((0.0,), 0, (1e300,), (float("nan"),)),
        "offsets": (None, ((0, 1),), ((0, 0),), ((2**40, 1),), (1, 2)),
        "symmetric": (False, True, "no"),
        "quantize": ("range", "minmax", "width", "levels", "other"),
        "range": (None, (0, 1), (0, 256), (5, 5), 5),
        "width": (None, 1.0, 25, *_NUMBERS),
    },
    "image_views": {
        "weights": (
            torch.ones(108, 64),
            torch.ones(36, 64),
            torch.ones(108, 64).t().contiguous().t(),
            torch.ones(3),
            1,
        ),
        "bias": (torch.zeros(64), torch.zeros(64), torch.zeros(1), None),
        "kind": ("color", "gray", "blue"),
    },
    "perceptual_maps": {
        "kind": ("color", "gray", "blue", 1),
        "mode": ("clean", "published", "fast"),
        "size": ((8, 8), (4, 5), (3, 3), (2**40, 4), 8, (8.5, 8)),
        "return_ranges": (False, True),
    },
    "resize": {"size": ((8, 8), (1, 1), (0, 4), (2**62, 4), 8, ("8", 8))},
    "texture_stats": {
        "kind": ("color", "gray", "blue"),
        "bins": (32, 256, *_NUMBERS),
        "levels": (32, 8, *_NUMBERS),
        "distances": ((1, 4), (1,), (0,), (10**9,), 1, ()),
    },
}
_OPTIONS["glcm_features"] = {
    **_OPTIONS["glcm"],
    "preset": (None, "ibsi", "haralick", "mahotas", "skimage", "none"),
    "features": (None, ("contrast",), ("no such",), (), "contrast"),
    "dtype": (torch.float32, torch.float64, torch.int32),
}
_NEEDED = {"glcm": ("levels",), "glcm_features": ("levels",), "resize": ("size",),
           "image_views": ("weights", "bias")}  # fmt: skip


def _tensors(result: Any) -> list[torch.Tensor]:
    if isinstance(result, torch.Tensor):
        return [result]
    return [t for part in result for t in _tensors(part)] if isinstance(result, tuple) else []


def _outcome(name: str, images: Any, options: dict[str, Any]) -> list[torch.Tensor] | None:
    """What an op returns; None where it refuses its arguments."""
    try:
        return _tensors(getattr(ops, name)(images, **options))
    except (TypeError, ValueError):
        return None


def call_op(data: bytes) -> None:
    """One op on drawn images with drawn options, natively and in torch: both refuse it, or both give the same."""
    drawn = Drawn(data)
    name = drawn.of(tuple(_OPTIONS))
    images = _images(drawn)
    options: dict[str, Any] = {}
    for option, values in _OPTIONS[name].items():
        if option in _NEEDED.get(name, ()) or drawn.byte() % 3 == 0:
            options[option] = drawn.of(values)
    if drawn.byte() % 3 == 0:
        options["layout"] = drawn.of((None, "NHWC", "NCHW", "HW", 3))
    if name not in ("image_views", "perceptual_maps", "resize") and drawn.byte() % 4 == 0:
        options["mask"] = drawn.of((None, torch.ones(1, 8, 8, dtype=torch.bool), torch.ones(3), [], "mask"))
    native, torch_ = (_outcome(name, images, {**options, "backend": backend}) for backend in ("native", "torch"))
    assert (native is None) == (torch_ is None), f"{name}: one back end refuses what the other takes: {options}"
    if native is not None and torch_ is not None:
        assert [t.shape for t in native] == [t.shape for t in torch_], f"{name}: shapes differ: {options}"
        whole = [(a, b) for a, b in zip(native, torch_, strict=True) if not a.dtype.is_floating_point]
        assert all(torch.equal(a, b) for a, b in whole), f"{name}: counts differ: {options}"


TARGETS: dict[str, Callable[[bytes], None]] = {
    "image": decode_file,
    "dicom": decode_file,
    "tar": read_tar,
    "parquet": read_parquet,
    "npy": read_npy,
    "npz": read_npz,
    "config": load_config,
    "weights": load_weights,
    "run": read_run,
    "reference": read_reference,
    "ops": call_op,
}
