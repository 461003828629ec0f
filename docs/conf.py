"""Sphinx configuration of leepfrog's documentation.

Build it with `python -m sphinx -W --keep-going -b html docs docs/_build/html`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Document the code of this checkout, also where another leepfrog is installed.
sys.path[:0] = [str(HERE), str(HERE.parent / "runtime"), str(HERE.parent / "exporter"), str(HERE.parent / "tests")]

import _generate  # noqa: E402
import latex2mathml.converter  # noqa: E402
import leepfrog  # noqa: E402
from docutils import nodes  # noqa: E402
from sphinx.util import logging  # noqa: E402

project = "leepfrog"
author = "the leepfrog authors"
version = release = leepfrog.__version__.partition("+")[0]

# myst_nb brings myst_parser, and with it Markdown.
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints", "reference/scores-functions.md"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

# Notebooks are stored without outputs and run at each build; plain Markdown pages are not. To build without running
# them: -D nb_execution_mode=off
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"ArrayLike": "ArrayLike", "Arrays": "Arrays"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
add_module_names = False
python_maximum_signature_line_length = 88

html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"leepfrog {release}"
html_copy_source = False
html_show_sourcelink = False
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def plain_docstring(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Convert a docstring of leepfrog to reStructuredText, in place, before Napoleon reads its sections.

    Docstrings are plain text: single backticks mark code, and indented paragraphs hold equations or tables. Without
    this, reStructuredText would read `|x|` as a substitution and `x_` as a link.
    """
    converted: list[str] = []
    in_equation = in_doctest = after_returns = False
    for original in lines:
        # Napoleon takes the words before the first colon of this section for a type; an empty type prevents that.
        line = f"    : {original.strip()}" if after_returns else original
        after_returns = original == "Returns:"
        blank, indented = not line.strip(), line.startswith("    ")
        in_doctest = not blank and (in_doctest or line.startswith(">>>"))
        if in_equation and not blank and not indented:
            in_equation = False
        elif not in_equation and indented and (not converted or not converted[-1].strip()):
            in_equation = True
            converted += ["::", ""]
        converted.append(line if in_equation or in_doctest else _escaped(line))
    lines[:] = converted


def _escaped(line: str) -> str:
    """Return a line of prose with its code in double backticks and without other markup."""
    parts = re.split(r"(`+[^`]+`+)", line)
    for i, part in enumerate(parts):
        is_code = i % 2 == 1
        parts[i] = f"``{part.strip('`')}``" if is_code else re.sub(r"([|*\\])|(?<=\w)_(?!\w)", _with_backslash, part)
    return "".join(parts)


def _with_backslash(match: re.Match[str]) -> str:
    return "\\" + match[0]


def _inline_math(translator: Any, node: Any) -> None:
    translator.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def _display_math(translator: Any, node: Any) -> None:
    equation = latex2mathml.converter.convert(node.astext(), display="block")
    translator.body.append(f'<div class="math">{equation}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Write the generated pages, and convert docstrings before Napoleon does, whose priority is 500."""
    _generate.write(HERE)
    for name in _generate.missing_from_api(HERE):
        logging.getLogger(__name__).warning("reference/api.md does not document leepfrog.%s", name)
    # MathML needs no script, so equations are shown offline.
    app.add_html_math_renderer("mathml", (_inline_math, None), (_display_math, None))
    app.connect("autodoc-process-docstring", plain_docstring, priority=400)
