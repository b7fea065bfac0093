"""Load a model folder for scoring."""

from __future__ import annotations

import os
from pathlib import Path

from iuscore.models import Space, load_model
from iuscore.ops import Precision
from iuscore.scoring.scorer import Scorer


def load(folder: str | os.PathLike[str], *, space: Space = "paper", precision: Precision = "exact") -> Scorer:
    """Load a model folder for scoring.

    Args:
        folder: what ``iuscore fit`` or ``iuscore import-reference`` wrote.
        space: "paper", contributions after the tanh (the published measure); or "evidence", before it, where images
            that saturate the tanh still differ.
        precision: "exact"; "fast", 16-bit integers where the CPU is fast with them (AVX-512 VNNI) and float16 on a
            GPU, of EPU-CNN models; "auto", the same where it is faster. `Scorer.precision` says what it came to.

    Raises:
        UserError: a missing, damaged or foreign folder, one without profiles in ``space``, or an unknown precision.

    Example:
        >>> import tempfile
        >>> from iuscore import demo
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     load(demo.tiny_model(folder)).classes
        ('normal', 'abnormal')
    """
    scorer = Scorer(*load_model(Path(folder)), space=space, precision=precision)
    scorer.folder = Path(folder)
    return scorer
