"""What a finished run's images are worth beside real ones: ``value.json`` and a table beside the scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from iuscore._run import records
from iuscore._run.files import atomic_write, write_json
from iuscore.engine.parts import PartInfo
from iuscore.engine.records import read_json
from iuscore.engine.views import PartViews, Rows, read_views, views_path
from iuscore.errors import UserError
from iuscore.explain.value import ImageValues, ReferenceViews, SetValue
from iuscore.explain.value.linear import Labels
from iuscore.explain.value.of_images import values_of_parts
from iuscore.explain.value.of_sets import set_value_of_rows, too_few
from iuscore.explain.value.views import VIEWS, View

FOLDER = "values.parquet"
"""Name of the folder with the values of every part, under the names of the parts."""

NAME = "value.json"

SAMPLED = 4000
"""Images, at most, that the numbers of a set come from: evenly spread over the run."""

RESAMPLED, SPLITS = 100, 4
"""Bootstrap resamples, and halves of the real images; ``iuscore compare`` takes more."""

_KEY = b"iuscore"


@dataclass(frozen=True)
class RunValue:
    """``value.json``: what the set of a run is worth.

    Attributes:
        run: identity of the run. views: SHA-256 over the views of its parts.
        n: images with a value. n_sampled: images that ``value`` comes from.
        value: None where it cannot be known; why says the reason.
    """

    FORMAT: ClassVar[int] = 1

    run: str
    views: str
    n: int
    n_sampled: int
    value: SetValue | None
    why: str | None = None
    format: int = 1

    @property
    def lines(self) -> list[str]:
        """In words."""
        if self.value is None:
            return [f"value: not known: {self.why}"]
        return [f"value: {line}" for line in self.value.lines]

    @classmethod
    def read(cls, out: Path) -> RunValue | None:
        """That of the run in a folder; None where there is none.

        Raises:
            UserError: the file is damaged, or of a newer version.
        """
        try:
            value = read_json(out / NAME)
            records.require_format(value.get("format") if isinstance(value, dict) else None, cls.FORMAT)
            return records.from_json(cls, value)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(f"{out / NAME}: {error}; run the same 'iuscore score' again") from None


def is_value(path: Path) -> bool:
    """Whether a run wrote this ``value.json``."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and {"run", "n_sampled", "value"} <= found.keys()


def values_path(out: Path, index: int) -> Path:
    """File of the values of a shard."""
    return out / FOLDER / f"part-{index:06d}.parquet"


def labels_of(found: PartViews, classes: tuple[str, ...]) -> Labels:
    """Places of the claimed classes of the images that have views, int64 [n]."""
    places = {name: k for k, name in enumerate(classes)}
    return np.array([places[t] for t, ok in zip(found.targets, found.filled, strict=True) if ok], np.int64)


def evenly(n: int, most: int) -> Labels:
    """Places of at most ``most`` of n, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64)) if n else np.empty(0, np.int64)


def write_values(out: Path, run: str, infos: Mapping[int, PartInfo], reference: ReferenceViews) -> RunValue:
    """Read the views of a finished run, and write its values; those that are there already stay.

    Args:
        out: folder of the run. run: its identity. infos: its finished parts. reference: real images.
    """
    classes, order = reference.record.classes, sorted(infos)
    content = hashlib.sha256(json.dumps([infos[index].views for index in order]).encode()).hexdigest()
    if (before := _written(out, run, content, order)) is not None:
        return before

    def parts() -> Iterator[tuple[Mapping[View, Rows], Labels]]:
        for index in order:
            found = read_views(views_path(out, index))
            yield {view: found.rows[view][found.filled] for view in VIEWS}, labels_of(found, classes)

    labels = np.concatenate([each for _, each in parts()]) if order else np.empty(0, np.int64)
    if (why := too_few(reference, labels)) is not None:
        return _write(out, RunValue(run, content, len(labels), 0, None, why))
    chosen = evenly(len(labels), SAMPLED)
    if too_few(reference, labels[chosen]) is not None:
        first = [np.flatnonzero(labels == k)[:2] for k in range(len(classes))]
        chosen = np.union1d(chosen, np.concatenate(first))
    rows: dict[View, list[Rows]] = {view: [] for view in VIEWS}
    at = 0
    for part, of_part in parts():
        here = chosen[(chosen >= at) & (chosen < at + len(of_part))] - at
        for view in VIEWS:
            rows[view].append(part[view][here])
        at += len(of_part)
    sampled = {view: np.concatenate(each) for view, each in rows.items()}
    value = set_value_of_rows(
        reference, sampled, labels[chosen], resampled=RESAMPLED, splits=SPLITS, trees=False
    )  # fmt: skip
    for index, values in zip(order, values_of_parts(reference, parts, len(labels)), strict=True):
        _write_part(values_path(out, index), run, index, read_views(views_path(out, index)), values, reference)
    return _write(out, RunValue(run, content, len(labels), len(chosen), value))


def _written(out: Path, run: str, content: str, order: Sequence[int]) -> RunValue | None:
    """What an earlier command wrote for the same views; None where something is missing."""
    try:
        found = RunValue.read(out)
    except UserError:
        return None
    if found is None or (found.run, found.views) != (run, content):
        return None
    if found.value is not None and not all(values_path(out, index).is_file() for index in order):
        return None
    return found


def _write_part(
    path: Path, run: str, index: int, found: PartViews, values: ImageValues, reference: ReferenceViews
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    n, filled = len(found.uids), found.filled

    def column(numbers: Any, kind: Any) -> pa.Array:
        whole = np.zeros(n, numbers.dtype)
        whole[filled] = numbers
        return pa.array(whole, kind, mask=~filled)

    names, classes = reference.record.uids, reference.record.classes
    nearest = [""] * n
    for place, real in zip(np.flatnonzero(filled), values.nearest_real, strict=True):
        nearest[place] = names[real] if names else ""
    real_labels = np.array([classes[k] for k in reference.labels[values.nearest_real]], dtype=object)
    of_nearest = np.full(n, "", dtype=object)
    of_nearest[filled] = real_labels
    columns: dict[str, Any] = {
        "uid": pa.array(found.uids, pa.string()),
        "target": pa.array(found.targets, pa.string()),
        "value": column(values.place, pa.float32()),
        "shapley_texture": column(values.shapley_texture, pa.float32()),
        "shapley_patch": column(values.shapley_patch, pa.float32()),
        "influence": column(values.influence, pa.float32()),
        **{f"influence_{name}": column(each, pa.float32()) for name, each in values.influence_by_group.items()},
        "copies": column(values.copies.astype(np.int32), pa.int32()),
        "own_share": column(values.own_share, pa.float32()),
        "contradicted": column(values.contradicted, pa.bool_()),
        "nearest_real": pa.array(nearest, pa.string(), mask=~filled | (names is None)),
        "nearest_label": pa.array(of_nearest, pa.string(), mask=~filled),
        "nearness": column(values.nearness, pa.float32()),
    }
    path.parent.mkdir(exist_ok=True)
    footer = json.dumps({"run": run, "index": index})
    with atomic_write(path) as file:
        table = pa.table(columns).replace_schema_metadata({_KEY: footer})
        pq.write_table(table, file, use_dictionary=["target", "nearest_real", "nearest_label"])


def _write(out: Path, found: RunValue) -> RunValue:
    write_json(out / NAME, records.to_json(found))
    return found
