"""Choose images of a scored set: by value, score or confidence, for diversity, or at random; on arrays alone."""

from iuscore.explain.select.budgets import Budget, parse_per_class
from iuscore.explain.select.crossed import predict_crossed
from iuscore.explain.select.gain import JudgedSet, predict
from iuscore.explain.select.order import name_digests, rank_sum
from iuscore.explain.select.policies import Choice, Pool, choose, confident_choice, default_drops, random_choice
from iuscore.explain.select.records import POLICIES, ClassSelection, Gain, Policy, Prediction, Selection, best_words
from iuscore.explain.select.spread import joined_rows, k_center, moment_matching

__all__ = [
    "POLICIES",
    "Budget",
    "Choice",
    "ClassSelection",
    "Gain",
    "JudgedSet",
    "Policy",
    "Pool",
    "Prediction",
    "Selection",
    "best_words",
    "choose",
    "confident_choice",
    "default_drops",
    "joined_rows",
    "k_center",
    "moment_matching",
    "name_digests",
    "parse_per_class",
    "predict",
    "predict_crossed",
    "random_choice",
    "rank_sum",
]
