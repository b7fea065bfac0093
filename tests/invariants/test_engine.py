"""The rows of a run do not depend on batches, workers, ranks and shards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import iuscore
from iuscore.engine import FROM_FOLDER, score_source
from iuscore.ops._blocks import in_blocks
from tests.fixtures import write_images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of several sizes, one of them unreadable."""
    root = tmp_path_factory.mktemp("engine") / "images"
    for size in (16, 24, 40):
        write_images(root, [f"{c}/{size}_{i}.png" for c in "ab" for i in range(9)], size=size, channels=3, seed=size)
    (root / "a/20_broken.png").write_bytes(b"no image")
    return root


def table(out: Path) -> pa.Table:
    return pq.read_table(out / "scores.parquet").replace_schema_metadata(None)


def parts(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "scores.parquet").iterdir())}


@pytest.mark.parametrize("kind", ["epu", "texture"])
def test_batches_workers_and_ranks_change_no_bit(
    kind: str, fitted: Path, texture: Path, images: Path, tmp_path: Path
) -> None:
    model = fitted if kind == "epu" else texture
    scorer = iuscore.load(model)
    threads = torch.get_num_threads()
    found = {}
    for name, batch, n_threads in (("1", 1, 1), ("7", 7, 2), ("64", 64, 1)):
        torch.set_num_threads(n_threads)
        score_source(scorer, images, tmp_path / name, batch_size=batch, shard_size=10)
        found[name] = parts(tmp_path / name)
    torch.set_num_threads(threads)
    for rank in (1, 0, 2):
        score_source(scorer, images, tmp_path / "ranks", batch_size=5, shard_size=10, rank=(rank, 3))
    found["ranks"] = parts(tmp_path / "ranks")
    command = [sys.executable, "-c", "from iuscore.cli import main\nif __name__ == '__main__': main()"]
    options = ["--target", FROM_FOLDER, "--out", tmp_path / "processes", "--workers", "2", "--shard-size", "10"]
    done = subprocess.run([*command, "score", model, images, *options], capture_output=True, text=True, timeout=200)
    assert done.returncode == 1, done.stderr  # one image is unreadable
    found["processes"] = parts(tmp_path / "processes")
    assert len(found["1"]) == 6
    for name, files in found.items():
        assert files == found["1"], name
    summaries = [(tmp_path / name / "summary.json").read_text().splitlines() for name in found]
    for lines in summaries[1:]:
        different = [line for line, first in zip(lines, summaries[0], strict=True) if line != first]
        assert all('"seconds"' in line or '"images_per_second"' in line for line in different), different


def test_shards_of_another_size_have_the_same_rows(fitted: Path, images: Path, tmp_path: Path) -> None:
    scorer = iuscore.load(fitted)
    for size in (1, 13, 1000):
        score_source(scorer, images, tmp_path / str(size), shard_size=size)
    assert table(tmp_path / "1").equals(table(tmp_path / "1000"))
    assert table(tmp_path / "13").equals(table(tmp_path / "1000"))


def test_batches_for_a_device_are_the_same(
    fitted: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code path for a GPU (batches stacked by size, one prefetched), with the CPU under another device name."""
    scorer = iuscore.load(fitted)
    score_source(scorer, images, tmp_path / "cpu", shard_size=10, batch_size=8)
    score_source(scorer, images, tmp_path / "device", shard_size=10, batch_size=8, device="cpu:0")
    assert parts(tmp_path / "device") == parts(tmp_path / "cpu")


@given(n=st.integers(0, 200), at=st.integers(0, 199), width=st.integers(1, 40))
def test_rows_in_blocks_do_not_depend_on_their_place(n: int, at: int, width: int) -> None:
    rows = torch.rand(n, width, generator=torch.Generator().manual_seed(n))

    def function(x: torch.Tensor) -> torch.Tensor:
        return (x.tanh().exp() / x.cosh()).sum(1, keepdim=True).log1p()

    found = in_blocks(function, rows)
    assert found.shape == (n, 1)
    if n:
        alone = in_blocks(function, rows[at % n][None])
        assert torch.equal(found[at % n], alone[0])
        np.testing.assert_allclose(found, function(rows), rtol=1e-6)
