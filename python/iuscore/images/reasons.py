"""Why an image or an archive cannot be read, as one line of bounded length."""

from __future__ import annotations

import re

LONGEST = 300
"""Characters of a reason; of longer ones the beginning and the end are kept."""

# What Pillow says where libtiff gives up.
_NUMBER_ALONE = re.compile(r"decoder error -?\d+")
_WORDS: dict[type[Exception], str] = {
    EOFError: "it ends too early",
    NotImplementedError: "a kind of file that is not read here",
    RecursionError: "its content is nested too deeply",
}


def one_line(text: str) -> str:
    """``text`` as one line, in which what a file put into it can be read and does nothing.

    Example:
        >>> one_line("a\\n  b\\x1b[2J"), len(one_line("x" * 10**6))
        ('a b\\\\x1b[2J', 300)
    """
    cut = text
    if len(text) > 4 * LONGEST:  # before a million characters are gone through one by one
        cut = f"{text[: 2 * LONGEST]} {text[-2 * LONGEST :]}"
    words = " ".join(cut.split())
    if not words.isprintable():
        words = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in words)
    if len(text) <= 4 * LONGEST and len(words) <= LONGEST:
        return words
    end = LONGEST // 3
    return f"{words[: LONGEST - end - 5]} ... {words[-end:]}"


def message_of(error: BaseException) -> str:
    """What a library's error says, in words also where it has none but its name.

    Example:
        >>> message_of(ValueError("bad  header")), message_of(AssertionError())
        ('bad header', 'its content contradicts itself')
    """
    text = one_line(str(error))
    if _NUMBER_ALONE.fullmatch(text):
        return "its pixels cannot be decoded"
    if text:
        return text
    return next(
        (words for error_type, words in _WORDS.items() if isinstance(error, error_type)),
        "its content contradicts itself",
    )
