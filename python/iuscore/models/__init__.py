"""Additive models: the interface, EPU-CNN, texture models, ensembles, and model folders."""

from iuscore.models.base import SPACES, AdditiveModel, Space
from iuscore.models.ensemble import Ensemble
from iuscore.models.epu import EPUCNN, flops
from iuscore.models.files import load_model, save_model
from iuscore.models.record import ModelRecord
from iuscore.models.reference import import_reference
from iuscore.models.texture import TextureModel

__all__ = [
    "EPUCNN",
    "SPACES",
    "AdditiveModel",
    "Ensemble",
    "ModelRecord",
    "Space",
    "TextureModel",
    "flops",
    "import_reference",
    "load_model",
    "save_model",
]
