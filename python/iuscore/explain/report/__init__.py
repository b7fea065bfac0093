"""A comparison of sets as one page, and as figures, for readers without a program."""

from iuscore.explain.report.files import write_figures
from iuscore.explain.report.records import ScoreHistogram, ScoreReference
from iuscore.explain.report.render import MAX_BYTES, REAL, render, write_report

__all__ = ["MAX_BYTES", "REAL", "ScoreHistogram", "ScoreReference", "render", "write_figures", "write_report"]
