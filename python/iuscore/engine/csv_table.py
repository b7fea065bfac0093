"""The table of a run as one CSV file, for programs that cannot read Parquet."""

from __future__ import annotations

from pathlib import Path

from iuscore._run.files import atomic_write
from iuscore.engine.parts import finished, part_path, read_part
from iuscore.engine.records import require_run
from iuscore.engine.run import CSV_NAME, is_csv, not_own
from iuscore.errors import UserError


def check_csv(out: Path) -> None:
    """Raise if a folder holds a ``scores.csv`` that no run wrote.

    Raises:
        UserError: there is such a file.
    """
    if (out / CSV_NAME).exists() and not is_csv(out / CSV_NAME):
        raise UserError(not_own(out / CSV_NAME))


def write_csv(out: Path) -> Path:
    """Write the rows of all finished parts of a run to ``scores.csv``, one part at a time.

    The file has a header, then the rows of the Parquet table in the same order. Numbers have enough digits to restore
    the float32 value exactly; an empty cell without quotes is a missing value.

    Args:
        out: folder of the run.

    Returns:
        The file.

    Raises:
        UserError: no run, a damaged part, or another file of that name.

    Example:
        >>> import tempfile, iuscore
        >>> from iuscore import demo
        >>> from iuscore.engine import score_source
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scorer = iuscore.load(demo.tiny_model(folder))
        ...     _ = score_source(scorer, f"{folder}/real/test", f"{folder}/scores")
        ...     lines = write_csv(Path(folder, "scores")).read_text().splitlines()
        >>> len(lines), lines[0][:20]
        (5, '"uid","target","ius"')
    """
    from pyarrow.csv import CSVWriter

    record = require_run(out)
    check_csv(out)
    with atomic_write(out / CSV_NAME) as file:
        writer = None
        for info in finished(out, record.run, record.n_shards):
            table = read_part(part_path(out, info.index)).replace_schema_metadata(None)
            if writer is None:
                writer = CSVWriter(file, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
    return out / CSV_NAME
