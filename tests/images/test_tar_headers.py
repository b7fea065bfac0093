"""Headers of tar archives that go on for ever, or claim what no file has."""

from __future__ import annotations

import io
import tarfile
import time
from pathlib import Path

import pytest

from iuscore.images import open_shards
from tests.images.sharded_sources import pgm, tar
from tests.images.test_tar_shards import errors


def header(name: str, kind: bytes, size: int, real_size: int | None = None, *, goes_on: bool = False) -> bytes:
    """A header of GNU tar, by its format: sizes below 0 are two's complement of 12 bytes."""
    block = bytearray(512)
    block[: len(name)] = name.encode()
    block[100:108], block[257:265], block[156:157] = b"0000644\0", b"ustar  \0", kind
    block[124:136] = b"%011o\0" % size if size >= 0 else size.to_bytes(12, "big", signed=True)
    if real_size is not None:
        block[482], block[483:495] = goes_on, b"%011o\0" % real_size
    block[148:156] = b"%06o\0 " % (sum(block) + 8 * ord(" "))
    return bytes(block)


GOOD = header("a.png", b"0", len(pgm(1))) + pgm(1).ljust(512, b"\0")
PAX = b"18 path=other.png\n"
SPARSE = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (header("b.png", b"S", -512, 100), "damaged after a.png: a member of a size below 0"),
        (header("b.png", b"S", -1536, 100), "damaged after a.png: a member of a size below 0"),
        (header("b.png", b"0", -512), "damaged after a.png: a member of a size below 0"),
        (header("x", b"x", 10**9), "damaged after a.png: an extended header of 1000000000 bytes"),
        (header("x", b"L", -512), "damaged after a.png: an extended header of -512 bytes"),
        *(
            (
                (header("x", kind, len(PAX)) + PAX.ljust(512, b"\0")) * 1000 + GOOD,
                "damaged after a.png: more than 32 extended headers for one member",
            )
            for kind in (b"x", b"g", b"L", b"K")
        ),
        (
            header("b.png", b"S", 0, 100, goes_on=True) + (bytes(504) + b"\1" + bytes(7)) * 5000,
            "damaged after a.png: a sparse member of more than 86016 pieces",
        ),
        (
            header("x", b"x", len(SPARSE))
            + SPARSE.ljust(512, b"\0")
            + header("b.png", b"0", 10**6)
            + b"250000\n"
            + b"1\n" * 500_000,
            "damaged after a.png: a sparse member of more than 86016 pieces",
        ),
    ],
)
def test_headers_without_end(tmp_path: Path, rest: bytes, reason: str) -> None:
    tar(tmp_path / "y.tar", {"y.png": pgm(1)})
    for name, content in (("x.tar", GOOD + rest), ("z.tar", rest)):
        path = tmp_path / name
        path.write_bytes(content + bytes(1024))
        found = errors(open_shards(tmp_path))
        assert found["y.tar/y.png"] is None
        damaged = str(found[f"{name}/#damaged"])
        assert damaged.startswith(reason if name == "x.tar" else reason[: len("damaged")]), damaged
        assert ("x.tar/a.png" in found) == (name == "x.tar")
        path.unlink()


def test_usual_extended_headers_are_read(tmp_path: Path) -> None:
    # A long name and a long link, in both formats, and a global header as git writes it.
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "c" * 40}) as archive:
        for i in range(40):
            member = tarfile.TarInfo("n" * 200 + f"/{i}.png")
            member.size, member.mtime, member.uname = len(pgm(i)), 1.5, "ü" * 20  # type: ignore[assignment]
            archive.addfile(member, io.BytesIO(pgm(i)))
    assert list(errors(open_shards(tmp_path)).values()) == [None] * 40


def record(key: bytes, value: bytes) -> bytes:
    """A record of an extended header, which begins with its own length."""
    rest = b" " + key + b"=" + value + b"\n"
    return b"%d" % (len(rest) + next(n for n in range(1, 9) if len(str(len(rest) + n)) == n)) + rest


def extended(kind: bytes, content: bytes) -> bytes:
    return header("x", kind, len(content)) + content + bytes(-len(content) % 512)


@pytest.mark.parametrize("key", [b"path", b"linkpath", b"uname"])
def test_a_global_header_with_a_long_value(tmp_path: Path, key: bytes) -> None:
    """It holds for every member: a name of 900 kB for each of 2,000 members was in the plan of a run 2,000 times."""
    value = b"a/" * 450_000 + b"x.png"
    tar(tmp_path / "y.tar", {"y.png": pgm(1)})
    content = GOOD + extended(b"g", record(key, value)) + header("b.png", b"0", 0) * 2000 + bytes(1024)
    (tmp_path / "x.tar").write_bytes(content)
    before = time.process_time()
    assert errors(open_shards(tmp_path)) == {
        "x.tar/a.png": None,
        "x.tar/#damaged": f"damaged after a.png: a global header with a value of {len(value)} characters",
        "y.tar/y.png": None,
    }
    assert time.process_time() - before < 5


def test_a_global_header_of_very_many_values(tmp_path: Path) -> None:
    """tarfile goes through all of them for every member."""
    values = b"".join(record(b"k%d" % i, b"") for i in range(70_000))
    members = b"".join(header(f"{i}.png", b"0", len(pgm(1))) + pgm(1).ljust(512, b"\0") for i in range(1000))
    (tmp_path / "x.tar").write_bytes(extended(b"g", values) + members + bytes(1024))
    before = time.process_time()
    assert list(errors(open_shards(tmp_path)).values()) == [None] * 1000
    assert time.process_time() - before < 10


@pytest.mark.parametrize("labeled", [False, True])
@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_that_no_file_can_have(tmp_path: Path, labeled: bool, kind: int) -> None:
    for last, link in (("n" * 5000, ""), ("link", "l" * 5000)):
        with tarfile.open(tmp_path / "x.tar", "w", format=kind) as archive:
            for path in ("a", "b" * 3000, "c", last, "d"):
                for end, content in ((".png", pgm(1)), (".cls", b"7")):
                    member = tarfile.TarInfo(path + end)
                    member.size = len(content)
                    if link and path == last:
                        member.size, member.type, member.linkname = 0, tarfile.SYMTYPE, link
                    archive.addfile(member, io.BytesIO(content))
        long = "b" * 3000
        assert errors(open_shards(tmp_path, labeled=labeled)) == {
            "x.tar/a.png": None,
            f"x.tar/{long}.png": None,
            "x.tar/c.png": None,
            "x.tar/#damaged": f"damaged after c.cls: a member with a name of {5000 if link else 5004} characters",
        }
