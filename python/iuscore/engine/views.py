"""The views of the images of a shard, as `iuscore.explain.value` sees them: a Parquet file beside each part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from iuscore._run import records
from iuscore._run.files import atomic_write
from iuscore._run.regular_files import regular_only
from iuscore.errors import UserError
from iuscore.explain.value import ReferenceViews
from iuscore.explain.value.views import VIEWS, View
from iuscore.models.record import Count

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "views.parquet"
"""Name of the folder with the views of every part, under the names of the parts."""

_KEY = b"iuscore"
Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ViewsRecord:
    """The footer of a file of views: ``run`` and ``index`` as of its part, and SHA-256 of the rows."""

    run: str
    index: Count
    content: str


def views_path(out: Path, index: int) -> Path:
    """File of the views of a shard."""
    return out / FOLDER / f"part-{index:06d}.parquet"


class ViewRows:
    """The views of the images of one shard, filled in any order of batches; those that are never filled are null.

    Args:
        reference: gives the widths of the views.
        n: number of images.
    """

    def __init__(self, reference: ReferenceViews, n: int) -> None:
        self.reference = reference
        self.rows = {view: np.zeros((n, reference.rows[view].shape[1]), "<f2") for view in VIEWS}
        self.filled = np.zeros(n, bool)

    def put(self, places: Sequence[int], rows: Mapping[View, Rows]) -> None:
        """Fill the views of some images."""
        for view in VIEWS:
            self.rows[view][places] = rows[view]
        self.filled[places] = True

    def write(self, path: Path, run: str, index: int, uids: Sequence[str], targets: Sequence[str]) -> str:
        """Write the file in one atomic write.

        Returns:
            SHA-256 of the rows, in hex.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns: dict[str, Any] = {"uid": pa.array(uids, pa.string()), "target": pa.array(targets, pa.string())}
        for view in VIEWS:
            rows = self.rows[view]
            columns[view] = pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(rows.itemsize * rows.shape[1]),
                len(rows),
                [pa.py_buffer(np.packbits(self.filled, bitorder="little").tobytes()), pa.py_buffer(rows.tobytes())],
            )
        content = self._content(uids, targets)
        footer = json.dumps(records.to_json(ViewsRecord(run, index, content)))
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as file:
            table = pa.table(columns).replace_schema_metadata({_KEY: footer})
            pq.write_table(table, file, compression="zstd", use_dictionary=["target"])
        return content

    def _content(self, uids: Sequence[str], targets: Sequence[str]) -> str:
        return _sha256(uids, targets, self.filled, self.rows)


def _sha256(
    uids: Sequence[str], targets: Sequence[str], filled: npt.NDArray[np.bool_], rows: Mapping[View, npt.NDArray[Any]]
) -> str:
    total = hashlib.sha256(json.dumps([list(uids), list(targets)]).encode())
    total.update(np.packbits(filled).tobytes())
    for view in VIEWS:
        total.update(rows[view][filled].tobytes())
    return total.hexdigest()


@dataclass(frozen=True)
class PartViews:
    """The views of a part.

    Attributes:
        uids, targets: of its images, n of them.
        filled: bool [n], False for images that could not be read or have no score.
        rows: view -> float32 [n, d]; 0 where not filled.
        intact: whether the rows are those that were written.
    """

    uids: list[str]
    targets: list[str]
    filled: npt.NDArray[np.bool_]
    rows: dict[View, Rows]
    intact: bool


def views_content(path: Path, run: str, index: int) -> str | None:
    """SHA-256 of the rows that the footer names; None where there is no such file of this run."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb", opener=regular_only) as file:
            metadata = pq.read_metadata(file).metadata or {}
        record = records.from_json(ViewsRecord, records.parse_json(metadata[_KEY]))
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None
    return record.content if (record.run, record.index) == (run, index) else None


def read_views(path: Path) -> PartViews:
    """Read the views of a part.

    Raises:
        UserError: the file is gone, or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb", opener=regular_only) as file:
            table = pq.ParquetFile(file, pre_buffer=False).read(use_threads=False)
        record = records.from_json(ViewsRecord, records.parse_json((table.schema.metadata or {})[_KEY]))
        uids, targets = table.column("uid").to_pylist(), table.column("target").to_pylist()
        columns = {view: table.column(view).combine_chunks() for view in VIEWS}
        filled = columns["texture"].is_valid().to_numpy(zero_copy_only=False)
        half = {view: _half(column) for view, column in columns.items()}
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is damaged ({reason}): remove it and run the same 'iuscore score' again") from None
    intact = _sha256(uids, targets, filled, half) == record.content
    return PartViews(uids, targets, filled, {view: each.astype(np.float32) for view, each in half.items()}, intact)


def views_problem(out: Path, run: str, index: int, content: str | None, uids: Sequence[str]) -> str | None:
    """What is wrong with the views of a part; None where nothing is, or its run has none.

    Args:
        out: folder of the run. run, index: of the part. content: SHA-256 of the views, as the part has it.
        uids: images of the part.
    """
    if content is None:
        return None
    path = views_path(out, index)
    try:
        found = read_views(path)
    except UserError as error:
        return str(error)
    if views_content(path, run, index) != content or not found.intact:
        return f"{FOLDER}/{path.name} has changed since it was written"
    return None if found.uids == list(uids) else f"{FOLDER}/{path.name} has other images than its part"


def _half(column: pa.Array) -> npt.NDArray[Any]:
    """Float16 [n, d] from fixed-size binary values; 0 where null."""
    width = column.type.byte_width
    if width % 2:
        raise ValueError(f"expected values of 2 bytes each, got {width} bytes")
    values = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * width :][: len(column) * width]
    found = values.reshape(len(column), width).copy()
    found[~column.is_valid().to_numpy(zero_copy_only=False)] = 0
    return found.view("<f2")
