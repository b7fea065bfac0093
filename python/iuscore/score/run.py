"""Score the images of a source into a folder: ``scores.parquet`` and ``summary.json``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from iuscore.contributions import readable
from iuscore.errors import UserError
from iuscore.features import RunningFeatures
from iuscore.images import Sample, Source, iter_batches
from iuscore.report import Report
from iuscore.runs import output_folder, uninterrupted
from iuscore.score.scorer import Scorer, Scores
from iuscore.score.summary import describe_run, describe_target

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[np.floating[Any]]

FROM_FOLDER: Literal["from-folder"] = "from-folder"
TABLE_NAME = "scores.parquet"
SUMMARY_NAME = "summary.json"


@dataclass(frozen=True)
class ScoringRun:
    """What a run wrote and how it ended."""

    table: Path
    summary_path: Path
    summary: dict[str, Any]
    interrupted: bool


@dataclass
class _Collected:
    """What the summary needs of every image; four floats a component and image."""

    target: list[str] = field(default_factory=list)
    ius: list[float] = field(default_factory=list)
    contributions: list[list[float]] = field(default_factory=list)
    shares: list[list[float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    features: list[Array] = field(default_factory=list)  # of one batch
    measured: dict[str, RunningFeatures] = field(default_factory=dict)  # target -> of all

    def add(self, other: _Collected) -> None:
        for name in ("target", "ius", "contributions", "shares", "warnings", "errors"):
            getattr(self, name).extend(getattr(other, name))
        for values in other.features:
            names = np.array(other.target)
            for name in dict.fromkeys(other.target):
                self.measured.setdefault(name, RunningFeatures()).add(values[names == name])


def score_source(
    scorer: Scorer,
    source: Source,
    out: str | os.PathLike[str],
    *,
    target: str = FROM_FOLDER,
    batch_size: int = 64,
    device: str = "cpu",
    strict: bool = False,
    report: Report | None = None,
) -> ScoringRun:
    """Score every image of ``source``; an unreadable one becomes a row that says why.

    Args:
        scorer: see `iuscore.load`.
        source: see `iuscore.images.open_source`.
        out: folder for ``scores.parquet`` (one row an image, in the order of their uids) and ``summary.json``.
            Both are replaced as a whole; a KeyboardInterrupt leaves the finished rows.
        target: class to compare all images with, or "from-folder": each with the class of its sub-folder.
        batch_size: images at once.
        device: where the model runs.
        strict: stop at the first unreadable image.
        report: hears progress.

    Returns:
        `ScoringRun`. Columns of the table: uid, target, ius, (ius_sd,) contribution_<component>,
        share_<component>, probability_<class>, width, height, warnings, error.

    Raises:
        UserError: an unknown class, or an unreadable image where ``strict``.
    """
    report = report or Report()
    names = _targets(scorer, source, target)
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: give a folder to write the scores to")
    path = folder / SUMMARY_NAME
    collected = _Collected()
    interrupted = False
    started = time.perf_counter()
    with output_folder(folder), _Table(folder / TABLE_NAME, scorer) as table:
        report.start("scoring", len(source), "img")
        try:
            for start, batch in _numbered(iter_batches(source, batch_size)):
                rows, found = _rows(scorer, batch, names[start : start + len(batch)], device, strict)
                with uninterrupted():
                    table.write(rows)
                    collected.add(found)
                    report.advance(len(batch), unreadable=len(collected.errors))
        except KeyboardInterrupt:
            interrupted = True
        finally:
            report.stop()
    # From here on an interruption leaves no summary rather than that of an older table.
    path.unlink(missing_ok=True)
    summary = describe_run(
        scorer,
        {name: _described(scorer, name, collected) for name in dict.fromkeys(collected.target)},
        images=str(source.path),
        listed=len(source),
        warnings=collected.warnings,
        errors=collected.errors,
        seconds=time.perf_counter() - started,
        interrupted=interrupted,
    )
    _replace(path, json.dumps(_finite(summary), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return ScoringRun(folder / TABLE_NAME, path, summary, interrupted)


def _targets(scorer: Scorer, source: Source, target: str) -> Sequence[str]:
    if target != FROM_FOLDER:
        return scorer.targets(target, len(source))
    for item in source.items:
        if item.label is None:
            raise UserError(f"--target from-folder: {item.uid} is in no class folder; name a class instead")
    return scorer.targets([item.label or "" for item in source.items], len(source))


def _numbered(batches: Iterator[list[Sample]]) -> Iterator[tuple[int, list[Sample]]]:
    start = 0
    for batch in batches:
        yield start, batch
        start += len(batch)


def _rows(
    scorer: Scorer, batch: list[Sample], names: Sequence[str], device: str, strict: bool
) -> tuple[list[dict[str, Any]], _Collected]:
    positions, pixels, errors = readable(batch)
    if errors and strict:
        raise UserError(f"{errors[0][0]}: {errors[0][1]} (--strict)")
    collected = _Collected(errors=[reason for _, reason in errors])
    reasons = dict(errors)
    rows: list[dict[str, Any]] = [
        {
            "uid": sample.uid,
            "target": name,
            "width": sample.width,
            "height": sample.height,
            "warnings": list(sample.warnings),
            "error": reasons.get(sample.uid),
        }
        for sample, name in zip(batch, names, strict=True)
    ]
    if pixels:
        scores = scorer.score_pixels(pixels, [names[i] for i in positions], device=device)
        for row, values in zip((rows[i] for i in positions), _values(scores), strict=True):
            row["warnings"] += values.pop("warnings")
            row.update(values)
        _collect(collected, scores)
    for row in rows:
        collected.warnings += row["warnings"]
        row["warnings"] = "; ".join(row["warnings"])
    return rows, collected


def _values(scores: Scores) -> Iterator[dict[str, Any]]:
    contributions, shares = scores.contributions.tolist(), scores.shares.tolist()
    probabilities, ius = scores.probabilities.tolist(), scores.ius.tolist()
    spread = scores.ius_sd.tolist() if scores.ius_sd is not None else None
    for i in range(len(scores)):
        yield {
            "ius": ius[i],
            **({"ius_sd": spread[i]} if spread else {}),
            **{f"contribution_{n}": v for n, v in zip(scores.components, contributions[i], strict=True)},
            **{f"share_{n}": v for n, v in zip(scores.components, shares[i], strict=True)},
            **{f"probability_{n}": v for n, v in zip(scores.classes, probabilities[i], strict=True)},
            "warnings": list(scores.warnings[i]),
        }


def _collect(collected: _Collected, scores: Scores) -> None:
    collected.target += scores.target
    collected.ius += scores.ius.tolist()
    collected.contributions += scores.contributions.tolist()
    collected.shares += scores.shares.tolist()
    if scores.features is not None:
        collected.features.append(scores.features.cpu().numpy())


def _described(scorer: Scorer, name: str, collected: _Collected) -> dict[str, Any]:
    chosen = np.array([target == name for target in collected.target])
    return describe_target(
        scorer,
        name,
        np.array(collected.ius)[chosen],
        np.array(collected.contributions)[chosen],
        np.array(collected.shares)[chosen],
        collected.measured.get(name),
    )


class _Table:
    """Parquet rows under a temporary name, renamed when the run ends, also when it is interrupted."""

    def __init__(self, path: Path, scorer: Scorer) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        self.temporary = path.with_name(f".{path.name}.tmp")
        self.schema = _schema(scorer)
        self.pa: Any = pa
        self.writer: Any = pq.ParquetWriter(self.temporary, self.schema)
        self.pending: list[dict[str, Any]] = []

    def __enter__(self) -> _Table:
        return self

    def write(self, rows: list[dict[str, Any]]) -> None:
        self.pending += rows
        if len(self.pending) >= 8192:  # a row group of a few hundred rows would make the file slow to read
            self._flush()

    def _flush(self) -> None:
        self.writer.write_table(self.pa.Table.from_pylist(self.pending, schema=self.schema))
        self.pending = []

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        with uninterrupted():
            if kind is None:
                self._flush()
            self.writer.close()
            if kind is None:
                os.replace(self.temporary, self.path)
            else:
                self.temporary.unlink(missing_ok=True)


def _schema(scorer: Scorer) -> pa.Schema:
    import pyarrow as pa

    numbers = ["ius"] + (["ius_sd"] if len(scorer.model.members) > 1 else [])
    numbers += [f"contribution_{n}" for n in scorer.components] + [f"share_{n}" for n in scorer.components]
    numbers += [f"probability_{n}" for n in scorer.classes]
    fields = [("uid", pa.string()), ("target", pa.string())]
    fields += [(name, pa.float32()) for name in numbers]
    fields += [("width", pa.int32()), ("height", pa.int32()), ("warnings", pa.string()), ("error", pa.string())]
    return pa.schema(fields)


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
