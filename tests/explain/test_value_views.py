"""Views against slow loops, and the reference that keeps what they need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from iuscore import UserError, phantoms
from iuscore.explain.value import ReferenceViews
from iuscore.explain.value.arguments import label_numbers
from iuscore.explain.value.reference import CONFIG_NAME, WEIGHTS_NAME
from iuscore.explain.value.views import VIEWS, learned_filters, patch_responses, patches, thumb
from iuscore.features import texture_features
from iuscore.ops import Kind, resize

CLASSES = ["normal", "abnormal"]
SIZE = (32, 32)

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(kind: Any, n: int, seed: int = 0, size: int = 32) -> np.ndarray[Any, Any]:
    return np.concatenate([phantoms.draw(kind, label, n, size=size, seed=seed) for label in ("normal", "abnormal")])


def fitted(kind: Any = "radiograph", n: int = 12) -> ReferenceViews:
    return ReferenceViews.fit(drawn(kind, n), [0] * n + [1] * n, CLASSES, size=SIZE)


@pytest.fixture(scope="module")
def gray() -> ReferenceViews:
    return fitted()


@pytest.fixture(scope="module")
def color() -> ReferenceViews:
    return fitted("endoscopy")


def window_means(image: np.ndarray[Any, Any], side: int) -> np.ndarray[Any, Any]:
    """[H, W, C] -> [C, side, side]: window i runs from floor(i H / side) to ceil((i + 1) H / side)."""
    height, width, channels = image.shape
    found = np.empty((channels, side, side))
    for c in range(channels):
        for i in range(side):
            for j in range(side):
                rows = slice(i * height // side, -(-(i + 1) * height // side))
                columns = slice(j * width // side, -(-(j + 1) * width // side))
                found[c, i, j] = image[rows, columns, c].astype(np.float64).mean()
    return found


def normalized_patches(image: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    small = window_means(image, 32)
    found = []
    for i in range(27):
        for j in range(27):
            patch = small[:, i : i + 6, j : j + 6].ravel()
            centered = patch - patch.mean()
            found.append(centered / np.sqrt((centered**2).mean() + 10))
    return found


@pytest.mark.parametrize(("kind", "height", "width"), [("gray", 32, 32), ("gray", 50, 37), ("color", 64, 40)])
def test_thumb_is_the_mean_of_areas(kind: Kind, height: int, width: int) -> None:
    channels = 3 if kind == "color" else 1
    images = np.random.default_rng(0).integers(0, 256, (3, height, width, channels), dtype=np.uint8)
    expected = np.stack([window_means(image, 8).ravel() for image in images])
    np.testing.assert_allclose(thumb(torch.from_numpy(images), kind), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["gray", "color"])
def test_patch_responses_are_those_of_loops(name: Kind, request: pytest.FixtureRequest) -> None:
    reference: ReferenceViews = request.getfixturevalue(name)
    image = drawn("radiograph" if name == "gray" else "endoscopy", 1, seed=5)[0]
    weights, bias = reference.filters.weights.double().numpy(), reference.filters.bias.double().numpy()
    answers = np.array([patch @ weights + bias for patch in normalized_patches(image)]).reshape(27, 27, 64)
    expected = []
    for sign in (1, -1):
        for f in range(64):
            positive = np.maximum(sign * answers[..., f] - 0.5, 0)
            quarters = [positive[:14, :14], positive[:14, 13:], positive[13:, :14], positive[13:, 13:]]
            expected += [np.sqrt(quarter.mean()) for quarter in quarters]
    found = patch_responses(torch.from_numpy(image[None]), name, reference.filters)[0]
    # The root of a mean near 0 multiplies its error: its square is compared.
    np.testing.assert_allclose(found.astype(np.float64) ** 2, np.square(expected), rtol=1e-3, atol=1e-5)


def test_patches_are_those_of_loops() -> None:
    image = drawn("endoscopy", 1)[0]
    found = patches(torch.from_numpy(image[None]), "color")[0]
    np.testing.assert_allclose(found, normalized_patches(image), rtol=1e-4, atol=1e-5)


def test_filters_are_whitened_patches_of_unit_length() -> None:
    """Computed again from all patches of so few images that all of them are drawn."""
    images = torch.from_numpy(drawn("radiograph", 5))
    found = learned_filters([images[:7], images[7:]], len(images), "gray", 3)
    rows = np.concatenate([normalized_patches(image) for image in images.numpy()])
    mean = rows.mean(0)
    values, vectors = np.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    whitening = vectors @ np.diag((np.maximum(values, 0) + 0.1) ** -0.5) @ vectors.T
    filters = np.linalg.solve(whitening, found.weights.double().numpy())
    np.testing.assert_allclose(np.linalg.norm(filters, axis=0), 1, rtol=1e-3)
    white = (rows - mean) @ whitening
    white /= np.linalg.norm(white, axis=1, keepdims=True)
    assert ((white @ filters).max(axis=0) > 0.9999).all()  # each is one of the patches
    np.testing.assert_allclose(found.bias, -mean @ found.weights.double().numpy(), atol=1e-4)


def test_real_rows_are_standardized(gray: ReferenceViews) -> None:
    images = drawn("radiograph", 12)
    raw = np.stack([window_means(image, 8).ravel() for image in images])
    np.testing.assert_allclose(gray.rows["thumb"], (raw - raw.mean(0)) / (raw.std(0) + 2), atol=1e-4)
    values = texture_features(images, kind="gray", size=SIZE).numpy().astype(np.float64)
    expected = np.clip((values - values.mean(0)) / np.maximum(values.std(0), 1 / 256), -8, 8)
    np.testing.assert_allclose(gray.rows["texture"], expected, atol=1e-3)


def test_components_of_patches_are_those_of_a_singular_value_decomposition(gray: ReferenceViews) -> None:
    responses = patch_responses(torch.from_numpy(drawn("radiograph", 12)), "gray", gray.filters).astype(np.float64)
    centered = responses - responses.mean(0)
    left, singular, _ = np.linalg.svd(centered, full_matrices=False)
    components = left[:, :23] * singular[:23]
    expected = components / (components.std(0) + 0.3)
    np.testing.assert_allclose(np.abs(gray.rows["patch"]), np.abs(np.clip(expected, -8, 8)), atol=1e-3)


def test_the_fitted_images_embed_as_they_were_kept(color: ReferenceViews) -> None:
    found = color.embed(drawn("endoscopy", 12))
    for view in VIEWS:
        assert found[view].dtype == np.float32
        np.testing.assert_array_equal(found[view], color.rows[view])


def test_no_bit_depends_on_order_batch_or_layout(color: ReferenceViews) -> None:
    images = drawn("endoscopy", 70, seed=1)  # more than one block of 64
    whole = color.embed(images)
    order = np.random.default_rng(0).permutation(len(images))
    shuffled = color.embed(images[order])
    alone = color.embed(images[66:67])
    planes = color.embed(images.transpose(0, 3, 1, 2))
    for view in VIEWS:
        np.testing.assert_array_equal(shuffled[view], whole[view][order])
        np.testing.assert_array_equal(alone[view][0], whole[view][66])
        np.testing.assert_array_equal(planes[view], whole[view])


def test_a_list_of_different_sizes_and_depths(color: ReferenceViews) -> None:
    large, plain = drawn("endoscopy", 1, size=48), drawn("radiograph", 1, size=40)
    mixed = [large[0], plain[0, ..., 0], large[1], plain[1]]
    found = color.embed(mixed)
    for at, image in enumerate([large[:1], plain[:1], large[1:], plain[1:]]):
        one = color.embed(resize(image, SIZE))
        for view in VIEWS:
            np.testing.assert_array_equal(found[view][at], one[view][0])


def test_gray_real_images_make_all_images_gray(gray: ReferenceViews) -> None:
    images = drawn("endoscopy", 1)
    luma = (images @ np.array([0.299, 0.587, 0.114])).round()
    expected = np.stack([window_means(image[..., None], 8).ravel() for image in luma])
    found = gray.embed(images)["thumb"] * gray.scale["thumb"] + gray.mean["thumb"]
    inside = np.abs(gray.embed(images)["thumb"]) < 8
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.1)  # a luma halfway may round either way


def test_images_without_color_in_three_channels_are_gray() -> None:
    images = np.repeat(drawn("radiograph", 10), 3, axis=3)
    assert ReferenceViews.fit(images, [0] * 10 + [1] * 10, CLASSES, size=SIZE).record.kind == "gray"


def test_an_empty_set_has_no_rows(gray: ReferenceViews) -> None:
    assert {view: rows.shape for view, rows in gray.embed([]).items()} == {
        view: (0, gray.rows[view].shape[1]) for view in VIEWS
    }


def test_the_seed_decides(gray: ReferenceViews) -> None:
    again = fitted()
    other = ReferenceViews.fit(drawn("radiograph", 12), [0] * 12 + [1] * 12, CLASSES, size=SIZE, seed=1)
    assert torch.equal(again.filters.weights, gray.filters.weights)
    np.testing.assert_array_equal(again.rows["patch"], gray.rows["patch"])
    assert not torch.equal(other.filters.weights, gray.filters.weights)


class TestFolder:
    def test_what_is_loaded_is_what_was_saved(self, color: ReferenceViews, tmp_path: Path) -> None:
        found = ReferenceViews.load(color.save(tmp_path / "reference"))
        images = drawn("endoscopy", 3, seed=2)
        for view in VIEWS:
            np.testing.assert_array_equal(found.rows[view], color.rows[view])
            np.testing.assert_array_equal(found.embed(images)[view], color.embed(images)[view])
        np.testing.assert_array_equal(found.labels, color.labels)
        np.testing.assert_array_equal(found.balanced, color.balanced)
        assert found.record.classes == ("normal", "abnormal")
        assert sorted(path.name for path in (tmp_path / "reference").iterdir()) == [CONFIG_NAME, WEIGHTS_NAME]

    def test_no_pixels_at_full_size(self, gray: ReferenceViews, tmp_path: Path) -> None:
        large = ReferenceViews.fit(drawn("radiograph", 12, size=64), [0] * 12 + [1] * 12, CLASSES, size=(64, 64))
        sizes = [(each.save(tmp_path / str(i)) / WEIGHTS_NAME).stat().st_size for i, each in enumerate((gray, large))]
        assert sizes[0] == sizes[1]

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"format": 9}, "format: 9 is newer than 1"),
            ({"format": None}, "format: expected 1"),
            ({"kind": "blue"}, "kind: expected color or gray, got 'blue'"),
            ({"features": 1}, "features: expected version 2, got 1; fit the reference again"),
            ({"counts": [23, 1]}, "other counts than in the record"),
            ({"counts": [24]}, "counts: expected one for each of 2 classes, got 1"),
            ({"size": [8, 8]}, "size[0]: expected a whole number of at least 32, got 8"),
            ({"size": [64]}, "size: expected height and width, got 1"),
        ],
    )
    def test_a_changed_record(self, gray: ReferenceViews, tmp_path: Path, change: Any, expected: str) -> None:
        path = gray.save(tmp_path) / CONFIG_NAME
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(UserError) as caught:
            ReferenceViews.load(tmp_path)
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_damaged_and_missing_files(self, gray: ReferenceViews, tmp_path: Path) -> None:
        weights = gray.save(tmp_path) / WEIGHTS_NAME
        content = weights.read_bytes()
        weights.write_bytes(content[:-4])
        with pytest.raises(UserError, match="changed since"):
            ReferenceViews.load(tmp_path)
        weights.unlink()
        with pytest.raises(UserError, match=r"cannot be read: No such file .* give the folder"):
            ReferenceViews.load(tmp_path)
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match="is a file: give the folder"):
            gray.save(tmp_path / "file")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"labels": [0] * 23}, "labels: expected one per image, 24, got 23"),
        ({"labels": [0] * 20 + [1] * 4}, "labels: expected at least 10 real images of each class, got 4 of 'abnormal'"),
        ({"labels": ["normal"] * 23 + ["abnormol"]}, "labels[23]: expected one of normal, abnormal, got 'abnormol'; "
                                                     "did you mean 'abnormal'?"),
        ({"labels": [0] * 23 + [2]}, "labels[23]: expected one of normal, abnormal, got 2; or a place from 0 to 1"),
        ({"labels": [0] * 23 + [-1]}, "labels[23]: expected one of normal, abnormal, got -1; or a place from 0 to 1"),
        ({"classes": ["normal"]}, "classes: expected two different names or more, got ['normal']"),
        ({"classes": ["a", "a"]}, "classes: expected two different names or more, got ['a', 'a']"),
        ({"classes": "ab"}, "classes: expected two different names or more, got 'ab'"),
        ({"groups": ["p"] * 3}, "groups: expected one name per image, 24, got 3"),
        ({"size": (16, 32)}, "size: expected (height, width) of at least 32 each, got (16, 32)"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"images": np.zeros((24, 32, 32), np.uint8)},
         "images: expected real images with some structure, got 0 patches that are not flat of 17496; "
         "look at the images"),
        ({"images": np.full((24, 32, 32), np.nan, np.float32)},
         "images: expected finite values, got others in images[0]; leave this image out"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(change: dict[str, Any], expected: str) -> None:
    given: dict[str, Any] = {
        "images": drawn("radiograph", 12), "labels": [0] * 12 + [1] * 12, "classes": CLASSES, "size": SIZE,
    } | change  # fmt: skip
    with pytest.raises(UserError) as caught:
        ReferenceViews.fit(**given)
    assert str(caught.value) == expected


def test_labels_may_be_names_numbers_or_arrays() -> None:
    for labels in (["b", "A", "b"], [1, 0, 1], np.array([1, 0, 1]), np.array(["b", "a", "b"])):
        assert label_numbers(labels, ["a", "b"], 3).tolist() == [1, 0, 1]
