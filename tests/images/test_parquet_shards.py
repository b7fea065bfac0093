"""ParquetShards: images in a column."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iuscore.images import ShardedSource, open_shards, read_item
from iuscore.images.sources import parquet
from tests.images.sharded_sources import pgm, table, uids
from tests.images.test_shards import fails
from tests.images.test_tar_shards import errors, labels


def write(path: Path, columns: dict[str, Any], metadata: dict[str, str] | None = None, **options: Any) -> Path:
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path, **options)
    return path


def first_pixels(source: ShardedSource, size: int) -> list[int]:
    items = (item for shard in source.shards(size) for item in source.items(shard))
    return [int(np.ravel(pixels)[0]) for item in items if (pixels := read_item(item).pixels) is not None]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_columns_of_bytes(tmp_path: Path, kind: pa.DataType) -> None:
    images = [pgm(1), None, pgm(2)]
    structs = [None if image is None else {"bytes": image} for image in images]
    for i, values in enumerate([pa.array(images, kind), pa.array(structs, pa.struct([("bytes", kind)]))]):
        path = write(tmp_path / f"{i}.parquet", {"id": [1, 2, 3], "a b.c": values})
        assert errors(open_shards(path)) == {
            f"{i}.parquet/000000000": None,
            f"{i}.parquet/000000001": "no image: the row is null, or has a path but no bytes",
            f"{i}.parquet/000000002": None,
        }


def test_a_struct_without_bytes_is_a_null(tmp_path: Path) -> None:
    values = pa.array(
        [{"bytes": None, "path": "elsewhere/1.png"}], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    path = write(tmp_path / "x.parquet", {"image": values})
    assert list(errors(open_shards(path)).values()) == ["no image: the row is null, or has a path but no bytes"]


def test_which_column(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"image": [pgm(1)], "mask": [pgm(2)], "id": [3]})
    assert fails(path) == "ROOT has several columns of bytes: image, mask; name the one with the images"
    assert first_pixels(open_shards(path, column="mask"), 9) == [2]
    assert fails(path, column="x") == (
        "column: no x in ROOT: its columns are image (binary), mask (binary), id (int64)"
    )
    assert fails(path, column="id") == ("column: id of ROOT: expected bytes, or a struct with a field bytes, got int64")
    assert fails(write(path, {"id": [3]})) == (
        "ROOT has no column of bytes, or of structs with a field bytes: its columns are id (int64)"
    )


def test_classes(tmp_path: Path) -> None:
    images = [pgm(i) for i in range(3)]
    path = tmp_path / "x.parquet"

    def found(values: Any, metadata: dict[str, str] | None = None) -> list[str | None]:
        return [
            label
            for _, label in labels(open_shards(write(path, {"image": images, "label": values}, metadata), labeled=True))
        ]

    assert found([2, 0, 2]) == ["2", "0", "2"]
    assert found(["wbc", "rbc", "wbc"]) == ["wbc", "rbc", "wbc"]
    assert found(pa.array(["wbc", "rbc", "wbc"]).dictionary_encode()) == ["wbc", "rbc", "wbc"]
    feature = {"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}
    assert found([1, 0, 1], {"huggingface": json.dumps(feature)}) == ["pos", "neg", "pos"]
    assert found([1, 0, 1], {"huggingface": "no json"}) == ["1", "0", "1"]
    expected = "label of ROOT: expected a text or an integer from 0 in every row, got"
    for wrong, shown in (([1, None, 1], "None"), ([1, -1, 1], "-1"), ([1, 0.5, 1], "1.0"), ([True] * 3, "True")):
        assert fails(write(path, {"image": images, "label": wrong}), labeled=True) == f"{expected} {shown}"
    write(path, {"image": images, "label": [0, 1, 2]}, {"huggingface": json.dumps(feature)})
    assert fails(path, labeled=True) == (
        "label of ROOT: expected a text or an integer from 0 below 2 in every row, got 2"
    )
    assert fails(write(path, {"image": images}), labeled=True) == "ROOT has no column label: its columns are image"


@pytest.mark.parametrize("group", [1, 3, 7, 100])
def test_row_groups_and_shards_of_every_size(tmp_path: Path, group: int) -> None:
    path = table(tmp_path / "x.parquet", [pgm(i) for i in range(20)], row_group_size=group)
    for size in (1, 2, 3, 6, 7, 19, 100):
        source = open_shards(path, labeled=True)
        shards = list(source.shards(size))
        assert uids(source, size) == [f"x.parquet/{i:09d}" for i in range(20)]
        assert first_pixels(source, size) == list(range(20))
        assert [label for _, label in labels(source)] == [str(i % 3) for i in range(20)]
        backwards = [read_item(item).pixels for shard in shards[::-1] for item in source.items(shard)]
        assert sorted(int(np.ravel(p)[0]) for p in backwards if p is not None) == list(range(20))
        if size >= group:  # a row group that fits a shard is in one
            assert len({g for s in shards for g, _, _ in s.where["groups"]}) == sum(
                len(s.where["groups"]) for s in shards
            )


def test_damage(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images: list[bytes | None] = [b"P5 40 40 255 " + rng.bytes(1600) for _ in range(12)]
    path = table(tmp_path / "x.parquet", images, row_group_size=4, compression="zstd", use_dictionary=False)
    table(tmp_path / "y.parquet", images[:1])
    whole = path.read_bytes()
    damaged = bytearray(whole)
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    damaged[start : start + 200] = bytes(200)
    path.write_bytes(damaged)
    found = [errors(open_shards(tmp_path), size) for size in (1, 3, 4, 50)]
    assert all(list(f.items()) == list(found[0].items()) for f in found)
    reasons = list(found[0].values())
    assert reasons[:4] + reasons[8:] == [None] * 9
    assert all(reason is not None and reason.startswith("damaged: ") for reason in reasons[4:8])
    for content in (b"", whole[: len(whole) // 2], b"PAR1 text"):
        path.write_bytes(content)
        assert fails(path).startswith("ROOT: damaged, or no Parquet file: ")
        found[0] = errors(open_shards(tmp_path))
        assert list(found[0]) == ["x.parquet/#damaged", "y.parquet/000000000"]


def test_a_file_that_goes_or_shrinks_after_listing(tmp_path: Path) -> None:
    path = table(tmp_path / "x.parquet", [pgm(i) for i in range(6)], row_group_size=2)
    source = open_shards(path)
    (shard,) = source.shards(9)
    table(path, [pgm(i) for i in range(3)], row_group_size=2)
    found = [read_item(item).error for item in source.items(shard)]
    assert found[:3] == [None] * 3
    assert all(error is not None and error.startswith("damaged: ") for error in found[3:])
    path.unlink()
    found = [read_item(item).error for item in source.items(shard)]
    assert found == ["cannot be opened: No such file or directory"] * 6


def test_memory_is_not_that_of_a_row_group(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images: list[bytes | None] = [rng.bytes(100_000) for _ in range(400)]
    path = table(tmp_path / "x.parquet", images, use_dictionary=False, write_batch_size=8)
    assert pq.read_metadata(path).num_row_groups == 1  # of 40 MB, in pages of 1 MB
    del images
    source = open_shards(path)
    before = pa.total_allocated_bytes()
    peak = 0
    for shard in source.shards(50):
        for _ in source.items(shard):
            peak = max(peak, pa.total_allocated_bytes() - before)
    assert 0 < peak < 20e6


def test_signature_tells_changes(tmp_path: Path) -> None:
    def signature(**options: bool) -> str:
        os.utime(path, (10**9, 10**9))
        (shard,) = open_shards(path, **options).shards(9)  # type: ignore[arg-type]
        return shard.signature

    path = table(tmp_path / "x.parquet", [pgm(1), pgm(2)])
    first, labeled = signature(), signature(labeled=True)
    assert signature() == first
    table(path, [pgm(1), pgm(2) + b"more of it"])
    assert len({first, labeled, signature()}) == 3


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    assert fails(table(tmp_path / "x.parquet", [])) == "no images in ROOT"


def test_a_damaged_label_ends_its_file_alone(tmp_path: Path) -> None:
    columns = {"image": pa.array([pgm(i) for i in range(4)]), "label": pa.array(["benign"] * 4)}
    options: dict[str, Any] = {"compression": "none", "use_dictionary": False}
    path = write(tmp_path / "a.parquet", columns, **options)
    write(tmp_path / "b.parquet", columns, **options)
    content = path.read_bytes()
    at = content.index(b"\x06\0\0\0benign")
    path.write_bytes(content[:at] + b"\xff\xff\xff\x7f" + content[at + 4 :])
    found = errors(open_shards(tmp_path, labeled=True))
    assert str(found.pop("a.parquet/#damaged")).startswith("damaged: label: ")
    assert found == {f"b.parquet/{i:09d}": None for i in range(4)}


def test_a_damaged_footer_says_what_is_wrong(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"image": pa.array([pgm(1)])})
    content = path.read_bytes()
    path.write_bytes(content[:-60] + b"\xff" * 40 + content[-20:])
    assert fails(path).startswith("ROOT: damaged")
    assert "None" not in fails(path)


def test_structs_inside_structs_are_no_images(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.struct([("bytes", pa.binary())]))])
    path = write(tmp_path / "x.parquet", {"image": pa.array([{"bytes": {"bytes": pgm(1)}}], kind)})
    assert "has no column of bytes" in fails(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("suffix", ["parquet", "tar", "npz", "npy"])
def test_named_pipes_are_not_waited_for(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"pipe.{suffix}")
    assert fails(tmp_path / f"pipe.{suffix}").endswith("no regular file")


def test_a_column_named_like_the_field_of_another(tmp_path: Path) -> None:
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {
        "image": pa.array([{"bytes": pgm(1)}, None, {"bytes": pgm(2)}], struct),
        "image.bytes": pa.array([pgm(3), pgm(4), None], pa.binary()),
        "label": pa.array(["a", "b", "a"]),
        "label.name": pa.array([7, 7, 7]),
    }
    for names in (list(columns), list(columns)[::-1]):
        path = write(tmp_path / "x.parquet", {name: columns[name] for name in names})
        assert first_pixels(open_shards(path, column="image"), 2) == [1, 2]
        assert first_pixels(open_shards(path, column="image.bytes"), 2) == [3, 4]
        assert [label for _, label in labels(open_shards(path, column="image", labeled=True))] == ["a", "b", "a"]


def test_columns_of_one_name(tmp_path: Path) -> None:
    image, label = pa.array([pgm(1)]), pa.array(["a"])
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_arrays([image, image], ["image", "image"]), path)
    assert fails(path) == "ROOT has 2 columns named image: give each a name of its own"
    assert fails(path, column="image") == "ROOT has 2 columns named image: give each a name of its own"
    pq.write_table(pa.Table.from_arrays([image, label, label], ["image", "label", "label"]), path)
    assert fails(path, labeled=True) == "ROOT has 2 columns label: its columns are image, label, label"


def peak_of(source: ShardedSource, size: int, most: int) -> tuple[int, int]:
    """Bytes that Arrow held at most while ``most`` images were read, and the images."""
    before, peak, n = pa.total_allocated_bytes(), 0, 0
    for shard in source.shards(size):
        for item in source.items(shard):
            assert read_item(item).error is None
            peak, n = max(peak, pa.total_allocated_bytes() - before), n + 1
            if n == most:
                return peak, n
    return peak, n


def repeated(path: Path, value: Any, n: int, name: str = "image", **columns: Any) -> Path:
    """A table with one value of a dictionary in all rows, which the file has once."""
    kind = pa.binary() if isinstance(value, bytes) else pa.string()
    column = pa.DictionaryArray.from_arrays(pa.array([0] * n, pa.int32()), pa.array([value], kind))
    pq.write_table(
        pa.table({name: column, **columns}), path, compression="zstd", dictionary_pagesize_limit=1 << 31,
        store_schema=False,
    )  # fmt: skip
    return path


def test_a_value_that_is_repeated_is_in_memory_once(tmp_path: Path) -> None:
    n_bytes = 8 << 20
    path = repeated(tmp_path / "x.parquet", pgm(1) + bytes(n_bytes), 640)
    assert path.stat().st_size < 10_000
    source = open_shards(path)
    assert sum(shard.n for shard in source.shards(64)) == 640
    peak, n = peak_of(source, 64, 80)
    # Unpacked page, its dictionary and one row.
    assert (n, peak < 5 * n_bytes) == (80, True), peak
    (first, *others) = (item.stored for item in source.items(next(source.shards(64))))
    assert all(other is first for other in others)


def test_a_class_that_is_repeated_is_in_memory_once(tmp_path: Path) -> None:
    n = 2000
    images = pa.array([pgm(1)] * n)
    path = repeated(tmp_path / "x.parquet", "long" * (1 << 20), n, "label", image=images)
    assert fails(path, labeled=True) == "label of ROOT: expected a short text in every row, got 4194304 bytes"
    repeated(path, "a", n, "label", image=images)
    assert {label for _, label in labels(open_shards(path, labeled=True))} == {"a"}


def test_rows_that_unpack_to_far_more_than_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pgm(1) + bytes(4 << 20)
    table(tmp_path / "a.parquet", [image, image + b"\0"], compression="zstd", use_dictionary=False)
    table(tmp_path / "b.parquet", [pgm(2)])
    assert list(errors(open_shards(tmp_path)).values()) == [None] * 3
    monkeypatch.setattr(parquet, "_LARGEST_GROUP", 1 << 20)
    found = list(errors(open_shards(tmp_path)).values())
    assert found[2] is None
    assert len(set(found[:2])) == 1
    assert re.fullmatch(
        r"damaged: a row group in a file of \d+ bytes unpacks to \d+: write smaller row groups", str(found[0])
    )
    monkeypatch.undo()
    monkeypatch.setattr(parquet, "_LARGEST", 1 << 20)
    found = list(errors(open_shards(tmp_path)).values())
    assert found == [
        f"too large: {len(image)} bytes, more than 1048576 in a row",
        f"too large: {len(image) + 1} bytes, more than 1048576 in a row",
        None,
    ]


def test_nested_json_is_no_metadata(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"image": [pgm(1)], "label": [1]}, {"huggingface": "[" * 100_000})
    assert labels(open_shards(path, labeled=True)) == [("x.parquet/000000000", "1")]


def test_thousands_of_columns_are_not_all_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {f"{i}" + "c" * 200: [i] for i in range(1000)})
    assert fails(path).endswith("... and 980 others")
    assert len(fails(path)) < 3000
