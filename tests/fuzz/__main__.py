"""Fuzz one target: ``python -m tests.fuzz tar --seconds 3600``. Needs atheris, which the extra ``test`` brings.

An input that makes the target raise is written to ``--out``; ``python -m tests.fuzz tar FILE`` runs it again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import atheris

from tests.fuzz import mutators

CORPUS = Path(__file__).parent / "corpus"
SECONDS_AN_INPUT = 20
MEGABYTES = 3000
INSTRUMENTED = [
    "iuscore.images",
    "iuscore.models",
    "iuscore.engine",
    "tarfile",
    "zipfile",
    "pydicom",
    "PIL",
    "numpy.lib",
]


def main() -> None:
    """Parse the command line, and fuzz."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", help="a name in tests/fuzz/targets.py, such as image, tar or ops")
    parser.add_argument("files", nargs="*", type=Path, help="inputs to run again instead of fuzzing")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=-1, help="inputs, at most; -1: as many as there is time for")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where inputs that fail are written")
    asked = parser.parse_args()
    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        from tests.fuzz.targets import TARGETS, clean_up
    if asked.target not in TARGETS:
        parser.error(f"target: expected one of {', '.join(TARGETS)}, got {asked.target!r}")
    target = TARGETS[asked.target]
    if asked.files:
        for file in asked.files:
            target(file.read_bytes())
        clean_up()
        return
    asked.out.mkdir(parents=True, exist_ok=True)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        if asked.target in mutators.JSON and seed % 4:
            return mutators.change_json(data, seed)[:max_size]
        return mutators.FIXED.get(asked.target, mutators.same)(atheris.Mutate(data, max_size))

    with tempfile.TemporaryDirectory() as grown:
        os.environ["TMPDIR"] = grown
        options = [
            f"-max_total_time={asked.seconds}",
            f"-runs={asked.runs}",
            f"-timeout={SECONDS_AN_INPUT}",
            f"-rss_limit_mb={MEGABYTES}",
            f"-seed={asked.seed}",
            f"-artifact_prefix={asked.out}/{asked.target}-",
            "-max_len=65536",
            "-print_final_stats=1",
        ]
        corpus = [grown, *(str(folder) for folder in [CORPUS / asked.target] if folder.is_dir())]
        atheris.Setup([sys.argv[0], *options, *corpus], target, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
