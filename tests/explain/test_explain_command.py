"""``iuscore explain``: what it prints and writes, the formats that it reads, and what it refuses."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import iuscore
from iuscore import demo, phantoms
from iuscore.fit import TextureOptions, fit, open_splits
from tests.fixtures import Command

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Folders: real (class folders), texture and model (epu), given (a texture model with masks), masks."""
    folder = tmp_path_factory.mktemp("explain")
    demo.tiny_model(folder)
    phantoms.write(folder / "set", "radiograph", n_per_class=16, size=32, seed=4)
    options = TextureOptions(size=(24, 24))
    fit(open_splits(folder / "set"), folder / "texture", model="texture", classes=["normal", "abnormal"],
        model_options=options, members=1)  # fmt: skip
    return folder


def image_files(root: Path) -> list[Path]:
    return sorted((root / "set").rglob("abnormal*/*.png")) or sorted((root / "set").rglob("*abnormal*.png"))


@pytest.mark.parametrize("kind", ["texture", "model"])
def test_images_are_explained_in_words_pictures_and_json(
    command: Command, root: Path, tmp_path: Path, kind: str
) -> None:
    files = image_files(root)[:2]
    out = tmp_path / "why"
    ran = command("explain", root / kind, *files, "--target", "abnormal", "--out", out)
    assert ran.status == 0, ran.err
    scorer = iuscore.load(root / kind)
    for file in files:
        ius = float(scorer(file, target="abnormal").ius)
        assert f"{file} against real abnormal: IUS {ius:.3f}" in ran.out
    written = json.loads((out / "images.json").read_text())
    assert written["made_by"] == "iuscore explain"
    assert [Path(each["uid"]).name for each in written["images"]] == [file.name for file in files]
    for each in written["images"]:
        shares = sum(component["share"] for component in each["components"].values())
        assert shares == pytest.approx(each["ius"], abs=1e-6)
        with Image.open(out / each["picture"]) as picture:
            assert min(picture.size) > 400
    if kind == "texture":
        assert "real abnormal " in ran.out.split("ranges of features")[0]
        assert "ranges of features: 5th to 95th percentile of" in ran.out
    one = command("explain", root / kind, files[0], "--target", "abnormal", "--out", tmp_path / "one", "--map",
                  "coarse-fine")  # fmt: skip
    assert one.status == 0, one.err
    again = command("explain", root / kind, *files, "--target", "ABNORMAL", "--out", out)
    assert (again.status, again.out) == (0, ran.out)


def test_nearest_real_and_generated_images_are_named(command: Command, root: Path, tmp_path: Path) -> None:
    phantoms.write(tmp_path / "generated", "radiograph", n_per_class=4, size=32, seed=9)
    made = sorted((tmp_path / "generated").rglob("*.png"))
    ran = command("explain", root / "texture", made[0], "--target", "normal", "--real", root / "set" / "train",
                  "--generated", tmp_path / "generated")  # fmt: skip
    assert ran.status == 0, ran.err
    assert "nearest real images: " in ran.out
    line = next(line for line in ran.out.splitlines() if line.startswith("nearest generated images: "))
    assert line.startswith(f"nearest generated images: {made[0].relative_to(tmp_path / 'generated')} (distance 0.00)")


@pytest.mark.parametrize("kind", ["texture", "model"])
def test_a_model_alone_is_explained(command: Command, root: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "learned"
    ran = command("explain", root / kind, "--out", out)
    assert ran.status == 0, ran.err
    assert "importance of components (mean absolute contribution over validation images, less the mean):" in ran.out
    found = json.loads((out / "model.json").read_text())
    assert found["overall"]["importance_by"] == "model"
    assert (out / "profiles.png").exists()
    assert (out / "shapes.png").exists() == (kind == "texture")
    assert ("within 2 standard deviations" in ran.out) == (kind == "texture")
    measured = command("explain", root / kind, "--out", out, "--real", root / "set" / "train", "--target", "normal")
    assert measured.status == 0, measured.err
    found = json.loads((out / "model.json").read_text())
    assert found["overall"]["profiles"]["normal"]["by"] == "bootstrap"


def test_a_folder_is_taken_with_a_bound(command: Command, root: Path) -> None:
    ran = command("explain", root / "texture", root / "set" / "train", "--target", "normal", "--most", 3)
    assert ran.status == 0, ran.err
    total = len(list((root / "set" / "train").rglob("*.png")))
    assert ran.out.count(" against real normal: IUS ") == 3
    assert f"note: 3 of {total} images were explained" in ran.out


def test_formats_of_images(command: Command, root: Path, tmp_path: Path) -> None:
    """Every file holds the same 8-bit pixels, so every IUS is the same."""
    pixels = phantoms.draw("radiograph", "abnormal", 1, size=40, seed=3)[0].reshape(40, 40)
    names = ["a.png", "b.bmp", "c.tif", "d.pgm", "e.gif", "f.webp"]
    for name in names:
        Image.fromarray(pixels).save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    files = [tmp_path / name for name in names] + [dicom(tmp_path / "g.dcm", pixels)]
    ran = command("explain", root / "texture", *files, "--target", "abnormal")
    assert ran.status == 0, ran.err
    scores = [line.rsplit(" ", 1)[1] for line in ran.out.splitlines() if " against real abnormal: IUS " in line]
    assert len(scores) == len(files)
    assert len(set(scores)) == 1


def dicom(path: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Path:
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=["a"])
    dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.SecondaryCaptureImageStorage, "1.2.3"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_archives_and_arrays_are_read(command: Command, root: Path, tmp_path: Path) -> None:
    """The same images as files in a tar and as an array: the same scores."""
    files = image_files(root)[:3]
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for i, file in enumerate(files):
            tar.add(file, f"{i}.png")
    np.save(tmp_path / "a.npy", np.stack([np.asarray(Image.open(file)) for file in files]))
    found = []
    for name in ("s.tar", "a.npy"):
        ran = command("explain", root / "texture", tmp_path / name, "--target", "abnormal")
        assert ran.status == 0, ran.err
        lines = [line for line in ran.out.splitlines() if " against real abnormal: IUS " in line]
        assert all(line.startswith(f"{tmp_path / name}/") for line in lines)
        found.append([line.rsplit(" ", 1)[1] for line in lines])
    assert len(found[0]) == 3
    assert found[0] == found[1]


def test_a_damaged_image_is_named_and_the_others_are_explained(command: Command, root: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    good = image_files(root)[0]
    ran = command(
        "explain", root / "texture", tmp_path / "bad.png", good, "--target", "normal", "--out", tmp_path / "o"
    )
    assert ran.status == 1
    assert f"could not be read: {tmp_path / 'bad.png'}: " in ran.err
    assert f"{good} against real normal: IUS " in ran.out
    assert len(json.loads((tmp_path / "o" / "images.json").read_text())["images"]) == 1


def test_refusals_are_one_line(command: Command, root: Path, tmp_path: Path) -> None:
    file, model = image_files(root)[0], root / "texture"
    said = command("explain", model, file).refusal()
    assert said == "--target: expected the real class to compare the images with, such as --target malignant"
    assert command("explain", model, file, "--target", "x").refusal().startswith("target: no class 'x': the model has")
    assert "no such" in command("explain", model, tmp_path / "none.png", "--target", "normal").refusal().lower()
    assert command("explain", tmp_path / "nothing").refusal()
    said = command("explain", model, file, "--target", "normal", "--generated", root).refusal()
    assert said == "--generated: it needs --real, the real images by which likeness is measured"
    said = command("explain", model, "--generated", root, "--real", root).refusal()
    assert said == "--generated: it is for IMAGES; without any, the model itself is explained: leave it out"
    said = command("explain", model, file, "--target", "normal", "--mask", root).refusal()
    assert said == "--mask: the model was not fitted with masks: leave it out"
    said = command("explain", model, file, "--target", "normal", "--map", "lightness").refusal()
    assert said == "--map: maps are drawn of IMAGES, into the folder --out: give both"
    said = command("explain", model, file, "--target", "normal", "--map", "x", "--out", tmp_path / "o").refusal()
    assert said.startswith("maps: the model has no component or feature 'x'")
    (tmp_path / "f").write_text("")
    assert (
        command("explain", model, "--out", tmp_path / "f")
        .refusal()
        .startswith("--out: expected a folder, got the file")
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.json").write_text("{}")
    said = command("explain", model, "--out", tmp_path / "mine").refusal()
    assert said.endswith("model.json was not written by iuscore: move it away, or give another folder")
    assert (tmp_path / "mine" / "model.json").read_text() == "{}"


def test_a_model_with_masks_measures_the_masked_pixels(command: Command, tmp_path: Path, one_thread: None) -> None:
    phantoms.write(tmp_path / "real", "radiograph", n_per_class=14, size=32)
    for file in (tmp_path / "real").rglob("*.png"):
        mask = np.zeros((32, 32), np.uint8)
        mask[4:28, 6:30] = 255
        target = tmp_path / "masks" / file.relative_to(tmp_path / "real")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(target)
    ran = command("fit", tmp_path / "real", "--out", tmp_path / "m", "--mask", tmp_path / "masks", "--size", 16,
                  "--members", 1, "--epochs", 3, "--classes", "normal,abnormal")  # fmt: skip
    assert ran.status == 0, ran.err
    folder = tmp_path / "real" / "test"
    said = command("explain", tmp_path / "m", folder, "--target", "normal").refusal()
    assert said == "--mask: the model was fitted with masks: give the folder of the masks of the images"
    ran = command("explain", tmp_path / "m", folder, "--target", "normal", "--mask", tmp_path / "masks" / "test",
                  "--out", tmp_path / "o", "--most", 1)  # fmt: skip
    assert ran.status == 0, ran.err
    (each,) = json.loads((tmp_path / "o" / "images.json").read_text())["images"]
    assert each["counted_pixels"] < 16 * 16


def test_help_has_an_example(command: Command) -> None:
    ran = command("explain", "--help")
    assert ran.status == 0
    assert "iuscore explain model scan_1.png scan_2.dcm --target malignant --out why" in ran.out
