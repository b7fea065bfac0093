"""How well scores rank candidate sets by measured usefulness: rank correlations, family bootstraps, picks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, spearmanr

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]

RESAMPLES = 2000
OWN = ("transfer", "pix4", "pix5")
PUBLISHED = (
    "confidence", "confidence of networks", "ius", "contrast error", "frechet", "frechet by class", "kernel",
    "kernel by class", "energy", "energy by class", "two-sample", "two-sample by class", "discriminative span",
    "precision", "recall", "density", "coverage",
)  # fmt: skip
TRIED = ("rank mean", "transfer of 4 views", "pix with waves", "proxy learner", "rank mean of all")
GENERATORS = ("pca", "gmm", "mixup", "patch-mix", "cdcgan")


def of_whole_seeds(rows: Sequence[Row]) -> list[Row]:
    """Without the rows of seeds that not every set was trained with: the run ended early."""
    sets = {(row["task"], row["set"], row["kind"]) for row in rows if row["kind"] != "trees"}
    trained = {seed: {(r["task"], r["set"], r["kind"]) for r in rows if r["seed"] == seed} for seed in _seeds(rows)}
    whole = {seed for seed, some in trained.items() if sets <= some}
    return [row for row in rows if row["seed"] in whole]


def _seeds(rows: Sequence[Row]) -> list[int]:
    return sorted({row["seed"] for row in rows})


def usefulness(rows: Iterable[Row], test: str = "auroc") -> dict[str, dict[str, float]]:
    """Task -> set -> mean over kinds of learners of the mean over seeds."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for row in rows:
        if row.get(test) is not None:
            found.setdefault(row["task"], {}).setdefault(row["set"], {}).setdefault(row["kind"], []).append(row[test])
    return {
        task: {name: float(np.mean([np.mean(some) for some in kinds.values()])) for name, kinds in sets.items()}
        for task, sets in found.items()
    }


def reliability(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Task -> rank correlation of usefulness with that of other seeds and of other kinds of learners.

    Mean over pairs r of rank correlations between single seeds (mean over the networks), and between single kinds
    (mean over seeds); and what Spearman and Brown expect of the mean of all k: k r / (1 + (k - 1) r).
    """
    found = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == task]
        seeds = [
            [r for r in mine if r["kind"] != "trees" and r["seed"] == s] for s in sorted({r["seed"] for r in mine})
        ]
        kinds = [[r for r in mine if r["kind"] == kind] for kind in sorted({r["kind"] for r in mine})]
        found[task] = {}
        for name, parts in (("seeds", seeds), ("kinds", kinds)):
            columns = [usefulness(part).get(task, {}) for part in parts]
            pairs = [
                _spearman([a[n] for n in a if n in b], [b[n] for n in a if n in b]) for a, b in combinations(columns, 2)
            ]
            if not pairs:  # one seed alone
                continue
            r, k = float(np.mean(pairs)), len(columns)
            found[task] |= {f"between {name}": r, f"of the mean over {name}": k * r / (1 + (k - 1) * r)}
    return found


def with_tried(scores: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, dict[str, float]]]:
    """The scores of each task and set, with those that are ranks among the sets of a task."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for task, sets in scores.items():
        names = list(sets)

        def ranks(score: str, sets: Mapping[str, Mapping[str, float]] = sets, names: list[str] = names) -> Floats:
            return np.asarray(rankdata([sets[name][score] for name in names]), np.float64)

        both = ranks("transfer") + ranks("pix5")
        more = both + ranks("contrast error") + ranks("confidence")
        found[task] = {
            name: {**sets[name], "rank mean": float(both[i]), "rank mean of all": float(more[i])}
            for i, name in enumerate(names)
        }
    return found


def _spearman(a: Sequence[float], b: Sequence[float]) -> float:
    return float(spearmanr(a, b).statistic)


class Ranking:
    """Scores beside usefulness, over tasks.

    Args:
        useful: task -> set -> usefulness. scores: task -> set -> score -> number. families: set -> family.
        only: families that count; None: all.
    """

    def __init__(
        self,
        useful: Mapping[str, Mapping[str, float]],
        scores: Mapping[str, Mapping[str, Mapping[str, float]]],
        families: Mapping[str, str],
        only: Sequence[str] | None = None,
    ) -> None:
        self.tasks = [task for task in useful if task in scores]
        self.sets = {
            task: [n for n in useful[task] if n in scores[task] and (only is None or families[n] in only)]
            for task in self.tasks
        }
        first = scores[self.tasks[0]][self.sets[self.tasks[0]][0]]
        self.names = list(first)
        self.useful = {t: np.array([useful[t][n] for n in self.sets[t]]) for t in self.tasks}
        self.values = {
            t: np.array([[scores[t][n][s] for n in self.sets[t]] for s in self.names]) for t in self.tasks
        }  # fmt: skip
        self.families = {t: np.array([families[n] for n in self.sets[t]]) for t in self.tasks}

    def correlations(self, places: Mapping[str, npt.NDArray[np.int64]] | None = None) -> Floats:
        """[scores, tasks]; of the sets at ``places`` of each task, which may repeat."""
        found = []
        for task in self.tasks:
            chosen = np.arange(len(self.useful[task])) if places is None else places[task]
            found.append(rank_correlations(self.values[task][:, chosen], self.useful[task][chosen]))
        return np.stack(found, axis=1)

    def resampled(self, count: int = RESAMPLES, seed: int = 0) -> Floats:
        """[count, scores]: means over tasks, families drawn with replacement, the same ones in every task."""
        rng = np.random.default_rng(seed)
        names = sorted({str(f) for some in self.families.values() for f in some})
        members = {t: {f: np.flatnonzero(self.families[t] == f) for f in names} for t in self.tasks}
        found = []
        while len(found) < count:
            drawn = rng.choice(names, len(names))
            places = {t: np.concatenate([members[t][f] for f in drawn]) for t in self.tasks}
            if min(len(np.unique(each)) for each in places.values()) < 3:
                continue
            found.append(self.correlations(places).mean(1))
        return np.stack(found)

    def first(self) -> dict[str, dict[str, Any]]:
        """Score -> task -> the set it names first, whether that is the most useful, and what is lost by taking it."""
        found: dict[str, dict[str, Any]] = {}
        for i, score in enumerate(self.names):
            found[score] = {}
            for task in self.tasks:
                chosen, useful = int(self.values[task][i].argmax()), self.useful[task]
                lost = float(useful.max() - useful[chosen])
                found[score][task] = {"set": self.sets[task][chosen], "best": lost == 0, "lost": lost}
        return found


def rank_correlations(scores: Floats, useful: Floats) -> Floats:
    """Spearman's of each row of scores [s, n] with useful [n]; 0 of a row that is constant."""
    a, b = rankdata(scores, axis=1), rankdata(useful)
    a, b = a - a.mean(1, keepdims=True), b - b.mean()
    length = np.sqrt((a**2).sum(1) * (b**2).sum())
    return np.asarray(np.divide(a @ b, length, out=np.zeros(len(a)), where=length > 0), np.float64)


def interval(values: Floats) -> list[float]:
    return [float(end) for end in np.quantile(values, [0.025, 0.975])]


def table(ranking: Ranking) -> dict[str, Row]:
    """Score -> correlation in each task, mean with its interval, and differences of own scores less this one."""
    point, drawn = ranking.correlations(), ranking.resampled()
    at = {name: i for i, name in enumerate(ranking.names)}
    found: dict[str, Row] = {}
    for name, i in at.items():
        row: Row = {
            "tasks": dict(zip(ranking.tasks, point[i].tolist(), strict=True)),
            "mean": float(point[i].mean()),
            "interval": interval(drawn[:, i]),
        }
        for own in (*OWN, *TRIED):
            if own != name and own in at:
                j = at[own]
                row[f"{own} less this"] = {
                    "mean": float((point[j] - point[i]).mean()),
                    "interval": interval(drawn[:, j] - drawn[:, i]),
                    "tasks above": int((point[j] > point[i]).sum()),
                }
        found[name] = row
    return found


def selection(rows: Sequence[Row]) -> dict[str, Any]:
    """Means over seeds of each cell (task, pool, fraction) and rule, and rules against each other over cells."""
    cells: dict[str, dict[str, list[float]]] = {}
    whole: dict[str, list[float]] = {}
    for row in rows:
        place = f"{row['task']}, {row['pool']}"
        if row["rule"] == "whole":
            whole.setdefault(place, []).append(row["auroc"])
        else:
            cells.setdefault(f"{place}, {row['fraction']}", {}).setdefault(row["rule"], []).append(row["auroc"])
    means = {cell: {rule: float(np.mean(some)) for rule, some in rules.items()} for cell, rules in cells.items()}
    for cell, rules in means.items():
        rules["whole"] = float(np.mean(whole[cell.rsplit(", ", 1)[0]]))
    against = {}
    for own in ("value", "value and confidence"):
        for other in ("random", "confidence", "confidence of networks", "whole", "value"):
            if own != other:
                against[f"{own} less {other}"] = {
                    part: _over_cells([r[own] - r[other] for c, r in means.items() if c.endswith(part)])
                    for part in ("", "0.5", "0.25", *sorted({c.split(", ", 1)[1] for c in means}))
                }
    return {"cells": means, "against": against}


def _over_cells(differences: Sequence[float]) -> Row:
    values = np.array(differences)
    if not len(values):
        return {"cells": 0}
    drawn = np.random.default_rng(0).choice(values, (RESAMPLES, len(values))).mean(1)
    return {
        "mean": float(values.mean()), "interval": interval(drawn),
        "above": int((values > 0).sum()), "cells": len(values),
    }  # fmt: skip


def named_faults(rows: Sequence[Row]) -> dict[str, Any]:
    """Sets with a defect in one class: whether the farthest moved group is one of its groups, and the class its own."""
    mine = [row for row in rows if "side" in row]
    listed = [
        {
            "task": row["task"], "set": row["set"], "group": row["group"], "sides": row["sides"],
            "group right": row["group"] in row["groups"], "class right": list(row["sides"]) == [row["side"]],
            "chance": len(set(row["groups"])) / row["n_groups"],
        }
        for row in mine
    ]  # fmt: skip
    return {
        "sets": len(listed),
        "group right": sum(each["group right"] for each in listed),
        "class right": sum(each["class right"] for each in listed),
        "group right by chance": float(np.mean([each["chance"] for each in listed])) if listed else None,
        "each": listed,
    }


def summary(
    trained: Sequence[Row], scored: Sequence[Row], picked: Sequence[Row], about: Mapping[str, Row]
) -> dict[str, Any]:
    """Everything that the page says, from the rows of all stages."""
    reliable = {}
    for task in dict.fromkeys(row["task"] for row in trained):  # more seeds, where a task has them
        reliable |= reliability(of_whole_seeds([row for row in trained if row["task"] == task]))
    trained = of_whole_seeds(trained)
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for row in scored:
        scores.setdefault(row["task"], {})[row["set"]] = row["scores"]
    scores = with_tried(scores)
    families = {row["set"]: row["family"] for row in trained}
    useful = usefulness(trained)
    ranking = Ranking(useful, scores, families)
    off = {
        task: {
            "absolute": float(np.mean([abs(scores[task][n]["pix5"] - useful[task][n]) for n in ranking.sets[task]])),
            "signed": float(np.mean([scores[task][n]["pix5"] - useful[task][n] for n in ranking.sets[task]])),
        }
        for task in ranking.tasks
    }
    shifted = usefulness(trained, "shifted")
    found = {
        "seeds": _seeds(trained),
        "tasks": {
            t: {**about.get(t, {}), "sets": len(ranking.sets[t]), "best": max(useful[t].values())}
            for t in ranking.tasks
        },
        "usefulness": useful,
        "reliability": reliable,
        "ranking": table(ranking),
        "first": ranking.first(),
        "generators alone": table(Ranking(useful, scores, families, GENERATORS)),
        "shifted test": table(Ranking(shifted, scores, families)) if shifted else None,
        "expected AUROC less usefulness": off,
        "faults": named_faults(scored),
    }
    return found | {"selection": selection(picked)} if picked else found
