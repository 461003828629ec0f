"""Text from files of strangers, made harmless for what reads it: terminals, CI logs, Markdown, spreadsheets, JSON."""

from __future__ import annotations

import re

from leepfrog.files import printable

# What GitHub, Azure and TeamCity take for a command: at the start of a line, or anywhere in it.
_COMMAND = re.compile(r"^(\s*):(?=:)|#(?=#\w*\[)")
_MARKDOWN = re.compile(r"[\\`|\[\]<>&]")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
# What spreadsheets take for the start of a formula.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def plain(text: str) -> str:
    """One line without control characters, changes of direction and commands of CI systems."""
    return _COMMAND.sub(lambda match: f"{match[1] or ''}\\u{ord(match[0][-1]):04x}", printable(text))


def markdown(cell: str) -> str:
    """A cell of a Markdown table that is shown as it is: no HTML, links, code or further columns."""
    return _MARKDOWN.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), plain(cell))


def markdown_paragraph(text: str) -> str:
    """A paragraph that is shown as it is, likewise: no heading, list or rule either."""
    escaped = markdown(text)
    return f"\\{escaped}" if escaped.startswith(("#", "*", "+", "-", "=", "~")) else escaped


def csv_cell(cell: str) -> str:
    """A text cell that no spreadsheet computes: an apostrophe goes before what would be a formula."""
    text = plain(cell)
    return f"'{text}" if len(text) > 1 and text.startswith(_FORMULA) and not _is_number(text) else text


def json_text(text: str) -> str:
    """Serialised JSON with the same meaning, in which every character outside of the layout can be printed."""
    if "##" not in text and text.replace("\n", "").isprintable():
        return text
    text = "".join(c if c.isprintable() or c == "\n" else _escape(c) for c in text)
    return re.sub(r"##(?=\w*\[)", r"#\\u0023", text)


def _escape(character: str) -> str:
    """JSON's escape, in two halves beyond 16 bits."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
