"""Split a source into training, validation and test images; find what two splits share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from iuscore.errors import UserError
from iuscore.images.groups import GroupBy
from iuscore.images.listing import SPLIT_NAMES
from iuscore.images.sample import Source

Indices = NDArray[np.int64]

_MAX_FOLDS = 20
_GOOD_ENOUGH = 0.02


class Split(NamedTuple):
    """Indices of each part, ascending, int64; together every index once."""

    train: Indices
    val: Indices
    test: Indices


def split_source(
    source: Source,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    *,
    seed: int,
    group_by: str | None = None,
) -> Split:
    """Split by chance, with the same share of every class in each part and no group in two parts.

    Args:
        source: labeled images of two classes or more.
        fractions: shares of train, val and test; they sum to 1. Train and val are above 0. With few or
            uneven groups the parts come as near to them as whole groups allow.
        seed: the same seed and source give the same split.
        group_by: see ``with_groups``; without it, groups the source already has are kept together.

    Raises:
        UserError: labels missing, fewer than two classes, a class with too few groups to be in train and in
            val, ``group_by`` does not match.

    Example:
        >>> from iuscore.images import Item, StoredFile
        >>> items = [Item(f"{c}/{i}.png", c, None, StoredFile(Path())) for c in "ab" for i in range(20)]
        >>> parts = split_source(Source(Path("."), items), seed=0)
        >>> [len(part) for part in parts]
        [28, 6, 6]
    """
    shares = _checked_fractions(fractions)
    if group_by is not None:
        source = with_groups(source, group_by)
    labels = _checked_labels(source)
    # One group per image without a group of its own; the index cannot collide with a name.
    names = [("", i) if item.group is None else (item.group, -1) for i, item in enumerate(source.items)]
    numbers = {name: n for n, name in enumerate(dict.fromkeys(names))}
    groups = np.array([numbers[name] for name in names])
    _require_two_groups(source, labels, groups)
    best: tuple[float, NDArray[np.int64]] | None = None
    for parts in _candidates(labels, groups, shares, seed):
        distance = _distance(parts, labels, shares)
        if best is None or distance < best[0]:
            best = (distance, parts)
        if distance <= _GOOD_ENOUGH:
            break
    if best is None or not np.isfinite(best[0]):
        raise UserError(_impossible(source, labels, groups))
    return Split(*(np.flatnonzero(best[1] == part) for part in range(3)))


def _checked_fractions(fractions: Sequence[float]) -> NDArray[np.float64]:
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.shape != (3,) or (shares < 0).any() or shares[:2].min() == 0 or not abs(shares.sum() - 1) <= 1e-6:
        raise UserError(
            "fractions: expected shares of train, val and test that sum to 1, train and val above 0, "
            f"got {tuple(fractions)}"
        )
    return shares


def _checked_labels(source: Source) -> NDArray[np.str_]:
    for item in source.items:
        if item.label is None:
            raise UserError(f"{item.uid} in {source.path} has no class: a split needs one for every image")
    if len(source.classes) < 2:
        raise UserError(f"only one class in {source.path}: {source.classes[0]}; two or more are needed")
    return np.array([item.label for item in source.items])


def _groups_per_class(labels: NDArray[np.str_], groups: NDArray[Any]) -> dict[str, int]:
    return {str(name): len(np.unique(groups[labels == name])) for name in np.unique(labels)}


def _require_two_groups(source: Source, labels: NDArray[np.str_], groups: NDArray[Any]) -> None:
    if min(_groups_per_class(labels, groups).values()) < 2:
        raise UserError(_impossible(source, labels, groups))


def _impossible(source: Source, labels: NDArray[np.str_], groups: NDArray[Any]) -> str:
    counts = _groups_per_class(labels, groups)
    name = min(counts, key=lambda key: counts[key])
    grouped = any(item.group is not None for item in source.items)
    noun = ("group" if grouped else "image") + ("" if counts[name] == 1 else "s")
    return (
        f"class {name!r} in {source.path} has {counts[name]} {noun}: "
        "too few to have it in both the training and the validation part"
    )


def _candidates(
    labels: NDArray[np.str_], groups: NDArray[Any], shares: NDArray[np.float64], seed: int
) -> Iterator[NDArray[np.int64]]:
    """Part (0 train, 1 val, 2 test) of every image; the more promising ways first."""
    if len(np.unique(groups)) == len(groups):
        exact = _ungrouped(labels, shares, seed)
        if exact is not None:
            yield exact
    from sklearn.model_selection import StratifiedGroupKFold

    # Folds of one size, dealt out to the parts: many small folds hit the fractions, few large ones
    # leave no fold without a class when groups are few.
    most = min(_MAX_FOLDS, len(np.unique(groups)), *np.unique(labels, return_counts=True)[1])
    for n_folds in range(int(most), 1, -1):
        folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed).split(labels, labels, groups)
        dealt = _deal(n_folds, shares)
        parts = np.empty(len(labels), dtype=np.int64)
        for part, (_, members) in zip(dealt, folds, strict=True):
            parts[members] = part
        yield parts


def _ungrouped(labels: NDArray[np.str_], shares: NDArray[np.float64], seed: int) -> NDArray[np.int64] | None:
    from sklearn.model_selection import train_test_split

    parts = np.zeros(len(labels), dtype=np.int64)
    rest = np.arange(len(labels))
    try:
        for part in (2, 1):
            size = round(float(shares[part]) * len(labels))
            if size:
                rest, taken = train_test_split(rest, test_size=size, stratify=labels[rest], random_state=seed)
                parts[taken] = part
    except ValueError:  # too few images of a class for this way; folds may still do
        return None
    return parts


def _deal(n_folds: int, shares: NDArray[np.float64]) -> list[int]:
    """Part of each fold: whole folds nearest to the shares, at least one each for train and val."""
    counts = np.floor(shares * n_folds + 1e-9).astype(int)
    counts[:2] = np.maximum(counts[:2], 1)
    while counts.sum() < n_folds:
        counts[np.argmax(shares * n_folds - counts)] += 1
    while counts.sum() > n_folds:
        spare = np.where(counts > [1, 1, 0], counts - shares * n_folds, -np.inf)
        counts[np.argmax(spare)] -= 1
    return [part for part in range(3) for _ in range(counts[part])]


def _distance(parts: NDArray[np.int64], labels: NDArray[np.str_], shares: NDArray[np.float64]) -> float:
    """Largest gap between wanted and actual share of a class in a part; inf if train or val lacks a class."""
    worst = 0.0
    for name in np.unique(labels):
        actual = np.bincount(parts[labels == name], minlength=3) / np.count_nonzero(labels == name)
        if actual[:2].min() == 0:
            return float("inf")
        worst = max(worst, float(np.abs(actual - shares).max()))
    return worst


def with_groups(source: Source, group_by: str) -> Source:
    """The same source with groups read from the file names.

    Args:
        source: images.
        group_by: regular expression searched in the last part of each uid, or in the whole uid where the expression
            holds a slash; its first capture group if it has one, else the whole match, is the group.

    Raises:
        UserError: not a regular expression, or a name in which it is not found.

    Example:
        >>> from iuscore.images import Item, StoredFile
        >>> source = Source(Path("."), [Item("benign/P_07_mass2.png", "benign", None, StoredFile(Path()))])
        >>> with_groups(source, r"^P_(\\d+)").items[0].group
        '07'
    """
    find = GroupBy(group_by)
    return source.with_groups([find.of(item.uid) for item in source.items])


def find_explicit_splits(root: str | Path) -> dict[str, Path]:
    """``{"train": folder, "val": folder, "test": folder}`` of those that lie in ``root``, in any case.

    ``training`` is train, ``valid`` and ``validation`` are val, ``testing`` is test. Empty unless there is a train
    folder.

    Raises:
        UserError: two folders of one meaning.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("train", "valid"):
        ...         Path(root, name).mkdir()
        ...     [(part, folder.name) for part, folder in find_explicit_splits(root).items()]
        [('train', 'train'), ('val', 'valid')]
    """
    root = Path(root)
    found: dict[str, Path] = {}
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        part = SPLIT_NAMES.get(folder.name.lower())
        if part is None or not folder.is_dir():
            continue
        if part in found:
            raise UserError(f"{root} has two {part} folders: {found[part].name} and {folder.name}; keep one")
        found[part] = folder
    return {part: found[part] for part in ("train", "val", "test") if part in found} if "train" in found else {}


def split_folder(path: Path, split: str) -> Path:
    """The folder of ``split`` in ``path``; a UserError where there is none."""
    parts = find_explicit_splits(path)
    if split not in parts:
        found = ", ".join(parts) if parts else "no train folder"
        raise UserError(f"split: no {split} folder in {path}: it has {found}")
    return parts[split]


@dataclass(frozen=True)
class Leak:
    """Something that two splits share.

    Attributes:
        shared: ``group`` (the same patient), ``uid`` (the same name) or ``content`` (the same bytes).
        first: uid in the first split.
        second: uid in the second split.
        group: the group, if ``shared`` is ``group``.
    """

    shared: Literal["group", "uid", "content"]
    first: str
    second: str
    group: str | None = None


def leakage(first: Source, second: Source, *, group_by: str | None = None) -> tuple[Leak, ...]:
    """What ``first`` and ``second`` share: groups, uids, byte-identical images; each once, in uid order.

    Args:
        first: one split.
        second: another split.
        group_by: see ``with_groups``; without it, the groups the sources already have.

    Raises:
        UserError: ``group_by`` does not match.

    Example:
        >>> import tempfile
        >>> from iuscore.images import open_source
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("train/p1_a.pgm", "val/p1_b.pgm"):
        ...         Path(root, name).parent.mkdir()
        ...         _ = Path(root, name).write_bytes(b"P5 1 1 255 " + name[-5:].encode())
        ...     train, val = (open_source(Path(root, part)) for part in ("train", "val"))
        ...     leakage(train, val, group_by="p[0-9]+")
        (Leak(shared='group', first='p1_a.pgm', second='p1_b.pgm', group='p1'),)
    """
    if group_by is not None:
        first, second = with_groups(first, group_by), with_groups(second, group_by)
    leaks = []
    group_of = {item.group: item.uid for item in reversed(first.items) if item.group is not None}
    uids = {item.uid for item in first.items}
    digests = {item.stored.digest(): item.uid for item in reversed(first.items)}
    reported = set()
    for item in second.items:
        if item.group in group_of and item.group not in reported:
            reported.add(item.group)
            leaks.append(Leak("group", group_of[item.group], item.uid, item.group))
        if item.uid in uids:
            leaks.append(Leak("uid", item.uid, item.uid))
        digest = item.stored.digest()
        if digest in digests:
            leaks.append(Leak("content", digests[digest], item.uid))
    return tuple(leaks)
