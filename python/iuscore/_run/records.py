"""Records: frozen dataclasses that are kept in JSON files and checked field by field when they are read."""

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
"""Largest JSON file that is read."""

NOT_IN_JSON: Mapping[str, Any] = {"in_json": False}
"""Metadata of a field that is not written to JSON."""

SHA256 = "^[0-9a-f]{64}$"
"""Pattern of a hash in hex."""

T = TypeVar("T")
_TYPE_NAMES = {bool: "true or false", float: "a number", int: "a whole number", str: "text", dict: "names with values"}
_PLACE = re.compile(r" - at `\$(\[(\d+)\].*)`$")
_UNBOUNDED = 1e15


def parse_json(content: bytes | str) -> Any:
    """Parse JSON strictly: NaN, infinities and names that come twice in one object are errors.

    Raises:
        ValueError: the content is not such JSON, or larger than `MAX_BYTES`.

    Example:
        >>> parse_json(b'{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ...
        ValueError: "a" comes twice
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"{len(content)} bytes, at most {MAX_BYTES} are read")
    try:
        return json.loads(content, parse_constant=_refuse_constant, object_pairs_hook=_unique_names)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


def _unique_names(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f'"{name[:60]}" comes twice')
        values[name] = value
    return values


def require_format(found: object, newest: int) -> None:
    """Raise unless ``found`` is a format number that this version reads: 1 to ``newest``.

    Formats of all released versions are read; a newer one is an error that names both numbers.

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
        cls: a dataclass. Its fields are dataclasses, dicts with text as keys, tuples, or types that msgspec converts,
            such as ``Annotated[int, msgspec.Meta(ge=0)]``; each may be ``| None``. A field with a default may be absent
            or null. Names without a field are ignored. A ``ValueError`` of ``__post_init__`` begins with the name of
            the wrong field.
        value: parsed JSON.
        where: path of ``value`` in the file, for messages.

    Raises:
        UserError: a field is missing or has a wrong value; the message has its path, what was expected, and the value.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Part:
        ...     n: int
        >>> from_json(Part, {"n": "3"}, "parts[0]")
        Traceback (most recent call last):
        ...
        iuscore.errors.UserError: parts[0].n: expected a whole number, got '3'
    """
    record: T = _convert(cls, value, where)
    return record


def to_json(record: Any) -> dict[str, Any]:
    """A record as plain dicts, lists and values; numbers that are not finite become None, as JSON cannot hold them."""
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
    """(name, type, whether it has a default) of each field that is written to JSON."""
    types_of = get_type_hints(cls, include_extras=True)
    missing = dataclasses.MISSING
    return tuple(
        (field.name, types_of[field.name], field.default is not missing or field.default_factory is not missing)
        for field in dataclasses.fields(cls)
        if field.metadata.get("in_json", True)
    )


def _convert(annotation: Any, value: Any, where: str, *, optional: bool = False) -> Any:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        (some,) = (arg for arg in args if arg is not type(None))
        return None if value is None else _convert(some, value, where, optional=True)
    if dataclasses.is_dataclass(annotation):
        return _converted_fields(annotation, _names_with_values(value, where), where)
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
            raise _unexpected(annotation, value, where, optional)
        return tuple(_convert(args[0], part, f"{where}[{i}]") for i, part in enumerate(value))
    return _leaf(annotation, value, where, optional)


def _converted_fields(annotation: Any, value: Mapping[str, Any], where: str) -> Any:
    found = {}
    for name, some, has_default in _fields(annotation):
        if has_default and value.get(name) is None:
            continue
        place = _joined(where, name)
        if name not in value and type(None) not in get_args(some):
            raise UserError(f"{place}: is missing")
        found[name] = _convert(some, value.get(name), place)
    try:
        return annotation(**found)
    except ValueError as error:
        raise UserError(_joined(where, str(error))) from None


def _key(annotation: Any, name: str, where: str) -> Any:
    """Convert a name in an object; names of whole numbers must be in Python's notation, such as "7" and not "07"."""
    is_whole = get_args(annotation)[:1] == (int,) and name.isascii() and name.isdecimal() and len(name) < 10
    return _leaf(annotation, int(name) if is_whole and name == str(int(name)) else name, where)


def _leaf(annotation: Any, value: Any, where: str, optional: bool = False) -> Any:
    if get_origin(annotation) is Literal:
        if any(type(value) is type(one) and value == one for one in get_args(annotation)):
            return value
        raise _unexpected(annotation, value, where, optional)
    try:
        return msgspec.convert(value, annotation)
    except msgspec.ValidationError as error:
        if place := _PLACE.search(str(error)):
            annotation, value, where = get_args(annotation)[0], value[int(place[2])], f"{where}[{place[2]}]"
        raise _unexpected(annotation, value, where, optional) from None


def _unexpected(annotation: Any, value: Any, where: str, optional: bool) -> UserError:
    got = "null" if value is None else bounded(value)
    place = f"{where}: " if where else ""
    return UserError(f"{place}expected {expected(annotation)}{' or null' if optional else ''}, got {got}")


def expected(annotation: Any) -> str:
    """The values that a field of this type takes, in words for an error message.

    Example:
        >>> expected(Annotated[int, msgspec.Meta(ge=8, le=16)]), expected(Literal["exact", "fast"])
        ('a whole number from 8 to 16', 'exact or fast')
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join("null" if one is None else str(one) for one in args)
    if origin is not Annotated:
        return "a list" if origin is tuple else _TYPE_NAMES.get(annotation, "another value")
    base, meta = expected(args[0]), args[1]
    low, high = meta.ge, meta.le if meta.le is not None and meta.le < _UNBOUNDED else None
    if meta.pattern is not None:
        return "64 hexadecimal digits" if meta.pattern == SHA256 else f"text that matches {meta.pattern}"
    if low is None or low <= -_UNBOUNDED:
        return base.replace("a ", "a finite ") if high is None else f"{base} up to {high}"
    return f"{base} of at least {low}" if high is None else f"{base} from {low} to {high}"


def _names_with_values(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _unexpected(dict, value, where, False)
    return value


def _joined(where: str, name: str) -> str:
    return f"{where}.{name[:60]}" if where else name
