"""The interface through which long work reports progress. The command line prints it; the library prints nothing."""

from __future__ import annotations


class Progress:
    """Receives messages and progress, and ignores them; a subclass may show them.

    Example:
        >>> Progress().line("this is not shown")
    """

    def line(self, text: str) -> None:
        """Receive a message for the user."""

    def warning(self, text: str) -> None:
        """Receive a warning: something to correct, or to know before trusting a number. Shown with ``--quiet`` too."""

    def start(self, what: str, total: int, unit: str, *, done: int = 0) -> None:
        """Work of ``total`` units begins, of which ``done`` are finished already."""

    def advance(self, n: int, **figures: float | None) -> None:
        """Another ``n`` units are finished; ``figures`` are current values such as a loss."""

    def stop(self) -> None:
        """The work has ended. May be called if no work was started."""
