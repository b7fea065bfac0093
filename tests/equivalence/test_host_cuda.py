"""CUDA kernel bodies, unchanged, on the host: equal to the CPU ops in every bit, free of memory errors and races."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.equivalence.host_build import OPS, ROOT, SANITIZERS, build, execute


@dataclass(frozen=True)
class Sweep:
    """How many cases tests/cpp/run_<op>.cpp draws, plain, under AddressSanitizer and under ThreadSanitizer."""

    plain: int
    address: int
    thread: int


# Under ThreadSanitizer few: its threads are the host's, and these cases find every planted barrier. An op that is not
# here gets MANY.
MANY = Sweep(plain=120, address=60, thread=8)
FEWER_OR_MORE = {
    "additive_cnn": Sweep(plain=120, address=45, thread=9),
    "additive_lookup": Sweep(plain=100, address=30, thread=8),
    "additive_mlp": Sweep(plain=48, address=24, thread=6),
    "color_histogram": Sweep(plain=140, address=140, thread=16),
    "glcm": Sweep(plain=80, address=60, thread=8),
    "glcm_features": Sweep(plain=60, address=40, thread=6),
    "image_views": Sweep(plain=16, address=8, thread=2),
    "perceptual_maps": Sweep(plain=80, address=80, thread=8),
    "resize": Sweep(plain=120, address=80, thread=6),
    "texture_stats": Sweep(plain=120, address=120, thread=6),
}
SWEEPS = {op: FEWER_OR_MORE.get(op, MANY) for op in OPS}
LARGEST_BLOCK = {"plain": 1024, "address": 256, "thread": 64}
SEEDS = {"plain": 1, "address": 2, "thread": 4}  # 4: planted barriers are found early
# Of blocks and threads (tests/cpp/host_fibers.h); ThreadSanitizer has threads of the host, whose order is the host's.
ORDERS = {"plain": ("forward", "reverse", "mixed"), "address": ("mixed",), "thread": ("forward",)}

# Left out in turn: the n-th barrier of every block.
BARRIERS = {"additive_lookup": 1, "resize": 1, "perceptual_maps": 4}  # where three are too many or too few
PLANTED = [(op, barrier) for op in SWEEPS for barrier in range(1, 1 + BARRIERS.get(op, 3))]


def in_order(name: str) -> dict[str, str]:
    return {"IUSCORE_HOST_ORDER": name}


def program_of(op: str, sanitizer: str) -> Path:
    return build(f"run_{op}", sanitizer, with_cpu_kernels=True)


def sweep(op: str, sanitizer: str, **environment: str) -> subprocess.CompletedProcess[str]:
    arguments = (getattr(SWEEPS[op], sanitizer), LARGEST_BLOCK[sanitizer], SEEDS[sanitizer])
    return execute(program_of(op, sanitizer), *arguments, environment=environment)


@pytest.mark.parametrize("sanitizer", SANITIZERS)
@pytest.mark.parametrize("op", SWEEPS)
def test_kernel_equals_cpu_in_every_bit(op: str, sanitizer: str) -> None:
    for order in ORDERS[sanitizer]:
        done = sweep(op, sanitizer, **in_order(order))
        assert done.returncode == 0, f"{order}: {done.stdout}{done.stderr[:4000]}"
        assert done.stdout == f"{getattr(SWEEPS[op], sanitizer)} cases equal\n"
        assert done.stderr == ""


def test_every_kernel_is_run_here() -> None:
    assert {path.stem for path in (ROOT / "csrc/cuda").glob("*.cu")} == set(SWEEPS)


@pytest.mark.parametrize(("op", "barrier"), PLANTED)
def test_thread_sanitizer_finds_a_barrier_that_is_left_out(op: str, barrier: int) -> None:
    done = sweep(op, "thread", IUSCORE_OMITTED_BARRIER=str(barrier), TSAN_OPTIONS="halt_on_error=1")
    assert done.returncode != 0
    assert "data race" in done.stderr
    assert re.search(r"#\d+ (?:void )?iuscore::\w+", done.stderr), done.stderr[:4000]


@pytest.mark.parametrize(("op", "barrier"), PLANTED)
def test_results_show_a_barrier_that_is_left_out(op: str, barrier: int) -> None:
    done = sweep(op, "plain", IUSCORE_OMITTED_BARRIER=str(barrier), **in_order("mixed"))
    assert done.returncode == 1, done.stderr
    assert "cases equal" not in done.stdout


@pytest.mark.parametrize("fault", ["shift", "same_place"])
def test_thread_sanitizer_reports_a_planted_race(fault: str) -> None:
    """Within a block, and between blocks."""
    done = execute(build("planted_race", "thread"), fault)
    assert done.returncode != 0
    assert "data race" in done.stderr
    assert re.search(rf"#\d+ {fault}\(.*planted_race.cpp", done.stderr), done.stderr[:4000]


@pytest.mark.parametrize("fault", ["shift", "same_place", "in_turn", "counts"])
def test_what_depends_on_the_order_shows(fault: str) -> None:
    runs = [execute(build("planted_race", "plain"), fault, environment=in_order(name)) for name in ORDERS["plain"]]
    assert [done.returncode for done in runs] == [0, 0, 0]
    assert len({done.stdout for done in runs}) > 1


@pytest.mark.parametrize(
    ("fault", "why"),
    [("stuck", "the threads of a block wait for each other"), ("apart", "threads meet in different lines")],
)
def test_threads_that_never_meet_are_refused(fault: str, why: str) -> None:
    done = execute(build("planted_race", "plain"), fault)
    assert done.returncode != 0
    assert done.stderr == f"host_cuda: {why}\n"
