"""Measures whether the scores of sets agree with measured usefulness, as DECLARATION.md beside this file says.

    python benchmarks/validity/run.py --data DIR      # everything, then benchmarks/results/validity_*.json
    python benchmarks/validity/run.py --stage analysis --work FOLDER

DIR has pneumoniamnist/, mammography/ and blood_cells/. Every finished training or score is one line of a file in the
folder --work; the same command goes on where it stopped. docs/validity.md says what came out and how long it takes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))
import analysis  # noqa: E402
from data import NAMES, Part, Task, load, real_on_real  # noqa: E402
from learners import KINDS, SEEDS, Trained, trees  # noqa: E402
from sets import candidates  # noqa: E402

POOLS = ("faults", "generators")
STAGES = ("usefulness", "scores", "selection", "analysis")
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")


class Log:
    """Finished rows by key, in a file of one JSON line each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n"):  # the last one may be cut off
                    row = json.loads(line)
                    self.rows[row.pop("key")] = row

    def add(self, key: str, row: dict[str, Any]) -> None:
        self.rows[key] = row
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **row}) + "\n")

    def __contains__(self, key: object) -> bool:
        return key in self.rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = next((place for place in (ROOT / "shared", ROOT.parent / "shared") if place.is_dir()), ROOT / "shared")
    parser.add_argument("--data", type=Path, default=beside / "data", help="folder of the real images")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "validity", help="folder of finished rows")
    parser.add_argument("--stage", choices=STAGES, action="append", help="may be repeated; all without it")
    parser.add_argument("--task", choices=NAMES, action="append", help="may be repeated; all without it")
    parser.add_argument("--pool", choices=POOLS, action="append", help="of the stage selection")
    given = parser.parse_args()
    torch.set_num_threads(1)
    stages = given.stage or STAGES
    logs = {stage: Log(given.work / f"{stage}.jsonl") for stage in STAGES if stage != "analysis"}
    names = given.task or NAMES
    if set(stages) - {"analysis"}:
        tasks = {name: load(name, given.data) for name in names}
        for stage in STAGES:
            if stage in stages and stage != "analysis":
                for key, row in STEPS[stage](tasks, logs[stage], given.pool or POOLS):
                    logs[stage].add(key, row)
                    print(time.strftime("%H:%M:%S"), stage, key, flush=True)
    if "analysis" in stages:
        write(logs)


def usefulness(tasks: dict[str, Task], log: Log, _pools: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every set, by each seed in turn, so that an early end leaves all sets with fewer seeds."""
    for seed in SEEDS:
        for task in tasks.values():
            tests = [test for test in (task.test, task.shifted) if test is not None]
            for candidate in candidates(task):
                kinds = [*KINDS, *(["trees"] if seed == SEEDS[0] else [])]
                missing = [kind for kind in kinds if f"{task.name}/{candidate.name}/{kind}/{seed}" not in log]
                part = candidate.drawn(task) if missing else None
                for kind in missing:
                    assert part is not None
                    found = _aurocs(part, task, kind, seed, tests)
                    row = {"task": task.name, "set": candidate.name, "family": candidate.family, "kind": kind}
                    row |= {"seed": seed, "auroc": found[0], "shifted": found[1] if len(found) > 1 else None}
                    yield f"{task.name}/{candidate.name}/{kind}/{seed}", row


def _aurocs(part: Part, task: Task, kind: str, seed: int, tests: list[Part]) -> list[float]:
    if kind == "trees":
        return trees(part, tests, seed)
    trained = Trained(part, len(task.classes), kind, seed)
    return [trained.auroc(test) for test in tests]


def scores(tasks: dict[str, Task], log: Log, _pools: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    from scores import Judges, scores_of

    for task in tasks.values():
        missing = [each for each in candidates(task) if f"{task.name}/{each.name}" not in log]
        if not missing:
            continue
        judges = Judges.fitted(task)
        if f"{task.name}/about" not in log:
            counts = {"reference": len(task.reference), "pool": len(task.pool), "test": len(task.test)}
            yield f"{task.name}/about", {"task": task.name, "real on real": real_on_real(task, 8), "images": counts}
        for candidate in missing:
            part = candidate.drawn(task)
            begin = time.process_time()
            named, found = scores_of(judges, part)
            first = found.contrast[0]
            row = {"task": task.name, "set": candidate.name, "family": candidate.family, "scores": named}
            row |= {"group": first.group, "sides": first.sides, "seconds": round(time.process_time() - begin, 2)}
            if candidate.side is not None:
                row |= {"side": task.classes[candidate.side], "groups": candidate.groups}
            row["n_groups"] = len({each.group for each in found.contrast})
            yield f"{task.name}/{candidate.name}", row


def picks(tasks: dict[str, Task], log: Log, pools: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    import selection
    from scores import Judges

    judges: dict[str, Judges] = {}
    for pool in pools:
        for task in tasks.values():
            keys = sum(key.startswith(f"{task.name}/{pool}/") for key in log.rows)
            if keys == len(SEEDS) * (1 + 5 * len(selection.FRACTIONS)):
                continue
            judges.setdefault(task.name, Judges.fitted(task))
            yield from selection.rows_of(judges[task.name], pool, log.__contains__)


STEPS = {"usefulness": usefulness, "scores": scores, "selection": picks}


def write(logs: dict[str, Log]) -> None:
    """The results files: all rows, and what they amount to."""
    from _harness import save

    trained = list(logs["usefulness"].rows.values())
    scored = [row for row in logs["scores"].rows.values() if "scores" in row]
    picked = list(logs["selection"].rows.values())
    about = {row["task"]: row for row in logs["scores"].rows.values() if "scores" not in row}
    summary = analysis.summary(trained, scored, picked, about)
    for name, rows in (("usefulness", trained), ("scores", scored), ("selection", picked)):
        print(save(f"validity_{name}", {"benchmark": f"validity: {name}", "rows": rows}, PACKAGES))
    print(save("validity", {"benchmark": "validity: summary", **summary}, PACKAGES))


if __name__ == "__main__":
    main()
