"""What the commands share: options, progress, the format of numbers, and exit statuses."""

from __future__ import annotations

import logging
import sys
import unicodedata
from pathlib import Path
from typing import Any

import click

from iuscore.errors import UserError
from iuscore.progress import Progress

SEED = click.IntRange(0, 2**32 - 1)
# Options of several commands that read images, and their help.
LABELS_FROM = click.Choice(["auto", "folder", "prefix"])
LABELS_FROM_HELP = "folder: first sub-folder; prefix: start of the file name; auto: the one that fits."
COLUMN_HELP = "Column of images in Parquet files; extension of images in .tar files."
MAP_HELP = "Class of each label, such as 0=benign,1=malignant."
BY_CONTENT_HELP = "Recognize images by their content, under any file name (IM0001, .jp2)."
MAX_PIXELS_HELP = "Images with more pixels count as unreadable."
GROUP_BY_HELP = "Regular expression that finds the group (patient, video) in file names, or with a / in paths;"

EXIT_UNREADABLE, EXIT_USER, EXIT_INTERRUPTED, EXIT_TERMINATED = 1, 2, 130, 143


_LINE = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


class Command(click.Command):
    """A command that refuses empty values: an empty path would mean the current folder, which is never intended."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for param in self.params:
            value = given.get(param.name or "")
            if "" in (value if isinstance(value, list | tuple) else (value,)):
                name = param.opts[0] if isinstance(param, click.Option) else (param.name or "").upper()
                raise click.UsageError(f"{name}: expected a value, got an empty text (a variable that is not set?)")
        return super().parse_args(ctx, args)


def printable(text: str) -> str:
    """``text`` with escapes in place of characters that move the cursor, change colors or reverse the reading order.

    Names of files, archive members, columns and classes come from the images, which may be untrusted.

    Example:
        >>> print(printable("a\\x1b[2Jb"))
        a\\x1b[2Jb
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii") if unicodedata.category(char) in _INVISIBLE else char
        for char in text
    )


def say(text: str, *, err: bool = False) -> None:
    """Print one line, on standard output or standard error; the only place where a command prints."""
    click.echo(printable(text), err=err)


class PrintableFormatter(logging.Formatter):
    """Formats log records like the lines that `say` prints."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


class _Lines:
    """Standard error that is no terminal: each update of a progress bar becomes a new line."""

    def write(self, text: str) -> None:
        if text := text.strip():
            say(text, err=True)

    def flush(self) -> None:
        if sys.stderr is not None:  # None if it was closed
            sys.stderr.flush()


class WarningsOnly(Progress):
    """Prints warnings only, for --quiet."""

    def warning(self, text: str) -> None:
        say(f"warning: {text}", err=True)


class ProgressBar(WarningsOnly):
    """Progress on standard error: a bar on a terminal, else one line per minute."""

    def __init__(self) -> None:
        self.bar: Any = None

    def line(self, text: str) -> None:
        say(text, err=True)

    def start(self, what: str, total: int, unit: str, *, done: int = 0) -> None:
        from tqdm import tqdm

        self.stop()
        common: dict[str, Any] = {"total": total, "initial": done, "desc": what, "unit": unit}
        if sys.stderr is not None and sys.stderr.isatty():
            self.bar = tqdm(**common, file=sys.stderr, dynamic_ncols=True)
        else:
            self.bar = tqdm(**common, file=_Lines(), mininterval=60.0, miniters=1, bar_format=_LINE)

    def advance(self, n: int, **figures: float | None) -> None:
        if self.bar is not None:
            known = {key: value for key, value in figures.items() if value is not None}
            self.bar.set_postfix(
                {k: f"{v:.3f}" if isinstance(v, float) else v for k, v in known.items()}, refresh=False
            )
            self.bar.update(n)

    def stop(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def shown(path: Path) -> str:
    """A path as text that can be printed, even if its name is not UTF-8."""
    from iuscore.images.listing import uid_of

    return uid_of(str(path))


def number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def require_matplotlib() -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise UserError("a plot needs the extra: pip install -c constraints.txt '.[plot]'")


def check_device(name: str) -> None:
    """Raise if this machine has no such device.

    Raises:
        UserError: the device does not exist; the message names the available devices.
    """
    import torch

    try:
        device = torch.device(name)
        # PyTorch accepts any index of a CPU, and its message for a missing GPU is hard to understand.
        if device.type == "cpu" and device.index:
            raise UserError(f"--device {name}: expected cpu: it is one device, whatever its number of cores")
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise UserError(f"--device {name}: {_no_such_gpu(torch.cuda.device_count())}")
        usable = torch.empty(0, device=device).device.type != "meta"
    except (RuntimeError, AssertionError, NotImplementedError):  # errors of PyTorch, whose messages are pages long
        usable = False
    if not usable:
        raise UserError(f"--device {name}: expected a device that computes, such as cpu or cuda")


def _no_such_gpu(n: int) -> str:
    if not n:
        return "PyTorch finds no GPU on this machine: use cpu; iuscore doctor says what is there"
    names = "cuda or cuda:0" if n == 1 else f"cuda:0 to cuda:{n - 1}"
    return f"expected {names}: PyTorch finds {n} {'GPU' if n == 1 else 'GPUs'} on this machine"
