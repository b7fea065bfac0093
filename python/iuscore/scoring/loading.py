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
        folder: model folder, written by ``iuscore fit`` or ``iuscore import-reference``.
        space: "paper": contributions after the tanh (the published measure); "evidence": before the tanh, where images
            that saturate the tanh still differ.
        precision: "exact"; "fast": for EPU-CNN models 16-bit integers on CPUs with AVX-512 VNNI, and float16 on a GPU;
            "auto": "fast" where it is faster. `Scorer.precision` is the precision in use.

    Raises:
        UserError: a folder that is missing, damaged or no model, has no profiles in ``space``, or an unknown precision.

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
