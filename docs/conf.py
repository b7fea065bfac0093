"""Sphinx configuration. The site builds without network: no intersphinx, and formulas are MathML, not a script."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

if importlib.util.find_spec("iuscore") is None:  # a checkout without an installed package
    sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

project = "iuscore"
author = "The iuscore developers"
project_copyright = "The iuscore developers, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.doctest"]
exclude_patterns = ["_build", "ratios"]  # included by other pages
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "iuscore"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["formulas.css"]
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False
default_role = "literal"  # docstrings put names between single backticks

# Without network there is no inventory of Python, NumPy, PyTorch and Pillow to link to, so names of theirs cannot be
# resolved; nor can private names and type variables, which have no page on purpose. Every name of iuscore is checked.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!iuscore\b)[\w.]+"),
]


def _plain_bars(app: Any, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Docstrings write |x| for a magnitude; reStructuredText would take it for a substitution."""
    lines[:] = [line.replace("|", "\\|") for line in lines]


def _inline(self: Any, node: nodes.Element) -> None:
    self.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def _block(self: Any, node: nodes.Element) -> None:
    self.body.append(tex2mathml(node.astext(), as_block=True))
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the formula renderer and the treatment of docstrings."""
    app.connect("autodoc-process-docstring", _plain_bars)
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
