"""The fields of config.json beside the model: each that is wrong is named in one line; profiles have a hash."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from iuscore import load
from iuscore.errors import UserError
from iuscore.models import Ensemble, ModelRecord, load_model, save_model
from iuscore.models.record import config_sha256, no_hash_note
from tests.fixtures import Command, write_images
from tests.models.test_files import edit, small

PROFILE = {"mean": [0.5, 0.1, 0.2, 0.3], "sd": [0.1] * 4, "low": [0.0] * 4, "high": [0.6] * 4, "n": 9,
           "member_means": [[0.5, 0.1, 0.2, 0.3]] * 2}  # fmt: skip
REACHED = {"n": 9, "mean": 0.5, "quantiles": {"0.05": 0, "0.25": 0.1, "0.5": 0.5, "0.75": 0.6, "0.95": 1},
           "source": "test"}  # fmt: skip
FEATURES = {"n": 9, "mean": [0.5], "sd": [0.0], "nearest": {"25": 0.5}}
RECORD: dict[str, Any] = {
    "members": [{"seed": 0}, {"seed": 1}],
    "profiles": {"paper": {"normal": PROFILE, "polyp": PROFILE}},
    "ceiling": {"paper": {"normal": REACHED, "polyp": {"n": 0, "mean": None, "quantiles": {}}}},
    "floor": {"paper": {"normal": REACHED, "polyp": REACHED}},
    "validation": {"n": 9, "auroc": 0.5, "accuracy": None},
    "test": None,
    "training": {"interrupted": False},
    "data": {"counts": {"train": {"normal": 3}}, "fingerprints": {"train": "ab"}, "warnings": [], "origin": "x"},
    "versions": {"iuscore": "1"},
}


NO_BITS: tuple[Any, ...] = (7, 17, -5, 10**30, True, "12", 12.0, [], {"a": 1})


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return save_model(tmp_path / "whole", Ensemble([small(0), small(1)]), record=ModelRecord.from_json(RECORD))


def set_field(folder: Path, where: str, value: Any) -> None:
    """Change one field, ``...`` removes it, and put the hash right, as a foreign but sound file would have it."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    part = config
    *above, last = where.split("/")
    for key in above:
        part = part[key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    config["config_sha256"] = config_sha256(config)
    path.write_text(json.dumps(config))


DEEP: Any = [1]
for _ in range(400):
    DEEP = [DEEP]


class TestRecord:
    def test_an_unchanged_folder_loads(self, whole: Path) -> None:
        assert load(whole).classes == ("normal", "polyp")

    def test_the_hash_does_not_depend_on_the_order_of_keys(self, whole: Path) -> None:
        """The hash covers everything except itself, also that of the weights, in any order and layout of the JSON."""
        config = json.loads((whole / "config.json").read_text())
        text = json.dumps(
            {k: v for k, v in config.items() if k != "config_sha256"}, sort_keys=True, separators=(",", ":")
        )
        assert config["config_sha256"] == hashlib.sha256(text.encode()).hexdigest()
        (whole / "config.json").write_text(json.dumps(dict(reversed(config.items()))))
        load_model(whole)

    @pytest.mark.parametrize(
        ("where", "value"),
        [
            ("model/classes", ["polyp", "normal"]),
            ("model/map_mean", [0.25] * 4),
            ("profiles/paper/normal/mean", [0.5, 0.1, 0.2, 0.4]),
            ("ceiling/paper/normal/n", 8),
            ("floor/paper/normal/source", "val"),
            ("features", {"normal": FEATURES}),
            ("feature_version", 2),
            ("validation/auroc", 0.75),
            ("training/interrupted", True),
            ("data/bits", 12),
            ("data/origin", "splits of the npz file"),
            ("data/numbers", {"0": "polyp"}),
            ("members", [{"seed": 1}, {"seed": 0}]),
            ("more", 1),
        ],
    )
    def test_a_changed_file_is_refused(self, whole: Path, where: str, value: Any) -> None:
        config = json.loads((whole / "config.json").read_text())
        set_field(whole, where, value)
        edit(whole, config_sha256=config["config_sha256"])
        with pytest.raises(UserError) as caught:
            load_model(whole)
        assert str(caught.value) == (
            f"{whole / 'config.json'}: changed since it was written (its SHA-256 differs); copy the model folder "
            "again, or fit the model again; no value in it can be edited"
        )

    @pytest.mark.parametrize("kept", ["profiles_sha256", None])
    def test_models_of_older_versions_load_without_the_hash(self, whole: Path, kept: str | None) -> None:
        """Version 0.1 has a hash of the weights only; a later version also one of profiles, ceiling, floor and
        features.
        """
        config = json.loads((whole / "config.json").read_text())
        del config["config_sha256"]
        if kept:
            old = {key: config[key] for key in ("profiles", "ceiling", "floor", "features")}
            text = json.dumps(old, sort_keys=True, separators=(",", ":"))
            config[kept] = hashlib.sha256(text.encode()).hexdigest()
        (whole / "config.json").write_text(json.dumps(config))
        scorer = load(whole)
        assert scorer.profiles["normal"].mean == (0.5, 0.1, 0.2, 0.3)
        assert str(no_hash_note(scorer.record)).startswith("the model was made by an older version, which put no hash")
        copy = save_model(whole.parent / "copy", scorer.model, record=scorer.record)
        assert "profiles_sha256" not in json.loads((copy / "config.json").read_text())
        assert no_hash_note(load(copy).record) is None
        if kept:
            config["ceiling"]["paper"]["normal"]["n"] = 8
            (whole / "config.json").write_text(json.dumps(config))
            with pytest.raises(UserError, match="profiles, ceiling, floor, features: changed since they were written"):
                load(whole)

    def test_what_could_not_be_loaded_is_not_saved(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"^model: expected at most 1000 members, got 1001$"):
            save_model(tmp_path / "m", Ensemble([small(0)] * 1001), record=ModelRecord())
        assert not (tmp_path / "m").exists()

    def test_a_run_notes_a_model_without_a_hash(self, command: Command, texture: Path, tmp_path: Path) -> None:
        model = shutil.copytree(texture, tmp_path / "model")
        edit(model, config_sha256=...)
        images = write_images(tmp_path / "images", ["a.png", "b.png"])
        ran = command("score", model, images, "--target", "a", "--out", tmp_path / "out", "--workers", 1)
        assert ran.status == 0
        assert "note: the model was made by an older version, which put no hash over config.json" in ran.out

    @pytest.mark.parametrize(
        ("where", "value", "message"),
        [
            ("profiles", [1], "profiles: expected names with values, got [1]"),
            ("profiles", DEEP, "profiles: expected names with values, got [[[...]]]"),
            ("profiles/other", {}, "profiles: expected paper or evidence, got 'other'"),
            ("profiles/paper/normal", 3, "profiles.paper.normal: expected names with values, got 3"),
            (
                "profiles/paper/normal/sd",
                [0.1, -0.1, 0.1, 0.1],
                "profiles.paper.normal.sd: expected numbers of at least",
            ),
            ("profiles/paper/normal/mean", [1e300] * 4, "normal.mean[0]: expected a finite number, got"),
            (
                "profiles/paper/normal/mean",
                [10**400] * 4,
                "normal.mean[0]: expected a finite number, got",
            ),
            ("profiles/paper/normal/mean", "abcd", "profiles.paper.normal.mean: expected a list, got 'abcd'"),
            (
                "profiles/paper/normal/low",
                [0.7] * 4,
                "normal.low, high: expected both or none, low no higher",
            ),
            (
                "profiles/paper/normal/high",
                None,
                "normal.low, high: expected both or none, low no higher",
            ),
            (
                "profiles/paper/normal/n",
                -1,
                "normal.n: expected a whole number of at least 1 or null, got -1",
            ),
            ("profiles/paper/normal/member_means", [], "member_means: expected one list of numbers per member"),
            ("ceiling/paper/normal", [], "ceiling.paper.normal: expected names with values, got []"),
            (
                "ceiling/paper/normal/quantiles",
                ...,
                "normal.quantiles: expected 0.05, 0.25, 0.5, 0.75, 0.95, got []",
            ),
            (
                "ceiling/paper/normal/quantiles/0.25",
                ...,
                "0.95, got ['0.05', '0.5'",
            ),
            ("floor/paper/polyp/mean", None, "floor.paper.polyp.mean: is missing"),
            ("floor/paper/polyp/mean", "0.5", "floor.paper.polyp.mean: expected a finite number, got '0.5'"),
            ("floor/paper/polyp/n", True, "floor.paper.polyp.n: expected a whole number of at least 0, got True"),
            ("features", {"normal": FEATURES | {"sd": [-1]}}, "features.normal.sd[0]: expected a number of at least 0"),
            ("features", {"normal": FEATURES | {"mean": [1e300]}}, "normal.mean[0]: expected a finite number"),
            (
                "features",
                {"normal": FEATURES | {"nearest": {"x": 1}}},
                "nearest: expected a whole number of at least 2, got",
            ),
            ("features", {"normal": {}}, "features.normal.n: is missing"),
            *[
                (
                    "features",
                    {"normal": FEATURES | {"nearest": {n: 1}}},
                    "nearest: expected a whole number of at least 2, got",
                )
                for n in ("0", "1", "-1", "025", "25.0", "\u0665\u0665", "9" * 10)
            ],
            (
                "features",
                {"normal": FEATURES | {"n": 1}},
                "normal.n: expected a whole number of at least 2, got 1",
            ),
            ("ceiling/paper/normal/quantiles/0.9", 1, "ceiling.paper.normal.quantiles: expected 0.05, 0.25, 0.5"),
            ("floor/paper/normal/quantiles/0.05", 9, "floor.paper.normal.quantiles: expected numbers that do not fall"),
            *[("data/bits", bits, "data.bits: expected a whole number from 8 to 16 or null, got ") for bits in NO_BITS],
            ("data/numbers", {"0": "other"}, "data.numbers.0: expected a class of the model, got 'other'"),
            ("data/numbers", {"zero": "normal"}, "data.numbers: expected whole numbers with classes, got 'zero'"),
            ("data/numbers", {"0": 5}, "data.numbers.0: expected text, got 5"),
            ("data/numbers", ["normal"], "data.numbers: expected names with values, got ['normal']"),
            (
                "data/known_images",
                {"n": -1, "marks": ""},
                "known_images.n: expected a whole number of at least 0, got -1",
            ),
            ("data/known_images", {"n": 1, "marks": 5}, "data.known_images.marks: expected text, got 5"),
            ("data/known_images", [1], "data.known_images: expected names with values, got [1]"),
            ("validation", 0.5, "validation: expected names with values, got 0.5"),
            ("validation/auroc", 1.5, "validation.auroc: expected a number from 0 to 1 or null, got 1.5"),
            ("training", "sgd", "training: expected names with values, got 'sgd'"),
            ("training/interrupted", "no", "training.interrupted: expected true or false, got 'no'"),
            ("data/fingerprints", {"train": 3}, "data.fingerprints.train: expected text, got 3"),
            ("data/counts", {"train": 3}, "data.counts.train: expected names with values, got 3"),
            ("data/warnings", "none", "data.warnings: expected a list, got 'none'"),
            ("versions", ["1"], "versions: expected names with values, got ['1']"),
            ("members", [1, 2], "members[0]: expected names with values, got 1"),
            ("members", [{}] * 20_000, "members: expected at most 1000, got 20000"),
            ("model/size", [10**12, 8], "size: expected (height, width), each at most 16384"),
            ("model/size", "16", "size: expected (height, width)"),
            ("model/hidden_units", 10**400, "hidden_units: expected at most 65536, got a number of about 400 digits"),
            ("model/color", ["color"], "color: expected one of"),
            ("model/classes", DEEP, "classes: expected at least two class names"),
            ("model/classes", 3, "classes: expected at least two class names, got 3"),
            ("model/map_mean", [1e300] * 4, "map_mean: expected 4 numbers, got [1e+300"),
            ("model/map_mean", None, "map_mean: expected 4 numbers, got None"),
            ("kind", "x" * 9999, "unknown kind 'xxx"),
            ("format", DEEP, "format: expected 1 or 2, got [[[...]]]"),
        ],
    )
    def test_one_line_that_names_the_field(self, whole: Path, where: str, value: Any, message: str) -> None:
        set_field(whole, where, value)
        with pytest.raises(UserError) as caught:
            load(whole)
        text = str(caught.value)
        assert message in text
        assert "\n" not in text
        assert len(text) < 600

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b'{"format": 1, "kind": "epu", "format": 1}', 'not JSON ("format" comes twice)'),
            (b'{"format": 1, "model": {"size": 1, "size": 2}}', 'not JSON ("size" comes twice)'),
            (b"[" * 100_000, "not JSON (nested too deeply)"),
            (b'{"format": ' + b"9" * 5000 + b"}", "not JSON ("),
            (b'{"format": 1e999}', "format: expected 1 or 2, got inf"),
        ],
    )
    def test_damaged_json_is_named(self, whole: Path, content: bytes, message: str) -> None:
        (whole / "config.json").write_bytes(content)
        with pytest.raises(UserError) as caught:
            load_model(whole)
        assert message in str(caught.value)
