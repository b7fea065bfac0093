"""Prepared inputs and contributions of the images of a source, computed in batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from iuscore.features import sized_masks
from iuscore.images import Sample, Source, iter_batches, mark_of
from iuscore.models import AdditiveModel, Ensemble, Space
from iuscore.ops._range import range_is_known

IN_MEMORY_BYTES = 4 << 30  # larger prepared inputs are kept in a memory-mapped file
NON_FINITE = "non-finite pixels"


def unusable(sample: Sample, size: Sequence[int] | None = None) -> str | None:
    """Why an image cannot be scored or fitted; None if it can.

    Args:
        sample: the image.
        size: (height, width) that a model with masks resizes images to.
    """
    if sample.pixels is None:
        return sample.error or "unreadable"
    if sample.pixels.dtype.kind == "f":
        counted = sample.pixels if sample.mask is None else sample.pixels[sample.mask]
        if not np.isfinite(counted).all():
            return NON_FINITE
    if (
        sample.mask is not None
        and size is not None
        and not sized_masks(torch.from_numpy(sample.mask)[None], size).any()
    ):
        return f"mask: no pixel counts at the model's size, {size[1]} x {size[0]}"
    return None


def prepare_source(
    model: AdditiveModel,
    source: Source,
    spill: Path,
    *,
    batch_size: int = 64,
    on_batch: Callable[[int], None] = lambda n: None,
    on_warnings: Callable[[str, tuple[str, ...]], None] | None = None,
    on_image: Callable[[int, Sample], None] = lambda position, sample: None,
    marks: list[int] | None = None,
) -> tuple[npt.NDArray[np.float32], list[int], list[tuple[str, str]]]:
    """Decode a source and compute the model's inputs.

    Args:
        model: model whose ``prepare`` is used.
        source: the images.
        spill: file for the inputs, if they are too large for memory.
        on_batch: called with the number of images of each finished batch.
        on_warnings: called with the uid and the warnings of each image that has warnings.
        on_image: called with the index in ``source`` and the sample of every readable image.
        marks: list to which the mark of every readable image is appended (`iuscore.images.mark_of`).

    Returns:
        Inputs [N, ...] float32 of the readable images, their indices in ``source``, and (uid, reason) of the others.
    """
    inputs: npt.NDArray[np.float32] | None = None
    kept: list[int] = []
    errors: list[tuple[str, str]] = []
    seen = 0
    for batch in iter_batches(source, batch_size):
        reasons = [unusable(sample, model.mask_size) for sample in batch]
        errors += [(sample.uid, reason) for sample, reason in zip(batch, reasons, strict=True) if reason]
        positions = [i for i, reason in enumerate(reasons) if reason is None]
        pixels = [batch[i].pixels for i in positions]
        for i in positions:
            on_image(seen + i, batch[i])
        if marks is not None:
            marks += [mark_of(image) for image in pixels if image is not None]
        if pixels:
            masks = [batch[i].mask for i in positions] if model.mask == "given" else None
            with range_is_known():  # the reader of the files warns about ranges
                if on_warnings is None:
                    prepared = model.prepare(pixels, "NHWC", masks).numpy()
                else:
                    tensor, warnings = model.prepare_with_warnings(pixels, "NHWC", masks)
                    prepared = tensor.numpy()
                    for i, texts in zip(positions, warnings, strict=True):
                        if texts:
                            on_warnings(batch[i].uid, texts)
            if inputs is None:
                shape = (len(source), *prepared.shape[1:])
                large = int(np.prod(shape)) * 4 > IN_MEMORY_BYTES
                inputs = _spilled(spill, shape) if large else np.empty(shape, np.float32)
            inputs[len(kept) : len(kept) + len(prepared)] = prepared
            kept += [seen + i for i in positions]
        seen += len(batch)
        on_batch(len(batch))
    if inputs is None:
        inputs = np.empty((0,), np.float32)
    return inputs[: len(kept)], kept, errors


def _spilled(spill: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A memory-mapped file as an array, with its disk space allocated now: a full disk later would raise SIGBUS."""
    with open(spill, "wb") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, 4 * int(np.prod(shape)))
            except OSError as error:
                error.filename = str(spill)
                raise
    return np.memmap(spill, np.float32, "r+" if hasattr(os, "posix_fallocate") else "w+", shape=shape)


@torch.no_grad()
def contributions_of_inputs(
    model: Ensemble, inputs: npt.NDArray[np.float32], space: Space, *, batch_size: int = 64
) -> torch.Tensor:
    """Contributions [M, N, G, K] of every member, on the CPU."""
    device = model.bias.device
    parts = [
        model.member_contributions(torch.from_numpy(inputs[i : i + batch_size]).to(device), space).cpu()
        for i in range(0, len(inputs), batch_size)
    ]
    if not parts:
        return torch.empty(len(model.members), 0, len(model.components), model.n_outputs)
    return torch.cat(parts, dim=1)
