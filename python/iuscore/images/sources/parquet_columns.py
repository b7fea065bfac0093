"""Columns beside the images of a Parquet file: classes and groups."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from iuscore.errors import UserError
from iuscore.images.reasons import message_of
from iuscore.images.sources.archive import Damaged, listed

LABEL = "label"
_ROWS_AT_ONCE = 4096
_LONGEST_TEXT = 1000


def opened(path: Path, **options: Any) -> pq.ParquetFile:
    # A buffered stream: pages come one by one, not a whole row group at once.
    return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False, **options)


class _Column:
    """Values of a column of short texts or integers, read from the first row to the last, some thousand at a time.

    Raises:
        UserError: the table does not have this column once.
    """

    def __init__(self, path: Path, schema: pa.Schema, name: str) -> None:
        if (n := schema.names.count(name)) != 1:
            has = f"{n} columns {name}" if n else f"no column {name}"
            raise UserError(f"{path} has {has}: its columns are {listed(schema.names)}")
        self._path, self._name = path, name
        # A text that a dictionary holds once is not written out for every row.
        self._file = opened(path, read_dictionary=[name])
        self._group = -1
        self._rest: Iterator[object] = iter(())

    def of(self, group: int, begin: int, stop: int) -> list[str]:
        """Texts of the rows ``begin`` to ``stop`` of a row group; those before them were asked for before."""
        if group != self._group:
            self._group, self._rest = group, self._values(group)
        try:
            values = list(islice(self._rest, stop - begin))
        except (pa.ArrowException, OSError) as error:
            raise Damaged(f"damaged: {self._name}: {message_of(error)}") from error
        if len(values) < stop - begin:
            raise Damaged(f"damaged: {self._name}: {begin + len(values)} rows of a row group of {stop} or more")
        return [self._text(value) for value in values]

    def _text(self, value: object) -> str:
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return str(value)
        raise self._unexpected(value)

    def _unexpected(self, value: object, below: str = "") -> UserError:
        return UserError(
            f"{self._name} of {self._path}: expected a text or an integer from 0{below} in every row, "
            f"got {repr(value)[:_LONGEST_TEXT]}"
        )

    def _values(self, group: int) -> Iterator[object]:
        batches = self._file.iter_batches(
            batch_size=_ROWS_AT_ONCE, row_groups=[group], columns=[self._name], use_threads=False
        )
        for batch in batches:
            values = batch.column(self._name)
            if pa.types.is_dictionary(values.type):
                self._require_short(values)
                values = values.dictionary_decode()
            yield from values.to_pylist()

    def _require_short(self, values: pa.DictionaryArray) -> None:
        data_type = values.type.value_type
        if pa.types.is_string(data_type) or pa.types.is_large_string(data_type) or pa.types.is_binary(data_type):
            longest = pc.max(pc.binary_length(values.dictionary).take(values.indices)).as_py()
            if longest is not None and longest > _LONGEST_TEXT:
                raise UserError(
                    f"{self._name} of {self._path}: expected a short text in every row, got {longest} bytes"
                )

    def close(self) -> None:
        self._file.close()


class Labels(_Column):
    """Classes of the rows: the column ``label``, whose integers Hugging Face's metadata may name."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        super().__init__(path, schema, LABEL)
        self._names = _class_names(schema)

    def _text(self, value: object) -> str:
        if self._names is None or not isinstance(value, int) or isinstance(value, bool):
            return super()._text(value)
        if 0 <= value < len(self._names):
            return self._names[value]
        raise self._unexpected(value, f" below {len(self._names)}")


class Groups(_Column):
    """Groups of the rows, such as patients, in a column that the user names."""


def _class_names(schema: pa.Schema) -> list[str] | None:
    """Hugging Face's names of the classes, if the schema has them."""
    try:
        names = json.loads(schema.metadata[b"huggingface"])["info"]["features"][LABEL]["names"]
    except (TypeError, KeyError, ValueError, RecursionError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None
