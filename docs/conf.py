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
author = project_copyright = "the leepfrog authors"
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
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_title = f"leepfrog {release}"
html_copy_source = False
html_show_sourcelink = False
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def without_links_of_github(app: Any, docname: str, source: list[str]) -> None:
    """Remove lines marked for GitHub, which shows the directives that include files, but not their content."""
    source[0] = re.sub(r"^<!-- only on GitHub -->\n.*\n", "", source[0], flags=re.MULTILINE)


def plain_docstring(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Convert a docstring of leepfrog to reStructuredText, in place, before Napoleon reads its sections.

    Docstrings are plain text: single backticks mark code, and indented paragraphs hold equations or tables. Without
    this, reStructuredText would read `|x|` as a substitution and `x_` as a link.
    """
    converted: list[str] = []
    in_equation = in_doctest = after_returns = False
    for i, original in enumerate(_one_name_per_attribute(lines)):
        # Napoleon takes the words before the first colon of this section for a type; an empty type prevents that. The
        # same applies to the first line of a property.
        line = f"    : {original.strip()}" if after_returns else original
        if i == 0 and what in ("property", "attribute"):
            line = f": {original}"
        after_returns = original == "Returns:"
        blank, indented = not line.strip(), line.startswith("    ")
        in_doctest = not blank and (in_doctest or line.startswith(">>>"))
        if in_equation and not blank and not indented:
            in_equation = False
        elif not in_equation and indented and (not converted or not converted[-1].strip()):
            in_equation = True
            converted += [".. code-block:: text", ""]
        converted.append(line if in_equation or in_doctest else _escaped(line))
    lines[:] = converted


def _one_name_per_attribute(lines: list[str]) -> list[str]:
    """Repeat the description of attributes that share one, which Napoleon would read as a name and a type."""
    found: list[str] = []
    in_attributes, names, description = False, [], [""]
    for line in [*lines, ""]:
        if names and line.startswith("        "):
            description.append(line)
            continue
        for name in names:
            found += [f"    {name}: {description[0]}", *description[1:]]
        names = []
        in_attributes = line == "Attributes:" or (in_attributes and line.startswith("    "))
        entry = re.fullmatch(r"    (\w+(?:, \w+)+): (.*)", line)
        if in_attributes and entry:
            names, description = entry[1].split(", "), [entry[2]]
        else:
            found.append(line)
    return found[:-1]


def short_types(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Shorten the types that Napoleon adds to attributes, for example `leepfrog.ranking.budget.Budget` to `Budget`."""
    packages = r"(?<![\w.~])(?:leepfrog|numpy|collections|pathlib|os|PIL)\."
    for i, line in enumerate(lines):
        if line.startswith(":vartype"):
            lines[i] = re.sub(packages, r"~\g<0>", _python_types(line))


def plain_signature(
    app: Any, what: str, name: str, obj: object, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Rewrite what is not Python, such as `<factory>`; Sphinx would not parse the signature otherwise."""
    if signature == "(*args, **kwargs)":  # of protocols
        signature = ""
    return signature and _python_types(signature), returned and _python_types(returned)


def _python_types(text: str) -> str:
    """Return the text of annotations and defaults as one would write them in Python."""
    text = text.replace("<factory>", "...").replace("<leepfrog.progress.SilentProgress object>", "SilentProgress()")
    text = re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text)
    module = r"(?:~?(?:numpy|typing)\.)?"
    array = rf"{module}ndarray\[tuple\[{module}Any, \.\.\.\], {module}dtype\[{module}(\w+)\]\]"
    return re.sub(array, r"NDArray[\1]", text)


def skip_tuple_fields(app: Any, what: str, name: str, obj: object, skip: bool, options: Any) -> bool | None:
    """Skip fields of named tuples, which their class describes; Python's own description is only their number."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


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
    translator.body.append(_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _display_math(translator: Any, node: Any) -> None:
    translator.body.append(f'<div class="math">{_mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def _mathml(tex: str, display: str) -> str:
    """Convert an equation; add what latex2mathml lacks: a space after log, and norms whose bars are of equal size."""
    found = latex2mathml.converter.convert(tex, display=display)
    found = re.sub(r'<mi>log</mi>(?!<mo stretchy="false">&#x00028;)', r'\g<0><mspace width="0.167em" />', found)
    return found.replace("<mo>&#x02016;</mo>", '<mo stretchy="false">&#x02016;</mo>')


def setup(app: Any) -> None:
    """Write the generated pages, and convert docstrings before Napoleon does, whose priority is 500."""
    _generate.write(HERE)
    for name in _generate.missing_from_api(HERE):
        logging.getLogger(__name__).warning("reference/api.md does not document leepfrog.%s", name)
    # MathML needs no script, so equations are shown offline.
    app.add_html_math_renderer("mathml", (_inline_math, None), (_display_math, None))
    app.connect("source-read", without_links_of_github)
    app.connect("autodoc-process-docstring", plain_docstring, priority=400)
    app.connect("autodoc-process-docstring", short_types, priority=600)
    app.connect("autodoc-process-signature", plain_signature)
    app.connect("autodoc-skip-member", skip_tuple_fields)
