"""Real images by their use: training, validation and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Literal

from iuscore import images
from iuscore.errors import UserError
from iuscore.images import Source


@dataclass(frozen=True)
class Splits:
    """Real images by their use. ``test`` may be empty."""

    train: Source
    val: Source
    test: Source | None
    origin: str
    warnings: tuple[str, ...] = ()
    class_map: Mapping[str, str] = field(default_factory=dict)

    def parts(self) -> dict[str, Source]:
        """The parts that are there, by name."""
        named = {"train": self.train, "val": self.val}
        return named | ({"test": self.test} if self.test is not None and len(self.test) else {})


def open_splits(
    real: str | Path,
    *,
    val: str | Path | None = None,
    test: str | Path | None = None,
    labels_from: Literal["auto", "folder", "prefix"] = "auto",
    classes: Sequence[str] | None = None,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    group_by: str | None = None,
    class_map: Mapping[str, str] | None = None,
    masks: str | Path | None = None,
) -> Splits:
    """Find training, validation and test images.

    Args:
        real: a folder by class or with class prefixes in the file names; a folder with train, val (valid,
            validation) and perhaps test inside; or a MedMNIST ``.npz``.
        val, test: folders of their own; then ``real`` is the training folder.
        labels_from, classes, class_map: see `iuscore.images.open_source`.
        fractions: of train, val and test where ``real`` is split here.
        seed: of that split.
        group_by: regular expression on file names; images of one group stay in one part. Where the parts are
            given, groups that two parts share are a warning.
        masks: folder of one mask per image, at the same path as the image has below ``real``, with any extension of an
            image, nonzero = counted. With ``val`` it holds a folder train, val and test each.

    Raises:
        UserError: nothing found, classes that differ between the parts, a split that cannot be made.

    Example:
        >>> import tempfile
        >>> from iuscore import phantoms
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = phantoms.write(folder, "radiograph", n_per_class=8, size=32, seed=0)
        ...     open_splits(folder).train.classes
        ('abnormal', 'normal')
    """

    root = Path(real)
    named = dict(class_map or {})

    def opened(path: str | Path, split: str | None = None, *, part: str = ".") -> Source:
        source = images.open_source(path, labels_from=labels_from, classes=classes, split=split, class_map=class_map)
        return source if masks is None else images.with_masks(source, Path(masks, part))

    inside = images.find_explicit_splits(root) if root.is_dir() else {}
    if val is not None:
        parts = {"train": opened(root, part="train"), "val": opened(val, part="val")}
        parts |= {"test": opened(test, part="test")} if test else {}
        origin = "folders given"
    elif test is not None:
        raise UserError("--test needs --val: give both, or neither to split the images by chance")
    elif "val" in inside:
        parts = {name: opened(path, part=path.name) for name, path in inside.items()}
        origin = "folders train, val and test" if "test" in inside else "folders train and val"
    elif root.suffix.lower() == ".npz":
        present = {item.uid.split("/")[0] for item in opened(root).items}
        parts = {name: opened(root, name) for name in ("train", "val", "test") if name in present or name != "test"}
        origin = "splits of the npz file"
    else:
        whole = opened(root)
        indices = images.split_source(whole, fractions, seed=seed, group_by=group_by)
        chosen_by_part = zip(("train", "val", "test"), indices, strict=True)
        parts = {name: whole.subset(chosen) for name, chosen in chosen_by_part if len(chosen)}
        return Splits(parts["train"], parts["val"], parts.get("test"), _chance(seed, group_by), class_map=named)
    for name, part in parts.items():
        if part.classes != parts["train"].classes:
            raise UserError(
                f"classes differ: training images are {', '.join(parts['train'].classes)}, "
                f"{name} images are {', '.join(part.classes) or 'without class'}"
            )
    return Splits(parts["train"], parts["val"], parts.get("test"), origin, _leaks(parts, group_by), named)


def _chance(seed: int, group_by: str | None) -> str:
    kept = (
        f"groups kept together by {group_by}"
        if group_by
        else "image by image; use --group-by where a patient has several"
    )
    return f"split by chance, seed {seed}, {kept}"


def _leaks(parts: Mapping[str, Source], group_by: str | None) -> tuple[str, ...]:
    found = []
    for one, other in combinations(parts, 2):
        leaks = images.leakage(parts[one], parts[other], group_by=group_by)
        # The same name in two folders is no leak.
        for kind, noun in (("group", "groups"), ("content", "identical files")):
            same = [leak for leak in leaks if leak.kind == kind]
            if same:
                example = f"{same[0].first} and {same[0].second}"
                found.append(f"{one} and {other} share {len(same)} {noun}, such as {example}")
    return tuple(found)
