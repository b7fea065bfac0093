"""`iuscore select` on runs of millions of rows: seconds and peak memory of each policy.

Runs with random numbers in them are written to a temporary folder, which is removed at the end.

    python benchmarks/select_rows.py                      # a million and ten million rows; writes the results file
    python benchmarks/select_rows.py --rows 100000        # a minute; writes nothing
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _harness as harness
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iuscore._run import records
from iuscore.engine.parts import PartRecord
from iuscore.engine.records import RunIdentity, RunRecord

HASH = "0" * 64
CLASSES = ("benign", "malignant")
WIDTHS = {"thumb": 64, "patch": 64, "texture": 76}
"""Values of a row of each view of gray images."""

PART = 512
"""Rows of a part, as `iuscore score` writes them with a texture model."""

FULL = 10_000_000
COPIES = 0.02
"""Share of images with a near copy."""

CHOSEN_TOGETHER = 10_000


def write_run(out: Path, rows: int) -> None:
    """A finished run of ``rows`` images with values and views."""
    rng = np.random.default_rng(0)
    identity = RunIdentity(HASH, "paper", "from-folder", "exact", PART, HASH)  # type: ignore[arg-type]
    record = RunRecord(identity.sha256(), identity, "generated", rows, -(-rows // PART))
    for name in ("scores", "values", "views"):
        (out / f"{name}.parquet").mkdir(parents=True)
    (out / RunRecord.NAME).write_text(json.dumps(record.to_json()))
    for index, start in enumerate(range(0, rows, PART)):
        n = min(PART, rows - start)
        names = pa.array([f"{CLASSES[i % 2]}/generator-a/image_{i:09d}.png" for i in range(start, start + n)])
        targets = pa.array([CLASSES[i % 2] for i in range(start, start + n)])
        p = rng.random(n, np.float32)
        scores = {
            "uid": names,
            "target": targets,
            "ius": rng.random(n, np.float32),
            **{f"contribution_{i}": rng.random(n, np.float32) for i in range(8)},
            **{f"share_{i}": rng.random(n, np.float32) for i in range(8)},
            "probability_benign": p,
            "probability_malignant": 1 - p,
            "width": np.full(n, 128, np.int32),
            "height": np.full(n, 128, np.int32),
            "warnings": pa.array([""] * n),
            "error": pa.array([None] * n, pa.string()),
        }
        values = {
            "uid": names,
            "target": targets,
            **{name: rng.random(n, np.float32) for name in ("value", "shapley_texture", "shapley_patch", "influence")},
            "copies": 1 + (rng.random(n) < COPIES).astype(np.int32),
            "own_share": rng.random(n, np.float32),
            "contradicted": rng.random(n) < 0.05,
        }
        views: dict[str, Any] = {"uid": names, "target": targets}
        for view, width in WIDTHS.items():
            content = pa.py_buffer(rng.random((n, width), np.float32).astype("<f2").tobytes())
            views[view] = pa.FixedSizeBinaryArray.from_buffers(pa.binary(2 * width), n, [None, content])
        footer = json.dumps(records.to_json(PartRecord(record.run, index, 0, HASH, {})))
        for name, columns in (("scores", scores), ("values", values), ("views", views)):
            table = pa.table(columns).replace_schema_metadata({b"iuscore": footer} if name == "scores" else None)
            pq.write_table(table, out / f"{name}.parquet" / f"part-{index:06d}.parquet", compression="NONE")


def measured(run: Path, to: Path, *words: object) -> tuple[float, int]:
    """Seconds and peak memory in MB of one command."""
    command = [sys.executable, "-m", "iuscore", "select", run, "--out", to, "--quiet", "--no-predict", *words]
    began = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, words
    return time.perf_counter() - began, used.ru_maxrss >> 10


def as_table(found: list[dict[str, Any]], busy: float | None) -> dict[str, Any]:
    """The figures for docs/numbers.md."""
    rows = [
        (f"{each['rows']:,}", each["case"], f"{each['seconds']:.0f}", f"{each['peak_memory_mb']:,} MB")
        for each in found
    ]
    others = "" if busy is None else f"; other programs used {busy:.1f} cores meanwhile"
    title = f"Runs of two classes in parts of {PART} rows, as the texture model writes them{others}"
    return {"title": title, "columns": ("rows", "policy", "seconds", "most memory"), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[FULL // 10, FULL])
    given = parser.parse_args()
    found, others = [], harness.OtherPrograms()
    with tempfile.TemporaryDirectory(prefix="iuscore-select-") as root:
        for rows in given.rows:
            run = Path(root, f"run-{rows}")
            write_run(run, rows)
            policies = ("value", "random") if rows >= FULL else ("value", "ius", "confidence", "stratified", "random")
            cases: list[tuple[str, tuple[object, ...]]] = [
                (f"{policy}, a quarter", ("--policy", policy, "--fraction", 0.25)) for policy in policies
            ]
            if rows < FULL:
                number = min(CHOSEN_TOGETHER, rows // 10)
                cases.append((f"diverse, {number:,}", ("--policy", "diverse", "--count", number)))
            for i, (name, words) in enumerate(cases):
                seconds, memory = measured(run, Path(root, f"out-{rows}-{i}"), *words)
                found.append({"rows": rows, "case": name, "seconds": round(seconds, 1), "peak_memory_mb": memory})
                print(found[-1], flush=True)
    if max(given.rows) < FULL:
        return
    busy = others.cores()
    content = {
        "benchmark": "iuscore select, from a finished run to its lists",
        "run": found,
        "other_programs_cores": busy,
        "tables": [as_table(found, busy)],
    }
    written = harness.save("select_rows", content, ("numpy", "pyarrow", "scipy"))
    print(f"written: {written.relative_to(harness.ROOT)}")


if __name__ == "__main__":
    main()
