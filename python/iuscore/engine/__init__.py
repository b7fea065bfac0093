"""Score any number of images: streamed in shards, resumable, on one machine or many."""

from iuscore.engine.csv_table import check_csv, write_csv
from iuscore.engine.rows import read_scores
from iuscore.engine.score import ScoringRun, reference_of, score_source
from iuscore.engine.scored_sets import read_set, require_comparable, score_histograms
from iuscore.engine.selected import Selected, read_selection, select_images
from iuscore.engine.settings import FROM_FOLDER
from iuscore.engine.thumbnails import read_again, thumbnails, thumbnails_of
from iuscore.engine.values import RunValue
from iuscore.engine.verify import Verified, verify
from iuscore.scoring.records import COPIES

__all__ = [
    "COPIES",
    "FROM_FOLDER",
    "RunValue",
    "ScoringRun",
    "Selected",
    "Verified",
    "check_csv",
    "read_again",
    "read_scores",
    "read_selection",
    "read_set",
    "reference_of",
    "require_comparable",
    "score_histograms",
    "score_source",
    "select_images",
    "thumbnails",
    "thumbnails_of",
    "verify",
    "write_csv",
]
