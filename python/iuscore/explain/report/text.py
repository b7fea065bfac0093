"""Numbers and names as a page shows them: bounded, escaped where a character would mislead, the same on every run."""

from __future__ import annotations

import math
import re
import unicodedata

MISSING = "not measured"
"""What stands in the place of a number that is not there."""

MINUS = "\N{MINUS SIGN}"

# Controls, surrogates, and the marks that change the direction of the text around them: a file named
# "gnp<U+202E>.exe" must not look like another one. Letters of right-to-left scripts stay.
_MISLEADING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def shown(text: str) -> str:
    """Text with characters that no reader can see written as escapes.

    Example:
        >>> shown("a\\u202egnp.exe"), shown("\\udcff.png"), shown("סרטן")
        ('a\\\\u202egnp.exe', '\\\\udcff.png', 'סרטן')
    """
    return _MISLEADING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def known(value: float | None) -> float | None:
    """The number, or None where it is missing, NaN or infinite."""
    return None if value is None or not math.isfinite(value) else value


def number(value: float | None, digits: int = 2) -> str:
    """A number with a fixed number of digits; a true minus sign; large ones in powers of ten.

    Example:
        >>> number(0.517), number(-0.004), number(-1.5), number(None), number(float("nan")), number(1234567.0)
        ('0.52', '0.00', '−1.50', 'not measured', 'not measured', '1.2e+06')
    """
    found = known(value)
    if found is None:
        return MISSING
    text = f"{found:.{digits}f}" if abs(found) < 1e5 else f"{found:.1e}"
    return text.lstrip("-") if not text.strip("-0.") else text.replace("-", MINUS, 1)


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """The two ends of an interval, or "" where an end is missing.

    Example:
        >>> interval(-0.1, 0.25), interval(None, 0.25)
        ('−0.10 to 0.25', '')
    """
    if known(low) is None or known(high) is None:
        return ""
    return f"{number(low, digits)} to {number(high, digits)}"


def with_interval(value: float | None, low: float | None, high: float | None, digits: int = 2) -> str:
    """A number and its interval.

    Example:
        >>> with_interval(0.1, -0.1, 0.25), with_interval(0.1, None, None)
        ('0.10 (−0.10 to 0.25)', '0.10')
    """
    ends = interval(low, high, digits)
    return f"{number(value, digits)} ({ends})" if ends and known(value) is not None else number(value, digits)


def percent(value: float | None) -> str:
    """A share as a percentage.

    Example:
        >>> percent(0.125), percent(0.0004), percent(None)
        ('12 %', '0.04 %', 'not measured')
    """
    found = known(value)
    if found is None:
        return MISSING
    text = f"{100 * found:.0f} %" if found == 0 or abs(found) >= 0.01 else f"{100 * found:.1g} %"
    return text.replace("-", MINUS, 1)


def p_value(value: float | None) -> str:
    """A p-value, bounded below.

    Example:
        >>> p_value(0.0371), p_value(1e-9), p_value(1.0)
        ('0.037', 'below 0.001', '1.000')
    """
    found = known(value)
    if found is None:
        return MISSING
    return "below 0.001" if found < 0.001 else f"{found:.3f}"


def count(n: int | None) -> str:
    """A number of things, with a thin space between thousands.

    Example:
        >>> count(10_000_000) == "10\\u202f000\\u202f000", count(None)
        (True, 'not known')
    """
    return "not known" if n is None else f"{n:,}".replace(",", "\u202f")


def plural(n: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    Example:
        >>> plural(1, "image"), plural(3, "image"), plural(2, "copy", "copies")
        ('1 image', '3 images', '2 copies')
    """
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def width(text: str) -> float:
    """Estimated width in units of the font size: pictures cannot measure text, and no font is embedded."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    narrow = sum(character in " .,:;!|'iljtfr()[]" for character in text)
    return 0.63 * (len(text) - wide - narrow) + 1.0 * wide + 0.37 * narrow


def shortened(text: str, longest: float) -> str:
    """Text that is at most ``longest`` font sizes wide; the middle of longer text is left out.

    Example:
        >>> shortened("short", 10), shortened("a_very_long_name_of_a_generator_v2", 10)
        ('short', 'a_very_l…rator_v2')
    """
    if width(text) <= longest:
        return text
    keep = min(len(text), int(longest / 0.37) + 2)  # not more than narrow characters would fit
    while keep > 2 and width(text[: (keep + 1) // 2] + "…" + text[len(text) - keep // 2 :]) > longest:
        keep -= 1
    return text[: (keep + 1) // 2] + "…" + text[len(text) - keep // 2 :]
