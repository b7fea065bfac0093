"""Rows of a run read back one by one are what the table holds."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import iuscore
from iuscore.engine import read_scores
from iuscore.errors import UserError
from tests.fixtures import Command


def test_rows_are_those_of_the_table(command: Command, fitted: Path, images: Path, tmp_path: Path) -> None:
    (images / "a/damaged.png").write_bytes(b"no image")
    done = tmp_path / "with_errors"
    command("score", fitted, images, "--target", "a", "--out", done, "--shard-size", 4)
    table = pq.read_table(done / "scores.parquet").to_pylist()
    found = list(read_scores(done))
    assert [score.uid for score in found] == [row["uid"] for row in table]
    assert any(score.error for score in found)
    for score, row in zip(found, table, strict=True):
        assert (score.ius, score.width, score.error) == (row["ius"], row["width"], row["error"])
        if score.ius is not None:
            assert sum(score.shares.values()) == pytest.approx(score.ius, abs=1e-6)
            assert {f"share_{name}": value for name, value in score.shares.items()} == {
                name: value for name, value in row.items() if name.startswith("share_")
            }
        else:
            assert score.shares == score.contributions == score.probabilities == {}


def test_an_image_of_scores_in_memory(fitted: Path, images: Path, done: Path) -> None:
    scorer = iuscore.load(fitted)
    row = next(score for score in read_scores(done) if score.error is None)
    scores = scorer([images / row.uid], target=row.target)
    assert scores[0].ius == scores[-1].ius == pytest.approx(row.ius, abs=1e-6)
    assert scores[0].shares == pytest.approx(row.shares, abs=1e-6)
    with pytest.raises(IndexError):
        scores[1]


def test_a_folder_without_a_run(command: Command, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run: give the --out folder"):
        list(read_scores(tmp_path))
