"""`iuscore fit`: warnings about the real images, and notes on the AUROC."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iuscore.cli._fit import auroc_notes
from iuscore.fit import open_splits
from iuscore.fit.findings import ALIKE, Findings, _steps
from iuscore.images import Sample, Source
from iuscore.models.record import DataRecord, Figures, ModelRecord
from tests.fixtures import TINY, Command, Ran, class_folders, record_of


def fit(command: Command, images: Path, out: Path, *options: object) -> Ran:
    ran = command("fit", images, "--out", out, *TINY, "--epochs", 1, *options)
    assert ran.status == 0, ran.err
    return ran


def masks_beside(root: Path, jpeg: bool = False) -> Path:
    """Per class ten images and ten masks, one of them all black, in the layout of the BUSI ultrasound images."""
    class_folders(root, n=10, size=32)
    for path in sorted(root.rglob("*.png")):
        path = path.rename(path.with_name(f"{path.parent.name} ({int(path.stem)}).png"))
        mask = np.zeros((32, 32), np.uint8)
        if not path.stem.endswith("(3)"):
            mask[5:20, 8:25] = 255
        Image.fromarray(mask).save(path.with_name(f"{path.stem}_mask.{'jpg' if jpeg else 'png'}"), quality=90)
    return root


class TestFindings:
    @pytest.mark.parametrize("jpeg", [False, True])
    def test_masks_beside_images_are_a_warning(self, command: Command, tmp_path: Path, jpeg: bool) -> None:
        real = masks_beside(tmp_path / "r", jpeg)
        line = (
            "20 of 40 images are named as masks (20 of at most two values), such as {} and {}: "
            "--exclude '*_mask*' leaves them out"
        )
        ran = fit(command, real, tmp_path / "m")
        (said,) = [each for each in ran.said() if "masks" in each]
        head, tail = line.split("{} and {}")
        assert said.startswith(f"warning: {head}")
        assert said.endswith(tail)
        record = record_of(tmp_path / "m")
        assert f"warning: {record['data']['warnings'][0]}" == said
        assert sum(n for part in record["data"]["counts"].values() for n in part.values()) == 40
        ran = fit(command, real, tmp_path / "n", "--exclude", "*_mask*")
        assert not any("warning" in each for each in ran.said())
        suffix = "jpg" if jpeg else "png"
        assert ran.said()[0] == (
            f"note: left out by --exclude '*_mask*': 20 of 40 images, such as a/a (0)_mask.{suffix}"
        )
        counts = record_of(tmp_path / "n")["data"]["counts"]
        assert sum(n for part in counts.values() for n in part.values()) == 20

    def test_a_class_of_masks_is_a_warning(self, tmp_path: Path) -> None:
        masks_beside(tmp_path / "r")
        (tmp_path / "r/masks").mkdir()
        for path in (tmp_path / "r").rglob("*_mask.png"):
            path.rename(tmp_path / "r/masks" / path.name)
        assert open_splits(tmp_path / "r").train.classes == ("a", "b", "masks")
        assert open_splits(tmp_path / "r", exclude=["masks/*"]).train.classes == ("a", "b")

    def test_two_values_and_constant_images_are_a_warning(self, command: Command, tmp_path: Path) -> None:
        real = class_folders(tmp_path / "r", n=10, size=32)
        Image.new("L", (32, 32)).save(real / "a/black.png")
        Image.new("RGB", (32, 32), (90, 20, 20)).save(real / "b/red.png")
        Image.fromarray(np.eye(32, dtype=np.uint8) * 200).save(real / "b/eye.png")
        warnings = [line for line in fit(command, real, tmp_path / "m").said() if line.startswith("warning")]
        advice = "--exclude leaves images out by their names"
        assert warnings[:2] == [
            f"warning: 1 of 23 images is of two values, as masks are, such as b/eye.png: {advice}",
            warnings[1],
        ]
        assert warnings[1].startswith("warning: 2 of 23 images are of one color throughout, such as ")
        assert {"a/black.png", "b/red.png"} <= set(warnings[1].replace(":", "").split())
        ran = fit(command, real, tmp_path / "n", "--exclude", "black.png", "--exclude", "b/[re]*")
        assert not [line for line in ran.said() if line.startswith("warning")]

    @pytest.mark.parametrize("spread", [False, True])
    def test_few_colored_images_among_gray_ones_are_a_warning(
        self, command: Command, tmp_path: Path, spread: bool
    ) -> None:
        """A few of 80 images are colored, 64 of which are checked; or only the last ones are colored."""
        real = class_folders(tmp_path / "r", n=40, size=16)
        named = [f"a/{i:02d}.png" for i in range(4 if spread else 2)]
        for name in named:
            pixels = np.array(Image.open(real / name).convert("RGB"))
            pixels[3, 2:9] = (255, 220, 0)
            Image.fromarray(pixels).save(real / name)
        options = () if spread else ("--color", "gray")
        ran = fit(command, real, tmp_path / "m", *options)
        color = record_of(tmp_path / "m")["model"]["color"]
        (line,) = [line for line in ran.said() if "colored" in line]
        if color == "color":
            assert line.startswith("warning: only 4 of 80 images are colored, such as a/")
            assert line.endswith(
                "and so the model looks at color: --color gray looks at gray only, --exclude leaves images out"
            )
        else:
            assert line.startswith(f"warning: {len(named)} of 80 images are colored, such as a/")
            assert line.endswith("this gray model does not see it: --color color does")

    def test_color_that_jpeg_leaves_is_a_warning(self) -> None:
        found = Findings({"train": Source(Path(), [])})
        gray = np.random.default_rng(0).integers(0, 200, (16, 16, 1), dtype=np.uint8)
        tinted = (gray + np.array([0, 3, 1])).astype(np.uint8)
        for i in range(3):
            found.look("train", Sample(f"{i}.jpg", tinted, "a", None, 16, 16, (), None), str(i))
        assert found.lines("color") == [
            "no image has a color of more than 16 of 255 levels, as JPEG leaves it in gray ones: --color gray looks at "
            "gray only"
        ]
        assert found.lines("gray") == []

    def test_identical_files_in_two_parts_are_a_warning(self, command: Command, tmp_path: Path) -> None:
        for seed, part in enumerate(("train", "val")):
            class_folders(tmp_path / "r" / part, n=6, seed=seed)
        shutil.copy(tmp_path / "r/train/a/03.png", tmp_path / "r/val/a/copy.png")
        shutil.copy(tmp_path / "r/train/a/02.png", tmp_path / "r/train/b/other.png")
        warnings = [line for line in fit(command, tmp_path / "r", tmp_path / "m").said() if "identical" in line]
        assert warnings == [
            "warning: train and val share 1 identical image, such as a/03.png and a/copy.png: "
            "--exclude leaves images out by their names",
            "warning: 1 identical image lies in two classes, such as a/02.png and b/other.png: "
            "--exclude leaves images out by their names",
        ]


def picture(rng: np.random.Generator, size: int = 96) -> np.ndarray:
    """A smooth random picture, similar to tissue: noise whose spectrum falls with the square of the frequency."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    spectrum = np.fft.fft2(rng.normal(size=(size, size))) / np.maximum(frequency, 1 / size) ** 1.5
    values = np.fft.ifft2(spectrum).real
    return (40 + 170 * (values - values.min()) / np.ptp(values)).astype(np.uint8)


def as_jpeg(pixels: np.ndarray) -> np.ndarray:
    with io.BytesIO() as stream:
        Image.fromarray(pixels).save(stream, "JPEG", quality=60)
        return np.array(Image.open(stream))


COPIES = {
    "saved as JPEG": as_jpeg,
    "of another size": lambda p: np.array(Image.fromarray(p).resize((64, 64), Image.Resampling.BICUBIC)),
    "brighter": lambda p: (p * 0.8 + 40).astype(np.uint8),
    "noisy": lambda p: (p + np.random.default_rng(1).normal(0, 5, p.shape)).clip(0, 255).astype(np.uint8),
    "the next frame": lambda p: np.roll(p, 1, axis=1),
    "in 16 bits": lambda p: p.astype(np.uint16) * 257,
}


class TestNearDuplicates:
    @pytest.mark.parametrize("change", COPIES)
    def test_copies_are_found(self, change: str) -> None:
        rng = np.random.default_rng(7)
        alike = []
        for _ in range(20):
            pixels = picture(rng)
            alike.append(float(_steps(pixels[..., None]) @ _steps(COPIES[change](pixels)[..., None])))
        assert np.mean(np.array(alike) > ALIKE) > 0.9

    def test_different_pictures_are_no_near_duplicates(self) -> None:
        rng = np.random.default_rng(3)
        steps = np.stack([_steps(picture(rng)[..., None]) for _ in range(150)])
        alike = steps @ steps.T - np.eye(len(steps))
        assert alike.max() < ALIKE

    def test_flat_pictures_are_no_near_duplicates(self) -> None:
        rng = np.random.default_rng(3)
        flat = [np.full((64, 64, 1), 100, np.uint8), rng.integers(99, 102, (64, 64, 1)).astype(np.uint8)]
        for pixels in flat:
            assert not _steps(pixels).any()

    def test_large_pictures_are_thinned_out(self) -> None:
        pixels = picture(np.random.default_rng(5), 1500)
        whole = Image.fromarray(pixels).resize((300, 300), Image.Resampling.BOX)
        assert float(_steps(pixels[..., None]) @ _steps(np.array(whole)[..., None])) > 0.98

    def test_frames_of_a_video_are_said(self, command: Command, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        for c in "ab":
            for video in range(8):
                pixels = picture(rng)
                for frame in range(4):
                    path = tmp_path / f"r/{c}/{c}{video}_frame{frame}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    moved = np.roll(pixels, frame, axis=0) + rng.normal(0, 2, pixels.shape)
                    Image.fromarray(moved.clip(0, 255).astype(np.uint8)).save(path)
        lines = [line for line in fit(command, tmp_path / "r", tmp_path / "m").said() if "nearly like" in line]
        assert lines[0].startswith("warning: ")
        assert " val images look nearly like train images, such as " in lines[0]
        assert lines[0].endswith(
            ": frames of one video or copies make figures too good; --group-by, --groups folder or --groups groups.csv "
            "keeps them in one part"
        )
        ran = fit(command, tmp_path / "r", tmp_path / "n", "--group-by", "^[ab][0-9]")
        assert not [line for line in ran.said() if "nearly like" in line]

    def test_patches_of_different_patients_are_no_near_duplicates(self, shared: Path) -> None:
        """1,698 mammography patches in parts that share no patient: at most two pairs of a million look alike."""
        pytest.importorskip("PIL")
        steps = {}
        for part in ("train", "test"):
            files = sorted((shared / "data/mammography" / f"real_{part}").rglob("*.png"))
            if not files:
                pytest.skip("no mammography patches in shared/data")
            steps[part] = np.stack([_steps(np.array(Image.open(file))[..., None]) for file in files])
        assert int((steps["train"] @ steps["test"].T > ALIKE).sum()) <= 2


def record(auroc: float | None, counts: dict[str, int], part: str = "val") -> ModelRecord:
    figures = {"validation" if part == "val" else "test": Figures(auroc=auroc)}
    return ModelRecord(data=DataRecord(counts={part: counts}), **figures)


class TestWhatTheAurocSays:
    def test_far_below_one_half_a_note_says_that_labels_may_be_swapped(self) -> None:
        (note,) = auroc_notes(record(0.09, {"a": 50, "b": 50}))
        assert note == (
            "validation AUROC 0.090 is below 0.5: the model takes most validation images for another class; the labels "
            "of training and validation images may be swapped (class folders, --classes)"
        )
        (note,) = auroc_notes(record(0.2, {"a": 50, "b": 50}, "test"))
        assert note is not None
        assert "labels of training and test images may be swapped" in note

    def test_near_one_half_a_note_says_that_scores_mean_little(self) -> None:
        for auroc in (0.4, 0.5, 0.59):
            (note,) = auroc_notes(record(auroc, {"a": 50, "b": 50}))
            assert note is not None
            assert f"(validation AUROC {auroc:.3f}, chance is 0.5): its scores mean little" in note
            assert "labels are swapped or shuffled" in note
        assert auroc_notes(record(0.6, {"a": 50, "b": 50})) == []
        assert auroc_notes(record(None, {"a": 50, "b": 0})) == []

    def test_a_note_says_that_few_images_mean_little(self) -> None:
        assert auroc_notes(record(1.0, {"a": 1, "b": 50})) == [
            "validation AUROC 1.000 rests on 1 of a: of so few images it means little"
        ]

    def test_swapped_labels_are_named_on_the_command_line(self, command: Command, tmp_path: Path) -> None:
        class_folders(tmp_path / "t", n=24, size=32)
        class_folders(tmp_path / "v", n=12, size=32, seed=5)
        (tmp_path / "v/a").rename(tmp_path / "v/c")
        (tmp_path / "v/b").rename(tmp_path / "v/a")
        (tmp_path / "v/c").rename(tmp_path / "v/b")
        ran = command("fit", tmp_path / "t", "--val", tmp_path / "v", "--out", tmp_path / "m", "--size", 32,
                      "--epochs", 5, "--members", 1, "--patience", 5)  # fmt: skip
        assert ran.status == 0
        assert record_of(tmp_path / "m")["kind"] == "texture"  # the default kind
        assert "is below 0.5: the model takes most validation images for another class" in ran.out

    def test_twelve_images_are_named_as_too_few(self, command: Command, tmp_path: Path) -> None:
        ran = fit(command, class_folders(tmp_path / "r", n=6), tmp_path / "m")
        assert "note: validation AUROC" in ran.out
        assert "rests on 1 of a and 1 of b: of so few images it means little" in ran.out


def test_quiet_leaves_warnings_and_the_result(command: Command, tmp_path: Path) -> None:
    real = class_folders(tmp_path / "r", n=12)
    Image.new("L", (16, 16)).save(real / "a/black.png")
    ran = fit(command, real, tmp_path / "m", "--quiet")
    assert ran.out.startswith("model written to ")
    (line,) = ran.err.splitlines()
    assert line.startswith("warning: 1 of 25 images is of one color throughout, such as a/black.png: ")


@pytest.mark.parametrize("name", ["fit", "import-reference"])
def test_help_has_an_example(command: Command, name: str) -> None:
    text = command(name, "--help").out
    assert f"  Example:\n    iuscore {name} re" in text
