"""Real chest radiographs: real images against real ones, and sets made worse in known ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from iuscore.explain.value import ReferenceViews, SetValue, set_value

N = 400

CHANCE = 0.3
"""T that a direction drawn at random hardly reaches: its cosine has a standard deviation of 1/8 in 64 dimensions."""

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(shared: Path) -> tuple[Any, Any]:
    path = shared / "data" / "pneumoniamnist" / "pneumoniamnist_rebuilt.npz"
    if not path.is_file():
        pytest.skip("no shared/data/pneumoniamnist")
    with np.load(path) as found:
        images, labels = found["train_images"], found["train_labels"][:, 0]
    rng = np.random.default_rng(0)
    places = np.concatenate([rng.permutation(np.flatnonzero(labels == k))[: 2 * N] for k in (0, 1)])
    return images[places], labels[places]


@pytest.fixture(scope="module")
def reference(data: tuple[Any, Any]) -> ReferenceViews:
    images, labels = (np.concatenate([part[:N], part[2 * N : 3 * N]]) for part in data)
    return ReferenceViews.fit(images[..., None], labels, ["normal", "pneumonia"], size=(64, 64))


@pytest.fixture(scope="module")
def others(data: tuple[Any, Any]) -> tuple[Any, Any]:
    images, labels = (np.concatenate([part[N : 2 * N], part[3 * N :]]) for part in data)
    return images[..., None], labels


def of(reference: ReferenceViews, images: Any, labels: Any, **options: Any) -> SetValue:
    return set_value(reference, images, labels, **{"resampled": 0, "splits": 0} | options)


def blurred(images: Any, sigma: float) -> Any:
    return np.stack([gaussian_filter(image.astype(float), (sigma, sigma, 0)) for image in images]).astype(np.uint8)


def test_real_images_are_nearly_as_good_as_real_and_wrong_labels_good_for_nothing(
    reference: ReferenceViews, others: tuple[Any, Any]
) -> None:
    images, labels = others
    found = of(reference, images, labels, resampled=10, splits=2)
    assert found.transfer.value > 0.9
    assert found.pix5 is not None
    assert found.pix5.value > 0.95
    assert found.cannot_be_said == ()
    assert not any(each.beyond_chance and each.moved.value > 0.5 for each in found.contrast)
    rng = np.random.default_rng(0)
    half = labels.copy()
    for k in (0, 1):
        half[rng.permutation(np.flatnonzero(labels == k))[: N // 2]] = 1 - k
    for wrong in (half, rng.permutation(labels)):
        useless = of(reference, images, wrong)
        assert abs(useless.transfer.value) < CHANCE
        assert useless.pix4.value == pytest.approx(0.5, abs=0.1)
    assert found.transfer.swapped == pytest.approx(0, abs=CHANCE)
    assert found.transfer.shuffled == pytest.approx(0, abs=CHANCE)
    assert of(reference, images, 1 - labels).transfer.value == pytest.approx(-found.transfer.value)


def test_transfer_falls_with_blur_and_most_where_one_class_is_blurred(
    reference: ReferenceViews, others: tuple[Any, Any]
) -> None:
    images, labels = others
    both = [of(reference, blurred(images, sigma), labels) for sigma in (0.0, 1.0, 2.0)]
    values = [each.transfer.value for each in both]
    assert values == sorted(values, reverse=True)
    one = images.copy()
    one[labels == 1] = blurred(images[labels == 1], 1.5)
    found = of(reference, one, labels)
    assert found.transfer.value < values[2]
    assert found.contrast[0].sides == ("pneumonia",)
    assert found.contrast[0].group in ("coarse-fine", "fine-contrast", "fine-regularity", "broad-regularity")


def test_a_collapsed_set_trains_less_and_is_all_copies(reference: ReferenceViews, others: tuple[Any, Any]) -> None:
    images, labels = others
    few = np.concatenate([np.resize(np.arange(5), N), N + np.resize(np.arange(5), N)])
    whole, collapsed = of(reference, images, labels), of(reference, images[few], labels[few])
    assert collapsed.transfer.value < whole.transfer.value - 0.2
    assert collapsed.pix4.value < whole.pix4.value
    assert collapsed.near_copies.value == 1
    assert whole.near_copies.value < 0.05
