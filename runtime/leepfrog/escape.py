"""Escaping of untrusted text for terminals, CI logs, Markdown, spreadsheets and JSON."""

from __future__ import annotations

import re

from leepfrog.files import printable

# Commands of GitHub, Azure and TeamCity in CI logs: `::` at the start of a line, `##name[` anywhere in it.
_COMMAND = re.compile(r"^(\s*):(?=:)|#(?=#\w*\[)")
_MARKDOWN = re.compile(r"[\\`|\[\]<>&]")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
# Characters that spreadsheets treat as the start of a formula.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def plain(text: str) -> str:
    """Return text as one line without control characters, text-direction changes or CI commands."""
    return _COMMAND.sub(lambda match: f"{match[1] or ''}\\u{ord(match[0][-1]):04x}", printable(text))


def markdown(cell: str) -> str:
    """Escape a cell of a Markdown table so that it is displayed literally: no HTML, links, code or extra columns."""
    return _MARKDOWN.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), plain(cell))


def markdown_paragraph(text: str) -> str:
    """Escape a Markdown paragraph so that it is displayed literally, with no heading, list or rule either."""
    escaped = markdown(text)
    return f"\\{escaped}" if escaped.startswith(("#", "*", "+", "-", "=", "~")) else escaped


def csv_cell(cell: str) -> str:
    """Escape a text cell so that no spreadsheet evaluates it: anything like a formula gets a leading apostrophe."""
    text = plain(cell)
    return f"'{text}" if len(text) > 1 and text.startswith(_FORMULA) and not _is_number(text) else text


def json_text(text: str) -> str:
    """Escape unprintable characters and CI commands in serialized JSON, without changing its meaning or layout."""
    if "##" not in text and text.replace("\n", "").isprintable():
        return text
    text = "".join(c if c.isprintable() or c == "\n" else _escape(c) for c in text)
    return re.sub(r"##(?=\w*\[)", r"#\\u0023", text)


def _escape(character: str) -> str:
    """Return the JSON escape of a character; a surrogate pair if it needs more than 16 bits."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
