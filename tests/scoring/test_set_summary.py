"""The record of a scored set: what is written can be read, of this version and of earlier ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import iuscore
from iuscore.engine import score_source
from iuscore.errors import UserError
from iuscore.scoring import SetSummary
from tests.fixtures import class_folders

# Of version 0.1.0, cut down to one component and one change.
OLDEST: dict[str, Any] = {
    "images": "generated", "n_listed": 3, "n_scored": 2, "n_unreadable": 1, "complete": True, "interrupted": False,
    "targets": {"a": {
        "n": 2,
        "ius": {"mean": 0.5, "low": 0.4, "high": 0.6, "sd": 0.1, "quantiles": {"0.05": 0.4, "0.95": 0.6}},
        "above_ceiling_lower_quartile": 0.5,
        "ceiling": {"n": 4, "mean": 0.7, "quantiles": {"0.25": 0.6}, "source": "test"},
        "floor": None,
        "components": [{"name": "hue", "baseline": 0.1, "contribution": 0.2, "share": 0.5, "shift": None,
                        "difference": 0.1, "low": 0.0, "high": 0.4}],
        "first": "hue", "most_shifted": None, "matters_most": "hue", "toward_other": -0.1,
        "changes": [{"name": "hue", "moved": 2.0, "feature": "hue mean", "shift": -2.5}],
        "most_changed": "hue", "outside": 2.0, "far_outside": True, "nearest": 0.9,
    }},
    "warnings": {}, "errors": {"empty file (0 bytes)": 1}, "notes": ["one note"],
    "model": {"kind": "texture", "weights_sha256": "0" * 64, "members": 3, "classes": ["a", "b"],
              "components": ["hue"], "space": "paper", "precision": "exact", "color": "color", "size": [128, 96]},
    "decoder": "pillow 11", "versions": {"iuscore": "0.1.0"}, "seconds": 1.5, "images_per_second": None,
}  # fmt: skip


def changed(path: str, value: Any) -> dict[str, Any]:
    """The oldest record with another value at a path such as ``targets.a.n``."""
    record: dict[str, Any] = json.loads(json.dumps(OLDEST))
    *above, last = path.split(".")
    place = record
    for name in above:
        place = place[name]
    place[last] = value
    return record


@pytest.fixture
def run_folder(texture: Path, tmp_path: Path) -> Path:
    images = class_folders(tmp_path / "images", "ab", n=4, channels=1, size=20, seed=1)
    (images / "a/broken.png").write_bytes(b"")
    score_source(iuscore.load(texture), images, tmp_path / "out")
    return tmp_path / "out"


def test_what_is_written_can_be_read(run_folder: Path) -> None:
    written = json.loads((run_folder / "summary.json").read_text())
    found = SetSummary.read(run_folder)
    assert written["format"] == SetSummary.FORMAT
    assert found.to_json() == written
    assert SetSummary.read(run_folder / "summary.json") == found
    assert (found.n_listed, found.n_done, sorted(found.targets)) == (9, 9, ["a", "b"])
    assert [bad.uid for bad in found.first_unreadable] == ["a/broken.png"]
    assert found.targets["a"].changes is not None
    assert found.mean_over_classes is not None


def test_a_run_returns_what_it_writes(texture: Path, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", "a", n=6, channels=1, size=20, seed=1)
    run = score_source(iuscore.load(texture), images, tmp_path / "out", target="a")
    assert SetSummary.read(run.summary_path) == run.summary


def test_files_of_the_first_version_are_read() -> None:
    found = SetSummary.from_json(OLDEST)
    target = found.targets["a"]
    assert (found.format, found.n_to_try_again, found.model.size) == (1, 0, (128, 96))
    assert (target.read_first, target.distance_from_real, target.out_of_distribution, target.diversity) == (
        OLDEST["targets"]["a"]["first"], 2.0, True, 0.9,
    )  # fmt: skip
    assert target.ceiling is not None
    assert (target.ius.high, target.ceiling.mean, target.floor, target.doubtful) == (0.6, 0.7, None, False)
    assert target.changes is not None
    assert (target.changes[0].shift, target.changes[0].noise) == (-2.5, 0.0)


def test_a_newer_format_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"^format: 9 is newer than 3, .* upgrade iuscore$"):
        SetSummary.from_json(OLDEST | {"format": 9, "targets": "something else"})


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("n_listed", "3", "n_listed: expected a whole number, got '3'"),
        ("n_scored", 2.5, "n_scored: expected a whole number, got 2.5"),
        ("n_scored", True, "n_scored: expected a whole number, got True"),
        ("targets", [], "targets: expected names with values, got []"),
        ("targets.a.n", None, "targets.a.n: expected a whole number, got null"),
        ("targets.a.ius", {"mean": "x"}, "targets.a.ius.mean: expected a number or null, got 'x'"),
        ("targets.a.ceiling.mean", "high", "targets.a.ceiling.mean: expected a finite number, got 'high'"),
        ("targets.a.components", [1], "targets.a.components[0]: expected names with values, got 1"),
        ("model.size", [128], "model.size: expected a list or null, got [128]"),
        ("notes", "one note", "notes: expected a list, got 'one note'"),
        ("errors", {"empty": "1"}, "errors.empty: expected a whole number, got '1'"),
    ],
)
def test_the_field_is_named(path: str, value: Any, field: str) -> None:
    with pytest.raises(UserError) as caught:
        SetSummary.from_json(changed(path, value))
    assert str(caught.value).startswith(field)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["images", "n_listed", "targets", "model", "notes"])
def test_a_missing_field_is_named(key: str) -> None:
    with pytest.raises(UserError, match=f"^{key}: is missing$"):
        SetSummary.from_json({name: value for name, value in OLDEST.items() if name != key})


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_what_is_no_record_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match=r"^expected names with values, got "):
        SetSummary.from_json(value)


def test_files_without_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(.*\); give the --out folder of a run"):
        SetSummary.read(tmp_path)
    for content in (b"", b"{", b'{"n": NaN}', b'{"a": 1, "a": 2}', b"[" * 100_000):
        (tmp_path / "summary.json").write_bytes(content)
        with pytest.raises(UserError, match="no JSON"):
            SetSummary.read(tmp_path)


def test_numbers_that_are_not_finite_are_none() -> None:
    found = SetSummary.from_json(OLDEST)
    broken = SetSummary.from_json(changed("targets.a.ius.mean", float("nan")))
    assert broken.to_json()["targets"]["a"]["ius"]["mean"] is None
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["targets"]["a"]["ius"]["mean"] == 0.5
