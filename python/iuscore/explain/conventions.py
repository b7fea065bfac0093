"""What explanations of images and of models share: the conventions of InterpretML, so that its ``show`` draws them.

Source: interpret-core 0.7.8, https://github.com/interpretml/interpret: a class with ``name``, ``explanation_type``,
``feature_names``, ``feature_types``, ``selector``, ``data`` and ``visualize``, which may return a page in HTML.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar, Literal

from iuscore.errors import UserError


class Shown(ABC):
    """An explanation with an overall part and a numbered list of specific ones.

    Attributes:
        name: for a title.
        explanation_type: "local" for images, "global" for a model.
        feature_names: of the specific parts of a global explanation; of the bars of a local one.
        feature_types: "continuous" or "nominal", one for each of ``feature_names``.
    """

    explanation_type: ClassVar[Literal["local", "global"]]
    name: str

    @property
    @abstractmethod
    def feature_names(self) -> list[str]: ...

    @property
    @abstractmethod
    def feature_types(self) -> list[str]: ...

    @abstractmethod
    def choices(self) -> list[dict[str, Any]]:
        """What a specific part is chosen by: name of a column -> value, one dictionary for each part."""

    @property
    def selector(self) -> Any:
        """`choices` as a ``pandas.DataFrame``; without pandas as {"columns": names, "data": choices}."""
        rows = self.choices()
        try:
            return frame_of(rows)
        except UserError:
            return {"columns": list(rows[0]) if rows else [], "data": rows}

    @abstractmethod
    def _overall(self) -> dict[str, Any]: ...

    @abstractmethod
    def _specific(self, key: int) -> dict[str, Any]: ...

    @abstractmethod
    def plot(self, key: int | None = None) -> Any:
        """A matplotlib figure of the overall part (None), or of one specific part.

        Raises:
            UserError: matplotlib is missing.
        """

    @abstractmethod
    def to_frame(self) -> Any:
        """The numbers as a ``pandas.DataFrame``."""

    def __len__(self) -> int:
        """Number of specific parts."""
        return len(self.choices())

    def data(self, key: int | None = None) -> dict[str, Any]:
        """The numbers as plain values, under the keys that InterpretML's EBM uses.

        Args:
            key: None: the overall part; -1: {"overall": ..., "specific": [...]}; else the place of a specific part.

        Raises:
            UserError: no such part.
        """
        if key is None:
            return self._overall()
        if key == -1:
            return {"overall": self._overall(), "specific": [self._specific(i) for i in range(len(self))]}
        return self._specific(self._checked(key))

    def visualize(self, key: int | None = None) -> str:
        """The figure of `plot` as a page in HTML that needs nothing else."""
        if key is not None:
            self._checked(key)
        if key not in self._pages:
            self._pages[key] = self._page(key)
        return self._pages[key]

    @cached_property
    def _pages(self) -> dict[int | None, str]:
        """Pages that were drawn: a dashboard asks for all of them more than once."""
        return {}

    def _page(self, key: int | None) -> str:
        figure, svg = self.plot(key), io.StringIO()
        import matplotlib

        with matplotlib.rc_context({"svg.hashsalt": "iuscore"}):  # the same bytes every time
            figure.savefig(svg, format="svg", metadata={"Date": None})
        body = svg.getvalue()
        return f"<!DOCTYPE html><html><body>{body[body.index('<svg') :]}</body></html>"

    def _checked(self, key: int) -> int:
        if isinstance(key, bool) or not isinstance(key, int) or not 0 <= key < len(self):
            raise UserError(f"key: expected None, -1 or a number from 0 to {len(self) - 1}, got {key!r}")
        return key


def frame_of(rows: list[dict[str, Any]], what: str = "to_frame") -> Any:
    """Rows as a ``pandas.DataFrame``.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise UserError(f"{what}: pandas is not installed: pip install pandas, or use data()") from None
    return pandas.DataFrame(rows)
