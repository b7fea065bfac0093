"""What a result was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from iuscore.ops._backend import extension


def package_version() -> str:
    """Version of the installed package.

    Example:
        >>> package_version() != ""
        True
    """
    try:
        return version("iuscore")
    except PackageNotFoundError:
        return "0+unknown"


def commit() -> str:
    """Commit that the compiled module was built from, or "unknown"."""
    core, _ = extension("_core")
    return str(core.build_info()["commit"]) if core else "unknown"


def versions() -> dict[str, str]:
    """Versions of iuscore, its commit, Python and the packages whose numbers the results depend on.

    Example:
        >>> sorted(versions())[:3]
        ['commit', 'iuscore', 'numpy']
    """
    found = {name: version(name) for name in ("torch", "numpy", "pillow", "scipy", "scikit-learn")}
    return {"iuscore": package_version(), "commit": commit(), "python": platform.python_version(), **found}
