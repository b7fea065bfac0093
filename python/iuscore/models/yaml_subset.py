"""YAML as settings are written in: plain values, nothing said twice, and no more values than the text suggests."""

from __future__ import annotations

from typing import Any

MAX_VALUES = 10_000
"""With every alias written out."""


def read_yaml(content: bytes) -> Any:
    """Mappings, lists, text, numbers, truth values and null.

    Aliases are followed as long as the whole is small: ten lines of aliases of aliases stand for billions of values.

    Raises:
        ValueError: not YAML, a key that comes twice in one mapping, a value of another kind, or more than
            `MAX_VALUES` values.

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
    """Values below a node, itself included, with aliases written out; None in ``known`` marks what is being counted."""
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
