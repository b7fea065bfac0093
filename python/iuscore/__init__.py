"""iuscore: how useful a synthetic medical image is for training a classifier, and why."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iuscore import ops, phantoms
    from iuscore.errors import UserError
    from iuscore.scoring import Scorer, Scores, load

__all__ = ["Scorer", "Scores", "UserError", "load", "ops", "phantoms"]

_MODULE_OF = {"Scorer": "scoring", "Scores": "scoring", "load": "scoring", "UserError": "errors"}
_MODULES = {
    "engine", "errors", "explain", "features", "fit", "images", "metrics", "models", "ops", "phantoms", "scoring",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # Imported on first use: neither `iuscore --help` nor the start of workers should wait for torch.
    if name in _MODULE_OF:
        return getattr(import_module(f"iuscore.{_MODULE_OF[name]}"), name)
    if name in _MODULES:
        return import_module(f"iuscore.{name}")
    raise AttributeError(f"module 'iuscore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF, *_MODULES})
