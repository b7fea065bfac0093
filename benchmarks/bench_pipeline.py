"""Whole jobs, from files to a table: images per second of `iuscore score`, and of other programs on the same files.

Every contestant is a process, timed from its start, on a folder in the file cache. Decoding alone is the upper bound
for every job. The steps of the published implementation are rewritten with kornia and PyTorch, one image at a time,
since the original has fixed paths.

    python benchmarks/bench_pipeline.py                  # a quarter of an hour; writes results/pipeline_*.json
    python benchmarks/bench_pipeline.py --model texture  # that kind of model only
    python benchmarks/bench_pipeline.py --quick          # a minute or two; writes nothing
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _harness as harness
import _pipeline as pipeline
import numpy as np
import pyarrow.parquet as pq
import torch

WORKERS = 2
SIZES = ((32, 64), (64, 32))  # base channels, hidden units


def measure(contestants: Mapping[str, tuple[int, list[object]]], repetitions: int) -> dict[str, harness.Rate]:
    """Rates of commands that run in turn; ``contestants``: name -> (number of images, command)."""
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for round_number in range(repetitions):
        names = list(contestants)
        for name in names if round_number % 2 == 0 else reversed(names):
            images, command = contestants[name]
            wall, core = pipeline.timed(command)
            samples[name].append((images / wall, images / core))
    return {name: _rate(taken) for name, taken in samples.items()}


def _rate(samples: list[tuple[float, float]]) -> harness.Rate:
    wall, core = zip(*samples, strict=True)
    median = statistics.median
    return harness.Rate(median(wall), min(wall), max(wall), median(core), min(core), max(core), len(samples), 1)


def run_case(name: str, contestants: Mapping[str, tuple[int, list[object]]], repetitions: int) -> dict[str, Any]:
    rates = measure(contestants, repetitions)
    case = harness.as_case(name, "wall_median", rates)
    print(f"\n{name}")
    for who, rate in sorted(rates.items(), key=lambda item: -item[1].wall_median):
        print(f"{who:45}{rate.wall_median:10,.1f} images/s{case['iuscore_over'][who]:10.2f} x")
    return case


def texture_case(folder: Path, model: Path, kind: str, images: int, repetitions: int) -> dict[str, Any]:
    files = pipeline.write_folder(folder / kind, images, kind)
    out, with_views = folder / f"out_{kind}", folder / f"views_{kind}"
    common = ("--workers", WORKERS, "--overwrite")
    contestants = {
        "iuscore": (images, pipeline.score_command(model, files, out, "--no-value", *common)),
        "iuscore, with the views that values need": (images, pipeline.score_command(model, files, with_views, *common)),
        "only decode, as iuscore does": (images, pipeline.peer("decode", files, WORKERS)),
        "only decode, PyTorch's DataLoader and Pillow": (images, pipeline.peer("loader", files, WORKERS)),
    }
    return run_case(f"texture model, {images:,} {kind} files of 256 x 256", contestants, repetitions)


def epu_case(folder: Path, base: int, hidden: int, images: int, repetitions: int) -> tuple[dict[str, Any], list[Any]]:
    """Rates, and differences of the scores of each precision from those of PyTorch's own layers."""
    model = pipeline.epu_model(folder, base, hidden)
    files = pipeline.write_folder(folder / f"png{base}", images, "png")
    outs = {precision: folder / f"out_{base}_{precision}" for precision in ("exact", "fast")}
    contestants = {
        "iuscore": (images, pipeline.score_command(model, files, outs["exact"], "--no-value", "--overwrite")),
        "iuscore --precision fast": (
            images,
            pipeline.score_command(model, files, outs["fast"], "--no-value", "--overwrite", "--precision", "fast"),
        ),
        "published steps, kornia and PyTorch, one by one": (images, pipeline.peer("published", files, model)),
    }  # fmt: skip
    case = run_case(f"epu model, base {base}, {images:,} png files of 256 x 256", contestants, repetitions)
    return case, differences(model, files, outs)


def differences(model: Path, files: Path, outs: Mapping[str, Path]) -> list[Any]:
    import iuscore
    from iuscore.images import open_shards, read_item

    scorer = iuscore.load(model)
    source = open_shards(files)
    expected = []
    for shard in source.shards(64):
        pixels = [torch.from_numpy(read_item(item).pixels) for item in source.items(shard)]
        inputs = scorer.model.prepare(pixels, "NHWC").requires_grad_()  # PyTorch's layers, not the kernels
        expected += scorer.score_inputs(inputs, [()] * len(pixels), [pipeline.CLASSES[0]] * len(pixels)).ius.tolist()
    rows = []
    for precision, out in outs.items():
        got = pq.read_table(out / "scores.parquet").column("ius").to_numpy()
        found = np.abs(got - np.array(expected))
        rows.append((precision, f"{found.max():.2g}", f"{np.median(found):.2g}"))
    return rows


def texture_cases(folder: Path, images: int, repetitions: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    model = pipeline.texture_model(folder)
    return [texture_case(folder, model, kind, images, repetitions) for kind in ("jpg", "png")], []


def epu_cases(folder: Path, images: int, repetitions: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    cases, tables = [], []
    for base, hidden in SIZES:
        case, rows = epu_case(folder, base, hidden, images, repetitions)
        cases.append(case)
        title = f"Differences in IUS from PyTorch's own float32 layers, base {base}, {images:,} images"
        tables.append({"title": title, "columns": ("precision", "largest", "median"), "rows": rows})
    return cases, tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["texture", "epu"], help="models of this kind only")
    parser.add_argument("--quick", action="store_true", help="few images, nothing saved")
    options = parser.parse_args()
    many, few, repetitions = (600, 8, (1, 1)) if options.quick else (24_000, 1000, (3, 2))
    for kind, run, images, often in (
        ("texture", texture_cases, many, repetitions[0]),
        ("epu", epu_cases, few, repetitions[1]),
    ):
        if options.model not in (None, kind):
            continue
        with tempfile.TemporaryDirectory(prefix="iuscore-pipeline-") as root:
            cases, tables = run(Path(root), images, often)
        print(tables)
        if options.quick:
            continue
        content = {
            "benchmark": f"whole jobs with {kind} models, {WORKERS} processes or threads, start included",
            "core_build": harness.core_build(),
            "cases": cases,
            "tables": tables,
        }
        packages = ("torch", "numpy", "pillow", "simplejpeg", "kornia", "pyarrow")
        print(f"\nwritten: {harness.save(f'pipeline_{kind}', content, packages).relative_to(harness.ROOT)}")


if __name__ == "__main__":
    main()
