"""Atomic writes, and sections that Ctrl-C does not interrupt."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from iuscore._run.files import atomic_write
from iuscore._run.signals import deferred_interrupts


def write_while_another_tidies(path: Path) -> None:
    """Another process finished the run and removed the temporary file as a leftover."""
    with atomic_write(path):
        next(path.parent.glob(f".{path.name}.*")).unlink()


def test_what_another_process_has_written_stays(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the same")
    write_while_another_tidies(tmp_path / "a.txt")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the same"]


def test_a_file_that_nobody_has_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_while_another_tidies(tmp_path / "a.txt")


def interrupt_twice(done: list[str], *, repeated: bool) -> None:
    with deferred_interrupts(repeated=repeated):
        signal.raise_signal(signal.SIGINT)
        done.append("after one")
        signal.raise_signal(signal.SIGINT)
        done.append("after two")


@pytest.mark.parametrize(("repeated", "expected"), [(False, ["after one"]), (True, ["after one", "after two"])])
def test_repeated_decides_whether_a_second_interruption_waits(repeated: bool, expected: list[str]) -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupt_twice(done, repeated=repeated)
    assert done == expected
