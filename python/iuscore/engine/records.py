"""What is read back from a run's folder: JSON that others may have changed, checked field by field."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from iuscore._run.regular_files import regular_only

LARGEST = 1 << 30
"""Bytes of a record, at most; the summary of a thousand classes is some MB."""

MOST_PER_SHARD = 100_000
"""Images a shard: its rows are in memory until it is done."""

Check = Callable[[Any], bool]


class BadRecord(ValueError):
    """A record that is not what it should be; the message is part of one line."""


def parsed(text: str | bytes) -> Any:
    """What JSON says.

    Raises:
        BadRecord: it is none, or nested so deep that nobody wrote it so.

    Example:
        >>> parsed("[" * 100_000)
        Traceback (most recent call last):
        ...
        iuscore.engine.records.BadRecord: expected JSON, got too many brackets inside each other
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise BadRecord("expected JSON, got too many brackets inside each other") from None
    except ValueError as error:  # also: bytes that are no text
        raise BadRecord(f"expected JSON, got {' '.join(str(error).split())[:80]}") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        OSError: it cannot be read. BadRecord: it holds something else, or far too much.
    """
    with open(path, "rb", opener=regular_only) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise BadRecord(f"expected at most {LARGEST} bytes")
    found = parsed(content)
    if not isinstance(found, dict):
        raise BadRecord(f"expected a JSON object, got {shown(found)}")
    return found


def require(found: Mapping[str, Any], kinds: Mapping[str, tuple[str, Check]], inside: str = "") -> None:
    """Check fields.

    Args:
        found: parsed JSON.
        kinds: name -> what is expected, in words, and whether a value is that. A missing field is None.
        inside: what to put before the names.

    Raises:
        BadRecord: a field is of another kind; the message names it.

    Example:
        >>> require({"n": True}, {"n": COUNT})
        Traceback (most recent call last):
        ...
        iuscore.engine.records.BadRecord: n: expected a number of images, got True
    """
    for name, (expected, is_it) in kinds.items():
        value = found.get(name)
        if not is_it(value):
            raise BadRecord(f"{inside}{name}: expected {expected}, got {shown(value)}")


def shown(value: Any) -> str:
    """A value from a file in a few characters."""
    if isinstance(value, str | int | float | None):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:60]}..."
    return f"a {type(value).__name__}"


def whole(value: Any, low: int, high: int) -> bool:
    """Whether a value is a whole number from ``low`` to ``high``; True and False are none."""
    return type(value) is int and low <= value <= high


TEXT: tuple[str, Check] = ("a text", lambda value: isinstance(value, str))
TEXT_OR_NOTHING: tuple[str, Check] = ("a text or null", lambda value: value is None or isinstance(value, str))
COUNT: tuple[str, Check] = ("a number of images", lambda value: whole(value, 0, 2**63 - 1))
OBJECT: tuple[str, Check] = ("an object", lambda value: isinstance(value, dict))
SHARD_SIZE: tuple[str, Check] = (
    f"1 to {MOST_PER_SHARD} images a shard",
    lambda value: whole(value, 1, MOST_PER_SHARD),
)
FLAG_OR_NOTHING: tuple[str, Check] = ("true, false or null", lambda value: value is None or isinstance(value, bool))
DIGEST: tuple[str, Check] = (
    "64 hexadecimal digits",
    lambda value: isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"),
)
BITS_OR_NOTHING: tuple[str, Check] = ("8 to 16 or null", lambda value: value is None or whole(value, 8, 16))
TEXTS_OR_NOTHING: tuple[str, Check] = (
    "an object of texts or null",
    lambda value: value is None or (isinstance(value, dict) and all(isinstance(v, str) for v in value.values())),
)


def one_of(*values: str | int | None) -> tuple[str, Check]:
    """A field that takes one of a few values, and nothing that only compares equal to one, such as True.

    Example:
        >>> expected, is_it = one_of("exact", "fast")
        >>> expected, is_it("fast"), is_it(1)
        ('exact or fast', True, False)
    """
    named = ["null" if value is None else str(value) for value in values]
    expected = " or ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
    return expected, lambda found: any(type(found) is type(value) and found == value for value in values)
