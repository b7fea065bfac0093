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
from iuscore.images.parquet_footer import row_groups
from tests.mechanics.sharded_sources import pgm, table
from tests.mechanics.test_images_shards import fails
from tests.mechanics.test_tar_shards import errors
from tests.mechanics.tree import python

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


@pytest.mark.parametrize("group", [1, 3, 100])
@pytest.mark.parametrize("options", [{}, {"compression": "zstd", "use_dictionary": False, "write_page_index": True}])
def test_row_groups_are_those_of_pyarrow(tmp_path: Path, group: int, options: dict[str, object]) -> None:
    path = table(tmp_path / "x.parquet", [pgm(i) for i in range(250)], row_group_size=group, **options)
    footer = pq.read_metadata(path)
    found = row_groups(path)
    assert len(found) == footer.num_row_groups
    for i, mine in enumerate(found):
        theirs = footer.row_group(i)
        assert mine[:2] == (theirs.num_rows, theirs.total_byte_size)
        chunks = [theirs.column(j) for j in range(theirs.num_columns)]
        assert list(mine.chunks) == [
            (c.path_in_schema, c.num_values, c.total_uncompressed_size, c.total_compressed_size) for c in chunks
        ]


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
    assert len(row_groups(path)) == 2
    footer = pq.read_metadata(path)
    assert footer.row_group(1).num_rows == footer.row_group(1).column(0).num_values == 1
    # The last count of a footer is the rows of its last row group; what comes before can be read.
    n = len(re.findall(re.escape(NUMBER[1] + varint(2)), path.read_bytes()))
    changed(path, NUMBER[1] + varint(2), NUMBER[1] + varint(2 * 7), n - 1)
    assert errors(open_shards(path)) == {
        "x.parquet/000000000": None,
        "x.parquet/#damaged": "damaged: a row group claims 7 rows of 1 values",
    }


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
    ("footer", "reason"),
    [
        (b"\x19" * 50, "the footer ends too early|nested too deeply"),
        (b"\x1d\x00", "the footer has a value of the unknown type 13"),
        (b"\x59\xf9\x05" + b"\x19" * 200, "the footer is nested too deeply"),
        (b"\x49\xf5\xff\xff\xff\xff\x07\x00", "the footer has a list of type 5 in the place of one of structures"),
        (b"\x16" + b"\xff" * 20, "the footer has an integer of more than 64 bits"),
        (b"\x18\xff\xff\xff\xff\x07ab", "the footer ends too early"),
        (b"\x59\xf1\xff\xff\xff\xff\x07\x00", "the footer ends too early"),
    ],
)
def test_footers_that_are_none(tmp_path: Path, footer: bytes, reason: str) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1")
    with pytest.raises(ValueError, match=reason):
        row_groups(path)
    assert fails(path).startswith("ROOT: damaged")


def test_a_footer_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    n = 1 << 25
    with open(path, "wb") as stream:
        stream.truncate(n)
        stream.seek(n)
        stream.write(struct.pack("<I", n - 4) + b"PAR1")
    with pytest.raises(ValueError, match="a footer of 33554428 bytes, more than 16777216: write larger row groups"):
        row_groups(path)
    for content in (b"", b"PAR1", struct.pack("<I", 2**32 - 1) + b"PAR1", b"\0\0\0\0PARE"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no footer of a Parquet file is there"):
            row_groups(path)
