"""A comparison of sets as one page, and as figures, for readers without a program."""

from iuscore.explain.report.document import MAX_BYTES, REAL, render, wanted_pictures, write_report
from iuscore.explain.report.files import write_figures
from iuscore.explain.report.records import ScoreHistogram, ScoreReference

__all__ = [
    "MAX_BYTES",
    "REAL",
    "ScoreHistogram",
    "ScoreReference",
    "render",
    "wanted_pictures",
    "write_figures",
    "write_report",
]
