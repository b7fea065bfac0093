"""What must hold for the drawn phantoms, whatever they look like."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from iuscore import phantoms
from iuscore.errors import UserError
from iuscore.phantoms import DEFECT_TARGETS, KINDS, LABELS, Defects, Kind, Label, draw, write

CASES = [(kind, label) for kind in KINDS for label in LABELS]
DIALS = [field.name for field in fields(Defects)]
COMPONENTS = {
    "endoscopy": {"red-green", "blue-yellow", "coarse-fine", "light-dark"},
    "radiograph": {"coarse-fine", "light-dark", "band-i", "band-ii"},
}


def dials_of(kind: Kind) -> list[str]:
    return [dial for dial in DIALS if not (kind == "radiograph" and dial == "color_cast")]


def turned(kind: Kind, label: Label, dial: str, value: float, n: int = 8, size: int = 48) -> NDArray[np.float64]:
    images = draw(kind, label, n, size=size, seed=5, defects=Defects(**{dial: value}))
    return images.astype(np.float64) / 255


def gradient_energy(images: NDArray[np.float64]) -> float:
    gray = images.mean(axis=-1)
    return float(np.square(np.diff(gray, axis=1)).mean() + np.square(np.diff(gray, axis=2)).mean())


def yellowness(images: NDArray[np.float64]) -> float:
    """Stands in for the mean of b*: luminance above blue."""
    red, green, blue = (images[..., c] for c in range(3))
    return float((0.23 * red + 0.77 * green - blue).mean())


def falls(values: list[float]) -> bool:
    return all(later < earlier for earlier, later in pairwise(values))


@pytest.mark.parametrize(("kind", "label"), CASES)
@pytest.mark.parametrize("size", [16, 33, (17, 40), (50, 21)])
def test_phantoms_are_bytes_of_the_given_size(kind: Kind, label: Label, size: Any) -> None:
    height, width = size if isinstance(size, tuple) else (size, size)
    images = draw(kind, label, 2, size=size)
    assert images.shape == (2, height, width, 3 if kind == "endoscopy" else 1)
    assert images.dtype == np.uint8
    assert np.ptp(images[0]) > 60


@pytest.mark.parametrize(("kind", "label"), CASES)
def test_zero_phantoms_are_an_empty_batch(kind: Kind, label: Label) -> None:
    assert draw(kind, label, 0, size=32).shape == (0, 32, 32, 3 if kind == "endoscopy" else 1)


@pytest.mark.parametrize(("kind", "label"), CASES)
def test_same_arguments_same_bits_and_seeds_differ(kind: Kind, label: Label) -> None:
    first = draw(kind, label, 3, size=32, seed=7)
    assert np.array_equal(first, draw(kind, label, 3, size=32, seed=7))
    assert not np.array_equal(first, draw(kind, label, 3, size=32, seed=8))
    assert not np.array_equal(first[0], first[1])


def test_large_seeds_do_not_wrap() -> None:
    pictures = [draw("radiograph", "normal", 1, size=32, seed=s) for s in (0, 2**32, 2**64, 10**30)]
    assert len({picture.tobytes() for picture in pictures}) == 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 0.7])
def test_the_first_phantoms_do_not_depend_on_their_number(kind: Kind, value: float) -> None:
    dials = Defects(**dict.fromkeys(dials_of(kind), value))
    ten = draw(kind, "abnormal", 10, size=32, defects=dials)
    assert np.array_equal(ten[:5], draw(kind, "abnormal", 5, size=32, defects=dials))


@pytest.mark.parametrize("kind", KINDS)
def test_dial_at_zero_changes_no_bit_and_turned_it_does(kind: Kind) -> None:
    plain = draw(kind, "abnormal", 3, size=32)
    for dial in dials_of(kind):
        assert np.array_equal(plain, draw(kind, "abnormal", 3, size=32, defects=Defects(**{dial: 0}))), dial
        assert not np.array_equal(plain, draw(kind, "abnormal", 3, size=32, defects=Defects(**{dial: 1}))), dial


@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_keeps_its_geometry_at_another_size(kind: Kind) -> None:
    small = draw(kind, "abnormal", 4, size=32).astype(float)
    large = draw(kind, "abnormal", 4, size=64).astype(float)
    shrunk = large.reshape(4, 32, 2, 32, 2, -1).mean(axis=(2, 4))
    for one, other in zip(small, shrunk, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(("kind", "label"), CASES)
@pytest.mark.parametrize("dial", ["blur", "texture_loss"])
def test_blur_and_texture_loss_lower_gradients_but_not_the_mean(kind: Kind, label: Label, dial: str) -> None:
    steps = [turned(kind, label, dial, value) for value in (0, 0.25, 0.5, 1)]
    assert falls([gradient_energy(images) for images in steps])
    assert abs(steps[-1].mean() - steps[0].mean()) < 0.01


def test_texture_loss_keeps_more_of_the_shapes_than_blur() -> None:
    plain = turned("radiograph", "normal", "blur", 0)
    lost, blurred = (turned("radiograph", "normal", dial, 1) for dial in ("texture_loss", "blur"))
    assert np.square(lost - plain).mean() < 0.5 * np.square(blurred - plain).mean()


@pytest.mark.parametrize("label", LABELS)
def test_cast_takes_yellow_away(label: Label) -> None:
    steps = [turned("endoscopy", label, "color_cast", value) for value in (0, 0.25, 0.5, 1)]
    assert falls([yellowness(images) for images in steps])
    assert yellowness(steps[-1]) < 0 < yellowness(steps[0])
    assert np.array_equal(steps[0][..., :2], steps[-1][..., :2])


@pytest.mark.parametrize("kind", KINDS)
def test_lesion_fades_then_inverts(kind: Kind) -> None:
    bare = turned(kind, "abnormal", "swapped_labels", 1)
    lesion, gone, inverted = (turned(kind, "abnormal", "lesion_contrast", v) - bare for v in (0, 0.5, 1))
    assert np.abs(gone).max() == 0
    assert np.square(lesion).mean() > 1e-4
    assert np.corrcoef(lesion.ravel(), inverted.ravel())[0, 1] < -0.4
    healthy, turned_healthy = (turned(kind, "normal", "lesion_contrast", v) for v in (0, 1))
    assert np.array_equal(healthy, turned_healthy)


@pytest.mark.parametrize("kind", KINDS)
def test_mode_collapse_brings_images_together(kind: Kind) -> None:
    def distance(value: float) -> float:
        flat = turned(kind, "abnormal", "mode_collapse", value, n=12).reshape(12, -1)
        return float(np.abs(flat[:, None] - flat[None]).mean())

    spread = [distance(value) for value in (0, 0.5, 1)]
    assert falls(spread)
    copies = turned(kind, "abnormal", "mode_collapse", 1, n=12)
    same, other = np.abs(copies[0] - copies[3]).mean(), np.abs(copies[0] - copies[1]).mean()
    assert 0 < same < 0.5 * other


@pytest.mark.parametrize(("kind", "label"), CASES)
def test_the_dial_of_swapped_labels_is_their_share(kind: Kind, label: Label) -> None:
    def swapped(value: float) -> NDArray[np.bool_]:
        difference = turned(kind, label, "swapped_labels", value, n=40, size=24) - plain
        moved: NDArray[np.bool_] = np.any(difference != 0, axis=(1, 2, 3))
        return moved

    plain = turned(kind, label, "swapped_labels", 0, n=40, size=24)
    shares = {value: swapped(value) for value in (0.1, 0.5, 1.0)}
    for value, which in shares.items():
        assert abs(which.mean() - value) <= 0.05
    assert np.all(shares[0.5][shares[0.1]])


def test_one_mean_does_not_give_the_class_away() -> None:
    means = {label: draw("endoscopy", label, 150, size=24).mean(axis=(1, 2)) for label in LABELS}
    for channel in range(3):
        above = means["abnormal"][:, None, channel] > means["normal"][None, :, channel]
        assert 0.2 < above.mean() < 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_every_dial_has_a_target_among_the_components(kind: Kind) -> None:
    assert list(DEFECT_TARGETS[kind]) == dials_of(kind)
    for target in DEFECT_TARGETS[kind].values():
        assert set(target.components) <= COMPONENTS[kind]
        assert target.reason.splitlines() == [target.reason]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        (("mri", "normal", 1), {}, UserError, "kind: expected 'endoscopy' or 'radiograph', got 'mri'"),
        (("endoscopy", "sick", 1), {}, UserError, "label: expected 'normal' or 'abnormal', got 'sick'"),
        (("endoscopy", "normal", -1), {}, UserError, "n: expected at least 0, got -1"),
        (("endoscopy", "normal", 1.5), {}, TypeError, "n: expected an integer, got float"),
        (("endoscopy", "normal", True), {}, TypeError, "n: expected an integer, got bool"),
        (("endoscopy", "normal", 1), {"seed": -3}, UserError, "seed: expected at least 0, got -3"),
        (("endoscopy", "normal", 1), {"size": 15}, UserError, "size: expected at least 16, got 15"),
        (("endoscopy", "normal", 1), {"size": (32, 8)}, UserError, "size: expected at least 16, got 8"),
        (
            ("endoscopy", "normal", 1),
            {"size": (32, 32, 3)},
            UserError,
            "size: expected a side or (height, width), got (32, 32, 3)",
        ),
        (
            ("endoscopy", "normal", 1),
            {"defects": 0.5},
            TypeError,
            "defects: expected phantoms.Defects, got float",
        ),
        (
            ("radiograph", "normal", 0),
            {"defects": Defects(color_cast=0.1)},
            UserError,
            "color_cast: a radiograph has no color; leave it at 0 or draw 'endoscopy'",
        ),
    ],
)
def test_wrong_arguments_of_draw_are_refused(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        draw(*arguments, **options)
    assert str(caught.value) == text


@pytest.mark.parametrize("dial", DIALS)
@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), "1", True, None])
def test_dials_out_of_range_are_refused(dial: str, value: Any) -> None:
    with pytest.raises(UserError) as caught:
        Defects(**{dial: value})
    assert str(caught.value) == f"{dial}: expected a number from 0 (none) to 1 (severe), got {value!r}"


@pytest.mark.parametrize("kind", KINDS)
def test_write_deals_out_what_draw_draws(kind: Kind, tmp_path: Path) -> None:
    from PIL import Image

    counts = write(tmp_path / "new", kind, n_per_class=7, size=(16, 20), seed=3)
    assert {split: c["normal"] for split, c in counts.items()} == {"train": 4, "val": 2, "test": 1}
    for label in LABELS:
        files = [f for split in counts for f in sorted((tmp_path / "new" / split / label).iterdir())]
        assert [f.name for f in files] == [f"{label}_{i:05d}.png" for i in range(7)]
        read = np.stack([np.asarray(Image.open(file)) for file in files])
        drawn = draw(kind, label, 7, size=(16, 20), seed=3)
        assert np.array_equal(read, drawn if kind == "endoscopy" else drawn[..., 0])


def test_write_refuses_folders_in_use_and_bad_numbers(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError) as caught:
        write(tmp_path, "radiograph", n_per_class=1, size=16)
    assert str(caught.value).startswith(f"folder: expected a new or empty folder, got {tmp_path}")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    for splits in ({}, {"train": 0.5}, {"train": 1.5, "test": -0.5}):
        with pytest.raises(UserError, match="splits: expected positive shares that sum to 1"):
            write(tmp_path / "new", "radiograph", n_per_class=1, size=16, splits=splits)
    with pytest.raises(UserError, match="n_per_class: expected at least 0, got -1"):
        write(tmp_path / "new", "radiograph", n_per_class=-1, size=16)
    assert not (tmp_path / "new").exists()


def test_the_documentation_says_that_phantoms_are_no_evidence() -> None:
    assert "drawings for tests and demos, not evidence about any clinical image" in (phantoms.__doc__ or "")
