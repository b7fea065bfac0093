"""iuscore.images.open_source: folders, single files, MedMNIST archives, and fingerprints."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iuscore.errors import UserError
from iuscore.images import (
    Source,
    fingerprint,
    iter_batches,
    open_source,
)

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def real_data(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"no real images: {DATA / name} is missing")
    return DATA / name


def fill(root: Path, *names: str) -> Path:
    """Write a tiny image of its own content under each name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        value = sum(name.encode()) % 251
        path.write_bytes(b"P5 2 1 255 " + bytes([value, len(name)]))
    return root


def uids(source: Source) -> list[str]:
    return [item.uid for item in source.items]


def labels(source: Source) -> list[str | None]:
    return [item.label for item in source.items]


def fails(path: Path, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        open_source(path, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path), "ROOT")


def test_lists_recursively_in_order_and_in_any_case(tmp_path: Path) -> None:
    fill(tmp_path, "b.PNG", "a.Jpeg", "deep/er/c.tif", "déjà vu/ß 1.pgm", "x.WebP")
    fill(tmp_path, ".hidden.png", ".cache/a.png", "__MACOSX/a.png")
    for name in (".DS_Store", "Thumbs.db", "notes.txt", "deep/labels.csv", "scan.nii"):
        (tmp_path / name).touch()
    source = open_source(tmp_path)
    assert uids(source) == ["a.Jpeg", "b.PNG", "deep/er/c.tif", "déjà vu/ß 1.pgm", "x.WebP"]
    assert (source.ignored, source.classes, len(source)) == (3, (), 5)
    assert all(sample.error is None and sample.label is None for sample in source)


def test_single_file(tmp_path: Path) -> None:
    fill(tmp_path, "one image.png")
    source = open_source(tmp_path / "one image.png")
    sample = source.read(0)
    assert (len(source), sample.uid, sample.width, sample.height) == (1, "one image.png", 2, 1)


def test_unreadable_images_are_samples(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    Image.new("L", (30, 20)).save(tmp_path / "large.png")
    samples = list(open_source(tmp_path, max_pixels=100))
    assert [s.error for s in samples] == [
        "empty file (0 bytes)",
        "cannot be opened: No such file or directory",
        "too large: 30 x 20, more than 100 pixels",
    ]
    assert [(s.pixels, s.width, s.height) for s in samples] == [(None, 0, 0), (None, 0, 0), (None, 30, 20)]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", "a/1.png")
    fill(tmp_path / "elsewhere", "2.png")
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to(root / "a")
    (root / "c.png").symlink_to(root / "a" / "1.png")
    assert uids(open_source(root)) == ["a/1.png", "b/2.png", "c.png"]


def test_a_named_pipe_is_not_opened(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    source = open_source(tmp_path)
    assert (uids(source), source.ignored) == (["a.png"], 1)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"P5 1 1 255 0")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    sample = open_source(tmp_path).read(0)
    assert (sample.uid, sample.error) == ("caf\\xe9.png", None)


def test_nothing_to_read(tmp_path: Path) -> None:
    assert fails(tmp_path / "none") == "no such file or folder: ROOT"
    looked = "looked for *.png, *.jpg, *.jpeg, *.bmp, *.tif, *.tiff, *.webp, *.gif, *.pgm, *.ppm, *.pnm, *.dcm"
    assert fails(tmp_path) == f"no images in ROOT: {looked}; found no files"
    for name in ("notes.txt", "b.nii", "c.nii"):
        (tmp_path / name).touch()
    assert fails(tmp_path) == f"no images in ROOT: {looked}; found 3 other files such as b.nii"
    assert fails(tmp_path / "notes.txt") == f"ROOT is no image file: {looked}"


def test_labels_by_folder(tmp_path: Path) -> None:
    fill(tmp_path, "Normal/1.png", "abnormal/p1/2.png", "abnormal/3.png")
    (tmp_path / "docs").mkdir()
    source = open_source(tmp_path, labels_from="auto")
    assert labels(source) == ["Normal", "abnormal", "abnormal"]
    assert (source.classes, source.left_out) == (("Normal", "abnormal"), ("docs",))
    assert labels(open_source(tmp_path)) == [None] * 3


def test_classes_choose_folders(tmp_path: Path) -> None:
    fill(tmp_path, "rbc/1.png", "WBC/2.png", "platelets/3.png")
    source = open_source(tmp_path, labels_from="auto", classes=["wbc", "rbc"])
    assert (uids(source), labels(source)) == (["WBC/2.png", "rbc/1.png"], ["wbc", "rbc"])
    assert source.left_out == ("platelets",)
    assert fails(tmp_path, labels_from="folder", classes=["wbc", "tumor"]) == (
        "no images of class 'tumor' in ROOT: it has WBC, platelets, rbc"
    )
    assert fails(tmp_path, classes=["wbc"]) == "classes: they need labels_from='auto', 'folder' or 'prefix'"
    assert fails(tmp_path, labels_from="auto", classes=["a", "A"]) == "classes: a name comes twice in a, A"
    assert fails(tmp_path, labels_from="auto", classes="rbc") == "classes: expected a list of class names, got 'rbc'"


def test_image_beside_class_folders(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.png", "b/1.png", "stray.png", "stray2.png")
    assert fails(tmp_path, labels_from="auto") == (
        "stray.png (and 1 more) lies in ROOT beside the class folders a, b: move it into one of them"
    )


def test_one_class_is_not_enough_for_auto(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.png")
    assert fails(tmp_path, labels_from="auto") == (
        "only one class folder with images in ROOT: a; two or more are needed"
    )
    assert labels(open_source(tmp_path, labels_from="folder")) == ["a"]


def test_splits_are_not_classes(tmp_path: Path) -> None:
    fill(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/2.png")
    assert fails(tmp_path, labels_from="auto") == (
        "ROOT holds train, val: these are splits, not classes; give --split, or one of them"
    )
    fill(tmp_path / "named", "real_train/a/1.png", "real_test/a/2.png", "synthetic/b/3.png")
    assert "real_test, real_train, synthetic: these are splits, not classes" in fails(
        tmp_path / "named", labels_from="auto"
    )
    classes = fill(tmp_path / "virus", "test_negative/1.png", "test_positive/2.png")
    assert labels(open_source(classes, labels_from="auto")) == ["test_negative", "test_positive"]
    source = open_source(tmp_path, labels_from="auto", split="train")
    assert uids(source) == ["a/1.png", "b/1.png"]
    assert fails(tmp_path, split="test") == "split: no test folder in ROOT: it has train, val"


def test_labels_by_prefix(tmp_path: Path) -> None:
    fill(tmp_path, "Normal_1.png", "normality2.png", "sub/ABNORMAL-3.png")
    source = open_source(tmp_path, labels_from="prefix", classes=["normal", "abnormal", "Normality"])
    assert labels(source) == ["normal", "Normality", "abnormal"]
    assert fails(tmp_path, labels_from="auto", classes=["normal", "ill"]) == (
        "sub/ABNORMAL-3.png in ROOT begins with none of the classes normal, ill: name its class or move it out"
    )
    assert fails(tmp_path, labels_from="prefix", classes=["normal", "abnormal", "x"]) == (
        "no images of class 'x' in ROOT: no file name begins with it"
    )


def test_prefix_classes_are_derived_only_when_clear(tmp_path: Path) -> None:
    flat = fill(tmp_path / "flat", "benign_1.png", "Benign-2.png", "malignant.3.png", "malignant 4.png")
    assert open_source(flat, labels_from="auto").classes == ("Benign", "malignant")
    advice = "sort the images into one folder per class, or name the classes"
    fill(flat, "0001_x.png")
    assert fails(flat, labels_from="auto") == f"no class can be read from 0001_x.png in ROOT: {advice}"
    patients = fill(tmp_path / "patients", "p1_a.png", "p1_b.png", "p2_a.png")
    assert fails(patients, labels_from="auto") == (f"p2_a.png would be the only image of class 'p2' in ROOT: {advice}")
    one = fill(tmp_path / "one", "img_1.png", "img_2.png")
    assert fails(one, labels_from="auto") == (
        "only one class among the file names in ROOT: img; two or more are needed"
    )
    assert fails(one, labels_from="folder") == "no class folders in ROOT: its images lie in no sub-folder"


def test_subset_and_groups(tmp_path: Path) -> None:
    source = open_source(fill(tmp_path, "a/p1_1.png", "a/p2_1.png", "b/p1_2.png"), labels_from="auto", group_by="p.")
    assert [item.group for item in source.items] == ["p1", "p2", "p1"]
    part = source.subset(np.array([2, 0]))
    assert (uids(part), part.classes, part.read(0).group) == (["b/p1_2.png", "a/p1_1.png"], ("a", "b"), "p1")
    with pytest.raises(UserError, match=r"^group_by: 'p2' is not found in the file name of a/p1_1.png"):
        open_source(tmp_path, group_by="p2")
    with pytest.raises(UserError, match=r"group_by: '\(' is not a regular expression: "):
        open_source(tmp_path, group_by="(")


def medmnist(path: Path, **arrays: np.ndarray) -> Path:
    images = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    arrays = {"train_images": images, "train_labels": np.array([[1], [0], [1]], np.uint8)} | arrays
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path


def test_npz(tmp_path: Path) -> None:
    color = np.zeros((2, 4, 4, 3), np.uint8)
    path = medmnist(tmp_path / "m.npz", val_images=color, val_labels=np.array([0, 1]))
    source = open_source(path, labels_from="auto")
    assert uids(source) == ["train/000000", "train/000001", "train/000002", "val/000000", "val/000001"]
    assert labels(source) == ["1", "0", "1", "0", "1"]
    sample = source.read(1)
    assert sample.pixels is not None
    assert sample.pixels.shape == (4, 5, 1)
    np.testing.assert_array_equal(sample.pixels[..., 0], np.arange(20, 40).reshape(4, 5))
    assert source.read(3).pixels is not None
    named = open_source(path, labels_from="auto", classes=["normal", "ill"], split="train")
    assert (named.classes, labels(named)) == (("ill", "normal"), ["ill", "normal", "ill"])
    assert labels(open_source(path, split="val")) == [None, None]
    assert fails(path, split="test") == "ROOT has no test_images: it has " + (
        "train_images, train_labels, val_images, val_labels"
    )
    assert fails(path, labels_from="auto", classes=["normal"]) == (
        "classes: ROOT has labels up to 1, but 1 names were given: name the classes of labels 0, 1, ... in this order"
    )
    assert fails(path, split="dev") == "split: expected train, val or test, got 'dev'"


def test_npz_floats(tmp_path: Path) -> None:
    values = np.array([[[0, 0.5]], [[np.nan, 1]], [[2, 0]]])
    source = open_source(medmnist(tmp_path / "m.npz", train_images=values))
    samples = list(source)
    assert [s.pixels is not None and s.pixels.dtype == np.float32 for s in samples] == [True, True, False]
    assert [s.warnings for s in samples] == [(), ("non-finite values",), ()]
    assert (samples[2].error or "").startswith("float values from 0 to 2 lie outside [0, 1]")


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (
            {"train_labels": np.zeros((3, 14), int)},
            "train_labels of ROOT has 14 labels per image: only one per image is supported",
        ),
        (
            {"train_labels": np.zeros((2, 1), int)},
            "train_labels of ROOT: expected [3, 1], one label per image, got [2, 1]",
        ),
        (
            {"train_labels": np.array([0.5, 1, 1])},
            "train_labels of ROOT: expected integers from 0, got float64 [0.5 1.  1. ]",
        ),
        (
            {"train_images": np.zeros((3, 28, 28, 28), np.uint8)},
            "train_images of ROOT: expected [N, H, W] or [N, H, W, 3], got [3, 28, 28, 28]; "
            "3-D volumes are not supported",
        ),
        (
            {"train_images": np.zeros((3, 4, 4), np.int64)},
            "train_images of ROOT: expected uint8, uint16 or floats in [0, 1], got int64",
        ),
    ],
)
def test_npz_of_other_shapes_and_types_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], expected: str
) -> None:
    assert fails(medmnist(tmp_path / "m.npz", **arrays), labels_from="auto") == expected


def test_damaged_npz(tmp_path: Path) -> None:
    path = medmnist(tmp_path / "m.npz")
    whole = path.read_bytes()
    for data in (
        b"",
        b"PK\x03\x04",
        b"text",
        whole[: len(whole) // 2],
        whole[:80] + b"\0\0\0\0" + whole[84:],
    ):
        path.write_bytes(data)
        assert fails(path).startswith("ROOT: damaged")
    np.savez(path, train_images=np.array([{}], dtype=object))
    assert fails(path) == "train_images of ROOT: expected [N, H, W] or [N, H, W, 3], got [1]"
    np.savez(path, x=np.zeros(3))
    assert fails(path) == "ROOT has no train_images: it has x"
    assert fails(tmp_path / "none.npz") == "no such file or folder: ROOT"


def test_fingerprint_tells_data_apart(tmp_path: Path) -> None:
    one = open_source(fill(tmp_path / "one", "a/1.png", "b/2.png"), labels_from="auto")
    same = open_source(fill(tmp_path / "two", "a/1.png", "b/2.png"), labels_from="auto")
    assert fingerprint(one) == fingerprint(same) == fingerprint(one.subset([1, 0]))
    changed = {
        fingerprint(one),
        fingerprint(one.subset([0])),
        fingerprint(open_source(tmp_path / "one")),
        fingerprint(open_source(fill(tmp_path / "three", "a/1.png", "b/3.png"), labels_from="auto")),
    }
    (tmp_path / "two/a/1.png").write_bytes(b"P5 1 1 255 x")
    assert len(changed | {fingerprint(same)}) == 5
    (tmp_path / "two/a/1.png").unlink()
    assert fingerprint(same) not in changed  # a file that cannot be read is told when it is read


def test_real_mammography() -> None:
    source = open_source(real_data("mammography") / "real_val", labels_from="auto", group_by=r"^P_\d+")
    assert (source.classes, len(source), source.ignored) == (("benign", "malignant"), 192, 0)
    for batch in iter_batches(source, 64, workers=2):
        assert {(s.width, s.height, s.error, s.warnings) for s in batch} == {(128, 128, None, ())}
        assert {s.pixels.shape for s in batch if s.pixels is not None} == {(128, 128, 1)}


def test_real_blood_cells_by_chosen_folders() -> None:
    source = open_source(real_data("blood_cells"), labels_from="auto", classes=["rbc", "wbc"])
    assert (len(source), source.left_out, source.ignored) == (573, ("platelets",), 1)
    sample = source.read(0)
    assert sample.pixels is not None
    assert (sample.pixels.shape, sample.warnings) == ((96, 96, 3), ())


def test_real_pneumonia_archive() -> None:
    path = real_data("pneumoniamnist") / "pneumoniamnist_rebuilt.npz"
    source = open_source(path, labels_from="auto", split="val", classes=["normal", "pneumonia"])
    assert (len(source), labels(source).count("normal")) == (524, 135)
    sample = source.read(523)
    assert sample.pixels is not None
    assert (sample.uid, sample.pixels.shape) == ("val/000523", (28, 28, 1))
