"""Records: frozen dataclasses that stand in JSON files, and are checked field by field when they are read."""

from __future__ import annotations

import dataclasses
import json
import re
import types
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from iuscore.errors import UserError, bounded

MAX_BYTES = 64 << 20
"""Of a JSON file that is parsed as a whole."""

NOT_IN_JSON: Mapping[str, Any] = {"in_json": False}
"""Metadata of a field that is no part of the file."""

SHA256 = "^[0-9a-f]{64}$"
"""Pattern of a hash in hex."""

T = TypeVar("T")
_WORDS = {bool: "true or false", float: "a number", int: "a whole number", str: "text", dict: "names with values"}
_PLACE = re.compile(r" - at `\$(\[(\d+)\].*)`$")
_UNBOUNDED = 1e15


def parse_json(content: bytes | str) -> Any:
    """JSON without NaN, infinities and names that come twice in one object.

    Raises:
        ValueError: it is not.

    Example:
        >>> parse_json(b'{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ...
        ValueError: "a" comes twice
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"{len(content)} bytes, at most {MAX_BYTES} are read")
    try:
        return json.loads(content, parse_constant=_refuse_constant, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f'"{name[:60]}" comes twice')
        found[name] = value
    return found


def require_format(found: object, newest: int) -> None:
    """Raise unless ``found`` is a format this version reads: 1 to ``newest``.

    Every format that a released version wrote is read; a newer one is refused by its number.

    Example:
        >>> require_format(9, 2)
        Traceback (most recent call last):
        ...
        iuscore.errors.UserError: format: 9 is newer than 2, the newest this version reads; upgrade iuscore
    """
    if type(found) is int and found > newest:
        raise UserError(
            f"format: {bounded(found)} is newer than {newest}, the newest this version reads; upgrade iuscore"
        )
    if type(found) is not int or found < 1:
        raise UserError(f"format: expected {' or '.join(map(str, range(1, newest + 1)))}, got {bounded(found)}")


def from_json(cls: type[T], value: object, where: str = "") -> T:
    """Read parsed JSON as a record.

    Args:
        cls: a dataclass. Its fields are dataclasses, dicts with text as keys, tuples, or what msgspec converts, such
            as ``Annotated[int, msgspec.Meta(ge=0)]``; each may be ``| None``. A field with a default may be absent or
            null. Names that it has no field for are left alone. A ``ValueError`` of its ``__post_init__`` is taken for
            a fault of the field whose name it begins with.
        value: parsed JSON.
        where: the path of ``value``, for messages.

    Raises:
        UserError: a field is missing or is not what it should be: its path, what was expected, what came.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Part:
        ...     n: int
        >>> from_json(Part, {"n": "3"}, "parts[0]")
        Traceback (most recent call last):
        ...
        iuscore.errors.UserError: parts[0].n: expected a whole number, got '3'
    """
    found: T = _convert(cls, value, where)
    return found


def to_json(record: Any) -> dict[str, Any]:
    """A record as plain dicts, lists and values; numbers that are not finite are None, as JSON has none."""
    left_out = {field.name for field in dataclasses.fields(record) if not field.metadata.get("in_json", True)}
    plain = {key: value for key, value in msgspec.to_builtins(record, str_keys=True).items() if key not in left_out}
    finite: dict[str, Any] = _finite(plain)
    return finite


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


@cache
def _fields(cls: type) -> tuple[tuple[str, Any, bool], ...]:
    """Name, type and whether there is a default, of each field that is in the JSON."""
    types_of = get_type_hints(cls, include_extras=True)
    missing = dataclasses.MISSING
    return tuple(
        (field.name, types_of[field.name], field.default is not missing or field.default_factory is not missing)
        for field in dataclasses.fields(cls)
        if field.metadata.get("in_json", True)
    )


def _convert(kind: Any, value: Any, where: str, *, optional: bool = False) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (some,) = (arg for arg in args if arg is not type(None))
        return None if value is None else _convert(some, value, where, optional=True)
    if dataclasses.is_dataclass(kind):
        return _converted_fields(kind, _names_with_values(value, where), where)
    if origin is dict:
        key, some = args
        pairs = _names_with_values(value, where).items()
        return {_key(key, name, where): _convert(some, part, _joined(where, name)) for name, part in pairs}
    if (
        origin is tuple
        and args[-1:] == (Ellipsis,)
        and (get_origin(args[0]) is tuple or dataclasses.is_dataclass(args[0]))
    ):
        if not isinstance(value, list | tuple):
            raise _unexpected(kind, value, where, optional)
        return tuple(_convert(args[0], part, f"{where}[{i}]") for i, part in enumerate(value))
    return _leaf(kind, value, where, optional)


def _converted_fields(kind: Any, value: Mapping[str, Any], where: str) -> Any:
    found = {}
    for name, some, has_default in _fields(kind):
        if has_default and value.get(name) is None:
            continue
        place = _joined(where, name)
        if name not in value and type(None) not in get_args(some):
            raise UserError(f"{place}: is missing")
        found[name] = _convert(some, value.get(name), place)
    try:
        return kind(**found)
    except ValueError as error:
        raise UserError(_joined(where, str(error))) from None


def _key(kind: Any, name: str, where: str) -> Any:
    """A name in an object; one that stands for a whole number is written as Python writes it."""
    whole = get_args(kind)[:1] == (int,) and name.isascii() and name.isdecimal() and len(name) < 10
    return _leaf(kind, int(name) if whole and name == str(int(name)) else name, where)


def _leaf(kind: Any, value: Any, where: str, optional: bool = False) -> Any:
    if get_origin(kind) is Literal:
        if any(type(value) is type(one) and value == one for one in get_args(kind)):
            return value
        raise _unexpected(kind, value, where, optional)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        if place := _PLACE.search(str(error)):
            kind, value, where = get_args(kind)[0], value[int(place[2])], f"{where}[{place[2]}]"
            if get_origin(kind) is tuple or dataclasses.is_dataclass(kind):
                return _convert(kind, value, where)
        raise _unexpected(kind, value, where, optional) from None


def _unexpected(kind: Any, value: Any, where: str, optional: bool) -> UserError:
    got = "null" if value is None else bounded(value)
    place = f"{where}: " if where else ""
    return UserError(f"{place}expected {expected(kind)}{' or null' if optional else ''}, got {got}")


def expected(kind: Any) -> str:
    """What a field of this type holds, in words.

    Example:
        >>> expected(Annotated[int, msgspec.Meta(ge=8, le=16)]), expected(Literal["exact", "fast"])
        ('a whole number from 8 to 16', 'exact or fast')
    """
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join("null" if one is None else str(one) for one in args)
    if origin is not Annotated:
        return "a list" if origin is tuple else _WORDS.get(kind, "another value")
    said, meta = expected(args[0]), args[1]
    low, high = meta.ge, meta.le if meta.le is not None and meta.le < _UNBOUNDED else None
    if meta.pattern is not None:
        return "64 hexadecimal digits" if meta.pattern == SHA256 else f"text that matches {meta.pattern}"
    if meta.max_length is not None:
        return f"{said} of at most {meta.max_length}"
    if low is None or low <= -_UNBOUNDED:
        return said.replace("a ", "a finite ") if high is None else f"{said} up to {high}"
    return f"{said} of at least {low}" if high is None else f"{said} from {low} to {high}"


def _names_with_values(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _unexpected(dict, value, where, False)
    return value


def _joined(where: str, name: str) -> str:
    return f"{where}.{name[:60]}" if where else name
