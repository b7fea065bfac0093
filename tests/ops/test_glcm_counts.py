"""The largest counts of co-occurrence matrices: refused where int32 does not hold them, right where it does."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch

from iuscore import ops
from iuscore.ops import _backend
from iuscore.ops.glcm import check_counts_fit
from tests.conftest import BackendUnderTest

pytestmark = pytest.mark.usefixtures("one_thread")


def test_counts_that_int32_does_not_hold_are_refused(backend: BackendUnderTest) -> None:
    """Before memory or time is spent: the image is one byte, and its levels alone would be 1 GiB."""
    huge = torch.zeros(1, 1, 1, 1, dtype=torch.uint8, device=backend.device).expand(1, 32768, 32768, 1)
    options: dict[str, Any] = {"levels": 8, "layout": "NHWC", "backend": backend.backend}
    text = (
        "images: expected fewer than 2^30 pixels each with symmetric=True and offset (0, 0), got 32768 x 32768: "
        "a count could be 2^31, which int32 does not hold; pass symmetric=False"
    )
    for where in ({"offsets": [(0, 1), (0, 0)]}, {"distances": [0.4]}):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            ops.glcm(huge, symmetric=True, **where, **options)


def test_counts_that_int32_holds_are_not_refused() -> None:
    check_counts_fit(32768, 32767, [(0, 0)], True)  # twice as many are 2^31 - 65536
    check_counts_fit(32768, 32768, [(0, 0)], False)
    check_counts_fit(32768, 32768, [(0, 1), (-1, 0)], True)
    for height, width in ((32768, 32768), (1, 2**30)):
        with pytest.raises(ValueError, match="int32"):
            check_counts_fit(height, width, [(0, 0)], True)


def test_kernel_module_refuses_such_counts_itself() -> None:
    core, why = _backend.extension("_core")
    assert core, why
    pixel, counts = np.zeros(1, np.uint8), np.zeros((1, 1, 8, 8), np.int32)
    views = np.array([[pixel.ctypes.data, 32768, 32768, 0, 0, 1]], np.int64)
    with pytest.raises(ValueError, match=re.escape("fewer than 2^30 pixels each with symmetric and offset (0, 0)")):
        core.glcm(
            views, np.zeros((0, 3), np.int64), channels=1, pixel_type="uint8", mode="minmax", levels=8, low=math.nan,
            divisor=math.nan, offsets=np.zeros((1, 2), np.int32), symmetric=True, counts=counts.ctypes.data,
            threads=1,
        )  # fmt: skip


def test_features_of_the_largest_count_with_its_transpose(backend: BackendUnderTest) -> None:
    """2^30 pairs of one level, as an image of 2^30 equal pixels has: twice that is beyond int32."""
    matrix = torch.zeros(1, 4, 4, dtype=torch.int32, device=backend.device)
    matrix[0, 2, 2] = 2**30
    expected = {"ASM": 1.0, "joint_maximum": 1.0, "mean": 2.0, "maximal_correlation_coefficient": 0.0, "imc1": 0.0}
    values, names = ops.glcm_features(
        matrix, levels=None, features=tuple(expected), symmetric=True, dtype=torch.float64, backend=backend.backend
    )
    assert dict(zip(names, values[0].tolist(), strict=True)) == expected
