"""Versions of the software that a result depends on, and the back ends of this installation."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from iuscore.ops import chosen_precision
from iuscore.ops._backend import OPS, choose, extension, why_not_cpu, why_not_cuda


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
    """Git commit that the compiled module was built from, or "unknown"."""
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


def report_lines() -> list[str]:
    """The lines of ``iuscore doctor``.

    They give version and commit, the back ends with the reason where one is missing, and the back end that each op
    uses on each device.

    Example:
        >>> report_lines()[0].startswith("iuscore ")
        True
    """
    found = versions()
    lines = [
        f"iuscore {found['iuscore']}, commit {found['commit']}",
        f"python {found['python']}, torch {found['torch']}, numpy {found['numpy']}, pillow {found['pillow']}",
        "",
        "back ends",
        f"  cpu     {_cpu()}",
        f"  cuda    {why_not_cuda() or _cuda()}",
        "  torch   available (the fallback on any device)",
        f"  fast    {_fast()}",
        "",
        "ops",
    ]
    devices = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    for op in OPS:
        for name in devices:
            choice = choose(op, torch.device(name))
            lines.append(f"  {op} on {name}: {choice.implementation}{f' ({choice.reason})' if choice.reason else ''}")
    return lines


def _cpu() -> str:
    core, _ = extension("_core")
    if core is None:
        return why_not_cpu()
    info = core.build_info()
    return f"available: {info['cpu_isa']} kernels, {torch.get_num_threads()} threads, built with {info['compiler']}"


def _fast() -> str:
    numbers = {"cpu": "in 16-bit integers on the CPU", "cuda": "in float16 on the GPU"}
    places = [text for device, text in numbers.items() if chosen_precision("fast", device) == "fast"]
    if places:
        return f"available: EPU-CNN models {' and '.join(places)} (precision fast or auto)"
    return "the same as exact: the CPU kernels find no AVX-512 VNNI"


def _cuda() -> str:
    cuda, _ = extension("_cuda")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    info = cuda.build_info() if cuda else {}
    return f"available: {', '.join(names)}; built with nvcc {info.get('nvcc')} for {info.get('architectures')}"
