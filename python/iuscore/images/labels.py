"""From the labels that images have, whatever their source, to the classes of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from iuscore.errors import UserError, class_named, closest_match
from iuscore.images.sample import Source

_MAX_SHOWN = 10


@dataclass(frozen=True)
class ClassNames:
    """Which class of a model a label stands for.

    What the user says comes first. A label that is a class's name, in upper or lower case, is that class. An integer is
    the class that had this number when the model was fitted, where that is known. Nothing else is guessed.

    Attributes:
        classes: names of the model's classes.
        given: label -> class, as the user says.
        numbers: integer, as text -> class, as the model's record says; see `iuscore.fit.fit`.
        read_as: integers that were met so far -> the class they were taken for.

    Raises:
        UserError: a class in ``given`` that the model does not have.

    Example:
        >>> names = ClassNames(("benign", "malignant"), {"B": "benign"}, {"1": "malignant"})
        >>> [names.of(label) for label in ("B", "1", "benign", "Malignant", "M")]
        ['benign', 'malignant', 'benign', 'malignant', None]
    """

    classes: tuple[str, ...]
    given: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    read_as: dict[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for label, name in self.given.items():
            if class_named(name, self.classes) is None:
                close = closest_match(name, self.classes)
                hint = f"; did you mean {label}={close}?" if close else ""
                raise UserError(
                    f"--map {label}={name}: no class {name!r}: the model has {', '.join(self.classes)}{hint}"
                )
        resolved = {label: class_named(name, self.classes) or name for label, name in self.given.items()}
        object.__setattr__(self, "given", resolved)

    def of(self, label: str) -> str | None:
        """The class of ``label``; None where nobody knows."""
        if label in self.given or label in self.classes:
            return self.given.get(label, label)
        if (alike := class_named(label, self.given)) is not None:
            return self.given[alike]
        if (alike := class_named(label, self.classes)) is not None:
            return alike
        name = self.numbers.get(label)
        if name in self.classes:
            self.read_as[label] = name
            return name
        return None

    def unknown(self, labels: Iterable[str], where: object) -> str:
        """What to say of those of ``labels`` that stand for no class; they come from ``where``."""
        strange = sorted({label for label in labels if self.of(label) is None}, key=_by_number)
        meant = [(label, self._meant_by(label, strange)) for label in strange[:_MAX_SHOWN]]
        shown = ", ".join(repr(label) for label, _ in meant) + (", ..." if len(strange) > _MAX_SHOWN else "")
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

    def _meant_by(self, label: str, strange: Sequence[str]) -> str | None:
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
    named: dict[str | None, str] = {}
    for label, name in class_map.items():
        if (found := class_named(label, source.classes)) is None:
            raise UserError(f"--map: no label {label!r} in {source.path}: it has {', '.join(source.classes)}")
        named[found] = name
    names = [named.get(item.label, item.label) for item in source.items]
    if classes is None:
        return source.with_labels(names)
    present = sorted({name for name in names if name is not None})
    wanted: dict[str | None, str] = {}
    for name in classes:
        if (found := class_named(name, present)) is None:
            raise UserError(f"no images of class {name!r} in {source.path}: it has {', '.join(present)}")
        wanted[found] = name
    kept = [i for i, name in enumerate(names) if name in wanted]
    return source.subset(kept).with_labels([wanted[names[i]] for i in kept])


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
