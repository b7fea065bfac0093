"""iuscore.images.sources.open: what holds for the readers of all formats, and how the format at a path is told."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from iuscore.errors import UserError
from iuscore.images import Shard, open_shards, read_item
from tests.images.sharded_sources import MAKERS, N, contents, fill, pgm, table, tar, uids


def fails(path: Path, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        list(open_shards(path, **options).shards(10))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path), "ROOT")


@pytest.fixture(params=sorted(MAKERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(kind: str, tmp_path: Path) -> Path:
    return MAKERS[kind](tmp_path)


def test_every_size_gives_the_same_images_in_the_same_order(kind: str, path: Path) -> None:
    source = open_shards(path, labeled=kind != "npy")
    assert source.format == kind
    expected = [c for shard in source.shards(1000) for c in contents(source, shard)]
    assert len(expected) == N == len({uid for uid, *_ in expected})
    assert all(error is None and pixels for _, _, error, pixels in expected)
    for size in range(1, N + 2):
        shards = list(source.shards(size))
        assert [shard.index for shard in shards] == list(range(len(shards)))
        assert all(0 < shard.n <= size for shard in shards)
        found = [contents(source, shard) for shard in shards]
        assert [len(part) for part in found] == [shard.n for shard in shards]
        assert [c for part in found for c in part] == expected
        assert len({shard.signature for shard in shards}) == len(shards)
        for shard, part in zip(shards, found, strict=True):
            assert shard.labels == tuple(sorted({label for _, label, *_ in part if label is not None}))


def test_shards_are_read_in_any_order_after_json_and_pickle(kind: str, path: Path) -> None:
    source = open_shards(path)
    shards = list(source.shards(4))
    expected = [contents(source, shard) for shard in shards]
    again = [Shard.from_json(json.loads(json.dumps(shard.to_json()))) for shard in shards]
    assert again == shards
    assert list(open_shards(path).shards(4)) == shards
    for order in (range(len(shards)), reversed(range(len(shards)))):
        for i in order:
            copy = pickle.loads(pickle.dumps(source))
            assert contents(copy, again[i]) == expected[i]
            assert pickle.loads(pickle.dumps(list(source.items(shards[i])))) is not None


def test_another_process_reads_a_shard(kind: str, path: Path) -> None:
    source = open_shards(path)
    shards = list(source.shards(5))
    next(source.items(shards[0]))  # something may be open here now
    code = (
        "import json, sys, pickle; from iuscore.images import Shard, read_item\n"
        "source, shard = pickle.load(sys.stdin.buffer)\n"
        "shard = Shard.from_json(json.loads(shard))\n"
        "print(ascii([(read_item(i).uid, read_item(i).pixels.tobytes()) for i in source.items(shard)]))"
    )
    given = pickle.dumps((source, json.dumps(shards[1].to_json())))
    done = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, check=True)
    assert done.stdout.decode().strip() == ascii([(uid, px) for uid, _, _, px in contents(source, shards[1])])


def test_listing_is_a_stream(kind: str, path: Path) -> None:
    source = open_shards(path)
    shards = source.shards(3)
    first = next(shards)
    assert len(list(source.items(first))) == 3
    items = source.items(first)
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert sum(shard.n for shard in shards) == N - 3


def test_size_and_json_are_checked(tmp_path: Path) -> None:
    source = open_shards(fill(tmp_path, "a.pgm"))
    with pytest.raises(UserError, match="size: expected 1 or more images a shard, got 0"):
        source.shards(0)
    with pytest.raises(UserError, match=r"max_pixels: expected a positive number, got 0"):
        open_shards(tmp_path, max_pixels=0)
    with pytest.raises(UserError, match=r"shard: expected n to be of type int, got None"):
        Shard.from_json({"index": 0})


def test_the_format_at_a_path(tmp_path: Path) -> None:
    assert fails(tmp_path / "none") == "no such file or folder: ROOT"
    fill(tmp_path, "both/a.png", "both/sub/b.png")
    (tmp_path / "both/x.tar").touch()
    assert fails(tmp_path / "both") == (
        "ROOT holds a.png, sub, x.tar side by side: give one of them, or a folder of files of one format"
    )
    (tmp_path / "t").mkdir()
    (tmp_path / "t/x.tar.gz").touch()
    compressed = "is compressed as a whole, so that no image in it can be found without reading all before it: "
    assert fails(tmp_path / "t") == f"ROOT/x.tar.gz {compressed}unpack it to a .tar first"
    assert fails(tmp_path / "t/x.tar.gz") == f"ROOT {compressed}unpack it to a .tar first"
    (tmp_path / "notes.txt").touch()
    assert fails(tmp_path / "notes.txt").startswith("ROOT is no image file: looked for *.png, ")
    fill(tmp_path, "parts/train/1.png", "parts/val/2.png")
    assert uids(open_shards(tmp_path / "parts", split="val")) == ["2.png"]
    assert fails(tmp_path / "parts", split="test") == "split: no test folder in ROOT: it has train, val"
    assert fails(tmp_path / "parts", column="image") == (
        "column: only Parquet files and tar archives have columns, not ROOT"
    )


def test_importing_loads_no_library_of_a_single_format() -> None:
    code = "import sys, iuscore.images; print(sorted({'PIL', 'pyarrow', 'pydicom', 'simplejpeg'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_archives_in_folders_below(tmp_path: Path) -> None:
    # As Hugging Face lays out a data set.
    hf = tmp_path / "hf"
    (hf / "data/more").mkdir(parents=True)
    for name in ("README.md", ".gitattributes", "data/notes.txt"):
        (hf / name).touch()
    for name, value in (("train-0", 1), ("train-1", 2), ("more/test-0", 3)):
        table(hf / f"data/{name}.parquet", [pgm(value)])
    source = open_shards(hf, labeled=True)
    assert source.format == "parquet"
    expected = [f"data/{name}.parquet/000000000" for name in ("more/test-0", "train-0", "train-1")]
    assert uids(source) == expected
    assert [read_item(item).error for shard in source.shards(9) for item in source.items(shard)] == [None] * 3
    tar(tmp_path / "tars/a/x.tar", {"1.pgm": pgm(1)})
    assert uids(open_shards(tmp_path / "tars")) == ["a/x.tar/1.pgm"]
    # Nothing is left out in silence.
    fill(hf, "zzz/1.png")
    assert fails(hf) == (
        "ROOT holds data/more/test-0.parquet and zzz/1.png below it: give a folder of files of one format"
    )
    table(tmp_path / "mixed/a/x.parquet", [pgm(1)])
    tar(tmp_path / "mixed/b/x.tar", {"1.pgm": pgm(1)})
    assert fails(tmp_path / "mixed") == (
        "ROOT holds a/x.parquet and b/x.tar below it: give a folder of files of one format"
    )
    (tmp_path / "gz/a").mkdir(parents=True)
    (tmp_path / "gz/a/x.tar.gz").touch()
    assert fails(tmp_path / "gz").startswith("ROOT/a/x.tar.gz is compressed as a whole")


def test_what_lies_below_is_found_whatever_links_there_are(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i:02d}").mkdir()
        for j in range(12):
            (tmp_path / f"{i:02d}/to{j:02d}").symlink_to(tmp_path / f"{j:02d}")
    tar(tmp_path / "99/x.tar", {"1.pgm": pgm(1)})
    assert open_shards(tmp_path).format == "webdataset"
    assert "linked to each other" in fails(tmp_path)


def test_signatures_are_those_of_the_images_that_were_listed(tmp_path: Path) -> None:
    """By the formula that began runs of every version: SHA-256 of [uid, label, bytes, date] of each image, as JSON."""

    def expected(*listed: list[object], also: object = None) -> str:
        known = [*listed] if also is None else [[*listed], also]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    root = fill(tmp_path / "images", "a/1.pgm", "b/2.pgm")
    for path in root.rglob("*.pgm"):
        os.utime(path, (10**9, 10**9 + 0.5))
    files: list[list[object]] = [["a/1.pgm", "a", 13, 10**9], ["b/2.pgm", "b", 13, 10**9]]
    plain: list[list[object]] = [[uid, None, n, date] for uid, _, n, date in files]

    def signature(path: Path, **options: object) -> str:
        (shard,) = open_shards(path, **options).shards(10)  # type: ignore[arg-type]
        return shard.signature

    assert signature(root) == expected(*plain)
    assert signature(root, labeled=True) == expected(*files)
    # Other images are refused with another limit, and only then it is part of the signature.
    assert signature(root, max_pixels=100) == expected(*plain, also={"max_pixels": 100})

    path = tar(tmp_path / "x.tar", {"1.pgm": pgm(1), "1.cls": b"7"}, date=2 * 10**9)
    assert signature(path, labeled=True) == expected(["x.tar/1.pgm", "7", 13, 2 * 10**9])
    path = table(tmp_path / "x.parquet", [pgm(0), pgm(1)])
    os.utime(path, (10**9, 10**9))
    size = pq.ParquetFile(path).metadata.row_group(0).total_byte_size
    rows: list[list[object]] = [[f"x.parquet/00000000{i}", None, size, 10**9] for i in range(2)]
    assert signature(path) == expected(*rows, also="image")
