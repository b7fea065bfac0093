"""Find or make the parts of the real images: training, validation and test."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from iuscore import images
from iuscore.errors import UserError, class_named
from iuscore.fit.groups import Parts, described, group_column, grouped, without
from iuscore.images import MAX_PIXELS, LabelsFrom, Source
from iuscore.images.listing import are_splits, is_folder, is_passed_over, part_of, parts_in, uid_of

NAMES = ("train", "val", "test")
_WHOLE = "all"


@dataclass(frozen=True)
class Splits:
    """Real images by their use. ``test`` may be empty.

    Attributes:
        train, val, test: the images.
        origin: where the parts come from, in words.
        warnings: problems of the parts, such as a patient in two of them.
        class_map: label -> class, as the user gave it.
        notes: files and folders that were ignored or left out.
        group_by: the pattern that found the groups, where one was given.
    """

    train: Source
    val: Source
    test: Source | None
    origin: str
    warnings: tuple[str, ...] = ()
    class_map: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()
    group_by: str | None = None

    def parts(self) -> dict[str, Source]:
        """Name -> part, for the parts that have images."""
        named = {"train": self.train, "val": self.val}
        return named | ({"test": self.test} if self.test is not None and len(self.test) else {})


def open_splits(
    real: str | Path,
    *,
    val: str | Path | None = None,
    test: str | Path | None = None,
    labels_from: LabelsFrom = "auto",
    classes: Sequence[str] | None = None,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    group_by: str | None = None,
    class_map: Mapping[str, str] | None = None,
    masks: str | Path | None = None,
    groups: str | Path | None = None,
    exclude: Sequence[str] = (),
    column: str | None = None,
    max_pixels: int = MAX_PIXELS,
    bits: int | None = None,
    by_content: bool = False,
) -> Splits:
    """Find training, validation and test images.

    If validation images are not given, a random share of the training images is used.

    Args:
        real: images that `iuscore.images.open_source` takes: a folder by class or with class prefixes in the file
            names, WebDataset's ``.tar`` archives, Parquet files, a MedMNIST ``.npz``, ``.npy`` arrays. It may already
            be in parts: folders train (training) and perhaps val (valid, validation) and test (testing), in any case;
            archives with such a word in their names (``train-00000.parquet``); or the arrays of an ``.npz``.
        val, test: validation and test images in another place, used instead of the parts in ``real``.
        labels_from, classes, class_map: see `iuscore.images.open_source`.
        fractions: shares of train, val and test if ``real`` is split here; if only validation images are missing, the
            first two give the split of the training images.
        seed: random seed of the split.
        group_by: regular expression on names, see `iuscore.images.with_groups`; images of one group stay in one part.
            If the parts are given, a group in two parts gives a warning.
        groups: "folder", "column:NAME" of Parquet files, or a CSV file with the columns file and group; instead of
            ``group_by``.
        exclude: shell patterns of images to leave out.
        masks: folder of masks, one per image, at the path that the image has below ``real``, with any image extension;
            nonzero = counted. With ``val``, the folder contains a folder train, val and test each.
        column, max_pixels, bits, by_content: see `iuscore.images.open_source`.

    Raises:
        UserError: no images, classes that differ between the parts, or a split that cannot be made.

    Example:
        >>> import tempfile
        >>> from iuscore import phantoms
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = phantoms.write(folder, "radiograph", n_per_class=8, size=32, seed=0)
        ...     open_splits(folder).train.classes
        ('abnormal', 'normal')
    """

    def opened(path: str | Path, part: str) -> Source:
        source = images.open_source(
            path, labels_from=labels_from, classes=classes, class_map=class_map, column=column,
            group_column=group_column(groups), max_pixels=max_pixels, bits=bits, by_content=by_content,
        )  # fmt: skip
        return source if masks is None else images.with_masks(source, Path(masks, part))

    parts, origin, ignored = _find_parts(Path(real), val, test, classes, opened)
    notes = [*ignored, *_ignored_files(parts)]
    parts, lines = without(parts, exclude)
    notes += lines
    parts, lines = grouped(parts, group_by=group_by, groups=groups)
    notes += lines
    kept = described(group_by, None if groups is None else str(groups))
    if _WHOLE in parts:
        parts = _divided(parts[_WHOLE], fractions, seed)
        by_chance = f"split by chance, seed {seed}, {kept}"
        warnings = _alike_but_for_case(parts["train"].classes)
        return Splits(
            parts["train"], parts["val"], parts.get("test"), by_chance, warnings, class_map, tuple(notes), group_by
        )
    if "val" not in parts:
        share = fractions[1] / (fractions[0] + fractions[1]) if fractions[0] + fractions[1] > 0 else 0.0
        of_train = _divided(parts["train"], (1 - share, share, 0.0), seed)
        parts = {**of_train, **{name: part for name, part in parts.items() if name != "train"}}
        origin += f"; {share:.0%} of the training images taken for validation by chance, seed {seed}, {kept}"
    for name, part in parts.items():
        parts[name] = part = _spelled_as(part, parts["train"].classes)
        if part.classes != parts["train"].classes:
            raise UserError(
                f"classes differ: training images are {', '.join(parts['train'].classes)}, "
                f"{name} images are {', '.join(part.classes) or 'without class'}"
            )
    warnings = (*_alike_but_for_case(parts["train"].classes), *_shared_groups(parts))
    return Splits(parts["train"], parts["val"], parts.get("test"), origin, warnings, class_map, tuple(notes), group_by)


def _find_parts(
    root: Path,
    val: str | Path | None,
    test: str | Path | None,
    classes: Sequence[str] | None,
    opened: Callable[[str | Path, str], Source],
) -> tuple[Parts, str, list[str]]:
    """Images by part, or undivided under the name "all"; the origin of the parts; notes on ignored folders."""
    inside = images.find_explicit_splits(root) if root.is_dir() else {}
    folders = _sub_folders(root)
    if val is not None or test is not None:
        elsewhere = {name: path for name, path in (("val", val), ("test", test)) if path}
        given = {"train": root} | inside | elsewhere
        parts = {name: opened(given[name], name) for name in NAMES if name in given}
        # If the archive of the training images holds validation and test images too, leave these out.
        parts = _parts_in_archives(parts["train"]) | {name: part for name, part in parts.items() if name != "train"}
        return {name: parts[name] for name in NAMES if name in parts}, "folders given", []
    if len(inside) > 1:
        beside = sorted(set(folders) - {path.name for path in inside.values()})
        note = f"passed over beside the parts: folders {_first(beside)}" if beside else ""
        names = " and ".join([", ".join([*inside][:-1]), [*inside][-1]])
        parts = {name: opened(path, path.name) for name, path in inside.items()}
        return parts, f"folders {names}", [note] if note else []
    if inside and len(folders) == 1:
        return {_WHOLE: opened(inside["train"], inside["train"].name)}, "", []
    if are_splits(folders) and not (classes and {c.casefold() for c in classes} & {f.casefold() for f in folders}):
        raise UserError(_not_classes(root, folders))
    source = opened(root, ".")
    parts = _parts_in_archives(source)
    if len(parts) == 1:
        return {_WHOLE: source}, "", []
    return parts, _ARCHIVES_ORIGIN if source.items[0].archive else _NPZ_ORIGIN, []


_NPZ_ORIGIN, _ARCHIVES_ORIGIN = "splits of the npz file", "parts named by the archives"


def _parts_in_archives(source: Source) -> Parts:
    """The images by part, from the array names of an .npz or the names of archives; without parts, all as "train"."""
    if source.path.suffix.lower() == ".npz" and not source.path.is_dir():
        named: list[str | None] = [item.uid.partition("/")[0] for item in source.items]
    else:
        of_archive = {name: part_of(name) for name in {item.archive or "" for item in source.items}}
        named = [of_archive[item.archive or ""] for item in source.items]
        if len(set(named) - {None}) < 2:  # all archives are of one part, or of no part
            return {"train": source}
        if None in named:
            without_part = next(name for name, part in sorted(of_archive.items()) if part is None)
            of_part = next(name for name, part in sorted(of_archive.items()) if part is not None)
            raise UserError(
                f"{source.path} holds {of_part}, which is named after a part, and {without_part}, which is not: name "
                "all of them so, or give the training images as REAL and the others as --val and --test"
            )
    parts = {
        name: source.subset([i for i, part in enumerate(named) if part == name]) for name in NAMES if name in named
    }
    if "train" not in parts:
        raise UserError(f"{source.path} has no training images: it has {', '.join(parts)}")
    return parts


def _alike_but_for_case(classes: Sequence[str]) -> tuple[str, ...]:
    """A warning of classes that differ in upper and lower case alone: mostly one class, spelled in two ways."""
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(name.casefold(), []).append(name)
    return tuple(
        f"{' and '.join(names)} are taken for {len(names)} classes, and differ in upper and lower case alone: if they "
        f"are one, rename the folders, or give --map {','.join(f'{name}={names[0]}' for name in names[1:])}"
        for names in alike.values()
        if len(names) > 1
    )


def _spelled_as(part: Source, classes: Sequence[str]) -> Source:
    """The same images, with class names spelled as in ``classes`` where only upper and lower case differ."""
    names = {name: class_named(name, classes) for name in part.classes}
    if part.classes == tuple(classes) or None in names.values() or len(set(names.values())) < len(names):
        return part
    return part.with_labels([names[item.label or ""] for item in part.items])


def _sub_folders(root: Path) -> list[str]:
    if not root.is_dir():
        return []
    try:
        entries = list(os.scandir(root))
    except OSError as error:
        raise UserError(f"cannot list {root}: {error.strerror}") from error
    return sorted(uid_of(entry.name) for entry in entries if is_folder(entry) and not is_passed_over(entry.name))


def _not_classes(root: Path, folders: Sequence[str]) -> str:
    """The error for folders such as ``real_train`` and ``real_val``, with the exact command if their names allow it."""
    by_part: dict[str, list[str]] = {}
    for name in folders:
        parts = parts_in(name)
        if len(parts) == 1:
            by_part.setdefault(parts.pop(), []).append(name)
    problem = f"{root} holds {_first(folders)}: these are parts of a data set, not classes; "
    if "train" in by_part and all(len(names) == 1 for names in by_part.values()):
        options = [f"--{part} {root / by_part[part][0]}" for part in ("val", "test") if part in by_part]
        return problem + f"name the parts: iuscore fit {' '.join([str(root / by_part['train'][0]), *options])}"
    return problem + "call the training folder train, the others val and test, or give them as REAL, --val and --test"


def _first(names: Sequence[str], total: int | None = None, most: int = 5) -> str:
    """The first names, and the number of further ones out of ``total`` (None: ``len(names)``)."""
    more = (len(names) if total is None else total) - len(names[:most])
    return ", ".join(names[:most]) + (f" and {more} more" if more else "")


def _ignored_files(parts: Mapping[str, Source]) -> list[str]:
    lines = []
    for part in parts.values():
        if part.ignored:
            noun = "file that is no image" if part.ignored == 1 else "files that are no images"
            names = _first(part.ignored_names, part.ignored)
            lines.append(f"passed over in {part.path}: {part.ignored} {noun}: {names}")
        if part.left_out:
            what = "classes" if part.items and part.items[0].archive else "folders of no class"
            lines.append(f"passed over in {part.path}: {what}: {_first(part.left_out)}")
    return lines


def _divided(source: Source, fractions: tuple[float, float, float], seed: int) -> Parts:
    indices = images.split_source(source, fractions, seed=seed)
    return {name: source.subset(chosen) for name, chosen in zip(NAMES, indices, strict=True) if len(chosen)}


def _shared_groups(parts: Mapping[str, Source]) -> tuple[str, ...]:
    """One warning for each pair of parts that share groups; `iuscore.fit.findings` finds equal images in two parts."""
    warnings = []
    for one, other in combinations(parts, 2):
        examples = {item.group: item.uid for item in reversed(parts[one].items) if item.group is not None}
        shared = {item.group: item.uid for item in reversed(parts[other].items) if item.group in examples}
        if shared:
            group = min(shared)
            example = f"{examples[group]} and {shared[group]}"
            warnings.append(f"{one} and {other} share {len(shared)} groups, such as {example}")
    return tuple(warnings)
