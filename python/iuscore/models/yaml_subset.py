"""Read YAML safely: plain values only, no repeated keys, and a bound on the number of values with aliases expanded."""

from __future__ import annotations

from typing import Any

MAX_VALUES = 10_000
"""Most values in a file, with all aliases expanded."""


def read_yaml(content: bytes) -> Any:
    """Read mappings, lists, text, numbers, booleans and null.

    Aliases are allowed within the bound `MAX_VALUES`: ten lines of nested aliases can stand for billions of values.

    Raises:
        ValueError: not YAML, a repeated key in a mapping, a value of another type, or more than `MAX_VALUES` values.

    Example:
        >>> read_yaml(b"size: &s [8, 8]\\nmaps: {size: *s}")
        {'size': [8, 8], 'maps': {'size': [8, 8]}}
    """
    import yaml  # type: ignore[import-untyped,unused-ignore]

    try:
        loader: Any = yaml.SafeLoader(content)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())[:300]) from None


def _count(node: Any, known: dict[int, int | None]) -> int:
    """Number of values in a node, itself included, with aliases expanded; ``known`` has None for nodes in progress."""
    key = id(node)
    if key in known:
        count = known[key]
        if count is None:
            raise ValueError(f"line {node.start_mark.line + 1}: an alias of what it stands in")
        return count
    known[key] = None
    children: list[Any] = []
    if isinstance(node.value, list):
        pairs = bool(node.value) and isinstance(node.value[0], tuple)
        children = [part for pair in node.value for part in pair] if pairs else node.value
        names = [part.value for part, _ in node.value if isinstance(part.value, str)] if pairs else []
        if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
            raise ValueError(f"line {node.start_mark.line + 1}: {twice[:60]} comes twice")
    count = 1 + sum(_count(child, known) for child in children)
    if count > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values, with aliases written out")
    known[key] = count
    return count
