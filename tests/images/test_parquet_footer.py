"""Footers of Parquet files that contradict themselves or the file."""

from __future__ import annotations

import re
import struct
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iuscore.images import open_shards
from tests.images.sharded_sources import pgm, table
from tests.images.test_shards import fails
from tests.images.test_tar_shards import errors
from tests.project.tree import python

# Of parquet.thrift: an i64 field next to the one before it, or two after it.
NUMBER = {1: b"\x16", 2: b"\x26"}
MOST = 1 << 16


def varint(number: int) -> bytes:
    coded = b""
    while number > 127:
        coded += bytes([number & 127 | 128])
        number >>= 7
    return coded + bytes([number])


def changed(path: Path, old: bytes, new: bytes, *places: int) -> Path:
    """The file with ``new`` in the place of ``old`` in its footer: everywhere, or at those of the places found."""
    content = path.read_bytes()
    length = struct.unpack("<I", content[-8:-4])[0]
    footer = content[-8 - length : -8]
    found = [match.start() for match in re.finditer(re.escape(old), footer)]
    assert found
    for at in reversed([found[i] for i in places] or found):
        footer = footer[:at] + new + footer[at + len(old) :]
    path.write_bytes(content[: -8 - length] + footer + struct.pack("<I", len(footer)) + content[-4:])
    return path


@pytest.mark.parametrize("claimed", [2**40, 3_000_000, 0, -5])
def test_rows_that_are_not_there(tmp_path: Path, claimed: int) -> None:
    """Once more than 2^40 rows were listed from a file of one row, until disk or memory was full."""
    coded = varint(claimed * 2 if claimed >= 0 else -claimed * 2 - 1)
    images: list[bytes | None] = [pgm(1)]
    path = table(tmp_path / "x.parquet", images, use_dictionary=False)
    table(tmp_path / "y.parquet", images)
    began = time.perf_counter()
    changed(path, NUMBER[1] + varint(2), NUMBER[1] + coded)  # every count: of the file, of row groups, of values
    with_other = errors(open_shards(tmp_path))
    assert time.perf_counter() - began < 10
    assert "y.parquet/000000000" in with_other
    del with_other["y.parquet/000000000"]
    if claimed == 0:
        assert with_other == {}
        return
    assert list(with_other) == ["x.parquet/#damaged"]
    (reason,) = with_other.values()
    assert reason is not None
    assert re.fullmatch(rf"damaged: .*(a row group claims {claimed} rows|[Ii]nvalid|[Nn]egative).*", reason), reason


def test_rows_without_values(tmp_path: Path) -> None:
    path = table(tmp_path / "x.parquet", [pgm(1), pgm(2)], row_group_size=1, use_dictionary=False)
    # The last count of a footer is the rows of its last row group; what is there can be read.
    n = len(re.findall(re.escape(NUMBER[1] + varint(2)), path.read_bytes()))
    changed(path, NUMBER[1] + varint(2), NUMBER[1] + varint(2 * 3), n - 1)
    found = errors(open_shards(path))
    assert list(found) == [f"x.parquet/{i:09d}" for i in range(4)]
    assert [found[f"x.parquet/{i:09d}"] for i in (0, 1)] == [None, None]
    assert all("fewer rows than when it was listed" in str(found[f"x.parquet/{i:09d}"]) for i in (2, 3))


def test_a_value_that_all_rows_share_may_be_small(tmp_path: Path) -> None:
    n = MOST // 2
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": pa.array([pgm(1)] * n)}), path)
    assert path.stat().st_size < n
    assert sum(shard.n for shard in open_shards(path).shards(1000)) == n


def test_level_histograms_of_a_wrong_size(tmp_path: Path) -> None:
    """pyarrow raises a C++ exception for these that ends the process, where it is asked for the column."""
    images: list[bytes | None] = [pgm(1)]
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": images}, pa.schema([pa.field("image", pa.binary())])), path)
    # Histogram of the repetition levels, none, and of the definition levels 0 and 1: none, one.
    changed(path, b"\x19\x06\x19\x26\x00\x02", b"\x19\x06\x19\x16\x02")
    done = python(
        "-c",
        "from iuscore.images import open_shards, read_item\nimport sys\n"
        "for labeled in (False, True):\n"
        "    try:\n"
        "        source = open_shards(sys.argv[1], labeled=labeled)\n"
        "        print(*[read_item(item).error for shard in source.shards(9) for item in source.items(shard)])\n"
        "    except ValueError as error:\n"
        "        print(error)\n",
        path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("damaged: Definition level histogram size mismatch")
    assert done.stderr == ""


@pytest.mark.parametrize(
    "footer", [b"\x19" * 50, b"\x1d\x00", b"\x16" + b"\xff" * 20, b"\x18\xff\xff\xff\xff\x07ab", b""]
)
def test_damaged_footers_are_refused(tmp_path: Path, footer: bytes) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1")
    assert fails(path).startswith("ROOT: damaged")
