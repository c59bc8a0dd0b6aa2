"""How Sphinx builds the site: `make docs`. The pages are plain Markdown, which reads well without it, too."""

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

from massmatch import __version__

project = "massmatch"
author = copyright = "The massmatch developers"
release = version = __version__
html_title = f"massmatch {version}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_math_renderer = "mathml"
exclude_patterns = ["_build", "studies"]
nitpicky = False
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True  # as the source writes them: a default that is a path would show the builder's machine


def write_formula(self: Any, node: nodes.math | nodes.math_block) -> None:
    """A formula as MathML, which browsers draw themselves: no script and no font comes from elsewhere."""
    as_block = isinstance(node, nodes.math_block)
    formula = tex2mathml(node.astext(), as_block=as_block)
    self.body.append(f'<div style="margin: 1em 0; overflow-x: auto">{formula}</div>' if as_block else formula)
    raise nodes.SkipNode


def mark_up(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text: a star is a product or an axis, (B, C, *spatial); what follows "Example" is code."""
    heading = ".. rubric:: Example"
    text, code = lines, []
    if heading in lines:
        text, code = lines[: lines.index(heading) + 1], lines[lines.index(heading) + 1 :]
        code = ["", ".. code-block:: python", "", *(f"   {line}" for line in code), ""]
    lines[:] = [line.replace("*", "\\*") for line in text] + code


def setup(app: Any) -> None:
    """What Sphinx calls before it builds."""
    app.connect("autodoc-process-docstring", mark_up)
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
