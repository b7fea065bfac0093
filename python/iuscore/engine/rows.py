"""Read the rows of a run, one image at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from iuscore.engine.parts import finished, part_path, read_part
from iuscore.engine.records import require_run
from iuscore.scoring import ImageScore

ROWS_AT_ONCE = 1024


def read_scores(out: str | os.PathLike[str]) -> Iterator[ImageScore]:
    """Every row of the finished parts, in the order of the run; one part at a time is in memory.

    Args:
        out: folder of a run.

    Raises:
        UserError: the folder holds no run, or a part is damaged.

    Example:
        >>> import tempfile, iuscore
        >>> from iuscore import demo
        >>> from iuscore.engine import score_source
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scorer = iuscore.load(demo.tiny_model(folder))
        ...     _ = score_source(scorer, f"{folder}/real/test", f"{folder}/scores", target="normal")
        ...     best = max(read_scores(f"{folder}/scores"), key=lambda score: score.ius)
        >>> sorted(best.shares)
        ['band-i', 'band-ii', 'coarse-fine', 'light-dark']
    """
    folder = Path(out)
    record = require_run(folder)
    for info in finished(folder, record.run, record.n_shards):
        for batch in read_part(part_path(folder, info.index)).to_batches(ROWS_AT_ONCE):
            yield from map(ImageScore.from_columns, batch.to_pylist())
