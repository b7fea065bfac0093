"""Writes finished runs as `iuscore score` leaves them, from numbers that a test gives: scores, values and views."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from iuscore._run import records
from iuscore.engine.parts import PartRecord, content_of
from iuscore.engine.records import RunIdentity, RunRecord, require_run
from iuscore.explain.value import ReferenceViews, image_values
from iuscore.images import open_shards, read_item

HASH = "0" * 64


@dataclass
class Images:
    """Images of a run, N of them, as columns.

    Attributes:
        uids: names. targets: the class each claims.
        ius: [N]. probabilities: class -> [N].
        errors: why each could not be read, or None.
        values: columns of ``values.parquet``; None: the run has none.
        views: view -> [N, d]; None: the run has none.
    """

    uids: Sequence[str]
    targets: Sequence[str]
    ius: npt.NDArray[Any]
    probabilities: Mapping[str, npt.NDArray[Any]]
    errors: Sequence[str | None] | None = None
    values: dict[str, npt.NDArray[Any]] | None = None
    views: dict[str, npt.NDArray[Any]] | None = None
    source: str = "nowhere"
    model: str | None = None
    identity: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.uids)


def write_run(out: Path, images: Images, part: int = 100) -> Path:
    """A finished run in ``out``, with ``part`` rows in each part."""
    n = len(images)
    given: dict[str, Any] = {
        "model": HASH,
        "space": "paper",
        "target": "from-folder",
        "precision": "exact",
        "shard_size": part,
        "source": HASH,
    }
    identity = RunIdentity(**(given | images.identity))
    record = RunRecord(identity.sha256(), identity, images.source, n, -(-n // part), model=images.model)
    for name in ("scores", *(("values",) if images.values else ()), *(("views",) if images.views else ())):
        (out / f"{name}.parquet").mkdir(parents=True)
    (out / RunRecord.NAME).write_text(json.dumps(record.to_json()))
    for index, start in enumerate(range(0, n, part)):
        here = slice(start, min(start + part, n))
        write_part(out, f"part-{index:06d}.parquet", images, here, record.run, index)
    return out


def write_part(out: Path, name: str, images: Images, here: slice, run: str, index: int) -> None:
    uids, targets = pa.array(images.uids[here], pa.string()), pa.array(images.targets[here], pa.string())
    errors = list(images.errors[here]) if images.errors else [None] * len(uids)
    bad = np.array([error is not None for error in errors])
    columns = {"uid": uids, "target": targets, "ius": pa.array(images.ius[here], pa.float32(), mask=bad)}
    for each, values in images.probabilities.items():
        columns[f"probability_{each}"] = pa.array(values[here], pa.float32(), mask=bad)
    columns["warnings"] = pa.array([""] * len(uids), pa.string())
    columns["error"] = pa.array(errors, pa.string())
    table = pa.table(columns)
    footer = PartRecord(run, index, int(bad.sum()), content_of(table), {})
    footer_json = json.dumps(records.to_json(footer))
    pq.write_table(table.replace_schema_metadata({b"iuscore": footer_json}), out / "scores.parquet" / name)
    if images.values is not None:
        found = {"uid": uids, "target": targets}
        for each, values in images.values.items():
            found[each] = pa.array(values[here], mask=bad)
        pq.write_table(pa.table(found), out / "values.parquet" / name)
    if images.views is not None:
        found = {"uid": uids, "target": targets}
        for each, rows in images.views.items():
            halves = np.ascontiguousarray(rows[here], "<f2")
            width = halves.shape[1] * 2
            cells = [None if b else row.tobytes() for row, b in zip(halves, bad, strict=True)]
            found[each] = pa.array(cells, pa.binary(width))
        pq.write_table(pa.table(found), out / "views.parquet" / name)


def drawn_images(n: int, classes: Sequence[str] = ("a", "b"), seed: int = 0, width: int = 6) -> Images:
    """Images of each class in turn with random numbers, each unlike all others."""
    rng = np.random.default_rng(seed)
    targets = [classes[i % len(classes)] for i in range(n)]
    probabilities = rng.dirichlet(np.ones(len(classes)), n).astype(np.float32)
    values = {
        "value": rng.random(n).astype(np.float32),
        "shapley_texture": rng.normal(size=n).astype(np.float32),
        "shapley_patch": rng.normal(size=n).astype(np.float32),
        "influence": rng.normal(size=n).astype(np.float32),
        "copies": np.ones(n, np.int32),
        "own_share": rng.random(n).astype(np.float32),
        "contradicted": np.zeros(n, bool),
    }
    views = {view: rng.normal(size=(n, width)) for view in ("thumb", "patch", "texture")}
    return Images(
        [f"{target}/{i:06d}.png" for i, target in enumerate(targets)],
        targets,
        rng.uniform(-1, 1, n).astype(np.float32),
        {name: probabilities[:, k] for k, name in enumerate(classes)},
        values=values,
        views=views,
    )


def with_views(out: Path, reference: ReferenceViews) -> Path:
    """A real run with the values and views of its images beside the scores, in its own parts."""
    record = require_run(out)
    source = open_shards(record.images)
    pixels = {item.uid: read_item(item).pixels for shard in source.shards(1000) for item in source.items(shard)}
    tables = {path.name: pq.read_table(path) for path in sorted((out / "scores.parquet").iterdir())}
    rows = [row for table in tables.values() for row in table.select(["uid", "target"]).to_pylist()]
    images = [pixels[row["uid"]] for row in rows]
    found = image_values(reference, images, [row["target"] for row in rows])
    views = reference.embed(images)
    order = np.argsort(np.argsort(found.value)) / (len(rows) - 1)
    values = {
        "value": order.astype(np.float32),
        "shapley_texture": found.shapley_texture.astype(np.float32),
        "shapley_patch": found.shapley_patch.astype(np.float32),
        "influence": found.influence.astype(np.float32),
        "copies": found.copies.astype(np.int32),
        "own_share": found.own_share.astype(np.float32),
        "contradicted": found.contradicted,
    }
    start = 0
    for name in ("values", "views"):
        (out / f"{name}.parquet").mkdir()
    for name, table in tables.items():
        here = slice(start, start + len(table))
        names = {"uid": table.column("uid"), "target": table.column("target")}
        pq.write_table(pa.table(names | {k: v[here] for k, v in values.items()}), out / "values.parquet" / name)
        cells = {
            view: pa.array([r.tobytes() for r in each[here].astype("<f2")], pa.binary(2 * each.shape[1]))
            for view, each in views.items()
        }
        pq.write_table(pa.table(names | cells), out / "views.parquet" / name)
        start += len(table)
    return out
