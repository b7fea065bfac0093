"""From the labels that images have, whatever their source, to the classes of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from iuscore.errors import UserError, closest_match
from iuscore.images.sample import Source

_MOST_SHOWN = 10


@dataclass(frozen=True)
class ClassNames:
    """Which class of a model a label stands for.

    What the user says comes first. A label that is a class's name is that class. An integer is the class that had this
    number when the model was fitted, where that is known. Nothing else is guessed.

    Attributes:
        classes: names of the model's classes.
        given: label -> class, as the user says.
        numbers: integer, as text -> class, as the model's record says; see `iuscore.fit.fit`.
        read_as: integers that were met so far -> the class they were taken for.

    Raises:
        UserError: a class in ``given`` that the model does not have.

    Example:
        >>> names = ClassNames(("benign", "malignant"), {"B": "benign"}, {"1": "malignant"})
        >>> [names.of(label) for label in ("B", "1", "benign", "Benign")]
        ['benign', 'malignant', 'benign', None]
    """

    classes: tuple[str, ...]
    given: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    read_as: dict[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for label, name in self.given.items():
            if name not in self.classes:
                close = closest_match(name, self.classes)
                hint = f"; did you mean {label}={close}?" if close else ""
                raise UserError(
                    f"--map {label}={name}: no class {name!r}: the model has {', '.join(self.classes)}{hint}"
                )

    def of(self, label: str) -> str | None:
        """The class of ``label``; None where nobody knows."""
        if label in self.given:
            return self.given[label]
        if label in self.classes:
            return label
        name = self.numbers.get(label)
        if name in self.classes:
            self.read_as[label] = name
            return name
        return None

    def unknown(self, labels: Iterable[str], where: object) -> str:
        """What to say of those of ``labels`` that stand for no class; they come from ``where``."""
        strange = sorted({label for label in labels if self.of(label) is None}, key=_by_number)
        meant = [(label, self._perhaps(label, strange)) for label in strange[:_MOST_SHOWN]]
        shown = ", ".join(repr(label) for label, _ in meant) + (", ..." if len(strange) > _MOST_SHOWN else "")
        noun, it = (
            (f"label {shown} is no class", "it stands")
            if len(strange) == 1
            else (f"labels {shown} are no classes", "they stand")
        )
        option = ",".join(f"{label}={name}" for label, name in meant if name)
        hint = (
            f"did you mean --map {option}?"
            if option
            else f"say what {it} for, such as --map {strange[0]}={self.classes[0]}"
        )
        return f"{where}: {noun} of the model ({', '.join(self.classes)}): {hint}"

    def _perhaps(self, label: str, strange: Sequence[str]) -> str | None:
        if label.isdecimal() and all(other.isdecimal() and int(other) < len(self.classes) for other in strange):
            return self.classes[int(label)]
        return closest_match(label, self.classes)


def renamed(source: Source, class_map: Mapping[str, str], classes: Sequence[str] | None) -> Source:
    """``source`` with classes in the place of labels, and of ``classes`` only where these are given.

    Raises:
        UserError: a label in ``class_map`` that no image has, or a class without images.

    Example:
        >>> from pathlib import Path
        >>> from iuscore.images import Item, StoredFile
        >>> source = Source(Path("."), [Item(f"{i}.png", str(i), None, StoredFile(Path())) for i in range(3)])
        >>> renamed(source, {"1": "tumor", "2": "tumor"}, None).classes
        ('0', 'tumor')
    """
    for label in class_map:
        if label not in source.classes:
            raise UserError(f"--map: no label {label!r} in {source.path}: it has {', '.join(source.classes)}")
    names = [None if item.label is None else class_map.get(item.label, item.label) for item in source.items]
    for name in classes or ():
        if name not in names:
            present = ", ".join(sorted({name for name in names if name is not None}))
            raise UserError(f"no images of class {name!r} in {source.path}: it has {present}")
    kept = [i for i, name in enumerate(names) if classes is None or name in classes]
    return source.subset(kept).with_labels([names[i] for i in kept])


def _by_number(label: str) -> tuple[int, str]:
    return (int(label) if label.isdecimal() and len(label) < 20 else -1, label)


def parse_map(text: str) -> dict[str, str]:
    """``0=benign,1=malignant`` as label -> class.

    Raises:
        UserError: a part without ``=``, or a label that comes twice.

    Example:
        >>> parse_map("0=benign, 1=malignant")
        {'0': 'benign', '1': 'malignant'}
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        label, equals, name = (piece.strip() for piece in part.partition("="))
        if not (label and equals and name):
            raise UserError(f"--map: expected LABEL=CLASS with commas, such as 0=benign,1=malignant, got {text!r}")
        if label in found:
            raise UserError(f"--map: label {label} comes twice in {text!r}")
        found[label] = name
    return found
