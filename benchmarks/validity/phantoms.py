"""Phantoms with known defects: is the right group blamed, does the value fall with strength, do intervals cover?

    python benchmarks/validity/phantoms.py        # writes benchmarks/results/validity_phantoms.json

Declared in DECLARATION.md beside this file. Finished draws are lines of a file in the folder --work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from run import PACKAGES, ROOT, Log

sys.path.append(str(ROOT / "benchmarks"))
from iuscore.explain.value import ReferenceViews, set_value
from iuscore.explain.value.judge import moments_of, resamples
from iuscore.explain.value.linear import discriminants, macro_transfer
from iuscore.explain.value.views import VIEWS
from iuscore.phantoms import DEFECT_TARGETS, Defects, Kind, draw

CLASSES = ("normal", "abnormal")
SIDE = 64
N_REAL = 150
N_SET = 100
DRAWS = 20
BLAMED_AT = 0.6
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
BLAMED = {kind: tuple(name for name, target in of.items() if target.groups) for kind, of in DEFECT_TARGETS.items()}

POPULATION = 2000
N_SAMPLE = 150
SIMULATED = 1000
RESAMPLES = 100


def drawn(kind: Kind, n: int, seed: int, only: str | None = None, **dials: float) -> Any:
    """n images of each class; the defects in both classes or in one."""
    defects = {label: Defects(**dials) if only in (None, label) else Defects() for label in CLASSES}
    return np.concatenate([draw(kind, c, n, size=SIDE, seed=seed, defects=defects[c]) for c in CLASSES])


def labels(n: int) -> Any:
    return np.repeat([0, 1], n)


@cache
def reference(kind: Kind, seed: int) -> ReferenceViews:
    return ReferenceViews.fit(drawn(kind, N_REAL, 10_000 + seed), labels(N_REAL), CLASSES, size=(SIDE, SIDE))


def numbers(kind: Kind, seed: int, only: str | None = None, **dials: float) -> dict[str, Any]:
    """Of one set, beside a reference of its own."""
    found = set_value(
        reference(kind, seed),
        drawn(kind, N_SET, seed, only, **dials),
        labels(N_SET),
        resampled=0,
        splits=0,
        trees=False,
    )
    first = found.contrast[0]
    return {"transfer": found.transfer.value, "pix4": found.pix4.value, "group": first.group, "sides": first.sides}


def blamed(log: Log) -> Iterator[tuple[str, dict[str, Any]]]:
    """One class has a defect."""
    for seed in range(DRAWS):
        for kind in get_args(Kind):
            for defect in BLAMED[kind]:
                for only in ("abnormal",) if defect == "lesion_contrast" else CLASSES:
                    key = f"blamed/{kind}/{defect}/{only}/{seed}"
                    if key not in log:
                        row = {"part": "blamed", "kind": kind, "defect": defect, "only": only}
                        yield key, row | numbers(kind, seed, only, **{defect: BLAMED_AT})


def stronger(log: Log) -> Iterator[tuple[str, dict[str, Any]]]:
    """Both classes have a defect of growing strength, on the same scenes."""
    for seed in range(DRAWS):
        for kind in get_args(Kind):
            for defect in DEFECT_TARGETS[kind]:
                key = f"stronger/{kind}/{defect}/{seed}"
                if key not in log:
                    found = [numbers(kind, seed, **{defect: strength}) for strength in STRENGTHS]
                    row: dict[str, Any] = {"part": "stronger", "kind": kind, "defect": defect}
                    yield key, row | {name: [each[name] for each in found] for name in ("transfer", "pix4")}


def covering(log: Log) -> Iterator[tuple[str, dict[str, Any]]]:
    """Intervals of the transfer of one set, from samples of a population of real images, in views fitted elsewhere."""
    if all(f"covering/{i}" in log for i in range(SIMULATED)):
        return
    kind: Kind = "radiograph"
    views = reference(kind, 0)
    rows = views.embed(drawn(kind, N_SET, 0, texture_loss=0.3))
    of_set = {view: discriminants(moments_of(rows[view], labels(N_SET), 2)) for view in VIEWS}
    people = views.embed(drawn(kind, POPULATION, 20_000))
    everyone = labels(POPULATION)

    def transfer(places: Any, weights: Any = None) -> float:
        found = [
            macro_transfer(of_set[v], discriminants(moments_of(people[v][places], everyone[places], 2, weights)))
            for v in VIEWS
        ]
        return float(np.mean(found))

    true = transfer(np.arange(2 * POPULATION))
    for i in range(SIMULATED):
        if f"covering/{i}" in log:
            continue
        rng = np.random.default_rng([i, 7])
        places = np.concatenate([k * POPULATION + rng.permutation(POPULATION)[:N_SAMPLE] for k in (0, 1)])
        here = transfer(places)
        some = resamples(everyone[places], np.arange(len(places)), 2, RESAMPLES, i)
        values = np.array([transfer(places, weights) for weights in some])
        low, high = np.quantile(values, [0.025, 0.975]) - values.mean() + here
        yield f"covering/{i}", {"part": "covering", "true": true, "value": here, "low": float(low), "high": float(high)}


PARTS = {"blamed": blamed, "stronger": stronger, "covering": covering}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of draws."""
    found: dict[str, Any] = {"blamed": {}, "stronger": {}}
    for row in rows:
        if row["part"] == "covering":
            continue
        name = f"{row['kind']}, {row['defect']}" + (f", {row['only']} alone" if "only" in row else "")
        found[row["part"]].setdefault(name, []).append(row)
    for name, some in found["blamed"].items():
        groups = DEFECT_TARGETS[some[0]["kind"]][some[0]["defect"]].groups
        found["blamed"][name] = {
            "draws": len(some),
            "group right": sum(row["group"] in groups for row in some),
            "class right": sum(list(row["sides"]) == [row["only"]] for row in some),
        }
    for name, some in found["stronger"].items():
        found["stronger"][name] = {"draws": len(some)}
        for score in ("transfer", "pix4"):
            falls = [all(a >= b for a, b in pairwise(row[score])) for row in some]
            pairs = [np.mean([a > b for a, b in pairwise(row[score])]) for row in some]
            means = np.mean([row[score] for row in some], axis=0)
            found["stronger"][name][score] = {
                "falls at every step": int(np.sum(falls)),
                "steps that fall": float(np.mean(pairs)),
                "means": means.tolist(),
                "means fall": bool(all(a >= b for a, b in pairwise(means))),
            }
    covers = [row for row in rows if row["part"] == "covering"]
    if covers:
        found["covering"] = {
            "simulated": len(covers),
            "true": covers[0]["true"],
            "mean of values": float(np.mean([row["value"] for row in covers])),
            "covered": float(np.mean([row["low"] <= row["true"] <= row["high"] for row in covers])),
            "covered, true as the mean of values": float(
                np.mean([row["low"] <= np.mean([r["value"] for r in covers]) <= row["high"] for row in covers])
            ),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "validity", help="folder of finished rows")
    parser.add_argument("--part", choices=[*PARTS, "summary"], action="append", help="may be repeated; all without it")
    given = parser.parse_args()
    torch.set_num_threads(1)
    log = Log(given.work / "phantoms.jsonl")
    for name in given.part or PARTS:
        for key, row in PARTS[name](log) if name in PARTS else ():
            log.add(key, row)
            if not key.startswith("covering"):
                print(key, flush=True)
    if given.part and "summary" not in given.part:
        return
    from _harness import save

    rows = list(log.rows.values())
    content = {"benchmark": "validity: phantoms", **summary(rows)}
    print(save("validity_phantoms", content, PACKAGES))


if __name__ == "__main__":
    main()
