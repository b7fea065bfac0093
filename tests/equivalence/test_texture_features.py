"""Features of every back end against formulas in float64, from the same statistics of the pixels."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from iuscore.features import FEATURES, texture_features
from iuscore.ops import Kind, texture_stats
from tests.conftest import BackendUnderTest
from tests.reference.texture_features import features
from tests.tolerances import TEXTURE_FEATURES


@given(
    kind=st.sampled_from(["color", "gray"]),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    values=st.sampled_from(["noise", "two", "constant", "ramp"]),
    seed=st.integers(0, 99),
)
def test_formulas(backend: BackendUnderTest, kind: Kind, height: int, width: int, values: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    if values == "two":
        images = images // 200 * 200
    elif values == "constant":
        images[:] = images[:, :1, :1]
    elif values == "ramp":
        images[:] = np.linspace(0, 255, width, dtype=np.uint8)[:, None]
    batch = torch.from_numpy(images).to(backend.device)
    options = {"kind": kind, "layout": "NHWC", "backend": backend.backend}
    got = texture_features(batch, size=None, **options).cpu().double()
    stats = [part.cpu().numpy() for part in texture_stats(batch, bins=16, **options)]
    assert got.shape == (3, len(FEATURES[kind]))
    for i in range(3):
        expected = features(kind, *(part[i] for part in stats))
        assert list(expected) == [feature.name for feature in FEATURES[kind]]
        np.testing.assert_allclose(got[i], list(expected.values()), **TEXTURE_FEATURES)
