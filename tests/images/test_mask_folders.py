"""Masks on the way from a folder to a score, and what is said where they do not fit."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import iuscore
from iuscore import UserError
from iuscore.engine import score_source
from iuscore.features import border_masks, texture_features
from iuscore.fit import TextureOptions, fit, open_splits
from iuscore.images import MaskedShards, Source, fingerprint, open_shards, open_source, read_item, with_masks
from tests.fixtures import Command, class_folders, record_of, rows_of

SIZE = 24
FEW = ("--model", "texture", "--size", SIZE, "--epochs", 3, "--members", 1)


def write_masks(images: Path, masks: Path, extension: str = ".png") -> Path:
    """A mask for every image: a disk, the same for all."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    disk = Image.fromarray(np.where(x**2 + y**2 < (0.46 * SIZE) ** 2, 255, 0).astype(np.uint8))
    for image in sorted(images.rglob("*.png")):
        path = (masks / image.relative_to(images)).with_suffix(extension)
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.save(path)
    return masks


def noise_outside(images: Path, masks: Path, out: Path, seed: int = 0) -> Path:
    """The images with noise where their masks are 0."""
    rng = np.random.default_rng(seed)
    for image in sorted(images.rglob("*.png")):
        pixels, mask = np.array(Image.open(image)), np.array(Image.open(masks / image.relative_to(images)))
        path = out / image.relative_to(images)
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 256, pixels.shape, dtype=np.uint8)
        Image.fromarray(np.where(mask > 0, pixels, noise)).save(path)
    return out


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("masks") / "real", n=14, size=SIZE)


@pytest.fixture(scope="module")
def masks(real: Path) -> Path:
    return write_masks(real, real.parent / "masks")


@pytest.fixture(scope="module")
def model(real: Path, masks: Path, one_thread: None) -> Path:
    options = TextureOptions(size=(SIZE, SIZE), mask="given")
    return fit(open_splits(real, masks=masks), real.parent / "model", model="texture", model_options=options,
               members=1).folder  # fmt: skip


@pytest.fixture(scope="module")
def bordered(real: Path, one_thread: None) -> Path:
    options = TextureOptions(size=(SIZE, SIZE), mask="border")
    return fit(open_splits(real), real.parent / "bordered", model="texture", model_options=options, members=1).folder


class TestFolders:
    def test_masks_are_found_by_path_and_stem(self, real: Path, tmp_path: Path) -> None:
        write_masks(real, tmp_path, ".bmp")
        (tmp_path / "a/00.bmp").rename(tmp_path / "a/00.PNG")
        shutil.copy(tmp_path / "a/01.bmp", tmp_path / "a/01.png")  # the image's own name comes first
        source = with_masks(open_source(real, labels_from="folder"), tmp_path)
        assert [Path(item.mask.path).name for item in source.items[:3]] == ["00.PNG", "01.png", "02.bmp"]  # type: ignore[union-attr]
        sample = source.read(0)
        assert (sample.error, sample.warnings) == (None, ())
        assert sample.mask is not None
        assert (sample.mask.dtype, sample.mask.shape) == (np.bool_, (SIZE, SIZE))
        np.testing.assert_array_equal(sample.mask, np.array(Image.open(tmp_path / "a/00.PNG")) > 0)

    @pytest.mark.parametrize(
        ("spoil", "error"),
        [
            (Path.unlink, "mask: no mask of this name in the folder of masks"),
            (lambda path: Image.new("L", (SIZE, SIZE + 1), 255).save(path),
             "mask: expected the image's size 24 x 24, got 24 x 25"),
            (lambda path: Image.new("L", (SIZE, SIZE)).save(path), "mask: no pixel counts, all are 0"),
            (lambda path: path.write_bytes(b"no image"), "mask: not an image: "),
            (lambda path: path.write_bytes(b""), "mask: empty file (0 bytes)"),
            (lambda path: (shutil.copy(path, path.with_suffix(".gif")), path.rename(path.with_suffix(".tif"))),
             "mask: several masks of this name in the folder of masks"),
        ],
    )  # fmt: skip
    def test_a_mask_that_does_not_fit_is_an_error_of_its_image(
        self, command: Command, real: Path, masks: Path, model: Path, tmp_path: Path, spoil: Callable[[Path], Any],
        error: str,
    ) -> None:  # fmt: skip
        shutil.copytree(masks, tmp_path / "masks")
        spoil(tmp_path / "masks/b/03.png")
        ran = command("score", model, real, "--target", "from-folder", "--mask", tmp_path / "masks", "--out",
                      tmp_path / "out")  # fmt: skip
        assert ran.status == 1, ran.err
        found = {row["uid"]: row for row in rows_of(tmp_path / "out") if row["error"]}
        assert list(found) == ["b/03.png"]
        assert found["b/03.png"]["error"].startswith(error)
        assert (found["b/03.png"]["width"], found["b/03.png"]["ius"]) == (SIZE, None)

    def test_a_mask_that_leaves_nothing_at_the_models_size(self, real: Path, masks: Path, tmp_path: Path,
                                                          command: Command) -> None:  # fmt: skip
        options = TextureOptions(size=(8, 8), mask="given")
        model = fit(open_splits(real, masks=masks), tmp_path / "m", model="texture", model_options=options, members=1)
        shutil.copytree(masks, tmp_path / "masks")
        narrow = np.zeros((SIZE, SIZE), np.uint8)
        narrow[10:14] = 1
        Image.fromarray(narrow).save(tmp_path / "masks/a/05.png")
        ran = command("score", model.folder, real, "--target", "a", "--mask", tmp_path / "masks", "--out",
                      tmp_path / "out")  # fmt: skip
        assert ran.status == 1
        errors = {row["uid"]: row["error"] for row in rows_of(tmp_path / "out") if row["error"]}
        assert errors == {"a/05.png": "mask: no pixel counts at the model's size, 8 x 8"}
        assert np.isfinite(json.loads((tmp_path / "out/summary.json").read_text())["targets"]["a"]["ius"]["mean"])
        ran = command("fit", real, "--mask", tmp_path / "masks", "--out", tmp_path / "n", "--model", "texture",
                      "--size", 8, "--epochs", 2, "--members", 1)  # fmt: skip
        assert ran.status == 1
        assert "left out: a/05.png: mask: no pixel counts at the model's size, 8 x 8" in ran.err

    def test_many_values_are_said(self, real: Path, masks: Path, tmp_path: Path) -> None:
        shutil.copytree(masks, tmp_path / "masks")
        ramp = np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE)
        Image.fromarray(ramp).save(tmp_path / "masks/a/00.png")
        sample = with_masks(open_source(real), tmp_path / "masks").read(0)
        assert sample.warnings == ("mask of more than two values: all but 0 count",)
        np.testing.assert_array_equal(sample.mask, ramp != 0)

    def test_pixels_outside_may_be_anything(self, tmp_path: Path) -> None:
        """Also not a number."""
        for name, value in (("images", np.nan), ("masks", 0.0)):
            (tmp_path / name).mkdir()
            pixels = np.full((12, 12), 0.5, np.float32)
            pixels[0, 0] = value
            Image.fromarray(pixels).save(tmp_path / name / "1.tif")
        from iuscore.scoring.contributions import unusable

        source = open_source(tmp_path / "images")
        assert unusable(source.read(0)) == "non-finite pixels"
        assert unusable(with_masks(source, tmp_path / "masks").read(0)) is None

    def test_refusals(self, real: Path, masks: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"mask: no folder .*/none: give the folder that holds one mask for every"):
            with_masks(open_source(real), tmp_path / "none")
        inside = shutil.copytree(real, tmp_path / "real") / "masks"
        write_masks(real, inside)
        with pytest.raises(UserError, match=r"mask: .* lies in the folder of the images, .*: give a folder outside"):
            MaskedShards(open_shards(tmp_path / "real"), inside)
        np.save(tmp_path / "images.npy", np.zeros((2, SIZE, SIZE), np.uint8))
        with pytest.raises(UserError, match="mask: only images in a folder can have a folder of masks: unpack"):
            MaskedShards(open_shards(tmp_path / "images.npy"), masks)
        np.savez(tmp_path / "images.npz", train_images=np.zeros((2, SIZE, SIZE), np.uint8), train_labels=[[0], [1]])
        with pytest.raises(UserError, match="mask: only images in a folder can have a folder of masks: unpack"):
            with_masks(open_source(tmp_path / "images.npz"), masks)

    def test_shards_know_their_masks(self, real: Path, masks: Path, tmp_path: Path) -> None:
        shutil.copytree(masks, tmp_path / "masks")

        def signatures() -> list[str]:
            return [s.signature for s in MaskedShards(open_shards(real), tmp_path / "masks").shards(10)]

        before = signatures()
        assert before == signatures()
        assert before != [s.signature for s in open_shards(real).shards(10)]
        (tmp_path / "masks/a/03.png").write_bytes(b"")
        changed = signatures()
        assert [one != other for one, other in zip(before, changed, strict=True)] == [True, False, False]
        (tmp_path / "masks/a/03.png").unlink()
        assert signatures()[0] not in (before[0], changed[0])

    def test_sources_with_masks_can_be_pickled(self, real: Path, masks: Path) -> None:
        source = MaskedShards(open_shards(real), masks)
        (first, *_) = source.shards(50)
        again = pickle.loads(pickle.dumps(source))
        assert [item.mask for item in again.items(first)] == [item.mask for item in source.items(first)]
        assert read_item(next(again.items(first))).mask is not None

    def test_a_fingerprint_knows_the_masks(self, real: Path, masks: Path, tmp_path: Path) -> None:
        def printed(folder: Path) -> str:
            return fingerprint(with_masks(open_source(real), folder))

        shutil.copytree(masks, tmp_path / "masks")
        assert printed(masks) == printed(tmp_path / "masks") != fingerprint(open_source(real))
        Image.new("L", (SIZE, SIZE), 255).save(tmp_path / "masks/a/03.png")
        assert printed(masks) != printed(tmp_path / "masks")


class TestFit:
    def test_border(self, command: Command, real: Path, tmp_path: Path) -> None:
        ran = command("fit", real, "--mask", "border", "--out", tmp_path / "m", *FEW)
        assert ran.status == 0, ran.err
        assert record_of(tmp_path / "m")["model"]["mask"] == "border"
        assert iuscore.load(tmp_path / "m").model.mask == "border"

    def test_dark_images_are_said(self, command: Command, real: Path, tmp_path: Path) -> None:
        shutil.copytree(real, tmp_path / "real")
        for name in ("a/07.png", "b/02.png"):
            Image.new("L", (SIZE, SIZE), 9).save(tmp_path / "real" / name)
        ran = command("fit", tmp_path / "real", "--mask", "border", "--out", tmp_path / "m", *FEW)
        assert ran.status == 0, ran.err
        (line,) = [line for line in ran.said() if "too dark" in line]
        assert line.startswith("warning: too dark to tell their border, all pixels count: 2 images, such as ")

    def test_a_model_fitted_without_masks_has_no_rule(self, command: Command, real: Path, tmp_path: Path) -> None:
        assert command("fit", real, "--out", tmp_path / "m", *FEW).status == 0
        assert "mask" not in record_of(tmp_path / "m")["model"]

    def test_folder(self, command: Command, real: Path, masks: Path, tmp_path: Path) -> None:
        """What is outside of the masks does not change a bit of the model."""
        other = noise_outside(real, masks, tmp_path / "other")
        for images, out in ((real, "m"), (other, "n")):
            ran = command("fit", images, "--mask", masks, "--out", tmp_path / out, *FEW)
            assert ran.status == 0, ran.err
        first, second = record_of(tmp_path / "m"), record_of(tmp_path / "n")
        assert first["model"]["mask"] == "given"
        assert first["weights_sha256"] == second["weights_sha256"]
        assert first["profiles"] == second["profiles"]
        assert first["data"]["fingerprint"] != second["data"]["fingerprint"]

    @pytest.mark.parametrize("apart", [False, True])
    def test_parts(self, real: Path, masks: Path, tmp_path: Path, apart: bool) -> None:
        """Masks lie as the images do; of folders given apart in train, val and test."""
        names = {"train": "train", "valid": "val" if apart else "valid", "test": "test"}
        for name, mask_name in names.items():
            shutil.copytree(real, tmp_path / "real" / name)
            shutil.copytree(masks, tmp_path / "masks" / mask_name)
        root = tmp_path / "real"
        given = {"val": root / "valid", "test": root / "test"} if apart else {}
        splits = open_splits(root / "train" if apart else root, masks=tmp_path / "masks", **given)
        for name, part in splits.parts().items():
            assert isinstance(part, Source)
            folder = "valid" if name == "val" and not apart else name
            assert part.items[0].mask.path == tmp_path / "masks" / folder / "a/00.png"  # type: ignore[union-attr]

    def test_refusals(self, command: Command, real: Path, masks: Path, tmp_path: Path) -> None:
        out = ("--out", tmp_path / "m")
        for mask in ("border", masks):
            said = command("fit", real, *out, "--model", "epu", "--mask", mask).refusal()
            assert said == "--mask belongs to --model texture, not to epu: leave it out, or give --model texture"
        said = command("fit", real, *out, *FEW, "--mask", tmp_path / "none").refusal()
        assert said == f"mask: no folder {tmp_path / 'none'}: give the folder that holds one mask for every image"
        shutil.copytree(masks / "a", tmp_path / "masks/a")
        said = command("fit", real, *out, *FEW, "--mask", tmp_path / "masks").refusal()
        assert said == "no readable train image of class 'b'"
        with pytest.raises(UserError, match=r"mask: expected images that come with masks: open_splits\(..., masks="):
            fit(open_splits(real), tmp_path / "m", model="texture", model_options=TextureOptions(mask="given"))
        with pytest.raises(UserError, match=r"mask: the images come with masks, so expected TextureOptions\(mask='giv"):
            fit(open_splits(real, masks=masks), tmp_path / "m", model="texture")


class TestScore:
    def test_the_rule_is_the_models(self, command: Command, bordered: Path, tmp_path: Path) -> None:
        """Rows are those of Python's scorer and of features measured with the border that is found."""
        rng = np.random.default_rng(4)
        images = rng.integers(60, 200, (5, 40, 30, 1), dtype=np.uint8)
        images[1, :, :8] = images[2, 30:] = images[3] = 5
        (tmp_path / "in").mkdir()
        for i, image in enumerate(images):
            Image.fromarray(image[..., 0]).save(tmp_path / f"in/{i}.png")
        ran = command("score", bordered, tmp_path / "in", "--target", "a", "--out", tmp_path / "out")
        assert ran.status == 0, ran.err
        rows = rows_of(tmp_path / "out")
        assert ["dark image: no border found" in (row["warnings"] or "") for row in rows] == [False] * 3 + [True, False]
        scorer = iuscore.load(bordered)
        scores = scorer(images, target="a")
        assert [row["ius"] for row in rows] == scores.ius.tolist()
        assert [row["ius"] for row in rows] == scorer(images, target="a", mask="border").ius.tolist()
        assert scores.features is not None
        found = texture_features(images, kind="gray", size=(SIZE, SIZE), mask=border_masks(images))
        np.testing.assert_array_equal(scores.features, found)

    def test_pixels_outside_the_mask_change_no_row(
        self, command: Command, real: Path, masks: Path, model: Path, tmp_path: Path
    ) -> None:
        other = noise_outside(real, masks, tmp_path / "other", seed=2)
        for images, out, options in (
            (real, "one", ("--workers", 1)),
            (other, "two", ("--workers", 2, "--batch-size", 3)),
        ):
            ran = command("score", model, images, "--target", "from-folder", "--mask", masks, "--out", tmp_path / out,
                          "--shard-size", 8, *options)  # fmt: skip
            assert ran.status == 0, ran.err
        assert rows_of(tmp_path / "one") == rows_of(tmp_path / "two")
        ran = command("verify", tmp_path / "two")
        assert ran.out.endswith("28 images scored again: largest difference 0\nall is well\n")
        moved = shutil.copytree(masks, tmp_path / "moved")
        assert command("verify", tmp_path / "two", "--mask", moved).out.endswith("all is well\n")
        (moved / "a/00.png").unlink()
        assert "the images have changed since" in command("verify", tmp_path / "two", "--mask", moved).out

    def test_masks_from_python(self, real: Path, masks: Path, model: Path) -> None:
        source = with_masks(open_source(real), masks)
        samples = [source.read(i) for i in range(5)]
        images, given = [s.pixels for s in samples], [s.mask for s in samples]
        scorer = iuscore.load(model)
        scores = scorer(images, target="a", mask=given, layout="NHWC", batch_size=2)  # type: ignore[arg-type]
        whole = scorer(np.stack(images), target="a", mask=np.stack(given), layout="NHWC")  # type: ignore[arg-type]
        assert scores.ius.tolist() == whole.ius.tolist()
        one = scorer(Image.open(real / "a/00.png"), target="a", mask=given[0])
        assert one.ius.tolist() == scores.ius.tolist()[:1]
        (why, *_) = scorer.explain(images, target="a", mask=given, layout="NHWC")  # type: ignore[arg-type]
        assert why.ius == pytest.approx(scores.ius[0].item(), abs=1e-6)
        with pytest.raises(ValueError, match="mask: expected one mask per image, 5, got 4"):
            scorer(images, target="a", mask=given[:4], layout="NHWC")  # type: ignore[arg-type]
        with pytest.raises(UserError, match="mask: the model was fitted with masks: give one per image"):
            scorer(images, target="a", layout="NHWC")  # type: ignore[arg-type]

    def test_a_split_has_its_part_of_the_masks(
        self, command: Command, real: Path, masks: Path, model: Path, tmp_path: Path
    ) -> None:
        for name in ("train", "test"):
            shutil.copytree(real, tmp_path / "real" / name)
        shutil.copytree(masks, tmp_path / "masks/test")
        ran = command("score", model, tmp_path / "real", "--split", "test", "--target", "a", "--out", tmp_path / "out",
                      "--mask", tmp_path / "masks")  # fmt: skip
        assert ran.status == 0, ran.err

    def test_other_masks_are_another_run(
        self, command: Command, real: Path, masks: Path, model: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(masks, tmp_path / "masks")
        again = ("score", model, real, "--target", "a", "--mask", tmp_path / "masks", "--out", tmp_path / "out")
        assert command(*again).status == 0
        (tmp_path / "masks/a/00.png").unlink()
        assert "is of other images, or of images that have changed since then" in command(*again).refusal()

    def test_refusals(
        self, command: Command, real: Path, masks: Path, model: Path, bordered: Path, tmp_path: Path
    ) -> None:
        def said(model: Path, *options: object, images: Path = real) -> str:
            return command("score", model, images, "--target", "a", "--out", tmp_path / "out", *options).refusal()

        assert said(model) == ("mask: the model was fitted with masks: give the folder of those of these images")
        fit(open_splits(real), tmp_path / "plain", model="texture",
            model_options=TextureOptions(size=(SIZE, SIZE)), members=1)  # fmt: skip
        other = "and an image must be measured on the same pixels as the real images: use the rule of this model, or "
        other += "fit another model"
        assert said(bordered, "--mask", "none") == f"--mask none: the model leaves the border out, {other}"
        assert said(model, "--mask", "none") == f"--mask none: the model was fitted with a folder of masks, {other}"
        assert said(model, "--mask", "border") == f"--mask border: the model was fitted with a folder of masks, {other}"
        assert said(tmp_path / "plain", "--mask", "border") == f"--mask border: the model counts all pixels, {other}"
        assert said(bordered, "--mask", masks).startswith("mask: the model finds the border of every image itself, ")
        assert said(tmp_path / "plain", "--mask", masks).startswith("mask: the model, of kind 'texture', was fitted to")
        np.save(tmp_path / "images.npy", np.zeros((2, SIZE, SIZE), np.uint8))
        assert said(model, "--mask", masks, images=tmp_path / "images.npy").startswith(
            "mask: only images in a folder can have a folder of masks: unpack archives and arrays into one first"
        )
        with pytest.raises(UserError, match="mask: the model was fitted with masks: give the folder"):
            score_source(iuscore.load(model), real, tmp_path / "out", target="a")
        for folder, option in ((bordered, "border"), (tmp_path / "plain", "none")):
            ran = command("score", folder, real, "--target", "a", "--out", tmp_path / option, "--mask", option)
            assert ran.status == 0, ran.err
