"""What the compiled code does with sizes, machines and addresses that it cannot serve."""

from __future__ import annotations

import re

import pytest

from iuscore.ops._native.calls import core
from tests.equivalence.host_build import build, execute


def test_weights_of_the_longest_sides_stay_inside_their_table() -> None:
    done = execute(build("long_sides", "plain"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("startable", [0, 3, 7])
def test_a_machine_that_starts_no_more_threads_still_does_the_work(startable: int) -> None:
    done = execute(build("few_threads", "plain"), startable)
    assert (done.returncode, done.stdout, done.stderr) == (0, "every index once\n", "")


@pytest.mark.parametrize("sizes", [(34_780_558, 128), (128, 2**24 + 1), (0, 128)])
def test_a_table_for_a_side_that_is_too_long_is_refused(sizes: tuple[int, int]) -> None:
    text = f"in_size and out_size: expected 1..16777216, got {sizes[0]} and {sizes[1]}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        core().resample_table(*sizes, True)
