"""A long run of `iuscore score`: memory during the run, resume after kills, and a check of the result.

Images are written to tar shards in a temporary folder, which is removed at the end.

    python benchmarks/long_run.py                      # 200,000 images; writes benchmarks/results/long_run.json
    python benchmarks/long_run.py --images 2000        # seconds; writes nothing
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import _harness as harness
import _pipeline as pipeline


def family(pid: int) -> list[int]:
    """Ids of a process and all its descendants."""
    found = [pid]
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found += family(int(entry.name))
    return found


def memory(pid: int) -> int:
    """Memory of a process and all its descendants, in bytes; shared memory is counted once (PSS)."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) << 10
    return total


def watch(process: subprocess.Popen[bytes], samples: list[tuple[float, int]], began: float) -> None:
    while process.poll() is None:
        samples.append((time.perf_counter() - began, memory(process.pid)))
        time.sleep(0.5)


def run(command: list[object], kill_after: float | None = None) -> tuple[float, list[tuple[float, int]], int]:
    """(seconds, [(time, memory)], exit status) of a command, which is killed after ``kill_after`` seconds if given."""
    began = time.perf_counter()
    samples: list[tuple[float, int]] = []
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    watcher = threading.Thread(target=watch, args=(process, samples, began))
    watcher.start()
    try:
        process.wait(kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    watcher.join()
    return time.perf_counter() - began, samples, process.returncode


def peak(samples: list[tuple[float, int]], part: slice = slice(None)) -> int:
    return max(n_bytes for _, n_bytes in samples[part]) >> 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory(prefix="iuscore-long-run-") as root:
        folder = Path(root)
        model = pipeline.texture_model(folder)
        few = pipeline.write_tars(folder / "few", min(given.images, 10_000))
        many = pipeline.write_tars(folder / "many", given.images)
        options = ("--workers", given.workers)
        _, small, status = run(pipeline.score_command(model, few, folder / "out_few", *options))
        assert status == 0
        seconds, large, status = run(pipeline.score_command(model, many, folder / "out", *options))
        assert status == 0
        half = len(large) // 2
        figures: dict[str, Any] = {
            "images": given.images,
            "workers": given.workers,
            "seconds": round(seconds, 1),
            "images_per_second": round(given.images / seconds),
            "peak_memory_mb_10000_images": peak(small),
            "peak_memory_mb": peak(large),
            "peak_memory_mb_first_half": peak(large, slice(0, half)),
            "peak_memory_mb_second_half": peak(large, slice(half, None)),
        }
        kills = []
        command = pipeline.score_command(model, many, folder / "out_killed", *options)
        while len(kills) < given.kills:
            lived, _, status = run(command, kill_after=rng.uniform(0.1, 0.5) * seconds)
            if status == 0:
                break
            kills.append(round(lived, 1))
        status = run(command)[2]
        assert status == 0
        same = all(
            path.read_bytes() == (folder / "out_killed/scores.parquet" / path.name).read_bytes()
            for path in sorted((folder / "out/scores.parquet").iterdir())
        )
        verified = subprocess.run(
            [sys.executable, "-m", "iuscore", "verify", folder / "out_killed", "--sample", "200"],
            capture_output=True, text=True,
        )  # fmt: skip
        counts = [
            json.loads((folder / name / "summary.json").read_text())["n_scored"] for name in ("out", "out_killed")
        ]
        figures |= {
            "killed_after_seconds": kills,
            "images_after_kills": counts[1],
            "same_files_as_without_kills": same,
            "verify": verified.stdout.splitlines(),
        }
    print(json.dumps(figures, indent=1))
    if counts != [given.images] * 2 or not same or verified.returncode:
        raise SystemExit("images were lost, or came twice, or differ")
    if given.images < 200_000:
        return
    content = {
        "benchmark": "a long run of the texture model, JPEG 256 x 256 in tar shards, killed on the way",
        "core_build": harness.core_build(),
        "run": figures,
        "tables": [as_table(figures)],
    }
    written = harness.save("long_run", content, ("torch", "numpy", "pillow", "pyarrow", "simplejpeg"))
    print(f"written: {written.relative_to(harness.ROOT)}")


def as_table(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures for docs/numbers.md."""
    same = "yes" if figures["same_files_as_without_kills"] else "no"
    kills = ", ".join(str(seconds) for seconds in figures["killed_after_seconds"])
    rows = [
        ("images", f"{figures['images']:,}"),
        ("images a second, from start to end", f"{figures['images_per_second']:,}"),
        ("most memory of all processes, 10,000 images", f"{figures['peak_memory_mb_10000_images']} MB"),
        ("the same, all images", f"{figures['peak_memory_mb']} MB"),
        ("in the first and the second half of the run", f"{figures['peak_memory_mb_first_half']} MB, "
         f"{figures['peak_memory_mb_second_half']} MB"),
        ("a second run, killed after so many seconds and begun again each time", kills),
        ("images in it in the end", f"{figures['images_after_kills']:,}"),
        ("its files are those of the first run, byte for byte", same),
        ("iuscore verify", "; ".join(figures["verify"])),
    ]  # fmt: skip
    title = f"{figures['workers']} workers on the CPU; memory that processes share is counted once"
    return {"title": title, "columns": ("", "found"), "rows": rows}


if __name__ == "__main__":
    main()
