"""A walk through a folder and all folders below it, in the order of the uids."""

from __future__ import annotations

import os
import stat
from bisect import insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from iuscore.errors import UserError
from iuscore.images.listing import NAMED, is_folder, is_image_file, is_image_name, is_passed_over, uid_of

_NO_FILE = -2
_MAX_WAYS = 1000
_LONGEST_SHOWN = 300


class Found(NamedTuple):
    """One file: its folder below the root and its name as the system has them, its uid, its bytes and whole seconds."""

    folder: str
    name: str
    uid: str
    n_bytes: int
    date: int


class Names(NamedTuple):
    """Files and folders that a folder holds.

    Attributes:
        entries: (name for the uid, with a / after that of a folder; name on disk), in the order of the uids.
        others: names of the files that are not looked for.
    """

    entries: list[tuple[str, str]]
    others: list[str]


@dataclass
class _Level:
    """A folder that a walk has entered: its path below the root (``"a/b"``), and the same as uids write it."""

    folder: str
    uid: str
    path: str
    here: tuple[int, int]
    n_links: int
    rest: Iterator[tuple[str, str]]


class Walk:
    """One walk through all folders; counts what it leaves out.

    Links to files and folders are followed; one that leads back into a folder above itself is not. Folders may be as
    deep as the system takes their paths.

    Args:
        root: folder.
        suffixes: file names to look for, by their ends in lower case; None: those of images.
        by_content: files of any name are images if they begin as one.

    Attributes:
        ignored: number of other files so far.
        ignored_names: the first `NAMED` of them by name.
    """

    def __init__(
        self,
        root: Path,
        suffixes: tuple[str, ...] | None = None,
        *,
        by_content: bool = False,
    ) -> None:
        self.root = root
        self.suffixes = suffixes
        self.by_content = by_content
        self.ignored = 0
        self.ignored_names: list[str] = []
        self._ways: Counter[tuple[int, int]] = Counter()

    def files(self) -> Iterator[Found]:
        """Files with the names or the content that is looked for.

        Raises:
            UserError: a folder that cannot be listed, two names that are written alike, or folders that are linked to
                each other over and over.
        """
        # No recursion: folders can be deeper than Python's stack.
        levels: list[_Level] = []
        if (top := self._enter(levels, "", "")) is not None:
            levels.append(top)
        while levels:
            level = levels[-1]
            # No helper functions in this loop: a call for each of a million files takes seconds.
            before = f"{level.folder}/" if level.folder else ""
            uid_before = f"{level.uid}/" if level.uid else ""
            for shown, name in level.rest:
                if shown.endswith("/"):
                    below = self._enter(levels, before + name, uid_before + shown[:-1])
                    if below is not None:
                        levels.append(below)
                        break
                    continue
                n_bytes, date = size_and_date(f"{level.path}/{name}")
                if n_bytes == _NO_FILE:
                    self._leave_out(uid_before + shown)
                else:
                    yield Found(level.folder, name, uid_before + shown, n_bytes, date)
            else:
                levels.pop()

    def _enter(self, levels: list[_Level], folder: str, uid: str) -> _Level | None:
        path = os.path.join(self.root, folder) if folder else os.fspath(self.root)
        try:
            status = os.stat(path)
            here = (status.st_dev, status.st_ino)
            if any(level.here == here for level in levels):  # a link to a folder above itself
                return None
            n_links = (levels[-1].n_links if levels else 0) + (bool(levels) and os.path.islink(path))
            if n_links > 1:
                self._require_few_ways(here, path)
            names = self.names(path)
        except OSError as error:
            raise UserError(f"cannot list {_shortened(path)}: {error.strerror}") from error
        for other in names.others:
            self._leave_out(f"{uid}/{other}" if uid else other)
        return _Level(folder, uid, path, here, n_links, iter(names.entries))

    def _require_few_ways(self, here: tuple[int, int], path: str) -> None:
        """Ten folders that are all linked to each other make ten million paths."""
        self._ways[here] += 1
        if self._ways[here] > _MAX_WAYS:
            raise UserError(
                f"folders in {self.root} are linked to each other: more than {_MAX_WAYS} ways lead to the folder "
                f"{os.path.realpath(path)}: remove the links between them"
            )

    def names(self, path: str) -> Names:
        """What the folder ``path`` holds; raises OSError."""
        entries, others = [], []
        with os.scandir(path) as found:
            for entry in found:
                name = entry.name
                if is_passed_over(name):
                    continue
                if is_folder(entry):
                    entries.append((uid_of(name) + "/", name))
                elif self._is_wanted(name) or (self.by_content and is_image_file(f"{path}/{name}", True)):
                    entries.append((uid_of(name), name))
                else:
                    others.append(uid_of(name))
        entries.sort()
        for (first, _), (second, _) in pairwise(entries):
            if first == second:
                raise UserError(f"two names in {_shortened(path)} are both written {first}: rename one of them")
        return Names(entries, others)

    def _is_wanted(self, name: str) -> bool:
        return is_image_name(name) if self.suffixes is None else name.lower().endswith(self.suffixes)

    def _leave_out(self, uid: str) -> None:
        self.ignored += 1
        if len(self.ignored_names) < NAMED or uid < self.ignored_names[-1]:
            insort(self.ignored_names, uid)
            del self.ignored_names[NAMED:]


def size_and_date(path: str | Path) -> tuple[int, int]:
    """Bytes and whole seconds; -1 for a link to nothing, which reading it reports, -2 for what is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    # Opening a named pipe would wait for ever.
    return (status.st_size, status.st_mtime_ns // 10**9) if stat.S_ISREG(status.st_mode) else (_NO_FILE, 0)


def _shortened(path: str) -> str:
    return path if len(path) <= _LONGEST_SHOWN else f"{path[:80]}...{path[-80:]}"
