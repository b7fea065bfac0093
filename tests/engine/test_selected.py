"""A selection from the files of a run: the right images from all its parts, the record, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

import iuscore
from iuscore import UserError
from iuscore.engine import read_selection, score_source, select_images
from iuscore.explain.select import Budget, Pool, Selection, choose, joined_rows, name_digests
from iuscore.explain.value import ReferenceViews
from iuscore.explain.value.judge import Judge
from iuscore.explain.value.reference import CONFIG_NAME, WEIGHTS_NAME
from iuscore.features import FEATURES
from iuscore.images import open_shards, read_item
from tests.fixtures import class_folders, tree
from tests.scored_runs import Images, drawn_images, with_views, write_run

N = 250
AGAIN = "run the same 'iuscore score' again"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def images() -> Images:
    return drawn_images(N)


@pytest.fixture
def run(images: Images, tmp_path: Path) -> Path:
    """Three parts of 100, 100 and 50 images."""
    return write_run(tmp_path / "scores", images)


def picked(run: Path, to: Path, **options: Any) -> list[str]:
    return select_images(run, to, **{"predicted": False, **options}).uids


def of_class(images: Images, k: int) -> np.ndarray[Any, Any]:
    return np.arange(k, N, 2)


def names(images: Images, places: Any) -> list[str]:
    return [images.uids[i] for i in places]


def test_the_highest_values_of_all_parts_are_chosen(images: Images, run: Path, tmp_path: Path) -> None:
    assert images.values is not None
    copies = np.random.default_rng(1).integers(1, 5, N).astype(np.int32)
    images.values["copies"] = copies
    run = write_run(tmp_path / "copied", images)
    value = stats.rankdata(images.values["shapley_texture"]) + stats.rankdata(images.values["shapley_patch"])
    score = np.empty(N)
    for k in (0, 1):
        mine = of_class(images, k)
        score[mine] = (value[mine] - value[mine].mean()) / value[mine].std() - np.log2(copies[mine])
    found = [images.uids.index(uid) for uid in picked(run, tmp_path / "best", count=60)]
    assert len(set(found)) == 60
    for k in (0, 1):  # some have equal ranks
        assert score[found[30 * k :][:30]].tolist() == pytest.approx(-np.sort(-score[of_class(images, k)])[:30])


@pytest.mark.parametrize("policy", ["ius", "confidence"])
def test_the_highest_scores_are_chosen_and_controls_stand_beside(
    images: Images, run: Path, tmp_path: Path, policy: str
) -> None:
    confidence = np.array([images.probabilities[target][i] for i, target in enumerate(images.targets)])
    best = {
        by: [uid for k in (0, 1) for uid in names(images, sorted(of_class(images, k), key=lambda i: -scores[i])[:20])]
        for by, scores in (("ius", images.ius), ("confidence", confidence))
    }
    assert picked(run, tmp_path / "best", count=40, policy=policy) == best[policy]
    lines = {name: (tmp_path / "best" / f"{name}.txt").read_text().splitlines() for name in ("random", "confidence")}
    assert lines["confidence"] == best["confidence"]
    assert len(set(lines["random"])) == 40
    assert sum(uid.startswith("a/") for uid in lines["random"]) == 20
    assert lines["random"] != best[policy]


@pytest.mark.parametrize("policy", ["value", "ius", "diverse", "stratified", "random"])
def test_the_same_call_gives_the_same_files(run: Path, tmp_path: Path, policy: str) -> None:
    first, second = (tmp_path / name for name in ("one", "two"))
    for to in (first, second):
        assert len(picked(run, to, count=30, policy=policy)) == 30
    assert tree(first) == tree(second)


def test_rows_of_all_parts_are_compared(images: Images, run: Path, tmp_path: Path) -> None:
    """The same images as from rows in memory."""
    assert images.views is not None
    assert images.values is not None
    halves = {view: rows.astype(np.float16).astype(np.float32) for view, rows in images.views.items()}
    joined = joined_rows(halves["texture"], halves["patch"])
    digests = name_digests((uid.encode() for uid in images.uids), N)
    pool = Pool(("a", "b"), np.arange(N) % 2, digests, np.ones(N, bool), images.ius, images.ius)
    expected = choose(pool, Budget(count=30), "diverse", seed=4, rows_of=lambda places: joined[places])
    assert picked(run, tmp_path / "best", count=30, policy="diverse", seed=4) == names(images, expected.places)
    path = run / "views.parquet" / "part-000002.parquet"
    table = pq.read_table(path)
    column = table.column("patch").to_pylist()
    column[7] = None
    table = table.set_column(3, "patch", pa.array(column, table.schema.field("patch").type))
    assert table.column_names == pq.read_table(path).column_names
    pq.write_table(table, path)
    with pytest.raises(UserError, match=rf"part-000002\.parquet: patch: an image with a score has no row: {AGAIN}$"):
        picked(run, tmp_path / "two", count=30, policy="diverse")


def test_unreadable_images_are_never_chosen_and_counted(images: Images, tmp_path: Path) -> None:
    bad = set(range(0, N, 5))
    images.errors = ["empty file (0 bytes)" if i in bad else None for i in range(N)]
    ius = images.ius.copy()
    ius[1] = np.nan  # pixels that are not finite
    run = write_run(tmp_path / "scores", replace(images, ius=ius))
    for policy in ("value", "ius", "confidence", "diverse", "stratified", "random"):
        found = select_images(run, tmp_path / policy, fraction=1.0, policy=policy, predicted=False)  # type: ignore[arg-type]
        assert sorted(found.uids) == sorted(names(images, set(range(N)) - bad - {1}))
        counts = [(each.n, each.n_unreadable, each.n_scoreless) for each in found.selection.classes]
        assert counts == [(125, 25, 0), (125, 25, 1)]


def test_images_with_identical_views_are_kept_once(images: Images, tmp_path: Path) -> None:
    assert images.values is not None
    assert images.views is not None
    same = list(range(0, 200, 2))  # of class a, in two parts
    for rows in images.views.values():
        rows[same] = rows[0]
    images.views["thumb"][0] += 1  # differs in one view: no copy
    images.values["copies"][same] = 100
    run = write_run(tmp_path / "scores", images)
    found = select_images(run, tmp_path / "best", per_class={"a": 27}, policy="ius", drop_copies=True, predicted=False)
    (kept,) = {int(uid[2:8]) for uid in found.uids} & set(same[1:])
    assert kept == max(same[1:], key=lambda i: images.ius[i])
    assert found.selection.classes[0].n_identical == 98
    with pytest.raises(UserError, match=r"^28 images of a are wanted, and 27 of 125 can be chosen \(left out: 98 iden"):
        select_images(run, tmp_path / "more", per_class={"a": 28}, policy="ius", drop_copies=True, predicted=False)
    assert not (tmp_path / "more").exists()


def test_the_record_says_what_was_done(run: Path, tmp_path: Path) -> None:
    found = select_images(run, tmp_path / "best", per_class={"b": 3}, seed=7, predicted=False)
    record = read_selection(tmp_path / "best")
    assert record == found.selection
    assert Selection.from_json(json.loads((tmp_path / "best" / "selection.json").read_text())) == record
    assert (record.policy, record.seed, record.budget, record.n_chosen) == ("value", 7, "b=3", 3)
    assert (record.drop_identical, record.drop_contradicted) == (True, False)
    assert record.ties.startswith("of equal images, the one whose random key is smaller")
    assert (record.prediction, record.not_predicted) == (None, "not asked for")
    assert record.notes[0].endswith("nothing that is sure for a half")
    (tmp_path / "best" / "selection.json").write_text('{"format": 99}')
    with pytest.raises(UserError, match="format: 99 is newer than 1"):
        read_selection(tmp_path / "best")
    with pytest.raises(UserError, match=r"nothing/selection\.json: cannot be read"):
        read_selection(tmp_path / "nothing")


def test_rows_of_chosen_images_are_joined_with_their_values(images: Images, run: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "best.parquet"
    chosen = picked(run, tmp_path / "best", count=40, policy="random", parquet=file)
    rows = pq.read_table(file).to_pylist()
    assert [row["uid"] for row in rows] == sorted(chosen, key=lambda uid: int(uid[2:8]))
    assert images.values is not None
    for row in rows:
        i = int(row["uid"][2:8])
        assert row["ius"] == images.ius[i]
        assert row["shapley_patch"] == images.values["shapley_patch"][i]
        assert list(row).count("uid") == 1
    with pytest.raises(UserError, match=r"^parquet: .*best\.parquet is there already, and no file is overwritten"):
        picked(run, tmp_path / "two", count=40, policy="random", parquet=file)


def test_line_breaks_in_names_do_not_make_lines(images: Images, tmp_path: Path) -> None:
    images.uids = [f"{uid}\nx.png" if i == 3 else uid for i, uid in enumerate(images.uids)]
    run = write_run(tmp_path / "scores", images)
    found = select_images(run, tmp_path / "all", fraction=1.0, policy="ius", predicted=False)
    assert len(found.uids) == N
    assert "b/000003.png\\nx.png" in found.uids
    assert any("line breaks" in note for note in found.selection.notes)


class TestRunsThatLackSomething:
    def test_an_old_run_takes_the_policies_that_need_scores_alone(self, images: Images, tmp_path: Path) -> None:
        run = write_run(tmp_path / "scores", replace(images, values=None, views=None))
        for policy in ("ius", "confidence", "stratified", "random"):
            found = select_images(run, tmp_path / policy, count=10, policy=policy)  # type: ignore[arg-type]
            assert found.selection.n_chosen == 10
            assert found.selection.not_predicted.startswith("the run has no views of its images: fit a model with this")
        for policy, noun in (("value", "values"), ("diverse", "views"), ("covariance", "views")):
            said = f"^policy: {policy} needs the {noun} of the images, and .*scores has no {noun}.parquet: fit a model "
            with pytest.raises(UserError, match=said):
                select_images(run, tmp_path / policy, count=10, policy=policy)  # type: ignore[arg-type]
            assert not (tmp_path / policy).exists()
        for option, noun in (("drop_contradicted", "values"), ("drop_copies", "views")):
            with pytest.raises(UserError, match=f"^{option} needs the {noun} of the images"):
                picked(run, tmp_path / "x", count=10, policy="ius", **{option: True})

    def test_an_unfinished_run_is_told(self, run: Path, tmp_path: Path) -> None:
        (run / "scores.parquet" / "part-000001.parquet").unlink()
        found = select_images(run, tmp_path / "best", count=10, policy="ius", predicted=False)
        assert found.selection.notes == (f"the run is not finished: chosen among 150 of 250 images; {AGAIN}",)

    @pytest.mark.parametrize("folder", ["values", "views"])
    def test_missing_and_foreign_parts(self, images: Images, run: Path, tmp_path: Path, folder: str) -> None:
        path = run / f"{folder}.parquet" / "part-000001.parquet"
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(UserError, match=rf"part-000001\.parquet is missing: {AGAIN}$"):
            picked(run, tmp_path / "best", count=10)
        path.write_bytes(content[:-100])
        with pytest.raises(UserError, match=r"part-000001\.parquet is damaged"):
            picked(run, tmp_path / "best", count=10, policy="diverse")
        path.write_bytes((path.parent / "part-000000.parquet").read_bytes())
        with pytest.raises(UserError, match=rf"part-000001\.parquet has other images than the part .*: {AGAIN}$"):
            picked(run, tmp_path / "best", count=10, policy="diverse")
        assert not (tmp_path / "best").exists()

    @pytest.mark.parametrize(
        ("folder", "column", "values"),
        [
            ("scores", "error", None),
            ("scores", "ius", ["high"] * 100),
            ("scores", "target", [3] * 100),
            ("scores", "target", ["a", None] * 50),
            ("values", "copies", ["two"] * 100),
            ("values", "contradicted", None),
            ("values", "shapley_patch", ["much"] * 100),
            ("views", "texture", None),
            ("views", "texture", ["row"] * 100),
            ("views", "uid", None),
        ],
    )
    def test_parts_with_other_columns(
        self, run: Path, tmp_path: Path, folder: str, column: str, values: list[Any] | None
    ) -> None:
        path = run / f"{folder}.parquet" / "part-000001.parquet"
        table = pq.read_table(path)
        metadata, place = table.schema.metadata, table.column_names.index(column)
        table = table.remove_column(place)
        if values is not None:
            table = table.add_column(place, column, pa.array(values))
        pq.write_table(table.replace_schema_metadata(metadata), path)
        with pytest.raises(UserError, match=r"part-000001\.parquet(: expected rows of 16-bit| has (no|other) col)"):
            picked(run, tmp_path / "best", count=10, policy="diverse")

    def test_no_run(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"holds no run: give the --out folder of 'iuscore score'$"):
            picked(tmp_path, tmp_path / "best", count=10)

    def test_a_model_that_is_gone_or_another_one(self, run: Path, fitted: Path, tmp_path: Path) -> None:
        found = select_images(run, tmp_path / "best", count=100)
        assert found.selection.not_predicted.endswith("does not say where its model is: give --model")
        with pytest.raises(UserError, match=f"^{fitted} is another model than the one that scored {run}: give that"):
            select_images(run, tmp_path / "two", count=100, model=fitted)


class TestFilesOfOthers:
    def test_an_earlier_selection_stays_unless_it_may_be_replaced(self, run: Path, tmp_path: Path) -> None:
        to = tmp_path / "best"
        first = picked(run, to, count=10)
        with pytest.raises(UserError, match=f"^{to} already holds selected.txt: use --overwrite or another folder$"):
            picked(run, to, count=12)
        assert (to / "selected.txt").read_text().splitlines() == first
        assert len(picked(run, to, count=12, overwrite=True)) == 12
        assert read_selection(to).n_chosen == 12

    @pytest.mark.parametrize("name", ["selected.txt", "random.txt", "selection.json"])
    def test_files_of_other_programs_stay(self, run: Path, tmp_path: Path, name: str) -> None:
        to = tmp_path / "best"
        to.mkdir()
        (to / name).write_text("{}")
        for overwrite in (False, True):
            with pytest.raises(UserError, match=f"{name} is not of a selection|already holds {name}"):
                picked(run, to, count=10, overwrite=overwrite)
        assert tree(to) == {name: b"{}"}

    def test_nothing_is_written_into_a_file(self, run: Path, tmp_path: Path) -> None:
        (tmp_path / "best").write_text("mine")
        with pytest.raises(UserError, match=r"best is a file: give a folder to write the selection to$"):
            picked(run, tmp_path / "best", count=10)


@pytest.fixture(scope="module")
def with_reference(texture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that keeps its reference."""
    model = shutil.copytree(texture, tmp_path_factory.mktemp("with_reference") / "model")
    real = open_shards(texture.parent / "real")
    items = [item for shard in real.shards(1000) for item in real.items(shard)]
    pixels = [read_item(item).pixels for item in items]
    ReferenceViews.fit(pixels, [item.uid[0] for item in items], ["a", "b"], size=(32, 32)).save(model)  # type: ignore[arg-type]
    return model


@pytest.fixture(scope="module")
def scored(with_reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with values and views."""
    root = tmp_path_factory.mktemp("scored")
    class_folders(root / "images", n=40, channels=3, seed=9)
    score_source(iuscore.load(with_reference), root / "images", root / "scores", shard_size=30)
    return root / "scores"


class TestWithAModel:
    """Images of a bright disk, whose two classes differ by their noise."""

    def test_the_predicted_auroc_is_the_judges(self, scored: Path, with_reference: Path, tmp_path: Path) -> None:
        found = select_images(scored, tmp_path / "best", count=40, policy="ius").selection.prediction
        assert found is not None
        uids = (tmp_path / "best" / "selected.txt").read_text().splitlines()
        reference = ReferenceViews.load(with_reference)
        images = scored.parent / "images"
        source = open_shards(images)
        pixels = {item.uid: read_item(item).pixels for shard in source.shards(99) for item in source.items(shard)}
        rows = reference.embed([pixels[uid] for uid in uids])
        halves = {view: each.astype(np.float16).astype(np.float32) for view, each in rows.items()}
        labels = np.array(["ab".index(uid[0]) for uid in uids])
        judge = Judge(halves, labels, reference.rows, reference.labels, classes=2, features=FEATURES["color"], seed=0,
                      trees=False)  # fmt: skip
        assert found.auroc == pytest.approx(judge.numbers().named["pix4"], abs=1e-9)
        assert [gain.over for gain in found.gains] == ["random", "confidence"]
        assert found.n_images == 20
        assert found.n_real == reference.record.counts

    def test_mislabelled_images_are_worth_less(self, scored: Path, with_reference: Path, tmp_path: Path) -> None:
        """Half of the images of each class are put into the folder of the other one."""
        swapped = tmp_path / "images"
        for k, name in enumerate("ab"):
            (swapped / name).mkdir(parents=True)
            for i in range(40):
                other = "ba"[k] if i % 2 else name
                (swapped / name / f"{i:02d}.png").write_bytes(
                    (scored.parent / "images" / other / f"{i:02d}.png").read_bytes()
                )
        score_source(iuscore.load(with_reference), swapped, tmp_path / "scores", shard_size=30)
        run = tmp_path / "scores"
        wrong = {}
        for policy in ("value", "random"):
            found = select_images(run, tmp_path / policy, fraction=0.5, policy=policy)  # type: ignore[arg-type]
            wrong[policy] = sum(int(uid[2:4]) % 2 for uid in found.uids)
        assert wrong["value"] <= 4 < 12 <= wrong["random"]
        prediction = read_selection(tmp_path / "value").prediction
        assert prediction is not None
        assert prediction.crossed
        assert prediction.gains[0].low > 0.05
        matched = select_images(run, tmp_path / "matched", fraction=0.3, policy="covariance", predicted=False)
        told = sum(row["contradicted"] for row in pq.read_table(run / "values.parquet").to_pylist())
        assert sum(each.n_contradicted for each in matched.selection.classes) == told > 20
        assert sum(int(uid[2:4]) % 2 for uid in matched.uids) <= 2

    def test_one_class_alone_is_not_predicted(self, scored: Path, tmp_path: Path) -> None:
        found = select_images(scored, tmp_path / "best", per_class={"a": 5}).selection
        assert found.not_predicted == "a classifier needs images of each class, and none of b are chosen"

    def test_without_the_reference_nothing_is_predicted(self, fitted: Path, tmp_path: Path) -> None:
        class_folders(tmp_path / "images", n=6, seed=9)
        model = Path(shutil.copytree(fitted, tmp_path / "model"))
        for name in (CONFIG_NAME, WEIGHTS_NAME):
            (model / name).unlink()
        score_source(iuscore.load(model), tmp_path / "images", tmp_path / "scores")
        run = with_views(tmp_path / "scores", _any())
        found = select_images(run, tmp_path / "best", count=4).selection
        assert found.not_predicted.startswith(f"the model in {model} keeps no reference: fit a model with ")
        with pytest.raises(UserError, match="keeps no reference"):
            select_images(run, tmp_path / "two", count=4, policy="covariance")


def _any() -> ReferenceViews:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 1), dtype=np.uint8)
    return ReferenceViews.fit(pixels, [0, 1] * 12, ["a", "b"], size=(32, 32))
