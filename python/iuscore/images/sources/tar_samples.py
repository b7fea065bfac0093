"""Samples of a WebDataset archive: which image has which class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from iuscore.errors import UserError

_MAX_SHOWN = 3


@dataclass
class TarMember:
    """A file in a tar archive.

    Attributes:
        name: path in the archive.
        offset: of its content from the beginning of the archive, in bytes.
        size: in bytes.
        date: in seconds.
        problem: why it cannot be read; empty if it can.
        key: its path up to the first dot of the file name.
        extension: what follows that dot, in lower case.
    """

    name: str
    offset: int
    size: int
    date: int
    problem: str
    key: str = field(init=False)
    extension: str = field(init=False)

    def __post_init__(self) -> None:
        folder, slash, last = self.name.rpartition("/")
        stem, _, extension = last.partition(".")
        self.key = folder + slash + stem
        self.extension = extension.lower()


@dataclass
class TarSample:
    """Members of one key, each extension once.

    Attributes:
        extensions: of all members.
        images: (stem, member): the extension without its last part, empty for ``1.png``, ``5t`` for ``1.5T.png``.
        classes: stem -> class, in the order of the members.
        class_first: whether the class came before the images; None without members.
    """

    extensions: set[str] = field(default_factory=set)
    images: list[tuple[str, TarMember]] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)
    class_first: bool | None = None

    def add_image(self, stem: str, member: TarMember) -> None:
        self.images.append((stem, member))
        self.class_first = bool(self.class_first)

    def add_class(self, stem: str, label: str) -> None:
        self.classes[stem] = label
        self.class_first = self.class_first is not False

    def class_of(self, stem: str) -> str | None:
        return self.classes.get(stem, self.classes.get(""))

    @property
    def pairs_up(self) -> bool:
        """Whether every image has a class and every class an image."""
        used = {stem if stem in self.classes else "" for stem, _ in self.images}
        return used == set(self.classes)


def labeled(samples: Sequence[TarSample], archive: str) -> Iterator[tuple[TarMember, str | None]]:
    """Images and their classes of the samples of one key that follow each other.

    Where several samples have one name and something is missing in one of them, the members after that may have been
    paired with those of another sample. Then no image has a class, but where all classes are the same.

    Raises:
        UserError: an image without a class, and no class that it could be.
    """
    classes = {label for sample in samples for label in sample.classes.values()}
    # A missing member shows: class and image change their order from one sample to the next, or one of them is left.
    certain = len(samples) == 1 or (
        all(sample.pairs_up for sample in samples) and len({sample.class_first for sample in samples}) == 1
    )
    for sample in samples:
        for stem, member in sample.images:
            label = sample.class_of(stem)
            if not certain and len(classes) > 1:
                yield replace(member, problem=_contradiction(classes)), None
            elif not certain and classes:
                yield member, min(classes)
            elif label is None:
                raise UserError(
                    f"{archive}/{member.name} has no class: no member {_looked_for(member, stem)} beside it"
                )
            else:
                yield member, label


def _looked_for(member: TarMember, stem: str) -> str:
    own = f"{member.name.rpartition('.')[0]}.cls or " if stem else ""
    return f"{own}{member.key}.cls"


def _contradiction(classes: set[str]) -> str:
    shown = ", ".join(sorted(classes)[:_MAX_SHOWN]) + (", ..." if len(classes) > _MAX_SHOWN else "")
    return (
        f"class not certain: .cls members of one name contradict each other ({shown}): give every sample its own name"
    )
