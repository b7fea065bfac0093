"""The demo's table, and the model for trying things out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import iuscore
from iuscore.demo import DemoResult, DemoRow, run_demo, table_lines, tiny_model
from iuscore.score.explain import ComponentReason, Explanation
from tests.fixtures import record_of

pytestmark = pytest.mark.usefixtures("one_thread")


def row(name: str, ius: float, shifts: dict[str, float | None], hit: tuple[str, ...] = ()) -> DemoRow:
    reasons = tuple(ComponentReason(c, 0.0, 0.0, 0.0, shift) for c, shift in shifts.items())
    return DemoRow(name, ius, Explanation("abnormal", ius, reasons), hit)


def test_table() -> None:
    rows = (
        row("faithful", 0.71, {"red-green": 0.24, "coarse-fine": -0.3}),
        row("blurred", -0.094, {"red-green": 0.2, "coarse-fine": -4.04}, ("coarse-fine",)),
        row("of one image", 0.3, {"red-green": None}, ("red-green", "light-dark")),
    )
    lines = table_lines(DemoResult(rows, ceiling=0.745, floor=-0.2, auroc=0.987))
    text = "\n".join(lines)
    assert all(len(line) <= 120 for line in lines)
    for figure in ("validation AUROC 0.99", "0.74 (ceiling)", "-0.20 (floor)"):
        assert figure in text
    found = {line.split("  ")[0]: line for line in lines}
    assert "0.71   coarse-fine (-0.3 sd)" in found["faithful"]
    assert "-0.09   coarse-fine (-4.0 sd)" in found["blurred"]
    assert found["blurred"].endswith("coarse-fine")
    assert "unknown" in found["of one image"]
    assert found["of one image"].endswith("red-green or light-dark")
    assert "most useful: faithful" in text


def test_tiny_model(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path)
    record = record_of(folder)
    assert record["model"]["classes"] == ["normal", "abnormal"]
    assert record["model"]["color"] == "gray"
    scorer = iuscore.load(folder)
    images = iuscore.phantoms.draw("radiograph", "abnormal", 3, size=32)
    for target in scorer.classes:
        assert len(scorer(images, target=target)) == 3


def test_the_faithful_set_wins_and_each_defect_is_named() -> None:
    """The demo as users run it, within three minutes."""
    begin = time.perf_counter()
    result = run_demo()
    assert time.perf_counter() - begin < 180
    faithful, *defective = result.rows
    assert faithful.name == "faithful"
    assert faithful.ius > result.floor
    for row in defective:
        assert row.ius < faithful.ius - 0.1, row.name
        assert row.why.most_shifted in row.drawn_to_hit, row.name
    assert table_lines(result)[-1] == "most useful: faithful"
