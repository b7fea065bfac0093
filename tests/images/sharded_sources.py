"""A small source of each kind, for the tests that hold for all of them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iuscore.images import Shard, ShardedSource, read_item

N = 23


def pgm(value: int) -> bytes:
    """An image file of 2x1 pixels."""
    return b"P5 2 1 255 " + bytes([value % 251, value // 251])


def fill(root: Path, *names: str) -> Path:
    """Write a tiny image of its own content under each name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pgm(sum(name.encode())))
    return root


def folder(root: Path) -> Path:
    names = ["a b/ß 1.pgm", "a b/x/1.pgm", "a b/x.pgm", "a b/x-1.pgm", "a-b/1.pgm", "é/1.PGM"]
    return fill(root / "images", *names, *(f"c/{i}.pgm" for i in range(N - len(names))))


def tar(path: Path, members: dict[str, bytes] | list[tuple[str, bytes]], date: int = 10**9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), date
            archive.addfile(member, io.BytesIO(content))
    return path


def tars(root: Path) -> Path:
    members = [
        (f"s {i}/é{i}{end}", data) for i in range(N) for end, data in ((".pgm", pgm(i)), (".cls", b"%d" % (i % 3)))
    ]
    tar(root / "tars/b.tar", members[:18])
    tar(root / "tars/a ü.tar", members[18:])
    return root / "tars"


def table(path: Path, images: list[bytes | None], **options: Any) -> Path:
    """Images as Hugging Face's datasets have them; label is i % 3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    structs = [None if image is None else {"bytes": image, "path": f"{i}.png"} for i, image in enumerate(images)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(structs, kind), "label": pa.array([i % 3 for i in range(len(images))])}
    pq.write_table(pa.table(columns), path, **options)
    return path


def tables(root: Path) -> Path:
    images: list[bytes | None] = [pgm(i) for i in range(N)]
    table(root / "tables/b.parquet", images[:4])
    table(root / "tables/a ü.parquet", images[4:], row_group_size=5)
    return root / "tables"


def npz(root: Path) -> Path:
    images = np.arange(N * 6, dtype=np.uint8).reshape(N, 2, 3)
    parts = {"train": images[:11], "val": images[11:12], "test": images[12:]}
    arrays = {f"{split}_images": part for split, part in parts.items()}
    arrays |= {f"{split}_labels": np.arange(len(part))[:, None] % 3 for split, part in parts.items()}
    np.savez_compressed(root / "m.npz", **arrays)  # type: ignore[arg-type]
    return root / "m.npz"


def npy(root: Path) -> Path:
    (root / "arrays").mkdir()
    images = np.arange(N * 12, dtype=np.uint16).reshape(N, 2, 2, 3)
    np.save(root / "arrays/b.npy", images[:9])
    np.save(root / "arrays/a ü.npy", images[9:])
    return root / "arrays"


MAKERS: dict[str, Callable[[Path], Path]] = {
    "folder": folder,
    "webdataset": tars,
    "parquet": tables,
    "npz": npz,
    "npy": npy,
}


def uids(source: ShardedSource, size: int = 1000) -> list[str]:
    return [item.uid for shard in source.shards(size) for item in source.items(shard)]


def contents(source: ShardedSource, shard: Shard) -> list[tuple[str, str | None, str | None, bytes]]:
    """What reading gives: uid, label, error, pixels."""
    samples = [read_item(item, source.max_pixels) for item in source.items(shard)]
    return [(s.uid, s.label, s.error, b"" if s.pixels is None else np.asarray(s.pixels).tobytes()) for s in samples]
