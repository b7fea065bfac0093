"""Mutations that keep checksums valid; otherwise a fuzzer would never reach the code behind the checks."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**400, -0.0, 1e300, 1e-320, "", "a", "\x1b[2J", "NaN", [], {}, [[]], [None],
    {"a": 1}, "x" * 5000, [0.5] * 5000,
)  # fmt: skip
"""Values that a field of JSON is set to."""


def png_checksums(data: bytes) -> bytes:
    """``data`` with the correct checksum in every chunk of a PNG file."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    found, place = bytearray(data), 8
    while place + 12 <= len(found):
        size = int.from_bytes(found[place : place + 4], "big")
        end = place + 8 + size
        if end + 4 > len(found):
            break
        found[end : end + 4] = struct.pack(">I", zlib.crc32(found[place + 4 : end]))
        place = end + 4
    return bytes(found)


def tar_checksums(data: bytes) -> bytes:
    """``data`` with the correct checksum in every block that may be a header of a .tar archive."""
    found = bytearray(data)
    for start in range(0, len(found) - 511, 512):
        if found[start + 257 : start + 262] == b"ustar":
            found[start + 148 : start + 156] = b" " * 8
            found[start + 148 : start + 156] = b"%06o\0 " % sum(found[start : start + 512])
    return bytes(found)


def change_json(data: bytes, seed: int) -> bytes:
    """``data``, JSON, with one value replaced by an unusual one, left out, or repeated."""
    drawn = random.Random(seed)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return data
    holder, parents = value, []
    while isinstance(holder, dict | list) and holder and (not parents or drawn.random() < 0.8):
        key = drawn.choice(list(holder)) if isinstance(holder, dict) else drawn.randrange(len(holder))
        parents.append((holder, key))
        holder = holder[key]
    if not parents:
        return data
    holder, key = parents[-1]
    what = drawn.random()
    if what < 0.2:
        del holder[key]
    elif what < 0.3:
        nested: Any = 0
        for _ in range(500):
            nested = [nested]
        holder[key] = nested
    else:
        holder[key] = drawn.choice(ODD)
    text = json.dumps(value)
    if what > 0.95 and isinstance(holder, dict):
        text = text.replace(f"{json.dumps(str(key))}:", f"{json.dumps(str(key))}: 1, {json.dumps(str(key))}:", 1)
    return text.encode()


def same(data: bytes) -> bytes:
    """``data``."""
    return data


FIXED: dict[str, Callable[[bytes], bytes]] = {"image": png_checksums, "tar": tar_checksums}
"""What makes an input of a target whole again after its bytes were changed at random."""

JSON = ("config", "run")
"""Targets whose inputs are JSON."""
