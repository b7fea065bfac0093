"""`resize` against PyTorch's own resizing of bytes."""

from __future__ import annotations

import torch
from hypothesis import given
from torch.nn.functional import interpolate

from iuscore import ops
from tests.equivalence.test_resize import Case, cases, images_of


@given(case=cases())
def test_equals_pytorch_on_a_cpu(case: Case) -> None:
    images = images_of(case)
    theirs = interpolate(images.permute(0, 3, 1, 2), case.size, mode="bicubic", antialias=True).permute(0, 2, 3, 1)
    assert torch.equal(ops.resize(images, case.size, layout="NHWC"), theirs)
