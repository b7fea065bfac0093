"""Detected borders and given masks: pixels outside a mask change no feature and no score."""

from __future__ import annotations

import io
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from torch import Tensor

import iuscore
from iuscore import UserError, phantoms
from iuscore.features import border_masks, sized_masks, texture_features
from iuscore.models import TextureModel
from tests.conftest import BackendUnderTest

Field = npt.NDArray[np.bool_]
SHAPES = ("round", "octagon", "rectangle", "letterbox", "pillarbox", "cropped", "off-center")


def shape(name: str, height: int, width: int) -> Field:
    """The visible area of an instrument, bool [H, W]."""
    y, x = np.mgrid[:height, :width]
    v, u = (2 * y + 1) / height - 1, (2 * x + 1) / width - 1
    side = min(height, width)
    across, down = (2 * x + 1 - width) / side, (2 * y + 1 - height) / side
    found: Field = {
        "round": across**2 + down**2 < 0.9,
        "octagon": (abs(u) < 0.94) & (abs(v) < 0.94) & (abs(u) + abs(v) < 1.4),
        "rectangle": (abs(u) < 0.7) & (abs(v) < 0.8),
        "letterbox": abs(v) < 0.8,
        "pillarbox": abs(u) < 0.8,
        "cropped": across**2 + down**2 < 1.25,
        "off-center": (u - 0.3) ** 2 + (v + 0.4) ** 2 < 1.2,
    }[name]
    return found


def seam_off(inside: Field) -> Field:
    """A pixel counts where its neighbors along its row and column are inside too, or beyond the image."""
    padded = np.pad(inside, 1, constant_values=True)
    return inside & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def bordered(pictures: npt.NDArray[np.uint8], inside: Field, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Pictures, none of whose pixels is dark, with a black border in which values go up to 24."""
    noise = np.random.default_rng(seed).integers(0, 25, pictures.shape, dtype=np.uint8)
    return np.where(inside[..., None], np.maximum(pictures, 25), noise)


def pictures(n: int, height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return phantoms.draw("endoscopy", "abnormal", n, size=(height, width), seed=seed)


@given(
    name=st.sampled_from(SHAPES),
    height=st.integers(24, 200),
    width=st.integers(24, 200),
    channel=st.sampled_from([None, 0, 1, 2]),
)
def test_a_border_is_found_pixel_by_pixel(name: str, height: int, width: int, channel: int | None) -> None:
    inside = shape(name, height, width)
    # The outermost row or column of a pointed shape may be shorter than a speck.
    assume(all(lines[lines > 0][end] >= inside.shape[axis] // 16
               for axis in (0, 1) for end in (0, -1) for lines in [inside.sum(axis)]))  # fmt: skip
    images = np.where(inside, 25, 24).astype(np.uint8)[None, ..., None]
    if channel is not None:  # one channel is enough
        images = np.where(np.arange(3) == channel, images, 0).astype(np.uint8)
    np.testing.assert_array_equal(border_masks(images, layout="NHWC")[0], seam_off(inside))


@pytest.mark.parametrize("name", SHAPES)
def test_dark_places_inside_are_not_taken(name: str) -> None:
    inside = shape(name, 96, 120)
    images = bordered(pictures(1, 96, 120), inside)
    found = border_masks(images)
    images[0, 20:70, 40:80] = 0  # large, inside
    assert torch.equal(border_masks(images), found)
    dark = np.random.default_rng(1).random((96, 120)) < 0.3
    dark &= seam_off(seam_off(inside))
    dark[[0, -1]] = dark[:, [0, -1]] = False  # at an edge of the image dark is border
    images[0][dark] = 0
    assert torch.equal(border_masks(images), found)


@pytest.mark.parametrize("turns", range(4))
def test_a_shadow_that_reaches_the_border_belongs_to_the_image(turns: int) -> None:
    images = bordered(pictures(1, 96, 96), shape("rectangle", 96, 96))
    found = border_masks(np.rot90(images, turns, (1, 2)))
    images[0, 50:61, :60] = 3  # 11 rows of 96, less than 1/8
    assert torch.equal(border_masks(np.rot90(images, turns, (1, 2))), found)
    images[0, 50:62, :60] = 3
    assert not torch.equal(border_masks(np.rot90(images, turns, (1, 2))), found)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize(("name", "most"), [("pillarbox", 0), ("rectangle", 0), ("octagon", 16), ("round", 16)])
def test_text_and_specks_in_the_border_are_no_image(name: str, most: int, turns: int) -> None:
    """Lines of text of 7 rows of 128, less than 1/16; beside a slanted edge a few pixels in its corner are not told."""
    inside = shape(name, 128, 128)
    images = bordered(pictures(1, 128, 128), inside)
    found = border_masks(np.rot90(images, turns, (1, 2)))
    images[0, 100, 2] = images[0, 40, 125] = 250
    places = [(slice(0, 7), slice(0, 11)), (slice(8, 15), slice(2, 9)), (slice(120, 127), slice(3, 11))]
    for rows, columns in places:
        assert not inside[rows, columns].any()
        images[0, rows, columns] = 250
    assert (border_masks(np.rot90(images, turns, (1, 2))) != found).sum() <= most


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("quality", [40, 75, 95])
def test_borders_are_found_after_jpeg_compression(name: str, quality: int) -> None:
    """After JPEG, border pixels are at most 0.1 % of the image area, and at most 5 % of the image is lost."""
    inside = shape(name, 400, 480)
    images = []
    for picture in np.where(inside[..., None], pictures(2, 400, 480), np.uint8(4)):
        page = Image.fromarray(picture)
        for line in range(3):
            if not inside[10 + 30 * line : 30 + 30 * line, :80].any():
                ImageDraw.Draw(page).text((4, 12 + 30 * line), "NAME 17 5", fill=(230, 230, 230))
        file = io.BytesIO()
        page.save(file, "jpeg", quality=quality, subsampling="4:2:0")
        images.append(np.array(Image.open(file)))
    for found in border_masks(images, layout="NHWC"):
        assert (found.numpy() & ~inside).sum() < 1e-3 * inside.sum()
        assert (inside & ~found.numpy()).sum() < 0.05 * inside.sum()


def test_no_border_and_nothing_but_border() -> None:
    images = np.maximum(pictures(3, 64, 80), 25)
    assert border_masks(images).all()
    images[0] = 24
    images[1, :, 20:] = 0
    images[2, 16:], images[2, :, 16:] = 0, 0  # 1/20 is left
    assert border_masks(images)[[0, 2]].all()
    assert not border_masks(images)[1].all()
    plain = texture_features(images, size=(32, 32))
    with pytest.warns(UserWarning, match=r"no border found in images .*, such as images\[0\]: all pixels count"):
        values = texture_features(images, size=(32, 32), mask="border")
    assert torch.equal(values[[0, 2]], plain[[0, 2]])
    model = TextureModel(["a", "b"], size=(32, 32), mask="border")
    inputs, said = model.prepare_with_warnings(images)
    assert torch.equal(inputs, values)
    dark = "dark image: no border found, all pixels count"
    assert said == [("constant image", dark), (), (dark,)]


def test_a_border_that_leaves_nothing_at_a_small_size_is_none() -> None:
    images = np.full((1, 64, 64, 3), 90, np.uint8)
    images[:, :, 20:] = 0
    with pytest.warns(UserWarning, match="no border found"):
        values = texture_features(images, size=(8, 8), mask="border")
    assert torch.equal(values, texture_features(images, size=(8, 8)))


@pytest.mark.parametrize("dtype", [torch.uint16, torch.float16, torch.bfloat16, torch.float32])
def test_every_type_has_the_same_border(dtype: torch.dtype) -> None:
    values = torch.arange(256, dtype=torch.float64).repeat(2, 1).view(1, 16, 32, 1)
    values = torch.cat([values, values.roll(9, 1), values.flip(2)])
    given = (values * 257).to(torch.int32).to(dtype) if dtype == torch.uint16 else (values / 255).to(dtype)
    assert torch.equal(border_masks(given, layout="NHWC"), border_masks(values.to(torch.uint8), layout="NHWC"))


def test_borders_of_batches_lists_layouts_and_devices(backend: BackendUnderTest) -> None:
    images = [bordered(pictures(1, 40 + i % 2, 60, i), shape(name, 40 + i % 2, 60))[0] for i, name in enumerate(SHAPES)]
    alone = [border_masks(torch.from_numpy(image)[None])[0] for image in images]
    together = border_masks([torch.from_numpy(image).to(backend.device) for image in images], layout="NHWC")
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other.cpu())
    batch = torch.from_numpy(np.stack(images[::2]))
    assert torch.equal(border_masks(batch.permute(0, 3, 1, 2), layout="NCHW"), torch.stack(alone[::2]))


def taps(size: int, out: int) -> Field:
    """bool [out, size]: the pixels that a stretched cubic kernel of 4 taps, cut at the border, reaches."""
    scale = Fraction(size, out)
    reach = 2 * max(scale, Fraction(1))
    found = np.zeros((out, size), bool)
    for o, i in product(range(out), range(size)):
        away = i + Fraction(1, 2) - scale * (o + Fraction(1, 2))
        found[o, i] = -reach < away <= reach if size != out else o == i
    return found


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    seed=st.integers(0, 99), share=st.sampled_from([0.002, 0.02, 0.2]),
)  # fmt: skip
def test_a_pixel_counts_if_all_it_is_made_of_do(
    height: int, width: int, size: tuple[int, int], seed: int, share: float
) -> None:
    mask = np.random.default_rng(seed).random((2, height, width)) >= share
    rows, columns = taps(height, size[0]).astype(int), taps(width, size[1]).astype(int)
    outside = np.stack([rows @ ~one @ columns.T for one in mask])
    for masks in (torch.from_numpy(mask), torch.from_numpy(mask).to(torch.uint8) * 7):
        np.testing.assert_array_equal(sized_masks(masks, size), outside == 0)


def measured(backend: BackendUnderTest, images: Any, mask: Any, **options: Any) -> Tensor:
    def placed(part: Any) -> Any:
        return [one.to(backend.device) for one in part] if isinstance(part, list) else part.to(backend.device)

    mask = mask if mask is None or isinstance(mask, str) else placed(mask)
    return texture_features(placed(images), mask=mask, layout="NHWC", backend=backend.backend, **options).cpu()


@pytest.mark.parametrize("size", [None, (48, 48), (32, 40), (80, 64), (17, 48)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_pixels_outside_the_mask_change_no_row(
    backend: BackendUnderTest, dtype: torch.dtype, size: tuple[int, int] | None
) -> None:
    """No bit of any feature changes."""
    rng = np.random.default_rng(3)
    first = torch.from_numpy(pictures(3, 48, 48))
    noise = torch.from_numpy(rng.integers(0, 256, first.shape, dtype=np.uint8))
    masks = torch.stack([torch.from_numpy(shape(name, 48, 48)) for name in ("round", "octagon", "pillarbox")])
    masks[0, 20:24, 30:33] = False  # a hole
    second = torch.where(masks[..., None], first, noise)
    if dtype == torch.uint16:
        first, second = ((part.to(torch.int32) * 251).to(dtype) for part in (first, second))
    elif dtype == torch.float32:
        first, second = first / 255, second / 255
        second[~masks] = torch.nan
    values = measured(backend, first, masks, size=size)
    assert values.isfinite().all()
    assert torch.equal(values, measured(backend, second, masks, size=size))
    assert torch.equal(values, measured(backend, list(second), [mask.to(torch.uint8) for mask in masks], size=size))
    assert not torch.equal(values, measured(backend, first, None, size=size))


@pytest.mark.parametrize("size", [None, (32, 32), (96, 80)])
def test_what_lies_in_the_border_changes_nothing(backend: BackendUnderTest, size: tuple[int, int] | None) -> None:
    """The border holds values up to 24, and lines of text."""
    inside = shape("octagon", 64, 64)
    first = bordered(pictures(2, 64, 64), inside, seed=1)
    second = bordered(pictures(2, 64, 64), inside, seed=2)
    second[:, 1:4, 1:6] = 200
    values = measured(backend, torch.from_numpy(first), "border", size=size)
    assert torch.equal(values, measured(backend, torch.from_numpy(second), "border", size=size))
    masks = border_masks(first)
    assert torch.equal(values, measured(backend, torch.from_numpy(first), masks, size=size))


@pytest.mark.parametrize("size", [None, (32, 32)])
def test_a_full_mask_is_no_mask(backend: BackendUnderTest, size: tuple[int, int] | None) -> None:
    images = torch.from_numpy(np.maximum(pictures(3, 48, 40), 25))
    values = measured(backend, images, None, size=size)
    full = torch.ones(3, 48, 40, dtype=torch.bool)
    assert torch.equal(values, measured(backend, images, full, size=size))
    assert torch.equal(values, measured(backend, images, "border", size=size))
    full[2, 3, 4] = False  # then the other images of the batch are measured with masks
    assert torch.equal(values[:2], measured(backend, images, full, size=size)[:2])
    several = [images[0], images[1, :30], images[2]]
    masks = [torch.ones(one.shape[:2], dtype=torch.bool) for one in several]
    masks[1][0, 0] = False
    together = measured(backend, several, masks, size=size)
    for i in range(3):
        assert torch.equal(together[i], measured(backend, several[i][None], masks[i][None], size=size)[0])


def test_a_mask_that_leaves_nothing_gives_nothing(backend: BackendUnderTest) -> None:
    images = torch.from_numpy(pictures(3, 64, 64))
    masks = torch.ones(3, 64, 64, dtype=torch.bool)
    masks[0] = False
    masks[1] = False
    masks[1, 30:33] = True  # too narrow at half the size
    values = measured(backend, images, masks, size=(32, 32))
    assert values[:2].isnan().all()
    assert values[2].isfinite().all()
    assert measured(backend, images, masks, size=None)[1].isfinite().all()
    assert measured(backend, images[:0], masks[:0]).shape[0] == measured(backend, [], []).shape[0] == 0


def test_unusable_masks_are_refused() -> None:
    images = pictures(2, 32, 32)
    with pytest.raises(UserError, match="mask: expected 'border' or one mask per image, got 'round'"):
        texture_features(images, mask="round")  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"mask: expected \[B, H, W\] = \[2, 32, 32\] as the images, got \[2, 16, 32\]"
    ):
        texture_features(images, mask=np.ones((2, 16, 32), bool))


class TestModels:
    def test_the_rule_for_masks_is_part_of_the_configuration(self) -> None:
        assert "mask" not in TextureModel(["a", "b"]).config()
        for rule in ("border", "given"):
            model = TextureModel(["a", "b"], color="gray", mask=rule)
            assert model.config()["mask"] == rule
            assert TextureModel.from_config(model.config()).mask == rule
        with pytest.raises(UserError, match="mask: expected 'border', 'given' or None, got 'round'"):
            TextureModel(["a", "b"], mask="round")  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("rule", "mask", "text"),
        [
            (None, "border", "mask: the model, of kind 'texture', was fitted to whole images: leave mask out"),
            (None, [np.ones((16, 16), bool)], "mask: the model, of kind 'texture', was fitted to whole images"),
            ("border", [np.ones((16, 16), bool)], "mask: the model finds the border of every image itself"),
            ("given", None, "mask: the model was fitted with masks: give one per image"),
            ("given", "border", "mask: the model was fitted with masks: give one per image"),
        ],
    )
    def test_the_rule_of_the_model_holds(self, rule: Any, mask: Any, text: str) -> None:
        model = TextureModel(["a", "b"], size=(16, 16), mask=rule)
        with pytest.raises(UserError, match=text):
            model.prepare(pictures(1, 16, 16), mask=mask)

    def test_published_models_look_at_whole_images(self) -> None:
        model = iuscore.models.EPUCNN(["a", "b"], size=(16, 16), base_channels=2)
        for call in (model.prepare, model.prepare_with_warnings):
            with pytest.raises(UserError, match="mask: the model, of kind 'epu', was fitted to whole images: "):
                call(pictures(1, 16, 16), mask="border")
