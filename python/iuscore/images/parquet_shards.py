"""Parquet files with a column of images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from iuscore.errors import UserError
from iuscore.images.archives import ArchiveShards, Damaged, one_line, size_and_date
from iuscore.images.cursors import read_from
from iuscore.images.decode import MAX_PIXELS
from iuscore.images.sample import Stored, StoredBytes, StoredNothing
from iuscore.images.shards import Listed

_BATCH_BYTES = 4 << 20
_LARGEST_BATCH = 64
_LABEL = "label"
_NULL = "no image: the row is null, or has a path but no bytes"


class ParquetShards(ArchiveShards):
    """A Parquet file, a folder of them, or a pattern such as ``train-{00..15}.parquet``.

    Images are the bytes of image files: a binary column, or a struct with a binary field ``bytes``, as
    Hugging Face's datasets have it. Uids are ``<file>/<row>`` with nine digits. Row groups are read a few rows at
    a time. Classes are in the column ``label``: texts, or integers, which Hugging Face's names in the metadata of the
    schema stand for.

    Args:
        path: file, folder or pattern.
        labeled: read the class of every row.
        column: the column of images; None: the only one there is.
        max_pixels: larger images are refused when read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     table = pa.table({"image": [b"P5 1 1 255 0"], "label": ["wbc"]})
        ...     pq.write_table(table, Path(root, "x.parquet"))
        ...     source = ParquetShards(root, labeled=True)
        ...     [(item.uid, item.label) for shard in source.shards(10) for item in source.items(shard)]
        [('x.parquet/000000000', 'wbc')]
    """

    kind: ClassVar[str] = "parquet"
    suffix: ClassVar[str] = ".parquet"

    def __init__(
        self,
        path: str | Path,
        *,
        labeled: bool = False,
        column: str | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__(path, labeled=labeled, max_pixels=max_pixels)
        self.column = column

    def _parts(self, path: Path, name: str, size: int) -> Iterator[tuple[Sequence[Listed], dict[str, Any]]]:
        try:
            file = _opened(path)
        except (pa.ArrowException, ValueError) as error:
            raise Damaged(f"damaged, or no Parquet file: {one_line(error)}") from error
        with file:
            column = _image_column(path, file.schema_arrow, self.column)
            date = size_and_date(path)[1]
            start = 0
            labels = _Labels(path, file) if self.labeled else None
            for groups in _packed(file.metadata, size):
                images = []
                row = start
                for group, first, stop in groups:
                    n_bytes = file.metadata.row_group(group).total_byte_size
                    known = [None] * (stop - first) if labels is None else labels.of(group)[first:stop]
                    images += [Listed(_uid(name, row + i), label, n_bytes, date) for i, label in enumerate(known)]
                    row += stop - first
                yield images, {"column": column, "row": start, "groups": groups}
                start = row

    def _uids(self, where: dict[str, Any]) -> Iterator[str]:
        n = sum(stop - first for _, first, stop in where["groups"])
        return (_uid(where["uid"], where["row"] + i) for i in range(n))

    def _stored(self, path: Path, where: dict[str, Any]) -> Iterator[Stored]:
        with open(path, "rb"):
            pass  # the system's own word for what is wrong
        for group, first, stop in where["groups"]:
            key = (str(path), size_and_date(path), where["column"], group)
            done = first
            try:
                with read_from(first, key, partial(_Rows, path, where["column"], group)) as rows:
                    while done < stop:
                        content = rows.read()
                        done += 1
                        yield StoredNothing(_NULL) if content is None else StoredBytes(content)
            except (pa.ArrowException, OSError, ValueError) as error:
                yield from [StoredNothing(f"damaged: {one_line(error)}")] * (stop - done)


class _Rows:
    """The images of one row group, in order."""

    def __init__(self, path: Path, column: str, group: int) -> None:
        self.position = 0
        self._file = _opened(path)
        self._batch: Any = ()
        self._next = 0
        metadata = self._file.metadata.row_group(group)
        each = max(1, metadata.total_byte_size // max(1, metadata.num_rows))
        field = self._file.schema_arrow.field(column)
        self._is_struct = pa.types.is_struct(field.type)
        self._batches = self._file.iter_batches(
            batch_size=max(1, min(_LARGEST_BATCH, _BATCH_BYTES // each)),
            row_groups=[group],
            columns=[f"{column}.bytes" if self._is_struct else column],
            use_threads=False,
        )

    def read(self) -> bytes | None:
        self._fill()
        content: bytes | None = self._batch[self._next].as_py()
        self._advance(1)
        return content

    def skip_to(self, position: int) -> None:
        while self.position < position:
            self._fill()
            self._advance(min(len(self._batch) - self._next, position - self.position))

    def _advance(self, n: int) -> None:
        self._next += n
        self.position += n

    def _fill(self) -> None:
        if self._next < len(self._batch):
            return
        batch = next(self._batches, None)
        if batch is None:
            raise ValueError("the row group has fewer rows than when it was listed")
        values = batch.column(0)
        self._batch = pc.struct_field(values, "bytes") if self._is_struct else values
        self._next = 0

    def close(self) -> None:
        self._file.close()


def _opened(path: Path) -> pq.ParquetFile:
    # A buffered stream: pages come one by one, not a whole row group at once.
    return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)


def _uid(name: str, row: int) -> str:
    return f"{name}/{row:09d}"


def _packed(metadata: pq.FileMetaData, size: int) -> Iterator[list[list[int]]]:
    """[row group, first row, stop] of each shard: whole row groups together, larger ones in parts."""
    shard: list[list[int]] = []
    room = size
    for group in range(metadata.num_row_groups):
        n = metadata.row_group(group).num_rows
        if shard and n > room:
            yield shard
            shard, room = [], size
        for first in range(0, n, size):
            stop = min(first + size, n)
            shard.append([group, first, stop])
            room -= stop - first
            if room == 0 or stop - first == size:
                yield shard
                shard, room = [], size
    if shard:
        yield shard


def _image_column(path: Path, schema: pa.Schema, wanted: str | None) -> str:
    found: list[str] = [field.name for field in schema if _holds_bytes(field.type)]
    present = ", ".join(f"{field.name} ({field.type})" for field in schema) or "none"
    if wanted is not None:
        if wanted not in schema.names:
            raise UserError(f"column: no {wanted} in {path}: its columns are {present}")
        if wanted not in found:
            raise UserError(
                f"column: {wanted} of {path}: expected bytes, or a struct with a field bytes, got "
                f"{schema.field(wanted).type}"
            )
        return wanted
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{path} has several columns of bytes: {', '.join(found)}; name the one with the images")
    raise UserError(f"{path} has no column of bytes, or of structs with a field bytes: its columns are {present}")


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and not pa.types.is_struct(inner := kind.field(index).type) and _holds_bytes(inner)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


class _Labels:
    """Classes of the rows, a row group at a time."""

    def __init__(self, path: Path, file: pq.ParquetFile) -> None:
        self._path, self._file = path, file
        self._names = _class_names(path, file.schema_arrow)
        self._group, self._labels = -1, [""]

    def of(self, group: int) -> Sequence[str]:
        if group != self._group:  # a large row group is in many shards
            try:
                values = self._file.read_row_group(group, columns=[_LABEL], use_threads=False).column(0).to_pylist()
            except (pa.ArrowException, OSError) as error:
                raise Damaged(f"damaged: {_LABEL}: {one_line(error)}") from error
            if len(values) != (n := self._file.metadata.row_group(group).num_rows):
                raise Damaged(f"damaged: {_LABEL}: {len(values)} of {n} rows of a row group")
            self._group, self._labels = group, [_label(self._path, value, self._names) for value in values]
        return self._labels


def _class_names(path: Path, schema: pa.Schema) -> list[str] | None:
    """Hugging Face's names of the classes, if the schema has them."""
    if _LABEL not in schema.names:
        raise UserError(f"{path} has no column {_LABEL}: its columns are {', '.join(schema.names)}")
    try:
        names = json.loads(schema.metadata[b"huggingface"])["info"]["features"][_LABEL]["names"]
    except (TypeError, KeyError, ValueError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _label(path: Path, value: object, names: list[str] | None) -> str:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        if names is None:
            return str(value)
        if value < len(names):
            return names[value]
    known = "" if names is None else f" below {len(names)}"
    raise UserError(f"{_LABEL} of {path}: expected a text or an integer from 0{known} in every row, got {value!r}")
