"""What a source of images yields, and the source itself: a list of items that are decoded one by one."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iuscore._run.regular_files import regular_only
from iuscore.errors import UserError
from iuscore.images.decode import decode
from iuscore.images.decoded import (
    MAX_PIXELS,
    NO_MEMORY,
    Decoded,
    UnreadableImage,
    checked_bits,
    decoded_array,
)


@dataclass(frozen=True, eq=False)
class Sample:
    """One decoded image, or the reason why it could not be decoded.

    Attributes:
        uid: path relative to the source's root with forward slashes, or ``split/000012``.
        pixels: [height, width, C], C = 1 or 3; uint8, uint16 or float32 (nominally in [0, 1]); None if
            ``error`` is set.
        label: class name, or None.
        group: what must stay together in a split (a patient, a video), or None.
        width: columns; 0 if unknown.
        height: rows; 0 if unknown.
        warnings: short fixed texts, see :mod:`iuscore.images.decode`.
        error: one line that says why ``pixels`` is None, or None.
        passing: whether that reason lies in the machine, so that the image may be readable later.
        mask: bool [height, width], True = counted, where the image came with a mask; else None.

    Example:
        >>> Sample("a.png", np.zeros((2, 3, 1), np.uint8), "benign", None, 3, 2, (), None).pixels.shape
        (2, 3, 1)
    """

    uid: str
    pixels: NDArray[Any] | None
    label: str | None
    group: str | None
    width: int
    height: int
    warnings: tuple[str, ...]
    error: str | None
    mask: NDArray[np.bool_] | None = None
    passing: bool = False


class Stored(ABC):
    """Where the pixels of one item are."""

    @abstractmethod
    def decode(self, max_pixels: int, bits: int | None = None) -> Decoded:
        """Pixels by the rules of `iuscore.images.decode`; raises UnreadableImage."""

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of the stored content in hex; raises UserError."""

    def fetched(self) -> Stored:
        """The same image, read into memory where images have to be read one after the other, as those of archives."""
        return self


@dataclass(frozen=True)
class StoredFile(Stored):
    """An image file on disk."""

    path: Path

    def decode(self, max_pixels: int, bits: int | None = None) -> Decoded:
        return decode(self.path, max_pixels=max_pixels, bits=bits)

    def digest(self) -> str:
        try:
            with open(self.path, "rb", opener=regular_only) as stream:
                return _sha256(stream.read())
        except OSError:  # reading the image says so, item by item
            return f"unreadable: {self.path}"


@dataclass(frozen=True, eq=False)
class StoredArray(Stored):
    """One image of an array [N, H, W] or [N, H, W, C] in memory."""

    images: NDArray[Any]
    index: int

    def decode(self, max_pixels: int, bits: int | None = None) -> Decoded:
        return decoded_array(self.images[self.index], max_pixels, bits)

    def digest(self) -> str:
        image = np.ascontiguousarray(self.images[self.index])
        return _sha256(f"{image.dtype.str} {image.shape} ".encode() + image.tobytes())


@dataclass(frozen=True)
class StoredBytes(Stored):
    """The bytes of an image file, as a member of an archive or a cell of a table holds them."""

    content: bytes = field(repr=False)

    def decode(self, max_pixels: int, bits: int | None = None) -> Decoded:
        return decode(self.content, max_pixels=max_pixels, bits=bits)

    def digest(self) -> str:
        return _sha256(self.content)


@dataclass(frozen=True)
class StoredNothing(Stored):
    """A place where an image should be: ``reason`` says why there is none, ``passing`` whether one may come."""

    reason: str
    passing: bool = False

    def decode(self, max_pixels: int, bits: int | None = None) -> Decoded:
        raise UnreadableImage(self.reason, passing=self.passing)

    def digest(self) -> str:
        return f"unreadable: {self.reason}"


@dataclass(frozen=True)
class Item:
    """One image that is listed but not decoded.

    Attributes:
        uid, label, group: as in `Sample`.
        stored: where its pixels are.
        mask: where its mask is, if it has one.
        archive: how its uid begins, where it comes from a file of many images: the name of that file.

    Example:
        >>> Item("wbc/1.png", "wbc", None, StoredFile(Path("cells/wbc/1.png"))).label
        'wbc'
    """

    uid: str
    label: str | None
    group: str | None
    stored: Stored
    mask: Stored | None = None
    archive: str | None = None

    @property
    def path(self) -> str:
        """Path below the folder of the source, or inside the archive.

        Example:
            >>> Item("a.tar/wbc/1.png", "wbc", None, StoredBytes(b""), archive="a.tar").path
            'wbc/1.png'
        """
        return self.uid if self.archive is None else self.uid.removeprefix(f"{self.archive}/")

    def fetched(self) -> Item:
        """The same item; what can only be read in order is in memory. See `Stored.fetched`."""
        stored = self.stored.fetched()
        return self if stored is self.stored else replace(self, stored=stored)


def read_item(item: Item, max_pixels: int = MAX_PIXELS, bits: int | None = None) -> Sample:
    """Decode one image. An unreadable one is a Sample with ``error`` set, never an exception.

    Example:
        >>> read_item(Item("a.png", None, None, StoredFile(Path("no such folder/a.png")))).error
        'cannot be opened: No such file or directory'
    """
    try:
        pixels, width, height, warnings = item.stored.decode(max_pixels, bits)
    except UnreadableImage as error:
        return _unreadable(item, error)
    except MemoryError:
        return _unreadable(item, UnreadableImage(NO_MEMORY, passing=True))
    mask = None
    if item.mask is not None:
        try:
            mask, said = read_mask(item.mask, width, height, max_pixels)
        except UnreadableImage as error:
            return _unreadable(item, UnreadableImage(f"mask: {error}", width, height, passing=error.passing))
        warnings += said
    return Sample(item.uid, pixels, item.label, item.group, width, height, warnings, None, mask)


def _unreadable(item: Item, error: UnreadableImage) -> Sample:
    size = (error.width, error.height)
    return Sample(item.uid, None, item.label, item.group, *size, (), str(error), passing=error.passing)


MANY_VALUES = "mask of more than two values: all but 0 count"


def read_mask(stored: Stored, width: int, height: int, max_pixels: int) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """A mask, bool [height, width], nonzero = counted; and what is to be said of it.

    Raises:
        UnreadableImage: none there, not readable, of another size, or without a pixel that counts.
    """
    found = stored.decode(max_pixels)
    if (found.width, found.height) != (width, height):
        raise UnreadableImage(f"expected the image's size {width} x {height}, got {found.width} x {found.height}")
    values = found.pixels.max(axis=2)
    mask: NDArray[np.bool_] = values != 0
    if not mask.any():
        raise UnreadableImage("no pixel counts, all are 0")
    return mask, (MANY_VALUES,) if (values[mask] != values.max()).any() else ()


class Source:
    """A sized sequence of items, in the order of their uids, each decoded only when it is read.

    Attributes:
        path: folder or file the items came from.
        items: what was listed.
        ignored: number of files beside the images that are no images (hidden files are not counted).
        ignored_names: the first five of them by name.
        left_out: classes that were not asked for; of a folder also those of its folders that hold no images.
        bits: depth of the values in 16-bit files, see `iuscore.images.decode`; None: what the files say.

    Example:
        >>> item = Item("a.png", None, None, StoredFile(Path("no such folder/a.png")))
        >>> source = Source(Path("."), [item])
        >>> len(source), source.read(0).error
        (1, 'cannot be opened: No such file or directory')
    """

    def __init__(
        self,
        path: Path,
        items: Sequence[Item],
        *,
        max_pixels: int = MAX_PIXELS,
        ignored: int = 0,
        ignored_names: tuple[str, ...] = (),
        left_out: tuple[str, ...] = (),
        bits: int | None = None,
    ) -> None:
        if max_pixels < 1:
            raise UserError(f"max_pixels: expected a positive number, got {max_pixels}")
        checked_bits(bits)
        self.path = path
        self.bits = bits
        self.items = tuple(items)
        self.max_pixels = max_pixels
        self.ignored = ignored
        self.ignored_names = ignored_names
        self.left_out = left_out

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Sample]:
        return (self.read(i) for i in range(len(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, {len(self)} images, classes={self.classes})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels present, sorted; empty if there are none."""
        labels = {item.label for item in self.items if item.label is not None}
        if all(label.isdecimal() for label in labels):
            return tuple(sorted(labels, key=int))  # 10 after 9
        return tuple(sorted(labels))

    def read(self, i: int) -> Sample:
        """Decode item ``i``. An unreadable image is a Sample with ``error`` set, never an exception."""
        return read_item(self.items[i], self.max_pixels, self.bits)

    def subset(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> Source:
        """The items at ``indices``, in that order; all else is as here."""
        return self._with([self.items[int(i)] for i in indices])

    def with_groups(self, groups: Sequence[str | None]) -> Source:
        """The same items with ``groups[i]`` as the group of item ``i``."""
        return self._with([replace(item, group=g) for item, g in zip(self.items, groups, strict=True)])

    def with_labels(self, labels: Sequence[str | None]) -> Source:
        """The same items with ``labels[i]`` as the label of item ``i``."""
        return self._with([replace(item, label=name) for item, name in zip(self.items, labels, strict=True)])

    def _with(self, items: Sequence[Item]) -> Source:
        return Source(
            self.path,
            items,
            max_pixels=self.max_pixels,
            ignored=self.ignored,
            ignored_names=self.ignored_names,
            left_out=self.left_out,
            bits=self.bits,
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
