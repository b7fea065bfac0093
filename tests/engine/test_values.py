"""What a run writes beside its scores: the views of its images, and what they are worth beside real ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import iuscore
from iuscore import phantoms
from iuscore.engine import RunValue, reference_of, score_source, values, verify
from iuscore.engine.views import read_views, views_path
from iuscore.errors import UserError
from iuscore.explain.value import ReferenceViews, image_values
from iuscore.explain.value.of_images import values_of_rows
from iuscore.explain.value.reference import CONFIG_NAME, WEIGHTS_NAME
from iuscore.explain.value.views import VIEWS
from iuscore.fit import TextureOptions, TrainingOptions, fit, open_splits
from iuscore.images import open_shards
from tests.fixtures import Command, tree

CLASSES = ("abnormal", "normal")


def drawn(folder: Path, n: int, seed: int) -> Path:
    """Phantoms in a folder for each class."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for i, image in enumerate(phantoms.draw("radiograph", name, n, size=32, seed=seed)):
            Image.fromarray(image[..., 0]).save(folder / name / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("values")
    drawn(root / "real", 30, 0)
    options = TextureOptions(size=(32, 32))
    fit(open_splits(root / "real"), root / "model", model_options=options, training=TrainingOptions(epochs=2))
    return root / "model"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("generated")
    drawn(root / "set", 9, 5)
    (root / "set/normal/broken.png").write_bytes(b"no image")
    return root / "set"


def table_of(out: Path) -> dict[str, list[Any]]:
    paths = sorted((out / values.FOLDER).iterdir())
    found: dict[str, list[Any]] = {}
    for path in paths:
        for name, column in pq.ParquetFile(path).read().to_pydict().items():
            found.setdefault(name, []).extend(column)
    return found


@pytest.fixture
def done(model: Path, generated: Path, tmp_path: Path) -> Path:
    score_source(iuscore.load(model), generated, tmp_path / "out", shard_size=5)
    return tmp_path / "out"


class TestReference:
    def test_fit_keeps_training_and_validation_images(self, model: Path) -> None:
        reference, record = ReferenceViews.load(model), iuscore.load(model).record
        kept = {c: record.data.counts["train"][c] + record.data.counts["val"][c] for c in CLASSES}
        assert dict(zip(reference.record.classes, reference.record.counts, strict=True)) == kept
        assert reference.record.uids is not None
        assert len(set(reference.record.uids)) == sum(kept.values())

    def test_test_images_are_never_kept(self, tmp_path: Path) -> None:
        for part, seed, n in (("train", 0, 20), ("val", 1, 10), ("test", 2, 10)):
            drawn(tmp_path / "real" / part, n, seed)
        fit(open_splits(tmp_path / "real"), tmp_path / "m", model_options=TextureOptions(size=(32, 32)),
            training=TrainingOptions(epochs=1))  # fmt: skip
        assert ReferenceViews.load(tmp_path / "m").record.counts == (30, 30)

    def test_few_images_leave_no_reference_not_even_an_old_one(self, model: Path, tmp_path: Path) -> None:
        drawn(tmp_path / "real", 8, 0)
        shutil.copytree(model, tmp_path / "m")
        fit(open_splits(tmp_path / "real"), tmp_path / "m", model_options=TextureOptions(size=(32, 32)),
            training=TrainingOptions(epochs=1), overwrite=True)  # fmt: skip
        assert not {CONFIG_NAME, WEIGHTS_NAME} & {path.name for path in (tmp_path / "m").iterdir()}
        assert reference_of(iuscore.load(tmp_path / "m")) is None

    def test_a_reference_of_other_classes_is_refused(self, model: Path, generated: Path, tmp_path: Path) -> None:
        shutil.copytree(model, tmp_path / "m")
        record = (tmp_path / "m" / CONFIG_NAME).read_text().replace('"abnormal",', '"other",')
        (tmp_path / "m" / CONFIG_NAME).write_text(record)
        with pytest.raises(UserError, match="expected the classes abnormal, normal, got other, normal"):
            score_source(iuscore.load(tmp_path / "m"), generated, tmp_path / "out")


class TestViews:
    def test_they_are_those_of_the_images(self, model: Path, generated: Path, done: Path) -> None:
        reference = ReferenceViews.load(model)
        names = [sorted(path for path in (generated / c).iterdir() if path.name != "broken.png") for c in CLASSES]
        pixels = [iuscore.images.decode(path).pixels for some in names for path in some]
        expected = reference.embed(pixels, layout="NHWC")
        parts = [read_views(views_path(done, index)) for index in range(4)]
        for view in VIEWS:
            found = np.concatenate([part.rows[view][part.filled] for part in parts])
            assert np.array_equal(found, expected[view].astype(np.float16).astype(np.float32))
        assert sum(int((~part.filled).sum()) for part in parts) == 1

    @pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 64}, {"workers": 2}])
    def test_batches_and_processes_do_not_show(
        self, model: Path, generated: Path, done: Path, tmp_path: Path, options: dict[str, int]
    ) -> None:
        score_source(iuscore.load(model), generated, tmp_path / "again", shard_size=5, **options)
        for folder in ("views.parquet", "values.parquet", "scores.parquet"):
            assert tree(done / folder) == tree(tmp_path / "again" / folder)
        assert (done / "value.json").read_bytes() == (tmp_path / "again/value.json").read_bytes()

    def test_a_part_without_its_views_is_done_again(self, model: Path, generated: Path, done: Path) -> None:
        before = tree(done)
        views_path(done, 1).unlink()
        shutil.copy(views_path(done, 2), views_path(done, 0))  # of another shard
        score_source(iuscore.load(model), generated, done, shard_size=5)
        after = tree(done)
        assert after.keys() == before.keys()
        assert all(after[name] == content for name, content in before.items() if name != "summary.json")

    def test_verify_finds_changed_views(self, model: Path, generated: Path, done: Path) -> None:
        scorer, source = iuscore.load(model), open_shards(generated, labeled=True)
        assert verify(done, scorer, source).problems == ()
        path = views_path(done, 1)
        table = pq.ParquetFile(path).read()
        texture = table.column("texture").to_pylist()
        changed = table.set_column(4, "texture", [[texture[1], *texture[1:]]])
        changed = changed.cast(table.schema)
        pq.write_table(changed, path)
        assert verify(done, scorer, source).problems == (
            "views.parquet/part-000001.parquet has changed since it was written",
        )

    def test_a_damaged_file_is_named(self, done: Path) -> None:
        views_path(done, 0).write_bytes(b"PAR1")
        with pytest.raises(UserError, match=r"part-000000.parquet is damaged .*remove it"):
            read_views(views_path(done, 0))


class TestValues:
    def test_they_are_those_of_the_views(self, model: Path, generated: Path, done: Path) -> None:
        reference = ReferenceViews.load(model)
        parts = [read_views(views_path(done, index)) for index in range(4)]
        rows = {view: np.concatenate([part.rows[view][part.filled] for part in parts]) for view in VIEWS}
        labels = np.repeat([0, 1], 9)
        expected, table = values_of_rows(reference, rows, labels), table_of(done)
        kept = [i for i, uid in enumerate(table["uid"]) if uid != "normal/broken.png"]
        for name, column in (
            ("value", expected.place), ("influence", expected.influence), ("own_share", expected.own_share),
            ("copies", expected.copies), ("contradicted", expected.contradicted), ("nearness", expected.nearness),
            ("influence_lightness", expected.influence_by_group["lightness"]),
        ):  # fmt: skip
            assert np.array([table[name][i] for i in kept]) == pytest.approx(column, rel=1e-6, abs=1e-9), name
        uids = reference.record.uids
        assert uids is not None
        assert [table["nearest_real"][i] for i in kept] == [uids[place] for place in expected.nearest_real]
        broken = table["uid"].index("normal/broken.png")
        assert {table[name][broken] for name in table if name not in ("uid", "target")} == {None}
        assert sorted(expected.place)[0] >= 0
        assert sorted(expected.place)[-1] <= 1

    def test_python_gives_the_same_but_for_the_rounding_of_views(
        self, model: Path, generated: Path, done: Path
    ) -> None:
        reference = ReferenceViews.load(model)
        paths = [path for c in CLASSES for path in sorted((generated / c).iterdir()) if path.name != "broken.png"]
        direct = image_values(
            reference, [iuscore.images.decode(path).pixels for path in paths], [path.parent.name for path in paths],
            layout="NHWC",
        )  # fmt: skip
        found = [x for x in table_of(done)["own_share"] if x is not None]
        assert np.abs(np.array(found) - direct.own_share).max() <= 1 / 14 + 1e-6  # one neighbor of 14 may change

    def test_they_stay_where_nothing_changed_and_are_made_anew_where_an_image_was_mended(
        self, model: Path, generated: Path, done: Path, tmp_path: Path
    ) -> None:
        written = (done / "value.json").stat().st_mtime_ns
        again = score_source(iuscore.load(model), generated, done, shard_size=5)
        assert (done / "value.json").stat().st_mtime_ns == written
        assert again.value == RunValue.read(done)
        (done / "values.parquet/part-000002.parquet").unlink()
        score_source(iuscore.load(model), generated, done, shard_size=5)
        assert (done / "values.parquet/part-000002.parquet").exists()

    def test_without_them(self, model: Path, generated: Path, tmp_path: Path) -> None:
        run = score_source(iuscore.load(model), generated, tmp_path / "out", shard_size=5, value=False)
        assert run.value is None
        assert not {"views.parquet", "values.parquet", "value.json"} & {p.name for p in (tmp_path / "out").iterdir()}
        with pytest.raises(UserError, match="has other views of the images, or none"):
            score_source(iuscore.load(model), generated, tmp_path / "out", shard_size=5)

    def test_images_of_one_class_have_views_and_a_reason(self, model: Path, generated: Path, tmp_path: Path) -> None:
        run = score_source(iuscore.load(model), generated / "abnormal", tmp_path / "out", target="abnormal")
        assert run.value is not None
        assert run.value.value is None
        assert run.value.lines[0].startswith("value: not known: expected at least 2 images of each class, got 0 of")
        assert views_path(tmp_path / "out", 0).exists()

    def test_overwrite_removes_what_a_run_wrote_and_nothing_else(
        self, model: Path, generated: Path, done: Path
    ) -> None:
        (done / "values.parquet/mine.parquet").write_bytes(b"mine")
        score_source(iuscore.load(model), generated, done, value=False, overwrite=True)
        assert [path.name for path in (done / "values.parquet").iterdir()] == ["mine.parquet"]
        assert not (done / "value.json").exists()

    def test_a_file_of_the_user_is_not_replaced(self, model: Path, generated: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/value.json").write_text("{}")
        with pytest.raises(UserError, match=r"value.json is not of a run of iuscore"):
            score_source(iuscore.load(model), generated, tmp_path / "out")

    def test_a_sample_of_a_large_set_has_every_class(
        self, model: Path, generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(values, "SAMPLED", 3)
        run = score_source(iuscore.load(model), generated, tmp_path / "out")
        assert run.value is not None
        assert run.value.value is not None
        assert run.value.n == 18
        assert min(run.value.value.counts) >= 2

    def test_the_command_says_it(self, command: Command, model: Path, generated: Path, tmp_path: Path) -> None:
        options = ("--target", "from-folder", "--out", tmp_path / "out", "--quiet")
        ran = command("score", model, generated, *options)
        lines = [line for line in ran.out.splitlines() if line.startswith("value: ")]
        assert any(line.startswith("value: transfer ") for line in lines)
        ran = command("score", model, generated, *options, "--no-value", "--overwrite")
        assert "value: " not in ran.out

    def test_copies_of_training_images_are_said(
        self, command: Command, model: Path, generated: Path, tmp_path: Path
    ) -> None:
        real = model.parent / "real"
        ran = command("score", model, real, "--target", "from-folder", "--out", tmp_path / "out", "--quiet")
        assert "of the images are near copies of real images that the model was fitted to" in ran.out
        ran = command("score", model, generated, "--target", "from-folder", "--out", tmp_path / "other", "--quiet")
        assert "near copies of real images" not in ran.out

    def test_an_interval_of_few_images_stays_where_scores_lie(self, model: Path, tmp_path: Path) -> None:
        run = score_source(iuscore.load(model), drawn(tmp_path / "few", 6, 77), tmp_path / "out")
        for target in run.summary.targets.values():
            assert target.ius.low is not None
            assert -1 <= target.ius.low <= target.ius.mean <= target.ius.high <= 1  # type: ignore[operator]

    def test_newer_records_are_refused(self, done: Path) -> None:
        text = (done / "value.json").read_text().replace('\n "format": 1\n}', '\n "format": 2\n}')
        (done / "value.json").write_text(text)
        with pytest.raises(UserError, match=r"value.json: .*format"):
            RunValue.read(done)


def test_images_that_are_not_finite_have_no_views(model: Path, tmp_path: Path) -> None:
    batch = np.random.default_rng(0).random((4, 32, 32, 1), dtype=np.float32)
    batch[2, 3, 3] = np.nan
    np.savez(tmp_path / "set.npz", test_images=batch, test_labels=np.array([[0], [0], [1], [1]]))
    score_source(
        iuscore.load(model), tmp_path / "set.npz", tmp_path / "out", class_map={"0": "normal", "1": "abnormal"}
    )
    found = read_views(views_path(tmp_path / "out", 0))
    assert found.filled.tolist() == [True, True, False, True]
