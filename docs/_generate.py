"""Reference pages that are generated from the code at each build: cli.md, schema.md and those of the scores.

They are committed, for readers of the repository. conf.py calls `write`; so does `python docs/_generate.py`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import leepfrog

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from help_text import commands, help_of
from leepfrog.schema import json_schema, results
from leepfrog.scoring.registry import SCORES

WIDTH = 88  # characters per line of help; longer lines would not fit the theme
READS = {"probs": "predictions", "features": "features"}

# The commands that write each kind of result.
WRITTEN_BY = {
    "ranking": ("rank", "score (of several models)"),
    "scores": ("score",),
    "validation": ("validate",),
    "tasks": ("validate --tasks",),
    "verification": ("verify",),
    "check": ("check",),
    "costs": ("bench",),
    "explanation": ("explain",),
    "advice": ("experts",),
    "distances": ("distance",),
    "library": ("library list",),
    "zoo": ("zoo list",),
    "catalog": ("zoo search",),
    "doctor": ("doctor",),
}

# Descriptions of the fields that all results have.
CONSTANTS = {
    "schema_version": "version of the format of this kind of result.",
    "kind": "kind of the result.",
}

CLI_HEAD = """# Command line

The help of every command of `leepfrog`, as `leepfrog COMMAND --help` prints it. [Exit codes](exit-codes.md) and
[environment variables](environment.md) have pages of their own.

`leepfrog --install-completion` sets up completion in bash, zsh, fish and PowerShell: of commands, options, and the
names of models, scores and zoo entries.
"""

SCORES_HEAD = """# All scores

Every score by the name that `--score` and `--by` take, in the order in which tables show them. A score is held-out if
each image is excluded from what predicts it; `rank --race` needs such scores.
"""

SCORES_FOOT = """Equations and sources are in [scores of predictions](../explanation/scores-of-predictions.md) and
[scores of features](../explanation/scores-of-features.md);
[which score to trust](../explanation/which-score.md) compares them.
"""

SCHEMA_HEAD = """# JSON schema

The fields of every result that commands write with `--format json` or `-o FILE.json`. `leepfrog schema` prints the same
as JSON Schema (draft 2020-12). `kind` and `schema_version` identify the result in a file; infinite and unknown
numbers are `null`. All fields are always present, and there are no others.
"""


def write(docs: Path) -> None:
    """Write all generated pages below the folder `docs`; pages that have not changed are left as they are."""
    for name, text in pages().items():
        file = docs / "reference" / f"{name}.md"
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Return the generated pages by name."""
    return {
        "cli": cli_page(),
        "scores-table": scores_page(),
        "schema": schema_page(),
        "scores-functions": functions_page(),
    }


def missing_from_api(docs: Path) -> list[str]:
    """Return the public names of leepfrog that reference/api.md does not document."""
    text = (docs / "reference" / "api.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\.\. \w+:: leepfrog\.(?:scores\.)?(\w+)$", text, re.MULTILINE))
    names = {name for name in leepfrog.__all__ if not name.startswith("__")}
    return sorted(names - documented - {"errors", "scores"})


def cli_page() -> str:
    """Return reference/cli.md: the help of every command, one section each."""
    found = list(commands())
    rows = [(f"[`leepfrog {name}`](#cli-{_slug(name)})", _cell(_summary(command))) for name, command in found]
    parts = [
        CLI_HEAD,
        _table(("command", "summary"), rows),
    ]
    for name, command in found:
        parts += [f"(cli-{_slug(name)})=\n## leepfrog {name}\n", f"```text\n{help_of(name, command, WIDTH)}\n```\n"]
    return "\n".join(parts)


def _summary(command: Any) -> str:
    return str(command.get_short_help_str(limit=200))


def scores_page() -> str:
    """Return reference/scores-table.md: a table of all scores, which other pages include."""
    rows = [
        (f"`{score.name}`", READS[score.reads], "yes" if score.held_out else "no", _cell(score.title))
        for score in SCORES.values()
    ]
    return "\n".join(
        [
            SCORES_HEAD,
            "<!-- table -->",
            _table(("score", "reads", "held-out", "measures"), rows),
            "<!-- end of table -->\n",
            SCORES_FOOT,
        ]
    )


def functions_page() -> str:
    """Return reference/scores-functions.md: the function of each score, which api.md includes."""
    lines = [f".. autofunction:: leepfrog.scores.{name}" for name in SCORES if name not in ("leep", "leep_loo")]
    return "\n".join(["```{eval-rst}", *lines, "```\n"])


def schema_page() -> str:
    """Return reference/schema.md: the fields of every kind of result, then those of the objects in them."""
    definitions = json_schema()["$defs"]
    kinds = [kind.kind for kind in results()]
    rows = [
        (f"[`{kind}`](#schema-{kind})", _written_by(kind), _cell(definitions[kind]["description"])) for kind in kinds
    ]
    parts = [
        SCHEMA_HEAD,
        _table(("kind", "written by", "content"), rows),
    ]
    parts += [_section(kind, definitions[kind], f"`{kind}`") for kind in kinds]
    parts.append("## Objects in results\n")
    others = sorted(definitions.keys() - set(kinds))
    parts += [_section(name, definitions[name], name).replace("\n## ", "\n### ", 1) for name in others]
    return "\n".join(parts)


def _written_by(kind: str) -> str:
    return ", ".join(f"`leepfrog {command.partition(' (')[0]}`{_rest(command)}" for command in WRITTEN_BY.get(kind, ()))


def _rest(command: str) -> str:
    _, bracket, rest = command.partition(" (")
    return bracket + rest


def _section(name: str, definition: dict[str, Any], title: str) -> str:
    rows = [
        (f"`{field}`", _type(schema), _cell(_in_json(schema.get("description") or CONSTANTS.get(field, ""))))
        for field, schema in definition["properties"].items()
    ]
    table = _table(("field", "type", "description"), rows)
    text = _prose(_in_json(definition.get("description", "")))
    return f"(schema-{_slug(name)})=\n## {title}\n\n{text}\n\n{table}"


def _in_json(text: str) -> str:
    """Return a docstring's text with the names of JSON for Python's constants."""
    return re.sub(r"\bNone\b", "null", re.sub(r"\bTrue\b", "true", text))


def _type(schema: dict[str, Any]) -> str:
    """Return the type that a JSON Schema describes, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#schema-{_slug(name)})"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    kind = schema.get("type", "any")
    if kind == "array" and "prefixItems" in schema:
        return f"\\[{', '.join(_type(part) for part in schema['prefixItems'])}\\]"
    if kind == "array":
        return f"array of {_plural(_type(schema['items']))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_plural(_type(schema['additionalProperties']))}"
    return str(kind)


def _plural(kind: str) -> str:
    """Return a type in the plural; names of objects and lists of types stay as they are."""
    if kind == "any":
        return "any values"
    return re.sub(r"(^|(?<= or ))(string|integer|number|boolean|array|object)\b", r"\2s", kind)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return _prose(text).replace("|", "\\|")


def _prose(text: str) -> str:
    """Return a docstring's text as Markdown, on one line and without markup except code."""
    parts = re.split(r"(`+[^`]+`+)", " ".join(text.split()))
    return "".join(part if i % 2 else _escaped(part) for i, part in enumerate(parts))


def _escaped(text: str) -> str:
    """Return text whose characters Markdown does not interpret, with options as code, which keeps their hyphens."""
    return re.sub(r"(?<![\w`-])--\w[\w-]*", r"`\g<0>`", re.sub(r"([\\*_$<\[\]])", r"\\\1", text))


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name).lower()


if __name__ == "__main__":
    write(Path(__file__).resolve().parent)
