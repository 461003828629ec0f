"""JSON Schema of the commands' output, generated from the result types."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from leepfrog.codec import types_of, written_fields, written_properties
from leepfrog.costs.report import CostReport
from leepfrog.gate.check import Check
from leepfrog.gate.compare import Verification
from leepfrog.listings import Catalog, Diagnosis, ZooListing
from leepfrog.ranking.explain import Explanation
from leepfrog.ranking.result import Ranking
from leepfrog.ranking.score_files import Scores
from leepfrog.results import Result
from leepfrog.task2vec.distance_table import DistanceTable
from leepfrog.task2vec.library import LibraryListing
from leepfrog.task2vec.recommend import Recommendation
from leepfrog.validation.tasks import TaskStudy
from leepfrog.validation.validate import Validation

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_ENTRY = re.compile(r"    (\w[\w, ]*): (.*)")


def results() -> list[type[Result]]:
    """Return the result types of all commands that write JSON."""
    return [
        Ranking, Scores, Validation, TaskStudy, Verification, Check, CostReport, Explanation, Recommendation,
        DistanceTable, LibraryListing, ZooListing, Catalog, Diagnosis,
    ]  # fmt: skip


def json_schema() -> dict[str, Any]:
    """Return the schema of all results, with one definition per kind."""
    definitions: dict[str, Any] = {}
    kinds = results()
    for kind in kinds:
        definition = _definition(kind, definitions)
        head = {"schema_version": {"const": kind.schema_version}, "kind": {"const": kind.kind}}
        definition["properties"] = head | definition["properties"]
        definition["required"] = [*head, *definition["required"]]
        definitions[kind.kind] = definition
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Results of leepfrog, including their receipts",
        "description": "The kind of a result names its definition, and schema_version the version of that definition. "
        "Embeddings (.npz) also contain a receipt.",
        "oneOf": [{"$ref": f"#/$defs/{kind.kind}"} for kind in kinds],
        "$defs": definitions,
    }


def _definition(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a dataclass: an object with its written fields and properties, all of them required."""
    described = dict(_descriptions(kind))
    members = {field.name: types_of(kind)[field.name] for field in written_fields(kind)}
    for name in written_properties(kind):
        getter = getattr(kind, name).fget
        members[name] = types_of(getter)["return"]
        described[name] = inspect.getdoc(getter) or ""
    properties = {}
    for name, member in members.items():
        description = {"description": described[name]} if described.get(name) else {}
        properties[name] = _schema(member, definitions) | description
    return {
        "description": (inspect.getdoc(kind) or "").partition("\n")[0],
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind is Any:
        return {}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_schema(part, definitions) for part in parts]}
    if origin is tuple and parts[-1] is Ellipsis:
        return {"type": "array", "items": _schema(parts[0], definitions)}
    if origin is tuple:
        items = [_schema(part, definitions) for part in parts]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if origin in (dict, collections.abc.Mapping):
        return {"type": "object", "additionalProperties": _schema(parts[1], definitions)}
    if not dataclasses.is_dataclass(kind) or not isinstance(kind, type):
        raise TypeError(f"{kind} has no JSON Schema")  # an unsupported field type is a bug for the tests to find
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # registered before its fields, in case it contains itself
        definitions[kind.__name__] = _definition(kind, definitions)
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _descriptions(kind: type) -> Iterator[tuple[str, str]]:
    """Yield names and descriptions of attributes from the docstrings of a class and its bases."""
    for base in reversed(kind.__mro__):
        _, _, section = (base.__doc__ or "").partition("\n    Attributes:\n")
        names, text = "", ""
        for line in [*section.partition("\n\n")[0].splitlines(), "    :"]:
            entry = _ENTRY.fullmatch(line.removeprefix("    "))
            if entry is None and line.startswith("            "):
                text = f"{text} {line.strip()}"
                continue
            yield from ((name, text) for name in names.split(", ") if names)
            names, text = (entry[1], entry[2]) if entry else ("", "")
