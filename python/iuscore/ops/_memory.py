"""One line for results that do not fit a machine's memory."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

_ASKED = re.compile(r"tried to allocate (\d+) bytes")


@contextlib.contextmanager
def enough_memory(op: str, advice: str) -> Iterator[None]:
    """Turns the error of PyTorch's CPU allocator into one line.

    Raises:
        MemoryError: the op, how much memory it asked for, and ``advice``.
    """
    try:
        yield
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        asked = _ASKED.search(str(error))
        size = f"{int(asked[1]) / 2**30:,.1f} GiB" if asked else "more"
        raise MemoryError(f"{op}: asked for {size} of memory, which this machine does not have; {advice}") from None
