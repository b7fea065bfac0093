"""benchmarks/validity on phantoms: its sets, learners, picks and statistics; and that the page shows its results."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from iuscore import phantoms
from tests.project.tree import ROOT

FOLDER = ROOT / "benchmarks" / "validity"
RESULTS = ROOT / "benchmarks" / "results"
MODULES = ("data", "sets", "learners", "analysis", "tables", "scores", "selection", "run")
N = 24

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def validity() -> Iterator[Any]:
    """The modules of the folder; their names are common ones and leave nothing behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        patch.setattr(sys, "path", list(sys.path))
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def task(validity: Any) -> Any:
    def part(seed: int, n: int) -> Any:
        images = [phantoms.draw("endoscopy", label, n, size=32, seed=seed) for label in ("normal", "abnormal")]
        return validity.data.Part(np.concatenate(images), np.repeat([0, 1], n))

    parts = part(0, N), part(1, N + 6), part(2, N)
    return validity.data.Task("phantoms", ("normal", "abnormal"), N, (32, 32), *parts, generated=part(3, N + 6))


@pytest.fixture(scope="module")
def drawn(validity: Any, task: Any) -> dict[str, Any]:
    return {each.name: each.drawn(task) for each in validity.sets.candidates(task)}


def in_pool(task: Any, part: Any) -> Any:
    """Class in the pool of each image of a part; -1 of an image that is not there."""
    known = {image.tobytes(): label for image, label in zip(task.pool.images, task.pool.labels, strict=True)}
    return np.array([known.get(image.tobytes(), -1) for image in part.images])


class TestSets:
    def test_all_have_the_same_number_of_images_of_each_class(self, drawn: dict[str, Any]) -> None:
        assert len(drawn) == 35
        for name, part in drawn.items():
            counts = np.bincount(part.labels)
            assert (counts == (N // 3 if name == "clean-third" else N)).all() or name.startswith("swap"), name
            assert part.images.shape[1:] == (32, 32, 3)

    def test_a_set_does_not_depend_on_the_others(self, validity: Any, task: Any, drawn: dict[str, Any]) -> None:
        last = validity.sets.candidates(task)[-1]
        assert (last.drawn(task).images == drawn[last.name].images).all()

    def test_clean_sets_are_images_of_the_pool_with_their_labels(self, task: Any, drawn: dict[str, Any]) -> None:
        for name in ("clean-a", "clean-b", "clean-third"):
            assert (in_pool(task, drawn[name]) == drawn[name].labels).all()

    def test_a_defect_of_one_class_leaves_the_other_as_it_is(
        self, validity: Any, task: Any, drawn: dict[str, Any]
    ) -> None:
        sided = [each for each in validity.sets.candidates(task) if each.side is not None]
        assert len(sided) == 8
        for each in sided:
            part = drawn[each.name]
            found = in_pool(task, part)
            assert (found[part.labels == each.side] == -1).all()
            assert (found[part.labels != each.side] != -1).all()
            assert each.groups

    @pytest.mark.parametrize("percent", [25, 50, 100])
    def test_the_share_of_exchanged_labels(self, task: Any, drawn: dict[str, Any], percent: int) -> None:
        part = drawn[f"swap-{percent}"]
        assert 100 * (in_pool(task, part) != part.labels).mean() == percent

    def test_shuffled_tiles_keep_all_pixels(self, task: Any, drawn: dict[str, Any]) -> None:
        before = {np.sort(image, axis=None).tobytes() for image in task.pool.images}
        assert {np.sort(image, axis=None).tobytes() for image in drawn["shuffle"].images} <= before
        assert (in_pool(task, drawn["shuffle"]) == -1).all()

    def test_contrast_and_blur_take_away_what_they_say(self, validity: Any, task: Any) -> None:
        images, rng = task.pool.images[:4], np.random.default_rng(0)
        less = validity.sets.contrast(images, rng, factor=0.4)
        assert less.std((1, 2, 3)) == pytest.approx(0.4 * images.std((1, 2, 3)), rel=0.02)
        soft = validity.sets.blur(images, rng, sigma=2.0)
        assert np.abs(np.diff(soft.astype(float), axis=1)).mean() < np.abs(np.diff(images.astype(float), axis=1)).mean()
        gray = np.full((2, 64, 64, 1), 128, np.uint8)
        noisy = validity.sets.noise(gray, rng, sd=20.0).astype(float)
        assert noisy.std() == pytest.approx(20, rel=0.1)
        assert (noisy[:, ::2] == noisy[:, 1::2]).all()  # the grain is a pixel of an image of side 32

    def test_groups_stay_together(self, validity: Any) -> None:
        names = tuple(f"p{i // 3}" for i in range(90))
        whole = validity.data.Part(np.zeros((90, 4, 4, 1), np.uint8), np.arange(90) % 2, names)
        parts = validity.data._by_group(whole, (0.3, 0.4, 0.3), 0)
        groups = [set(part.groups) for part in parts]
        assert [len(each) for each in groups] == [9, 12, 9]
        assert sum(len(part) for part in parts) == 90
        assert not groups[0] & groups[1]


class TestLearners:
    @pytest.mark.parametrize("kind", ["small", "resnet", "trees"])
    def test_they_learn_what_can_be_learned_and_what_is_wrong(self, validity: Any, kind: str) -> None:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 60, (80, 28, 28, 1)).astype(np.uint8)
        labels = np.arange(80) % 2
        images[labels == 1, 8:20, 8:20] += 100
        part, wrong = (validity.data.Part(images, each) for each in (labels, 1 - labels))

        def reached(given: Any) -> float:
            if kind == "trees":
                return float(validity.learners.trees(given, [part], 0)[0])
            return float(validity.learners.Trained(given, 2, kind, 0, steps=20).auroc(part))

        assert reached(part) > 0.98
        assert reached(wrong) < 0.02
        assert reached(part) == reached(part)


class TestStatistics:
    def test_rank_correlations_are_spearmans(self, validity: Any) -> None:
        rng = np.random.default_rng(0)
        scores, useful = rng.integers(0, 6, (5, 30)).astype(float), rng.integers(0, 9, 30).astype(float)
        expected = [spearmanr(row, useful).statistic for row in scores]
        assert validity.analysis.rank_correlations(scores, useful) == pytest.approx(expected)
        assert validity.analysis.rank_correlations(np.ones((1, 30)), useful).tolist() == [0]

    def test_kinds_of_learners_count_alike(self, validity: Any) -> None:
        rows = [
            {"task": "t", "set": "s", "kind": kind, "seed": seed, "auroc": value}
            for kind, seed, value in [("small", 0, 0.8), ("small", 1, 0.6), ("resnet", 0, 0.9), ("trees", 0, 0.5)]
        ]
        assert validity.analysis.usefulness(rows)["t"]["s"] == pytest.approx((0.7 + 0.9 + 0.5) / 3)

    def test_reliability_is_that_of_spearman_and_brown(self, validity: Any) -> None:
        values = {0: [0.5, 0.6, 0.7, 0.8], 1: [0.5, 0.7, 0.6, 0.8]}
        rows = [
            {"task": "t", "set": str(i), "kind": kind, "seed": seed, "auroc": value}
            for seed, some in values.items()
            for i, value in enumerate(some)
            for kind in ("small", "resnet")
        ]
        found = validity.analysis.reliability(rows)["t"]
        assert found["between seeds"] == pytest.approx(0.8)
        assert found["of the mean over seeds"] == pytest.approx(2 * 0.8 / 1.8)
        assert found["between kinds"] == pytest.approx(1)

    def test_intervals_come_from_whole_families(self, validity: Any) -> None:
        """A score that is right between families and wrong within each: resampled sets alone would not vary so."""
        names = [f"{family}{i}" for family in "abcdef" for i in range(3)]
        useful = {"t": {name: ord(name[0]) + 0.1 * int(name[1]) for name in names}}
        scores = {"t": {name: {"right": useful["t"][name], "reversed": -useful["t"][name]} for name in names}}
        ranking = validity.analysis.Ranking(useful, scores, {name: name[0] for name in names})
        drawn = ranking.resampled(50)
        assert drawn[:, 0] == pytest.approx(1)
        assert drawn[:, 1] == pytest.approx(-1)
        assert ranking.first()["right"]["t"] == {"set": "f2", "best": True, "lost": 0.0}
        assert ranking.first()["reversed"]["t"]["lost"] == pytest.approx(5.2)
        alone = validity.analysis.Ranking(useful, scores, {name: name[0] for name in names}, ["a", "c"])
        assert alone.sets["t"] == ["a0", "a1", "a2", "c0", "c1", "c2"]

    def test_picks_are_compared_cell_by_cell(self, validity: Any) -> None:
        reached = {"random": 0.6, "confidence": 0.7, "confidence of networks": 0.65, "value": 0.8}
        rows = [
            {"task": "t", "pool": "faults", "rule": rule, "fraction": fraction, "seed": seed, "auroc": value}
            for rule, value in {**reached, "value and confidence": 0.75}.items()
            for fraction in (0.5, 0.25)
            for seed in (0, 1)
        ]
        rows += [{**rows[0], "rule": "whole", "fraction": 1.0, "auroc": 0.9}]
        found = validity.analysis.selection(rows)["against"]["value less whole"]
        assert found[""]["mean"] == pytest.approx(-0.1)
        assert (found[""]["above"], found[""]["cells"], found["0.5"]["cells"]) == (0, 2, 1)


class TestPicks:
    def test_the_highest_of_each_class(self, validity: Any) -> None:
        order, labels = np.array([5.0, 1.0, 4.0, 3.0, 2.0, 0.0]), np.array([0, 0, 0, 0, 1, 1])
        assert validity.selection.best(order, labels, 0.5).tolist() == [0, 2, 4]

    def test_copies_count_less_in_small_picks_and_contradicted_images_come_last(self, validity: Any) -> None:
        values = SimpleNamespace(
            value=np.array([4.0, 3.0, 2.0, 1.0]),
            copies=np.array([8, 1, 1, 1]),
            contradicted=np.array([False, True, False, False]),
        )
        assert validity.selection.value_order(values, 0.5).argmax() == 0
        assert validity.selection.value_order(values, 0.25).argmax() == 1
        joined = validity.selection.joined_order(values, np.array([0.1, 0.8, 0.9, 0.2]), 0.5)
        assert joined.argmin() == 1
        assert joined.argmax() == 2

    def test_a_pool_of_faults_has_the_declared_shares(self, validity: Any, task: Any) -> None:
        pool = validity.selection.pool_of(task, "faults")
        found = in_pool(task, pool)
        assert np.bincount(pool.labels).tolist() == [N, N]
        assert (found == pool.labels).mean() == pytest.approx(0.4, abs=1 / N)  # rounded to whole images
        assert ((found == 1 - pool.labels) & (found != -1)).mean() == pytest.approx(0.2, abs=1 / N)


def test_a_line_that_was_cut_off_is_done_again(validity: Any, tmp_path: Any) -> None:
    log = validity.run.Log(tmp_path / "rows.jsonl")
    log.add("a", {"x": 1})
    log.add("b", {"x": 2})
    text = log.path.read_text()
    log.path.write_text(text[:-5])
    assert validity.run.Log(log.path).rows == {"a": {"x": 1}}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    names = ("validity", "validity_usefulness", "validity_scores", "validity_selection")
    return {name: json.loads((RESULTS / f"{name}.json").read_text()) for name in names}


def test_the_summary_is_that_of_the_rows(validity: Any, results: dict[str, Any]) -> None:
    summary = results["validity"]
    scores = {(row["task"], row["set"]): row["scores"] for row in results["validity_scores"]["rows"]}
    for task, useful in summary["usefulness"].items():
        for score in ("transfer", "pix5", "confidence", "ius"):
            found = spearmanr([scores[task, name][score] for name in useful], list(useful.values())).statistic
            assert summary["ranking"][score]["tasks"][task] == pytest.approx(found)


def test_the_page_shows_the_tables_of_the_results(validity: Any) -> None:
    page = (ROOT / "docs" / "validity.md").read_text(encoding="utf-8")
    tables = validity.tables.all_tables()
    assert page.count("<!-- table:") >= 8
    assert validity.tables.filled(page, tables) == page
