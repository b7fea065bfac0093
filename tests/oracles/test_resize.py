"""`resize` against PyTorch's and Pillow's own resizing of bytes."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from PIL import Image
from torch.nn.functional import interpolate

from iuscore import ops
from tests.equivalence.test_resize import Case, cases, images_of


@given(case=cases())
def test_equals_pytorch_on_a_cpu(case: Case) -> None:
    images = images_of(case)
    theirs = interpolate(images.permute(0, 3, 1, 2), case.size, mode="bicubic", antialias=True).permute(0, 2, 3, 1)
    assert torch.equal(ops.resize(images, case.size, layout="NHWC"), theirs)


@given(case=cases())
def test_is_within_two_of_pillow(case: Case) -> None:
    """Its weights have more bits: bytes of either direction round otherwise, and the second adds up the first's."""
    images = images_of(case)
    for image, ours in zip(images.numpy(), ops.resize(images, case.size, layout="NHWC").numpy(), strict=True):
        theirs = Image.fromarray(image[..., 0] if case.channels == 1 else image)
        theirs = theirs.resize(case.size[::-1], Image.Resampling.BICUBIC)
        pixels = np.asarray(theirs).reshape(ours.shape)
        assert np.abs(pixels.astype(int) - ours).max() <= 2
