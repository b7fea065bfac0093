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

HASH = "config_sha256"
OLD_HASH = "profiles_sha256"
"""Of models made before there was `HASH`; it covers `OLD_HASHED` only."""
OLD_HASHED = ("profiles", "ceiling", "floor", "features")

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


def config_sha256(config: Mapping[str, Any]) -> str:
    """SHA-256 in hex over a whole ``config.json`` but this hash, in an order and notation of its own.

    The hash of the weights is a part of it, so it stands for all that a score depends on. Spaces and line ends do not
    count.

    Example:
        >>> one, other = config_sha256({"kind": "epu", "data": {"bits": 12}}), config_sha256({"kind": "epu"})
        >>> one == other, one == config_sha256({"data": {"bits": 12}, "kind": "epu", "config_sha256": one})
        (False, True)
    """
    return _sha256({key: value for key, value in config.items() if key != HASH})


def _sha256(part: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(part, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def seal_note(config: Mapping[str, Any]) -> str | None:
    """What to say of a model that no hash covers as a whole; None of any other.

    Example:
        >>> seal_note({})[:50]
        'the model was made by an older version, which put '
    """
    if HASH in config:
        return None
    return (
        "the model was made by an older version, which put no hash over config.json: a change to its classes or "
        "settings would not be noticed; fit it again to have one"
    )


def check_record(config: Mapping[str, Any]) -> None:
    """Raise `UserError`, which begins with the name of the field, unless every field that is read is what it should be.

    Fields that may be absent are checked only where they are there; unknown ones are left alone. What a profile holds
    is checked where it is read, by `iuscore.scoring.baseline.Profile.from_json`.

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
    if config.get("data") is not None:
        _mapping(config["data"], "data")
        _classes_of(config.get("model"), config["data"].get("numbers"))
    for key, check in _FIELDS.items():
        if config.get(key) is not None:
            check(config[key], key)
    if HASH in config:
        if config[HASH] != config_sha256(config):
            raise UserError("changed since it was written (its SHA-256 differs)")
    elif OLD_HASH in config and config[OLD_HASH] != _sha256({key: config[key] for key in OLD_HASHED if key in config}):
        raise UserError(f"{', '.join(OLD_HASHED)}: changed since they were written (their SHA-256 differs)")


def _classes_of(model: Any, numbers: Any) -> None:
    """Numbers stand for classes that there are."""
    classes = model.get("classes") if isinstance(model, Mapping) else None
    if isinstance(classes, list) and isinstance(numbers, Mapping):
        for label, name in numbers.items():
            if isinstance(name, str) and name not in classes:
                raise UserError(f"data.numbers.{label[:60]}: expected a class of the model, got {bounded(name)}")


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


def _images(least: int) -> Check:
    def checked(value: Any, where: str) -> None:
        _count(value, where)
        if value < least:
            raise UserError(f"{where}: expected at least {least} images, got {value}")

    return checked


def _bits(value: Any, where: str) -> None:
    if type(value) is not int or not 8 <= value <= 16:
        raise UserError(f"{where}: expected 8 to 16 or null, got {bounded(value)}")


def _numbers_of_classes(value: Any, where: str) -> None:
    _each(_text)(value, where)
    for label in value:
        if not label.isdecimal() or len(label) > 9:
            raise UserError(f"{where}: expected whole numbers with classes, got {bounded(label)}")


def _known_images(value: Any, where: str) -> None:
    """What the marks themselves say is checked where they are read, by `iuscore.images.KnownImages`."""
    _mapping(value, where)
    _count(value.get("n"), f"{where}.n")
    _text(value.get("marks"), f"{where}.marks")


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
    quantiles = value.get("quantiles")
    _mapping(quantiles, f"{where}.quantiles")
    for quantile in QUANTILES:
        _number(quantiles.get(quantile), f"{where}.quantiles.{quantile}")
    if unknown := sorted(set(quantiles) - set(QUANTILES)):
        raise UserError(f"{where}.quantiles: expected {', '.join(QUANTILES)}, got {bounded(unknown[0])}")
    numbers = [quantiles[quantile] for quantile in QUANTILES]
    if numbers != sorted(numbers):
        raise UserError(f"{where}.quantiles: expected numbers that do not fall, got {bounded(numbers)}")


def _features(value: Any, where: str) -> None:
    _mapping(value, where)
    _images(2)(value.get("n"), f"{where}.n")
    _list(_number)(value.get("mean"), f"{where}.mean")
    _list(_distance)(value.get("sd"), f"{where}.sd")
    _mapping(value.get("nearest"), f"{where}.nearest")
    for n, distance in value["nearest"].items():
        if not n.isdecimal() or len(n) > 9 or n != str(int(n)) or int(n) < 2:
            raise UserError(f"{where}.nearest: expected numbers of images, at least 2, got {bounded(n)}")
        _distance(distance, f"{where}.nearest.{n}")


def _feature_version(value: Any, where: str) -> None:
    _count(value, where)
    if value > VERSION:
        raise UserError(f"{where}: {value} is newer than {VERSION}, which this version measures; upgrade iuscore")


_FIGURES = _fields(n=_count, auroc=_share, accuracy=_share, recall=_each(_share))
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
        bits=_bits,
        numbers=_numbers_of_classes,
        known_images=_known_images,
    ),
    "versions": _each(_text),
    "feature_version": _feature_version,
}
