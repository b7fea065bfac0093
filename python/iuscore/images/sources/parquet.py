"""Parquet files with a column of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from iuscore._run.regular_files import regular_only
from iuscore.errors import UserError
from iuscore.images.listing import most_images
from iuscore.images.passing import is_passing
from iuscore.images.reasons import message_of
from iuscore.images.sample import Stored, StoredBytes, StoredNothing
from iuscore.images.sources.archive import GROUPS, ColumnShards, Damaged, listed, reason_of, size_and_date
from iuscore.images.sources.base import Listed
from iuscore.images.sources.forward import read_from
from iuscore.images.sources.parquet_columns import Groups, Labels, opened

_LARGEST = 1 << 28
_LARGEST_GROUP, _MAX_UNPACKED = 1 << 28, 1000
_NULL = "no image: the row is null, or has a path but no bytes"


class ParquetShards(ColumnShards):
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
        >>> import pyarrow.parquet as pq
        >>> with tempfile.TemporaryDirectory() as root:
        ...     table = pa.table({"image": [b"P5 1 1 255 0"], "label": ["wbc"]})
        ...     pq.write_table(table, Path(root, "x.parquet"))
        ...     source = ParquetShards(root, labeled=True)
        ...     [(item.uid, item.label) for shard in source.shards(10) for item in source.items(shard)]
        [('x.parquet/000000000', 'wbc')]
    """

    format: ClassVar[str] = "parquet"
    suffix: ClassVar[str] = ".parquet"

    def _parts(self, path: Path, name: str, size: int) -> Iterator[tuple[Sequence[Listed], dict[str, Any]]]:
        try:
            file = opened(path)
        except (pa.ArrowException, ValueError) as error:
            raise Damaged(f"damaged, or no Parquet file: {message_of(error)}") from error
        with file, ExitStack() as also_open:
            column = _image_column(path, file.schema_arrow, self.column)
            n_there, date = size_and_date(path)
            # No column of a row group is asked for: pyarrow 26 ends the process where that part of a footer is damaged.
            footer = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            problems = (_problem(group.num_rows, n_there) for group in footer)
            first_bad, problem = next(((i, p) for i, p in enumerate(problems) if p), (len(footer), ""))
            start = 0
            labels = also_open.enter_context(closing(Labels(path, file.schema_arrow))) if self.labeled else None
            patients = None
            if self.group_column is not None:
                patients = also_open.enter_context(closing(Groups(path, file.schema_arrow, self.group_column)))
            for groups in _packed([group.num_rows for group in footer[:first_bad]], size):
                images = []
                of_patients: list[str] = []
                row = start
                for group, begin, stop in groups:
                    n_bytes = footer[group].total_byte_size
                    known = [None] * (stop - begin) if labels is None else labels.of(group, begin, stop)
                    images += [Listed(_uid(name, row + i), label, n_bytes, date) for i, label in enumerate(known)]
                    of_patients += () if patients is None else patients.of(group, begin, stop)
                    row += stop - begin
                named = {} if patients is None else {GROUPS: of_patients}
                yield images, {"column": column, "row": start, "groups": groups, **named}
                start = row
            if problem:
                raise Damaged(f"damaged: {problem}")

    def _uids(self, where: dict[str, Any]) -> Iterator[str]:
        n = sum(stop - begin for _, begin, stop in where["groups"])
        return (_uid(where["uid"], where["row"] + i) for i in range(n))

    def _one(self, where: dict[str, Any], i: int) -> dict[str, Any]:
        for group, begin, stop in where["groups"]:
            if i < stop - begin:
                return {"column": where["column"], "groups": [[group, begin + i, begin + i + 1]]}
            i -= stop - begin
        raise IndexError(i)

    def _stored(self, path: Path, where: dict[str, Any]) -> Iterator[Stored]:
        with open(path, "rb", opener=regular_only):
            pass  # raises the system's own error, such as no permission
        for group, begin, stop in where["groups"]:
            key = (str(path), size_and_date(path), where["column"], group)
            done = begin
            try:
                with read_from(begin, key, partial(_Rows, path, where["column"], group)) as rows:
                    while done < stop:
                        stored = rows.read()
                        done += 1
                        yield stored
            except (pa.ArrowException, OSError, ValueError) as error:
                yield from [StoredNothing(reason_of(error), is_passing(error))] * (stop - done)


class _Rows:
    """The images of one row group, in order."""

    def __init__(self, path: Path, column: str, group: int) -> None:
        self.position = 0
        self._file = opened(path)
        self._column = column
        self._last = StoredBytes(b"")
        _require_room(self._file.metadata.row_group(group).total_byte_size, size_and_date(path)[0])
        self._is_struct = pa.types.is_struct(self._file.schema_arrow.field(column).type)
        # One row at a time: a value that a dictionary holds once is written out for every row.
        self._batches = self._file.iter_batches(
            batch_size=1,
            row_groups=[group],
            columns=[f"{column}.bytes" if self._is_struct else column],
            use_threads=False,
        )

    def read(self) -> Stored:
        # By its name: where there are columns image (a struct) and image.bytes, both are read.
        values = self._next().column(self._column)
        value = (pc.struct_field(values, "bytes") if self._is_struct else values)[0]
        if (buffer := value.as_buffer()) is None:
            return StoredNothing(_NULL)
        if len(buffer) > _LARGEST:
            return StoredNothing(f"too large: {len(buffer)} bytes, more than {_LARGEST} in a row")
        if not buffer.equals(pa.py_buffer(self._last.content)):  # repeated images share one copy in memory
            self._last = StoredBytes(value.as_py())
        return self._last

    def skip_to(self, position: int) -> None:
        while self.position < position:
            self._next()

    def _next(self) -> pa.RecordBatch:
        batch = next(self._batches, None)
        if batch is None:
            raise ValueError("the row group has fewer rows than when it was listed")
        self.position += 1
        return batch

    def close(self) -> None:
        self._file.close()


def _problem(n_rows: int, file_size: int) -> str | None:
    """Why a row group cannot have as many rows as its footer claims; None if it can."""
    if 0 <= n_rows <= most_images(file_size):
        return None
    return f"a row group claims {n_rows} rows in a file of {file_size} bytes"


def _require_room(unpacked: int, file_size: int) -> None:
    """Raise ValueError where a row group would unpack to far more than images do.

    A page is unpacked as a whole, and some writers make one page of a row group.
    """
    if unpacked > _LARGEST_GROUP and unpacked > _MAX_UNPACKED * max(1, file_size):
        raise ValueError(f"a row group in a file of {file_size} bytes unpacks to {unpacked}: write smaller row groups")


def _uid(name: str, row: int) -> str:
    return f"{name}/{row:09d}"


def _packed(rows: Sequence[int], size: int) -> Iterator[list[list[int]]]:
    """[row group, first row, stop] of each shard: whole row groups together, larger ones in parts."""
    shard: list[list[int]] = []
    room = size
    for group, n in enumerate(rows):
        if shard and n > room:
            yield shard
            shard, room = [], size
        for begin in range(0, n, size):
            stop = min(begin + size, n)
            shard.append([group, begin, stop])
            room -= stop - begin
            if room == 0 or stop - begin == size:
                yield shard
                shard, room = [], size
    if shard:
        yield shard


def _image_column(path: Path, schema: pa.Schema, wanted: str | None) -> str:
    found: list[str] = [field.name for field in schema if _holds_bytes(field.type)]
    for name in found if wanted is None else [wanted]:
        if schema.names.count(name) > 1:
            raise UserError(f"{path} has {schema.names.count(name)} columns named {name}: give each a name of its own")
    present = listed(f"{field.name} ({field.type})" for field in schema)
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
        raise UserError(f"{path} has several columns of bytes: {listed(found)}; name the one with the images")
    raise UserError(f"{path} has no column of bytes, or of structs with a field bytes: its columns are {present}")


def _holds_bytes(data_type: pa.DataType) -> bool:
    if pa.types.is_struct(data_type):
        index = data_type.get_field_index("bytes")
        return index >= 0 and not pa.types.is_struct(inner := data_type.field(index).type) and _holds_bytes(inner)
    return bool(
        pa.types.is_binary(data_type) or pa.types.is_large_binary(data_type) or pa.types.is_binary_view(data_type)
    )
