"""CUDA kernel bodies, unchanged, on the host: equal to the CPU ops in every bit, free of memory errors and races."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.equivalence.host_build import ROOT, SANITIZERS, build, cpu_sources, execute


@dataclass(frozen=True)
class Sweep:
    """How many cases tests/cpp/run_<op>.cpp draws, plain and under each sanitizer."""

    plain: int
    sanitized: int
    cpu_ops: tuple[str, ...] | None = ()  # whose CPU kernels it is linked with, besides its own; None: with none


SWEEPS = {
    "additive_cnn": Sweep(plain=120, sanitized=45, cpu_ops=None),  # the loops it is compared with are its own
    "additive_lookup": Sweep(plain=100, sanitized=30),
    "additive_mlp": Sweep(plain=48, sanitized=24),
    "color_histogram": Sweep(plain=140, sanitized=140),
    "glcm": Sweep(plain=80, sanitized=60, cpu_ops=("glcm_features",)),
    "glcm_features": Sweep(plain=60, sanitized=40, cpu_ops=("glcm",)),
    "perceptual_maps": Sweep(plain=80, sanitized=80),
    "resize": Sweep(plain=120, sanitized=80),
    "texture_stats": Sweep(plain=120, sanitized=120, cpu_ops=("glcm", "glcm_features")),
}
LARGEST_BLOCK = {"plain": 256, "address": 64, "thread": 64}
SEEDS = {"plain": 1, "address": 2, "thread": 3}

# Left out in turn: the n-th barrier of every block.
BARRIERS = {"additive_lookup": 1, "resize": 1}  # where a kernel has fewer than three
PLANTED = [(op, barrier) for op in SWEEPS for barrier in range(1, 1 + BARRIERS.get(op, 3))]


def sources_of(op: str) -> list[str]:
    others = SWEEPS[op].cpu_ops
    return [] if others is None else cpu_sources(op, *others)


@pytest.mark.parametrize("sanitizer", SANITIZERS)
@pytest.mark.parametrize("op", SWEEPS)
def test_kernel_equals_cpu_in_every_bit(op: str, sanitizer: str) -> None:
    cases = SWEEPS[op].plain if sanitizer == "plain" else SWEEPS[op].sanitized
    program = build(f"run_{op}", sanitizer, sources_of(op))
    done = execute(program, cases, LARGEST_BLOCK[sanitizer], SEEDS[sanitizer])
    assert done.returncode == 0, done.stdout + done.stderr[:4000]
    assert done.stdout == f"{cases} cases equal\n"
    assert done.stderr == ""


def test_every_kernel_is_run_here() -> None:
    assert {path.stem for path in (ROOT / "csrc/cuda").glob("*.cu")} == set(SWEEPS)


@pytest.mark.parametrize(("op", "barrier"), PLANTED)
def test_thread_sanitizer_finds_a_barrier_that_is_left_out(op: str, barrier: int) -> None:
    program = build(f"run_{op}", "thread", sources_of(op))
    planted = {"IUSCORE_OMITTED_BARRIER": str(barrier), "TSAN_OPTIONS": "halt_on_error=1"}
    done = execute(program, SWEEPS[op].sanitized, LARGEST_BLOCK["thread"], SEEDS["thread"], environment=planted)
    assert done.returncode != 0
    assert "data race" in done.stderr
    assert re.search(r"#\d+ (?:void )?iuscore::\w+", done.stderr), done.stderr[:4000]


def test_thread_sanitizer_reports_a_planted_race() -> None:
    done = execute(build("planted_race", "thread"))
    assert done.returncode != 0
    assert "data race" in done.stderr
    assert "planted_race.cpp" in done.stderr


def test_planted_race_runs_plain() -> None:
    assert execute(build("planted_race", "plain")).returncode == 0
