"""Groups of images (a patient, a video), and images to leave out, applied before the split into parts."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from iuscore import images
from iuscore.errors import UserError
from iuscore.images import Item, Source

BY_FOLDER = "folder"
"""``--groups folder``: the first folder below the class folder is the group."""
BY_COLUMN = "column:"
"""``--groups column:patient``: the column ``patient`` of Parquet files has the group of each image."""

Parts = dict[str, Source]


def described(group_by: str | None, groups: str | None) -> str:
    """How images were kept together in the split, in words.

    Example:
        >>> described(None, "folder"), described("^P_[0-9]+", None)
        ('groups kept together by folder', 'groups kept together by ^P_[0-9]+')
    """
    if group_by is None and groups is None:
        return "image by image; use --group-by or --groups where a patient has several"
    return f"groups kept together by {group_by if groups is None else groups}"


def group_column(groups: str | Path | None) -> str | None:
    """The column that ``--groups column:NAME`` names; None for other values of ``--groups``.

    Example:
        >>> group_column("column:patient"), group_column("groups.csv")
        ('patient', None)
    """
    text = str(groups)
    return text.removeprefix(BY_COLUMN) if text.startswith(BY_COLUMN) else None


def without(parts: Mapping[str, Source], patterns: Sequence[str]) -> tuple[Parts, tuple[str, ...]]:
    """The images that match no pattern, and one line per pattern with the number of images that it left out.

    Args:
        parts: images by their use.
        patterns: shell patterns (``*``, ``?``, ``[...]``), compared with the file name, or with the whole path below
            the part's folder or inside its archive where the pattern holds a slash. Case counts.

    Raises:
        UserError: a pattern matches no image, or the patterns leave a part without images.

    Example:
        >>> from iuscore.images import StoredFile
        >>> items = [Item(name, "a", None, StoredFile(Path())) for name in ("a/1.png", "a/1_mask.png")]
        >>> without({"train": Source(Path("."), items)}, ["*_mask.png"])[1]
        ("left out by --exclude '*_mask.png': 1 of 2 images, such as a/1_mask.png",)
    """
    total = sum(map(len, parts.values()))
    left_out: Counter[str] = Counter()
    example: dict[str, str] = {}
    kept: Parts = {}
    for name, part in parts.items():
        chosen = []
        for i, item in enumerate(part.items):
            fits = next((pattern for pattern in patterns if _fits(item, pattern)), None)
            if fits is None:
                chosen.append(i)
            else:
                left_out[fits] += 1
                example.setdefault(fits, item.uid)
        if not chosen:
            raise UserError(f"--exclude: nothing is left of {part.path}: all of its {len(part)} images fit")
        kept[name] = part.subset(chosen) if len(chosen) < len(part) else part
    for pattern in patterns:
        if not any(_fits(item, pattern) for part in parts.values() for item in part.items):
            called = next(iter(parts.values())).items[0].uid
            raise UserError(f"--exclude: {pattern!r} fits none of the {total} images, which are called like {called}")
    lines = (f"left out by --exclude {p!r}: {n} of {total} images, such as {example[p]}" for p, n in left_out.items())
    return kept, tuple(lines)


def _fits(item: Item, pattern: str) -> bool:
    """Whether a pattern matches the file name, or, if it holds a slash, the path or the uid (with the archive)."""
    names = (item.path, item.uid) if "/" in pattern else (item.uid.rsplit("/", 1)[-1],)
    return any(fnmatchcase(name, pattern) for name in names)


def grouped(
    parts: Mapping[str, Source], *, group_by: str | None, groups: str | Path | None
) -> tuple[Parts, tuple[str, ...]]:
    """The same images with their groups, and notes on them.

    Args:
        parts: images by their use.
        group_by: see `iuscore.images.with_groups`.
        groups: "folder": the first folder below the class folder; "column:NAME": a column of Parquet files, which the
            images of ``parts`` were opened with; else a CSV file with the columns ``file`` (a uid, a
            path below the given folder or inside an archive, or a file name that comes once) and ``group``.

    Raises:
        UserError: both ``group_by`` and ``groups``, a CSV file that cannot be used, or an image without a group.
    """
    if group_by is not None and groups is not None:
        raise UserError("--group-by and --groups exclude each other: give one of them")
    if group_by is not None:
        return {name: images.with_groups(part, group_by) for name, part in parts.items()}, ()
    if groups is None:
        return dict(parts), ()
    if group_column(groups) is not None:  # the source of the images has read the groups
        return dict(parts), ()
    if str(groups) == BY_FOLDER:
        return {name: _by_folder(part) for name, part in parts.items()}, ()
    return _from_file(parts, Path(groups))


def _by_folder(part: Source) -> Source:
    return part.with_groups([_folder(part, item) for item in part.items])


def _folder(part: Source, item: Item) -> str:
    above = item.path.split("/")[:-1]
    if above and item.label is not None and above[0].casefold() == item.label.casefold():
        above = above[1:]
    if not above:
        raise UserError(
            f"--groups folder: {item.uid} in {part.path} lies in no folder of its patient below its class folder; "
            "use --group-by or --groups groups.csv"
        )
    return above[0]


def _from_file(parts: Mapping[str, Source], path: Path) -> tuple[Parts, tuple[str, ...]]:
    table = _read(path)
    items = [item for part in parts.values() for item in part.items]
    known = Counter(name for item in items for name in {item.path, item.uid.rsplit("/", 1)[-1]})
    used: set[str] = set()
    missing: list[str] = []
    found: Parts = {}
    for name, part in parts.items():
        groups: list[str | None] = []
        for item in part.items:
            file = item.uid.rsplit("/", 1)[-1]
            paths = (f"{part.path.name}/{item.uid}", item.uid, item.path, file)
            row = next((key for key in paths if key in table), None)
            if row in (item.path, file) and row != item.uid and known[row] > 1:
                raise UserError(f"{path}: {row} fits {known[row]} images, such as {item.uid}: write their paths")
            if row is None:
                missing.append(item.uid)
            else:
                used.add(row)
            groups.append(None if row is None else table[row])
        found[name] = part.with_groups(groups)
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise UserError(f"{path}: no row for {missing[0]}{more}: every image needs one, its path and its group")
    spare = [key for key in table if key not in used]
    return found, (f"{path}: {len(spare)} rows fit no image, such as {spare[0]}",) if spare else ()


def _read(path: Path) -> dict[str, str]:
    expected = "expected a CSV file with the columns file and group"
    if not path.is_file():
        raise UserError(f"--groups: no file {path}: {expected}, the word folder, or column:NAME")
    table: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream)
            head = [name.strip().casefold() for name in next(rows, [])]
            if "file" not in head or "group" not in head:
                raise UserError(f"{path}: {expected}, got {', '.join(head)[:80] or 'nothing'}")
            columns = head.index("file"), head.index("group")
            for row in rows:
                if not any(row):
                    continue
                file, group = (row[i].strip() if i < len(row) else "" for i in columns)
                file = file.replace("\\", "/").removeprefix("./")
                where = f"{path}, line {rows.line_num}"
                if not file or not group:
                    raise UserError(f"{where}: expected a file and a group, got {','.join(row)[:80]}")
                if table.setdefault(file, group) != group:
                    raise UserError(f"{where}: {file} is in two groups, {table[file]} and {group}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: {expected}, got something else ({error})") from None
    return table
