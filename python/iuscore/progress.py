"""What a caller may hear while something long runs. The command line prints it; the library stays silent."""

from __future__ import annotations


class Progress:
    """Hears lines and progress, and says nothing; a subclass may.

    Example:
        >>> Progress().line("nobody hears this")
    """

    def line(self, text: str) -> None:
        """Something worth reading."""

    def warning(self, text: str) -> None:
        """Something that the user should mend, or know before trusting a number; also where nothing else is said."""

    def start(self, what: str, total: int, unit: str, *, done: int = 0) -> None:
        """``total`` units of work begin, of which some are done already."""

    def advance(self, n: int, **figures: float | None) -> None:
        """``n`` units are done; ``figures`` are current values such as a loss."""

    def stop(self) -> None:
        """The work that was started ended. May be called without one."""
