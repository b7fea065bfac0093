"""The tables of docs/validity.md, from benchmarks/results/validity*.json.

python benchmarks/validity/tables.py          # writes them into the page, between their marks
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "validity.md"
RESULTS = ROOT / "benchmarks" / "results"
LABELS = {
    "transfer": "transfer, $T_\\mathrm{lin}$",
    "pix4": "PIX4",
    "pix5": "PIX5",
    "confidence": "confidence, texture model",
    "confidence of networks": "confidence, three small CNNs",
    "ius": "published IUS, mean over classes",
    "frechet": "Frechet distance",
    "frechet by class": "Frechet distance, by class",
    "kernel": "kernel distance",
    "kernel by class": "kernel distance, by class",
    "energy": "energy distance",
    "energy by class": "energy distance, by class",
    "two-sample": "two-sample classifier",
    "two-sample by class": "two-sample classifier, by class",
    "rank mean": "ranks of transfer and PIX5",
    "rank mean of all": "ranks of transfer, PIX5, contrast error, confidence",
    "transfer of 4 views": "transfer, with a scattering view",
    "pix with waves": "PIX5, with two learners in it",
    "proxy learner": "a small CNN after 50 steps",
}
PLAIN = ("contrast error", "discriminative span", "precision", "recall", "density", "coverage")
OWN = ("transfer", "pix4", "pix5")
TRIED = ("rank mean", "rank mean of all", "transfer of 4 views", "pix with waves", "proxy learner")
BESIDE = tuple(name for name in LABELS if name not in OWN + TRIED) + PLAIN


def number(value: float, sign: bool = False) -> str:
    """Two digits without a zero before the point: -.07, 1.00."""
    text = f"{value:+.2f}" if sign else f"{value:.2f}"
    text = text.replace("0.", ".", 1) if abs(value) < 0.995 else text
    return text.replace("-.00", ".00").replace("+.00", ".00")


def with_interval(row: dict[str, Any], sign: bool = False) -> str:
    low, high = row["interval"]
    return f"{number(row['mean'], sign)} [{number(low)}, {number(high)}]"


def _lines(columns: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows))


def ranking(found: dict[str, Any], names: tuple[str, ...]) -> str:
    """Correlation in each task, their mean, and how far transfer and PIX5 are above."""
    tasks = list(next(iter(found.values()))["tasks"])
    rows = []
    for name in sorted(names, key=lambda name: -found[name]["mean"]):
        row = found[name]
        less = [
            with_interval(row[f"{own} less this"], True) if f"{own} less this" in row else ""
            for own in ("transfer", "pix5")
        ]
        values = [number(row["tasks"][task]) for task in tasks]
        rows.append([LABELS.get(name, name), *values, with_interval(row), *less])
    return _lines(["score", *tasks, "mean", "transfer less this", "PIX5 less this"], rows)


def first(found: dict[str, Any]) -> str:
    """Which set each score names first, and what is lost by taking it."""
    rows = []
    for name in (*OWN, *TRIED, *BESIDE):
        each = found[name]
        named = [f"{one['set']} ({number(one['lost'])})" for one in each.values()]
        rows.append([LABELS.get(name, name), *named])
    return _lines(["score", *next(iter(found.values()))], rows)


def picks(found: dict[str, Any]) -> str:
    rules = ["whole", "random", "confidence", "confidence of networks", "value", "value and confidence"]
    rows = [
        [cell, *(f"{means[rule]:.3f}".lstrip("0") for rule in rules)] for cell, means in sorted(found["cells"].items())
    ]
    return _lines(["cell", *rules], rows)


def against(found: dict[str, Any]) -> str:
    rows = []
    for name, parts in found["against"].items():
        texts = [
            f"{with_interval(parts[p], True)}, {parts[p]['above']} of {parts[p]['cells']}" if parts[p]["cells"] else ""
            for p in ("", "0.5", "0.25")
        ]
        rows.append([name, *texts])
    return _lines(["difference", "all cells", "half", "quarter"], rows)


def reliability(found: dict[str, Any]) -> str:
    columns = ["between seeds", "of the mean over seeds", "between kinds", "of the mean over kinds"]
    return _lines(
        ["task", *columns],
        [[task, *(number(row[c]) if c in row else "" for c in columns)] for task, row in found.items()],
    )


def tasks(found: dict[str, Any], off: dict[str, Any]) -> str:
    rows = [
        [
            name, str(row["images"]["reference"]), str(row["images"]["test"]), str(row["sets"]),
            number(row["real on real"]), number(row["best"]), number(off[name]["absolute"]),
            number(off[name]["signed"], True),
        ]
        for name, row in found.items()
    ]  # fmt: skip
    columns = ["task", "images in R", "test images", "sets", "PIX4, real on real", "usefulness of the best set"]
    return _lines([*columns, "PIX5 off by", "with sign"], rows)


def faults(found: dict[str, Any]) -> str:
    rows = [
        [e["task"], e["set"], e["group"], "yes" if e["group right"] else "no", ", ".join(e["sides"]),
         "yes" if e["class right"] else "no"]
        for e in found["each"]
    ]  # fmt: skip
    return _lines(["task", "set", "farthest moved", "right", "class named", "right"], rows)


def phantoms_blamed(found: dict[str, Any]) -> str:
    rows = [
        [name, str(e["draws"]), str(e["group right"]), str(e["class right"])] for name, e in found["blamed"].items()
    ]
    return _lines(["defect at strength .6", "draws", "group is the defect's", "class is the defect's"], rows)


def phantoms_stronger(found: dict[str, Any]) -> str:
    rows = [
        [
            name, str(e["draws"]), str(e["transfer"]["falls at every step"]), str(e["pix4"]["falls at every step"]),
            ", ".join(number(value) for value in e["transfer"]["means"]),
            ", ".join(number(value) for value in e["pix4"]["means"]),
        ]
        for name, e in found["stronger"].items()
    ]  # fmt: skip
    columns = ["defect", "draws", "T falls at every step", "PIX4 does", "mean T at 0, .25, .5, .75, 1", "mean PIX4"]
    return _lines(columns, rows)


def all_tables() -> dict[str, str]:
    """Name -> table, of what the results hold."""
    summary = json.loads((RESULTS / "validity.json").read_text(encoding="utf-8"))
    found = {
        "tasks": tasks(summary["tasks"], summary["expected AUROC less usefulness"]),
        "reliability": reliability(summary["reliability"]),
        "own": ranking(summary["ranking"], OWN + BESIDE),
        "tried": ranking(summary["ranking"], TRIED),
        "generators": ranking(summary["generators alone"], OWN + TRIED + BESIDE),
        "shifted": ranking(summary["shifted test"], OWN + TRIED + BESIDE),
        "first": first(summary["first"]),
        "faults": faults(summary["faults"]),
    }
    if "selection" in summary:
        found |= {"picks": picks(summary["selection"]), "against": against(summary["selection"])}
    drawn = RESULTS / "validity_phantoms.json"
    if drawn.is_file():
        phantoms = json.loads(drawn.read_text(encoding="utf-8"))
        found |= {"blamed": phantoms_blamed(phantoms), "stronger": phantoms_stronger(phantoms)}
    return found


def filled(page: str, tables: dict[str, str]) -> str:
    """The page with each table between ``<!-- table: NAME -->`` and ``<!-- end -->``."""

    def put(match: re.Match[str]) -> str:
        return f"<!-- table: {match[1]} -->\n\n{tables[match[1]]}\n\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->.*?<!-- end -->", put, page, flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), all_tables()), encoding="utf-8")
