"""Pillow with settings of its own.

Pillow keeps its settings in global variables of its modules (``ImageFile.LOAD_TRUNCATED_IMAGES``,
``Image.MAX_IMAGE_PIXELS``, the registry of formats), and any library in the process may change them. Here the Python
modules of the installed Pillow are loaded a second time under another name, so that their variables keep the values
that Pillow ships with. The compiled parts are shared: they hold no setting that changes pixels.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

_NAME = f"{__package__}._pillow"
# Compiled modules may not be loaded twice.
_COMPILED = ("_imaging", "_webp")
_PLUGINS = ("Bmp", "Gif", "Jpeg", "Jpeg2K", "Mpo", "Png", "Ppm", "Tiff", "WebP")
_lock = threading.Lock()
_image: Any = None


class _Silence:
    """In the place of the module ``warnings``, whose filters other libraries may turn into errors."""

    @staticmethod
    def warn(*arguments: object, **options: object) -> None:
        return None


def image_module() -> Any:
    """The module ``PIL.Image`` of this package; its registry has the formats of `_PLUGINS`."""
    global _image
    with _lock:
        if _image is None:
            _image = _loaded()
    return _image


def _loaded() -> Any:
    found = importlib.util.find_spec("PIL")
    if found is None or found.origin is None:
        raise ImportError("Pillow is not installed")
    spec = importlib.util.spec_from_file_location(
        _NAME, found.origin, submodule_search_locations=list(found.submodule_search_locations or ())
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = package
    spec.loader.exec_module(package)
    for name in _COMPILED:
        try:
            module = importlib.import_module(f"PIL.{name}")
        except ImportError:  # Pillow built without WebP
            continue
        sys.modules[f"{_NAME}.{name}"] = module
        setattr(package, name, module)
    image: Any = importlib.import_module(f"{_NAME}.Image")
    for name in _PLUGINS:
        importlib.import_module(f"{_NAME}.{name}ImagePlugin")
    image.MAX_IMAGE_PIXELS = None  # `decode` compares sizes itself
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{_NAME}.") and isinstance(getattr(module, "warnings", None), ModuleType):
            module.warnings = _Silence  # type: ignore[attr-defined]
    return image
