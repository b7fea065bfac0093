"""Score any number of images: streamed in shards, resumable, on one machine or many."""

from iuscore.engine.csv_table import check_csv, write_csv
from iuscore.engine.rows import read_scores
from iuscore.engine.score import ScoringRun, score_source
from iuscore.engine.settings import FROM_FOLDER
from iuscore.engine.verify import Verified, verify
from iuscore.scoring.records import COPIES

__all__ = ["COPIES", "FROM_FOLDER", "ScoringRun", "Verified", "check_csv", "read_scores", "score_source", "verify",
           "write_csv"]  # fmt: skip
