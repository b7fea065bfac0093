"""What ``config.json`` holds beside the model: read strictly, checked field by field, and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from iuscore.errors import UserError
from iuscore.features import VERSION
from iuscore.models.base import SPACES
from iuscore.models.text import LARGEST, bounded, is_number

HASH = "profiles_sha256"
HASHED = ("profiles", "ceiling", "floor", "features")
"""What scores are compared with."""

QUANTILES = ("0.05", "0.25", "0.5", "0.75", "0.95")
MOST_MEMBERS = 1000
MOST_BYTES = 64 << 20

Check = Callable[[Any, str], None]


def parse_json(content: bytes) -> Any:
    """JSON without NaN, infinities and names that come twice in one object.

    Raises:
        ValueError: it is not; RecursionError is turned into one too.

    Example:
        >>> parse_json(b'{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ...
        ValueError: "a" comes twice
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"{len(content)} bytes, at most {MOST_BYTES} are read")
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


def profiles_sha256(config: Mapping[str, Any]) -> str:
    """SHA-256 in hex over what scores are compared with, in an order and notation of its own.

    Example:
        >>> profiles_sha256({"floor": {"a": 1.0}})[:8] == profiles_sha256({"floor": {"a": 1.0}, "data": {}})[:8]
        True
    """
    part = {key: config[key] for key in HASHED if key in config}
    return hashlib.sha256(json.dumps(part, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_record(config: Mapping[str, Any]) -> None:
    """Raise `UserError`, which begins with the name of the field, unless every field that is read is what it should be.

    Fields that may be absent are checked only where they are there; unknown ones are left alone. What a profile holds
    is checked where it is read, by `iuscore.profile.Profile.from_json`.

    Example:
        >>> check_record({"members": [{"seed": 0}], "ceiling": {"paper": {"a": {"n": 0, "mean": None}}}})
        >>> check_record({"floor": {"paper": {"a": {"n": 3, "mean": 0.5, "quantiles": {}}}}})
        Traceback (most recent call last):
        ...
        iuscore.errors.UserError: floor.paper.a.quantiles.0.05: expected a number, got nothing
    """
    members = config.get("members", [])
    if len(members) > MOST_MEMBERS:
        raise UserError(f"members: expected at most {MOST_MEMBERS}, got {len(members)}")
    for i, member in enumerate(members):
        _mapping(member, f"members[{i}]")
    for key, check in _FIELDS.items():
        if config.get(key) is not None:
            check(config[key], key)
    if HASH in config and config[HASH] != profiles_sha256(config):
        raise UserError(f"{', '.join(HASHED)}: changed since they were written (their SHA-256 differs)")


def _mapping(value: Any, where: str) -> None:
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: expected names with values, got {bounded(value)}")


def _each(check: Check) -> Check:
    def checked(value: Any, where: str) -> None:
        _mapping(value, where)
        for name, part in value.items():
            check(part, f"{where}.{name[:60]}")

    return checked


def _fields(**checks: Check) -> Check:
    def checked(value: Any, where: str) -> None:
        _mapping(value, where)
        for name, check in checks.items():
            if value.get(name) is not None:
                check(value[name], f"{where}.{name}")

    return checked


def _text(value: Any, where: str) -> None:
    if not isinstance(value, str):
        raise UserError(f"{where}: expected text, got {bounded(value)}")


def _truth(value: Any, where: str) -> None:
    if not isinstance(value, bool):
        raise UserError(f"{where}: expected true or false, got {bounded(value)}")


def _count(value: Any, where: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise UserError(f"{where}: expected a number of images, got {bounded(value)}")


def _number(value: Any, where: str) -> None:
    if not is_number(value):
        raise UserError(f"{where}: expected a number, got {'nothing' if value is None else bounded(value)}")


def _share(value: Any, where: str) -> None:
    if not is_number(value) or not 0 <= value <= 1:
        raise UserError(f"{where}: expected a number from 0 to 1, got {bounded(value)}")


def _distance(value: Any, where: str) -> None:
    if not is_number(value) or value < 0:
        raise UserError(f"{where}: expected a number of at least 0, got {bounded(value)}")


def _list(check: Check) -> Check:
    def checked(value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise UserError(f"{where}: expected a list, got {bounded(value)}")
        for i, part in enumerate(value):
            check(part, f"{where}[{i}]")

    return checked


def _spaces(check: Check) -> Check:
    def checked(value: Any, where: str) -> None:
        _mapping(value, where)
        if unknown := sorted(set(value) - set(SPACES)):
            raise UserError(f"{where}: expected the spaces {', '.join(SPACES)}, got {bounded(unknown[0])}")
        for space, part in value.items():
            check(part, f"{where}.{space}")

    return checked


def _distribution(value: Any, where: str) -> None:
    """Of IUS: of no image, or whole."""
    _mapping(value, where)
    _count(value.get("n"), f"{where}.n")
    if value["n"] == 0:
        return
    _number(value.get("mean"), f"{where}.mean")
    _mapping(value.get("quantiles"), f"{where}.quantiles")
    for quantile in QUANTILES:
        _number(value["quantiles"].get(quantile), f"{where}.quantiles.{quantile}")


def _features(value: Any, where: str) -> None:
    _mapping(value, where)
    _count(value.get("n"), f"{where}.n")
    _list(_number)(value.get("mean"), f"{where}.mean")
    _list(_distance)(value.get("sd"), f"{where}.sd")
    _mapping(value.get("nearest"), f"{where}.nearest")
    for n, distance in value["nearest"].items():
        if not n.isdecimal() or len(n) > 9:
            raise UserError(f"{where}.nearest: expected numbers of images, got {bounded(n)}")
        _distance(distance, f"{where}.nearest.{n}")


def _feature_version(value: Any, where: str) -> None:
    _count(value, where)
    if value > VERSION:
        raise UserError(f"{where}: {value} is newer than {VERSION}, which this version measures; upgrade iuscore")


_FIGURES = _fields(n=_count, auroc=_share, accuracy=_share)
_FIELDS: Mapping[str, Check] = {
    HASH: _text,
    "profiles": _spaces(_each(_mapping)),
    "ceiling": _spaces(_each(_distribution)),
    "floor": _spaces(_each(_distribution)),
    "features": _each(_features),
    "validation": _FIGURES,
    "test": _FIGURES,
    "training": _fields(interrupted=_truth),
    "data": _fields(
        counts=_each(_each(_count)),
        fingerprint=_text,
        fingerprints=_each(_text),
        origin=_text,
        warnings=_list(_text),
        notes=_list(_text),
    ),
    "versions": _each(_text),
    "feature_version": _feature_version,
}
