"""CUDA kernel bodies, unchanged, on the host: equal to the CPU ops in every bit, free of memory errors and races."""

from __future__ import annotations

import pytest

from tests.equivalence.host_build import CPU_SOURCES, build, execute

# 160 cases cover pixel types x channels x color or gray x modes x memory layouts once.
RUNS = {"plain": (320, 256, 1), "address": (160, 64, 2), "thread": (160, 64, 3)}


@pytest.mark.parametrize("sanitizer", RUNS)
def test_perceptual_maps_kernel_equals_cpu_in_every_bit(sanitizer: str) -> None:
    cases, largest_block, seed = RUNS[sanitizer]
    done = execute(build("run_perceptual_maps", sanitizer, tuple(CPU_SOURCES)), cases, largest_block, seed)
    assert done.returncode == 0, done.stdout + done.stderr[:4000]
    assert done.stdout == f"{cases} cases equal\n"
    assert done.stderr == ""


def test_thread_sanitizer_reports_a_planted_race() -> None:
    done = execute(build("planted_race", "thread"))
    assert done.returncode != 0
    assert "data race" in done.stderr
    assert "planted_race.cpp" in done.stderr


def test_planted_race_runs_plain() -> None:
    assert execute(build("planted_race", "plain")).returncode == 0
