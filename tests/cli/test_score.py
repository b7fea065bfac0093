"""`iuscore score`: the table, the summary and the picture; unreadable images; runs that are stopped."""

from __future__ import annotations

import io
import signal
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import iuscore
from iuscore.engine import summary as engine_summary
from iuscore.scoring import Scorer
from tests.fixtures import (
    EXIT_INTERRUPTED,
    TINY,
    Command,
    class_folders,
    record_of,
    rows_of,
    run_apart,
    signal_when_there,
    summary_of,
    write_images,
)

COMPONENTS = ["coarse-fine", "light-dark", "band-i", "band-ii"]
COLUMNS = [
    "uid", "target", "ius", "ius_sd", *(f"contribution_{c}" for c in COMPONENTS), *(f"share_{c}" for c in COMPONENTS),
    "probability_a", "probability_b", "width", "height", "warnings", "error",
]  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine images each of the classes a and b."""
    return class_folders(tmp_path_factory.mktemp("generated") / "images", n=9, seed=5)


def score(command: Command, model: Path, images: Path, out: Path, *options: object) -> list[dict[str, Any]]:
    ran = command("score", model, images, "--out", out, *options)
    assert ran.status == 0, ran.err
    return rows_of(out)


class TestTable:
    def test_columns_order_and_sums(self, command: Command, fitted: Path, images: Path, tmp_path: Path) -> None:
        rows = score(command, fitted, images, tmp_path / "out", "--target", "a", "--batch-size", 4)
        written = sorted(path.name for path in (tmp_path / "out").iterdir())
        assert written == ["plan.jsonl", "run.json", "scores.parquet", "summary.json", "value.json", "views.parquet"]
        assert list(rows[0]) == COLUMNS
        assert [row["uid"] for row in rows] == sorted(f"{c}/{i:02d}.png" for c in "ab" for i in range(9))
        for row in rows:
            assert sum(row[f"share_{c}"] for c in COMPONENTS) == pytest.approx(row["ius"], abs=1e-6)
            assert -1 <= row["ius"] <= 1
            assert row["probability_a"] + row["probability_b"] == pytest.approx(1, abs=1e-6)
            assert (row["target"], row["width"], row["height"]) == ("a", 16, 16)
            assert (row["warnings"], row["error"]) == ("", None)

    def test_the_table_equals_the_scorer(self, command: Command, fitted: Path, images: Path, tmp_path: Path) -> None:
        rows = score(command, fitted, images, tmp_path, "--target", "b", "--space", "evidence")
        pixels = [np.array(Image.open(images / row["uid"])) for row in rows]
        scores = iuscore.load(fitted, space="evidence")(pixels, target="b")
        assert [row["ius"] for row in rows] == pytest.approx(scores.ius.tolist(), abs=1e-6)
        assert scores.ius_sd is not None
        assert [row["ius_sd"] for row in rows] == pytest.approx(scores.ius_sd.tolist(), abs=1e-6)
        found = [[row[f"contribution_{c}"] for c in COMPONENTS] for row in rows]
        np.testing.assert_allclose(found, scores.contributions.numpy(), atol=1e-5)
        assert summary_of(tmp_path)["model"]["space"] == "evidence"

    def test_from_folder_compares_each_image_with_its_own_class(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path
    ) -> None:
        rows = score(command, fitted, images, tmp_path, "--target", "from-folder")
        assert all(row["target"] == row["uid"][0] for row in rows)
        entry = summary_of(tmp_path)["targets"]
        assert (entry["a"]["n"], entry["b"]["n"]) == (9, 9)
        # The same rows as of each class scored alone.
        alone = score(command, fitted, images / "b", tmp_path / "alone", "--target", "b")
        assert [row["ius"] for row in alone] == [row["ius"] for row in rows if row["target"] == "b"]

    def test_one_image_is_a_table_of_one_row(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path
    ) -> None:
        (row,) = score(command, fitted, images / "a/03.png", tmp_path, "--target", "a")
        assert row["uid"] == "03.png"
        assert summary_of(tmp_path)["targets"]["a"]["ius"]["sd"] is None

    def test_an_npz_has_a_row_per_image_of_the_split(self, command: Command, fitted: Path, tmp_path: Path) -> None:
        arrays = {f"{part}_images": np.full((n, 20, 24), 90, np.uint8) for part, n in (("train", 5), ("test", 3))}
        np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]  # the stub takes keywords for allow_pickle
        rows = score(command, fitted, tmp_path / "x.npz", tmp_path / "out", "--target", "a", "--split", "test")
        assert [row["uid"] for row in rows] == [f"test/{i:06d}" for i in range(3)]
        assert len(score(command, fitted, tmp_path / "x.npz", tmp_path / "all", "--target", "a")) == 8

    def test_split_takes_one_part_of_a_folder(self, command: Command, fitted: Path, tmp_path: Path) -> None:
        write_images(tmp_path / "d", [f"{part}/a/{i}.png" for part in ("train", "test") for i in range(2)])
        rows = score(command, fitted, tmp_path / "d", tmp_path / "o", "--target", "from-folder", "--split", "test")
        assert [row["uid"] for row in rows] == ["a/0.png", "a/1.png"]

    def test_three_classes_have_probabilities_that_sum_to_one(self, command: Command, tmp_path: Path) -> None:
        real = class_folders(tmp_path / "real", "abc", n=8)
        assert command("fit", real, "--out", tmp_path / "m", *TINY, "--epochs", 1).status == 0
        rows = score(command, tmp_path / "m", real, tmp_path / "o", "--target", "from-folder", "--plot")
        assert {row["target"] for row in rows} == {"a", "b", "c"}
        assert "ius_sd" not in rows[0]  # a single member has no standard deviation
        assert sum(rows[0][f"probability_{c}"] for c in "abc") == pytest.approx(1, abs=1e-6)
        assert (tmp_path / "o/contributions.png").exists()


class TestSummary:
    def test_the_summary_follows_from_the_rows(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path
    ) -> None:
        rows = score(command, fitted, images / "a", tmp_path, "--target", "a")
        summary, record = summary_of(tmp_path), record_of(fitted)
        ius = np.array([row["ius"] for row in rows])
        entry = summary["targets"]["a"]
        assert entry["n"] == summary["n_listed"] == summary["n_scored"] == 9
        assert entry["ius"]["mean"] == pytest.approx(ius.mean(), abs=1e-6)
        assert entry["ius"]["low"] <= entry["ius"]["mean"] <= entry["ius"]["high"]
        assert entry["ius"]["sd"] == pytest.approx(ius.std(ddof=1), abs=1e-6)
        assert entry["ius"]["quantiles"]["0.25"] == pytest.approx(np.quantile(ius, 0.25), abs=1e-6)
        assert entry["ceiling"] == record["ceiling"]["paper"]["a"]
        quartile = record["ceiling"]["paper"]["a"]["quantiles"]["0.25"]
        assert entry["above_ceiling_lower_quartile"] == pytest.approx((ius >= quartile).mean())
        assert [c["name"] for c in entry["components"]] == COMPONENTS
        for component in entry["components"]:
            mean = np.mean([row[f"contribution_{component['name']}"] for row in rows])
            assert component["contribution"] == pytest.approx(mean, abs=1e-6)
            assert component["low"] <= component["contribution"] <= component["high"]
        assert (summary["n_unreadable"], summary["errors"], summary["interrupted"]) == (0, {}, False)
        assert summary["model"]["weights_sha256"] == record["weights_sha256"]
        assert (summary["model"]["mode"], summary["model"]["members"]) == ("clean", 2)
        assert summary["decoder"].startswith("pillow ")
        assert summary["versions"]["torch"]

    def test_the_same_command_gives_the_same_rows(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path
    ) -> None:
        first = score(command, fitted, images, tmp_path / "1", "--target", "a")
        second = score(command, fitted, images, tmp_path / "1", "--target", "a")
        assert first == second

    def test_degenerate_maps_of_the_published_measure(self, command: Command, tmp_path: Path) -> None:
        rgb = class_folders(tmp_path / "rgb", n=6, channels=3)
        published = (*TINY, "--epochs", 1, "--mode", "published", "--fractions", "0.5,0.5,0")
        assert command("fit", rgb, "--out", tmp_path / "m", *published).status == 0
        gray = class_folders(tmp_path / "gray", n=3)
        ran = command("score", tmp_path / "m", gray, "--target", "a", "--out", tmp_path / "o")
        assert ran.status == 0
        assert "note: 6 of 6 images have a degenerate red-green map" in ran.out
        assert rows_of(tmp_path / "o")[0]["warnings"] == "degenerate map red-green; degenerate map blue-yellow"

    def test_the_printed_lines_name_scores_and_files(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path
    ) -> None:
        ran = command("score", fitted, images, "--target", "a", "--out", tmp_path)
        number = r"-?\d\.\d{3}"
        import re

        assert re.search(rf"^18 images against real a: IUS {number} \[{number}, {number}\]$", ran.out, re.M)
        assert re.search(rf"^  real a: {number} \(ceiling\); other real images: {number} \(floor\)$", ran.out, re.M)
        assert f"written: {tmp_path / 'scores.parquet'}, {tmp_path / 'summary.json'}" in ran.out
        assert ran.said() == []


class TestPicture:
    def test_the_picture_has_bars_in_both_colors(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path
    ) -> None:
        score(command, fitted, images, tmp_path, "--target", "from-folder", "--plot")
        with Image.open(tmp_path / "contributions.png") as picture:
            pixels = np.array(picture.convert("RGB")).astype(int)
        assert pixels.shape[0] > 1200  # two panels
        assert pixels.shape[1] > 900
        for color in ((0x44, 0x77, 0xAA), (0xEE, 0x77, 0x33)):
            bars = (np.abs(pixels - color) < 8).all(axis=2)
            assert bars.sum() > 2000, f"no bars of color {color}"
        assert 0.5 < (pixels > 250).all(axis=2).mean() < 0.99

    def test_dollars_in_a_class_name_are_drawn_as_text(self, command: Command, tmp_path: Path) -> None:
        write_images(tmp_path / "real", [f"{c}/{i}.png" for c in ("a$_$", "b{$}") for i in range(8)])
        assert command("fit", tmp_path / "real", "--out", tmp_path / "m", *TINY, "--epochs", 1).status == 0
        score(command, tmp_path / "m", tmp_path / "real", tmp_path / "o", "--target", "from-folder", "--plot")


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims the given size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image of every unusual but usable type, and one of every unusable type."""
    root = tmp_path_factory.mktemp("zoo")
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    gray, rgb = Image.fromarray(noise[..., 0]), Image.fromarray(noise[..., :3])
    turned = Image.Exif()
    turned[274] = 6
    nan = noise[..., 0].astype(np.float32) / 255
    nan[3, 4] = np.nan
    contents = {
        "alpha.png": encoded(Image.fromarray(noise)),
        "animated.gif": encoded(gray, "GIF", save_all=True, append_images=[gray.transpose(Image.Transpose.ROTATE_180)]),
        "bomb.png": png_claiming(100_000, 100_000),
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "deep.png": encoded(Image.fromarray(noise[..., 0].astype(np.uint16) * 257)),
        "empty.png": b"",
        "exif.jpg": encoded(rgb, "JPEG", exif=turned),
        "float.tif": encoded(Image.fromarray(noise[..., 0].astype(np.float32) / 255), "TIFF"),
        "good.png": encoded(gray),
        "nan.tif": encoded(Image.fromarray(nan), "TIFF"),
        "palette.png": encoded(rgb.quantize(16)),
        "text.png": b"this is no picture\n",
        "truncated.jpg": encoded(rgb, "JPEG")[:400],
        "truncated.png": encoded(rgb)[:300],
    }
    for name, content in contents.items():
        (root / name).write_bytes(content)
    (root / "gone.png").symlink_to(root / "nowhere.png")
    (root / "notes.txt").write_text("not listed")
    return root


BAD = {
    "bomb.png": "too large: 100000 x 100000, more than 178956970 pixels",
    "empty.png": "empty file (0 bytes)",
    "gone.png": "cannot be opened: No such file or directory",
    "nan.tif": "non-finite pixels",
    "text.png": "not an image: no PNG, JPEG, BMP, TIFF, GIF, WebP, PGM/PPM, JPEG 2000 or DICOM data found",
    "truncated.jpg": "truncated: ",
    "truncated.png": "truncated: ",
}
ODD = {
    "alpha.png": "alpha dropped",
    "animated.gif": "first of 2 frames",
    "cmyk.jpg": "converted from CMYK",
    "exif.jpg": "EXIF rotation applied",
    "palette.png": "converted from palette",
}


class TestUnreadable:
    @pytest.mark.parametrize("batch_size", [1, 4, 64])
    def test_the_run_goes_on(self, command: Command, fitted: Path, zoo: Path, tmp_path: Path, batch_size: int) -> None:
        ran = command("score", fitted, zoo, "--target", "a", "--out", tmp_path, "--batch-size", batch_size)
        assert ran.status == 1
        said = "7 of 15 images could not be read, the first of them above: see the column error of the table; 1 for a"
        said += " reason that may be gone"
        assert len(ran.said()) == 6
        assert ran.said()[-1:] == [f"{said}: run the same command again to try them again"]  # gone.png may come back
        rows = {row["uid"]: row for row in rows_of(tmp_path)}
        assert list(rows) == sorted(path.name for path in zoo.iterdir() if path.suffix != ".txt")
        for name, row in rows.items():
            if name in BAD:
                assert row["error"].startswith(BAD[name]), row["error"]
                assert row["ius"] is row["contribution_band-i"] is row["probability_a"] is None
            else:
                assert row["error"] is None
                assert np.isfinite([row["ius"], *(row[f"share_{c}"] for c in COMPONENTS)]).all()
                assert ODD.get(name, "") in row["warnings"]
        assert (rows["exif.jpg"]["width"], rows["exif.jpg"]["height"]) == (20, 30)
        summary = summary_of(tmp_path)
        assert (summary["n_listed"], summary["n_scored"], summary["n_unreadable"]) == (15, 8, 7)
        assert sum(summary["errors"].values()) == 7
        assert summary["warnings"]["alpha dropped"] == 1

    def test_strict_stops_at_the_first_unreadable_image(
        self, command: Command, fitted: Path, zoo: Path, tmp_path: Path
    ) -> None:
        ran = command("score", fitted, zoo, "--target", "a", "--out", tmp_path / "new/out", "--strict")
        assert ran.refusal() == f"bomb.png: {BAD['bomb.png']} (--strict)"
        assert not any((tmp_path / "new/out/scores.parquet").iterdir())

    def test_a_run_without_a_readable_image_has_a_summary(self, command: Command, fitted: Path, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        (tmp_path / "images/empty.png").touch()
        ran = command("score", fitted, tmp_path / "images", "--target", "a", "--out", tmp_path / "o", "--plot")
        assert ran.status == 1
        assert ran.said() == [
            "could not be read: empty.png: empty file (0 bytes)",
            "1 of 1 images could not be read: see the column error of the table",
        ]
        assert summary_of(tmp_path / "o")["targets"] == {}
        assert len(rows_of(tmp_path / "o")) == 1

    def test_exit_status_of_the_process(self, fitted: Path, zoo: Path, tmp_path: Path) -> None:
        ran = run_apart("score", fitted, zoo, "--target", "a", "--out", tmp_path)
        assert ran.status == 1
        assert "Traceback" not in ran.err


class TestStopped:
    """Ctrl-C: shards that are done are kept, the same command goes on."""

    OPTIONS = ("--target", "a", "--workers", 1, "--shard-size", 4, "--batch-size", 2)

    def test_an_interrupted_run_can_be_resumed(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original, calls = Scorer.score_list, []

        def stopping(*args: Any, **options: Any) -> Any:
            calls.append(1)
            if len(calls) == 6:  # in the second half of the third shard
                signal.raise_signal(signal.SIGINT)
            return original(*args, **options)

        monkeypatch.setattr(Scorer, "score_list", stopping)
        ran = command("score", fitted, images, "--out", tmp_path / "o", *self.OPTIONS)
        assert ran.status == EXIT_INTERRUPTED
        assert ran.said()[-1] == "interrupted: 8 of 18 images are done; run the same command again to go on"
        summary = summary_of(tmp_path / "o")
        assert (summary["n_scored"], summary["interrupted"], summary["complete"]) == (8, True, False)
        assert len(rows_of(tmp_path / "o")) == 8
        ran = command("score", fitted, images, "--out", tmp_path / "o", *self.OPTIONS)
        assert ran.status == 0, ran.err
        assert len(calls) == 6 + 5  # no shard was done twice
        whole = score(command, fitted, images, tmp_path / "whole", "--target", "a")
        assert rows_of(tmp_path / "o") == whole
        again = summary_of(tmp_path / "o")
        assert (again["n_scored"], again["interrupted"], again["complete"]) == (18, False, True)
        assert again["targets"] == summary_of(tmp_path / "whole")["targets"]

    def test_an_interruption_before_the_first_batch_can_be_resumed(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stopping(*args: Any, **options: Any) -> Any:
            signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(Scorer, "score_list", stopping)
        ran = command("score", fitted, images, "--target", "a", "--out", tmp_path, "--plot", "--workers", 1)
        assert ran.status == EXIT_INTERRUPTED
        assert ran.said()[-1] == "interrupted: 0 of 18 images are done; run the same command again to go on"
        assert summary_of(tmp_path)["targets"] == {}

    def test_the_summary_is_written_whole_or_not_at_all(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A signal while the summary is made does not leave half a summary."""
        with monkeypatch.context() as patched:
            patched.setattr(engine_summary, "set_notes", lambda *args: signal.raise_signal(signal.SIGINT) or [])
            assert command("score", fitted, images, "--target", "a", "--out", tmp_path).status == EXIT_INTERRUPTED
        assert summary_of(tmp_path)["n_scored"] == len(rows_of(tmp_path)) == 18

    def test_sigint_from_another_process_keeps_the_finished_rows(
        self, fitted: Path, images: Path, tmp_path: Path
    ) -> None:
        marker, out = tmp_path / "there", tmp_path / "out"
        code = f"""
import pathlib, time
from iuscore.scoring import Scorer
score_list, calls = Scorer.score_list, []
def waiting(self, *args, **options):
    calls.append(1)
    if len(calls) == 5:
        pathlib.Path({str(marker)!r}).touch()
        time.sleep(600)
    return score_list(self, *args, **options)
Scorer.score_list = waiting
"""
        ran = signal_when_there(signal.SIGINT, marker, "score", fitted, images, "--out", out, *self.OPTIONS, code=code)
        assert ran.status == EXIT_INTERRUPTED
        assert ran.said()[-1] == "interrupted: 8 of 18 images are done; run the same command again to go on"
        assert "Traceback" not in ran.err
        assert len(rows_of(out)) == 8
