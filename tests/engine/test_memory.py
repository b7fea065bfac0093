"""Memory of a run is bounded by bytes, whatever the batch size, the images, their classes or the texts they cause."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import iuscore
from iuscore.engine import batches as engine_batches
from iuscore.engine import score_source, summary
from iuscore.engine.parts import PartFeatures
from iuscore.engine.run import open_run
from iuscore.engine.texts import LONGEST, MAX_TEXTS, OTHERS, TextCounts
from iuscore.errors import UserError
from iuscore.images import Sample, map_ahead, open_shards
from iuscore.images import batches as image_batches
from tests.fixtures import write_images

SIZE = 40
BYTES = 3 * SIZE * SIZE


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", [f"{c}/{i}.png" for c in "ab" for i in range(9)], size=SIZE, channels=3)


def parts(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "scores.parquet").iterdir())}


class TestBatches:
    @pytest.mark.parametrize("threads", [0, 3])
    @pytest.mark.parametrize("most", [1, 3 * BYTES, 3 * BYTES + 1])
    def test_a_batch_ends_at_a_number_of_bytes(
        self, texture: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, most: int
    ) -> None:
        monkeypatch.setattr(image_batches, "BATCH_BYTES", most)
        scorer, source = iuscore.load(texture), open_shards(images)
        run = open_run(scorer, source, tmp_path / "o", target="a", batch_size=5, shard_size=18)
        found = [len(batch.samples) for batch in engine_batches.batches(source, run.settings, [0], threads)]
        each = min(5, -(-most // BYTES))  # up to the image that reaches them
        assert found == [each] * (18 // each) + ([18 % each] if 18 % each else [])

    def test_the_inputs_of_the_model_count_as_bytes_of_a_batch(
        self, texture: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Small images become large inputs: 28 x 28 pixels are 262 kB of maps."""
        scorer, source = iuscore.load(texture), open_shards(images)
        run = open_run(scorer, source, tmp_path / "o", target="a", batch_size=64, shard_size=18)
        monkeypatch.setattr(image_batches, "BATCH_BYTES", 6 * BYTES)
        batches = engine_batches.batches(source, run.settings, [0], 0, input_bytes=BYTES)
        found = [len(batch.samples) for batch in batches]
        assert found == [3] * 6

    def test_rows_do_not_depend_on_the_bytes_of_a_batch(
        self, fitted: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (images / "a/4.png").write_bytes(b"no image")
        scorer = iuscore.load(fitted)
        score_source(scorer, images, tmp_path / "whole", shard_size=10)
        monkeypatch.setattr(image_batches, "BATCH_BYTES", 2 * BYTES)
        monkeypatch.setattr(engine_batches, "AHEAD_PIXELS", SIZE * SIZE - 1)  # all of them are large
        score_source(scorer, images, tmp_path / "bounded", shard_size=10, batch_size=65536)
        assert parts(tmp_path / "bounded") == parts(tmp_path / "whole")

    def test_large_images_are_decoded_one_at_a_time(
        self, texture: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine_batches, "AHEAD_PIXELS", SIZE * SIZE - 1)
        reading: list[str] = []
        read = engine_batches.read_item

        def counted(item: Any, most: int, bits: int | None) -> Sample:
            sample = read(item, most, bits)
            if sample.pixels is not None:
                reading.append(threading.current_thread().name)
            return sample

        monkeypatch.setattr(engine_batches, "read_item", counted)
        scorer, source = iuscore.load(texture), open_shards(images)
        run = open_run(scorer, source, tmp_path / "o", target="a", shard_size=18)
        found = [sample for batch in engine_batches.batches(source, run.settings, [0], 3) for sample in batch.samples]
        assert [sample.error for sample in found] == [None] * 18
        assert set(reading) == {threading.current_thread().name}

    def test_an_image_that_is_too_large_says_so(self, texture: Path, images: Path, tmp_path: Path) -> None:
        source = open_shards(images, max_pixels=SIZE * SIZE - 1)
        run = open_run(iuscore.load(texture), source, tmp_path / "o", target="a", shard_size=18)
        (batch,) = engine_batches.batches(source, run.settings, [0], 3)
        assert set(batch.errors) == {f"too large: {SIZE} x {SIZE}, more than {SIZE * SIZE - 1} pixels"}


class TestAhead:
    def test_threads_prefetch_up_to_a_number_of_bytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(image_batches, "BATCH_BYTES", 4000)
        begun: list[int] = []

        def read(i: int) -> Sample:
            begun.append(i)
            return Sample(str(i), np.zeros((1000, 1, 1), np.uint8), None, None, 1, 1000, (), None)

        ahead = map_ahead(read, range(60), 2, 50)
        assert next(ahead).uid == "0"
        for taken in range(1, 6):
            time.sleep(0.05)  # gives the threads time to run ahead
            assert len(begun) <= taken + 4 + 2  # handed out, waiting, and one per thread that passed at the same time
            assert next(ahead).uid == str(taken)
        assert [sample.uid for sample in ahead] == [str(i) for i in range(6, 60)]

    def test_an_image_larger_than_the_prefetch_limit_is_no_deadlock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(image_batches, "BATCH_BYTES", 1)

        def read(i: int) -> Sample:
            time.sleep(0.02 if i % 3 == 0 else 0)
            return Sample(str(i), np.zeros((9, 9, 1), np.uint8), None, None, 9, 9, (), None)

        assert [s.uid for s in map_ahead(read, range(30), 4, 20)] == [str(i) for i in range(30)]
        early = map_ahead(read, range(30), 4, 20)
        next(early)
        early.close()  # threads that wait at the gate end
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("iuscore-decode")]


PEAK = """
import json, resource, sys
import iuscore
from iuscore.engine import score_source
def score(model, images, out):
    return score_source(iuscore.load(model), images, out, target="a", batch_size=64, shard_size=64)
model, few, many, out = sys.argv[1:]
score(model, few, out + "/o_few")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert score(model, many, out + "/o_many").summary.n_scored == 24
print(json.dumps([before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_peak_of_large_images(texture: Path, tmp_path: Path) -> None:
    """24 images of 48 MB take at most the memory of 8; without the bound, all 24 would be in one batch."""
    Image.new("RGB", (4000, 4000), 9).save(tmp_path / "x.png", compress_level=1)
    for name, n in (("few", 8), ("many", 24)):
        (tmp_path / name).mkdir()
        for i in range(n):
            os.link(tmp_path / "x.png", tmp_path / name / f"{i:02d}.png")
    command = [sys.executable, "-c", PEAK, texture, tmp_path / "few", tmp_path / "many", tmp_path]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    assert after - before < 4 * 48 * 1024  # KiB: four images of sixteen; how far threads are ahead depends on chance


class TestFeatures:
    """The more classes, the fewer images of each are kept."""

    def features(self, n: int, width: int, start: int = 0) -> PartFeatures:
        rows = np.repeat(np.arange(start, start + n, dtype=np.float32)[:, None], width, axis=1)
        return PartFeatures(n, rows.sum(axis=0, dtype=np.float64), rows)

    def test_features_are_kept_at_equal_distances(self) -> None:
        target = summary._Target()
        for start in range(0, 1000, 7):
            target.add_features(self.features(min(7, 1000 - start), 2, start))
            target.thin(100)
        assert target.n_features == 1000
        mean = target.feature_mean
        assert mean is not None
        assert mean.tolist() == [999 / 2] * 2
        kept = np.concatenate(target.kept)[:, 0]
        assert 50 <= len(kept) <= 100
        assert len(set(np.diff(kept))) == 1  # at one distance
        assert kept[0] == 0

    def test_the_limit_on_features_holds_for_all_classes_together(
        self, texture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scorer = iuscore.load(texture)
        width = len(scorer.model.features)
        images = write_images(tmp_path / "images", [f"{c}/{i}.png" for c in "ab" for i in range(60)], channels=3)
        score_source(scorer, images, tmp_path / "o", shard_size=10, value=False)
        run = open_run(scorer, open_shards(images, labeled=True), tmp_path / "o", target="from-folder")
        from iuscore.engine.parts import finished

        monkeypatch.setattr(summary, "KEPT_BYTES", 2 * 50 * 4 * width)  # 50 images of each of two classes
        found = summary.SummaryBuilder(scorer, tmp_path / "o").add_all(finished(tmp_path / "o", run.settings.run, 12))
        assert {name: target.n_features for name, target in found.targets.items()} == {"a": 60, "b": 60}
        assert all(25 <= target.n_kept <= 50 for target in found.targets.values())
        assert summary._diversity(scorer, "a", found.targets["a"].feature_sample) is None  # real: fewer than 25


class TestTexts:
    def test_texts_that_differ_by_numbers_are_counted_together(self) -> None:
        counts = TextCounts(always=["constant image"])
        counts.add(f"float values from {i} to {2 * i} lie outside [0, 1]" for i in range(5000))
        counts.add(f"stored as a link to /data/x{i}.png: pack the archive again" for i in range(500))
        counts.add(["empty file (0 bytes)"] * 3)
        assert counts.to_json() == {
            "float values from ... to ... lie outside [..., ...]": 5000,
            "stored as a link to ... pack the archive again": 500,
            "empty file (0 bytes)": 3,
        }

    def test_the_number_of_texts_is_limited(self) -> None:
        counts = TextCounts(always=["constant image"])
        letters = [f"{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}" for i in range(2000)]
        counts.add(letters)
        counts.add(["constant image", "x" * 10_000, letters[0]])
        found = counts.to_json()
        assert len(found) == MAX_TEXTS + 2
        assert sum(found.values()) == counts.total == 2003
        assert found[OTHERS] == 2000 - MAX_TEXTS + 1
        assert (found["constant image"], found[letters[0]], counts["constant image"]) == (1, 2, 1)
        assert max(map(len, found)) <= LONGEST

    def test_a_run_with_an_error_per_file_keeps_one_text(self, fitted: Path, tmp_path: Path) -> None:
        """A text per file would make the summary as long as the table."""
        images = tmp_path / "images"
        images.mkdir()
        for i in range(300):
            Image.fromarray(np.full((4, 4), 70_000 + i, np.int32)).save(images / f"{i}.tif")
        run = score_source(iuscore.load(fitted), images, tmp_path / "o", target="a")
        assert list(run.summary.errors.values()) == [300]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 0}, "batch_size: expected 1 to 65536, got 0"),
        ({"batch_size": 10**9}, "batch_size: expected 1 to 65536, got 1000000000"),
        ({"batch_size": 2.5}, "batch_size: expected 1 to 65536, got 2.5"),
        ({"workers": True}, r"workers: expected 1 to \d+.*, got True"),
        ({"workers": 10**6}, r"workers: expected 1 to \d+.*, got 1000000"),
        ({"shard_size": 0}, "shard_size: expected 1 to 100000, whose rows wait in memory, got 0"),
        ({"shard_size": 10**7}, "shard_size: expected 1 to 100000, whose rows wait in memory, got 10000000"),
    ],
)
def test_absurd_numbers_are_refused_before_the_run(
    texture: Path, images: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=f"^{said}$"):
        score_source(iuscore.load(texture), images, tmp_path / "o", **options)
    assert not (tmp_path / "o").exists()


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("iuscore-decode")]
