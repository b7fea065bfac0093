"""What the footer of a Parquet file says of its row groups, read without pyarrow.

pyarrow 26 ends the process where a footer contradicts itself, such as level histograms of a wrong size: asked for a
column chunk of a row group, it raises a C++ exception that nothing catches. Here such a footer is an ordinary error,
and what is claimed is compared with what is there.

The footer is a structure in Thrift's compact protocol; the numbers of the fields are those of ``parquet.thrift``.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from iuscore.images.listing import most_images
from iuscore.regular_files import regular_only

_MAGIC = b"PAR1"
_LARGEST_FOOTER = 1 << 24
_DEEPEST = 32

_TRUE, _FALSE, _I8, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_INTEGERS = (_I16, _I32, _I64)

# Fields of FileMetaData, RowGroup, ColumnChunk and ColumnMetaData.
_ROW_GROUPS = 4
_COLUMNS, _TOTAL_BYTE_SIZE, _NUM_ROWS = 1, 2, 3
_META_DATA = 3
_PATH, _NUM_VALUES, _UNPACKED, _PACKED = 3, 5, 6, 7


class Chunk(NamedTuple):
    """One column of a row group: its path such as ``image.bytes``, its values, its bytes unpacked and packed."""

    path: str
    n_values: int
    unpacked: int
    packed: int


class RowGroup(NamedTuple):
    """A row group: its rows, its bytes unpacked, its columns."""

    n_rows: int
    n_bytes: int
    chunks: tuple[Chunk, ...]

    def problem(self, column: str, file_size: int) -> str | None:
        """Why the rows of ``column`` are not all believed to be there; None if they are."""
        if self.n_rows < 0:
            return f"a row group claims {self.n_rows} rows"
        for chunk in self.chunks:
            if chunk.path not in (column, f"{column}.bytes"):
                continue
            if chunk.n_values != self.n_rows:
                return f"a row group claims {self.n_rows} rows of {chunk.n_values} values"
            there = max(0, min(chunk.packed, file_size))
            if self.n_rows > most_images(there):
                return f"a row group claims {self.n_rows} rows in {there} bytes"
        return None


def row_groups(path: Path) -> tuple[RowGroup, ...]:
    """The row groups of a Parquet file, in order.

    Raises:
        ValueError: no Parquet file, or a damaged footer.
        OSError: the file cannot be read.

    Example:
        >>> import tempfile
        >>> import pyarrow as pa, pyarrow.parquet as pq
        >>> with tempfile.TemporaryDirectory() as root:
        ...     path = Path(root, "x.parquet")
        ...     pq.write_table(pa.table({"image": [b"ab", b"c"]}), path, row_group_size=1)
        ...     [(group.n_rows, group.chunks[0].path) for group in row_groups(path)]
        [(1, 'image'), (1, 'image')]
    """
    status = os.stat(path)
    return _row_groups(os.fspath(path), status.st_size, status.st_mtime_ns)


# Workers open a file again for every row group.
@lru_cache(maxsize=2)
def _row_groups(path: str, size: int, date: int) -> tuple[RowGroup, ...]:
    with open(path, "rb", opener=regular_only) as stream:
        stream.seek(max(0, size - 8))
        end = stream.read(8)
        length = struct.unpack("<I", end[:4])[0] if len(end) == 8 and end[4:] == _MAGIC else size
        if length > size - 8:
            raise ValueError("no footer of a Parquet file is there")
        if length > _LARGEST_FOOTER:
            raise ValueError(f"a footer of {length} bytes, more than {_LARGEST_FOOTER}: write larger row groups")
        stream.seek(size - 8 - length)
        content = stream.read(length)
    try:
        return tuple(_groups(_Reader(content)))
    except IndexError as error:
        raise ValueError("the footer ends too early") from error


def _groups(reader: _Reader) -> Iterator[RowGroup]:
    for field, kind in reader.fields():
        if field == _ROW_GROUPS and kind == _LIST:
            for _ in reader.structs():
                yield _group(reader)
        else:
            reader.skip(kind)


def _group(reader: _Reader) -> RowGroup:
    n_rows = n_bytes = 0
    chunks: list[Chunk] = []
    for field, kind in reader.fields():
        if field == _COLUMNS and kind == _LIST:
            chunks += [_chunk(reader) for _ in reader.structs()]
        elif field == _TOTAL_BYTE_SIZE and kind in _INTEGERS:
            n_bytes = reader.integer()
        elif field == _NUM_ROWS and kind in _INTEGERS:
            n_rows = reader.integer()
        else:
            reader.skip(kind)
    return RowGroup(n_rows, n_bytes, tuple(chunks))


def _chunk(reader: _Reader) -> Chunk:
    path, numbers = "", {_NUM_VALUES: 0, _UNPACKED: 0, _PACKED: 0}
    for field, kind in reader.fields():
        if field != _META_DATA or kind != _STRUCT:
            reader.skip(kind)
            continue
        for inner, inner_kind in reader.fields():
            if inner == _PATH and inner_kind == _LIST:
                path = ".".join(reader.texts())
            elif inner in numbers and inner_kind in _INTEGERS:
                numbers[inner] = reader.integer()
            else:
                reader.skip(inner_kind)
    return Chunk(path, *numbers.values())


class _Reader:
    """Values in Thrift's compact protocol, one after the other; raises IndexError where the content ends."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0
        self._skips: dict[int, Callable[[], object]] = {
            **dict.fromkeys((_I16, _I32, _I64), self._number),
            _I8: partial(self._pass, 1),
            _DOUBLE: partial(self._pass, 8),
            _BINARY: self._bytes,
        }

    def fields(self) -> Iterator[tuple[int, int]]:
        """(number, type) of the fields of a structure; the caller reads or skips the value of each."""
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self.integer()
            yield number, head & 15

    def structs(self) -> Iterator[int]:
        """The indices of a list of structures; the caller reads each."""
        size, kind = self._list()
        if size and kind != _STRUCT:
            raise ValueError(f"the footer has a list of type {kind} in the place of one of structures")
        return iter(range(size))

    def texts(self) -> list[str]:
        size, kind = self._list()
        if size and kind != _BINARY:
            raise ValueError(f"the footer has a list of type {kind} in the place of one of texts")
        return [self._bytes().decode("utf-8", "replace") for _ in range(size)]

    def integer(self) -> int:
        number = self._number()
        return number >> 1 ^ -(number & 1)

    def skip(self, kind: int, depth: int = 0) -> None:
        """Pass over the value of a field."""
        if depth > _DEEPEST:
            raise ValueError("the footer is nested too deeply")
        if kind in (_TRUE, _FALSE):  # the type is the value
            return
        if (skip := self._skips.get(kind)) is not None:
            skip()
        elif kind in (_LIST, _SET):
            self._skip_elements(*self._list(), depth)
        elif kind == _MAP:
            if size := self._number():
                kinds = self._byte()
                for _ in range(size):
                    self._skip_elements(1, kinds >> 4, depth)
                    self._skip_elements(1, kinds & 15, depth)
        elif kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        else:
            raise ValueError(f"the footer has a value of the unknown type {kind}")

    def _skip_elements(self, size: int, kind: int, depth: int) -> None:
        if kind in (_TRUE, _FALSE, _I8):
            self._pass(size)
        elif kind == _DOUBLE:
            self._pass(8 * size)
        else:
            for _ in range(size):
                self.skip(kind, depth + 1)

    def _list(self) -> tuple[int, int]:
        head = self._byte()
        return (head >> 4 if head >> 4 < 15 else self._number()), head & 15

    def _number(self) -> int:
        content, at = self._content, self._at
        byte = content[at]
        number, shift = byte & 127, 7
        while byte > 127:
            at += 1
            byte = content[at]
            number |= (byte & 127) << shift
            shift += 7
            if shift > 70:
                raise ValueError("the footer has an integer of more than 64 bits")
        self._at = at + 1
        return number

    def _bytes(self) -> bytes:
        size = self._number()
        self._pass(size)
        return self._content[self._at - size : self._at]

    def _byte(self) -> int:
        self._at += 1
        return self._content[self._at - 1]

    def _pass(self, size: int) -> None:
        if size > len(self._content) - self._at:
            raise IndexError
        self._at += size
