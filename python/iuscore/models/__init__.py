"""Additive models: the interface, EPU-CNN, ensembles, and the folders they are kept in."""

from iuscore.models.base import SPACES, AdditiveModel, Space
from iuscore.models.ensemble import Ensemble
from iuscore.models.epu import EPUCNN, flops
from iuscore.models.files import load_model, save_model
from iuscore.models.reference import import_reference

__all__ = [
    "EPUCNN",
    "SPACES",
    "AdditiveModel",
    "Ensemble",
    "Space",
    "flops",
    "import_reference",
    "load_model",
    "save_model",
]
