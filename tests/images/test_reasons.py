"""Refusals are one line of bounded length, in words, whatever a file has in it."""

from __future__ import annotations

import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from iuscore.errors import UserError
from iuscore.images import UnreadableImage, decode, open_shards, open_source
from iuscore.images.reasons import LONGEST, message_of, one_line
from iuscore.images.sources.archive import Damaged
from tests.images.image_files import png_of
from tests.images.sharded_sources import tar


@pytest.mark.parametrize("kind", [UnreadableImage, Damaged])
def test_a_reason_is_short(kind: type[Exception]) -> None:
    text = str(kind("damaged: " + "\x1b[2J\n" * 10**6 + "mend it"))
    assert len(text) <= LONGEST
    assert text.isprintable()
    assert text.startswith("damaged: \\x1b[2J ")
    assert text.endswith("mend it")
    assert str(kind("short")) == "short"
    assert len(one_line("y" * LONGEST)) == LONGEST
    assert one_line("y" * LONGEST) == "y" * LONGEST
    assert len(one_line("\x00" * LONGEST)) == LONGEST


def test_a_users_error_has_at_most_1000_characters() -> None:
    text = str(UserError("no class " + "x" * 10**6 + ": give another"))
    assert len(text) == 1000
    assert text.startswith("no class xxx")
    assert text.endswith(": give another")
    error = UserError("no class 'a'")
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == "no class 'a'"


@pytest.mark.parametrize(
    "error", [AssertionError(), EOFError(), NotImplementedError(), RecursionError(), StopIteration(), KeyError()]
)
def test_no_bare_name_of_a_class(error: Exception) -> None:
    text = message_of(error)
    assert " " in text
    assert "Error" not in text
    assert "Stop" not in text


@pytest.mark.parametrize(
    "data",
    [
        png_of(8, 8, 8, 3, bytes(72)),  # a palette that is not there
        b"PyP 2 2 255\n" + bytes(16),
    ],
)
def test_files_that_break_an_assertion_of_pillow(data: bytes) -> None:
    with pytest.raises(UnreadableImage) as caught:
        decode(data)
    assert str(caught.value) == "damaged: its content contradicts itself"


def test_names_in_archives(tmp_path: Path) -> None:
    name = "n" * 60_000
    stream = io.BytesIO()
    np.savez(stream, **{name: np.zeros(1)})
    (tmp_path / "a.npz").write_bytes(stream.getvalue())
    tar(tmp_path / "b.tar", {"n" * 4000 + ".png": b"P5 1 1 255 0", "n" * 4000 + ".txt": b""})
    path = tmp_path / "b.tar"
    path.write_bytes(path.read_bytes().rstrip(b"\0") + struct.pack("<512x") + b"x" * 512)
    refusals = [lambda: list(open_shards(tmp_path / "a.npz").shards(9)), lambda: open_source(tmp_path / "a.npz")]
    refusals.append(lambda: list(open_shards(path, labeled=True).shards(9)))
    for refused in refusals:
        with pytest.raises(UserError) as caught:
            refused()
        assert len(str(caught.value)) <= 1000
