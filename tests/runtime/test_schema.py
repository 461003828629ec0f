"""All result types: their schemas are fully typed, and their JSON can be read back."""

from __future__ import annotations

import collections.abc
import json
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from baselines import SCHEMA, conforms
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog.codec import types_of, written_fields
from leepfrog.costs.cost import NUMBERS
from leepfrog.inference.metadata import Variant
from leepfrog.receipts.receipt import ArrayReceipt
from leepfrog.results import Result
from leepfrog.schema import results

# Untyped on purpose: data from other files or machines, and the two values of any difference.
UNTYPED = {
    "Receipt.arguments", "Receipt.environment", "ModelReceipt.preprocess", "costs.environment", "Variant.tried",
    "Difference.was", "Difference.now",
}  # fmt: skip

texts = st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=5)
numbers = st.floats(1e-6, 1e6)
counts = st.integers(1, 2**40)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: texts,
    int: counts,
    float: numbers,
    bool: st.booleans(),
    types.NoneType: st.none(),
    Any: st.none() | texts | numbers | st.lists(counts, max_size=2),
    ArrayReceipt: st.builds(ArrayReceipt, st.just("labels.npy"), texts),
    Variant: st.builds(
        Variant,
        st.sampled_from(("fp16", "int8")),
        st.just("parent"),
        texts,
        texts,
        st.just(({"recipe": "per channel"},)),
    ),
}
# Fields that accept only some values of their type.
SPECIAL: dict[tuple[str, Any], st.SearchStrategy[Any]] = {
    ("doubtful", tuple[str, ...]): st.lists(st.sampled_from(NUMBERS), max_size=2).map(tuple),
    ("seed", int): st.integers(0, 2**31),
}


def made(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values of a field's type."""
    if kind in PLAIN:
        return PLAIN[kind]
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(map(made, parts))
    if origin is tuple and parts[-1] is Ellipsis:
        return st.lists(made(parts[0]), min_size=1, max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(made, parts))
    if origin in (dict, collections.abc.Mapping):
        return st.dictionaries(texts, made(parts[1]), min_size=1, max_size=2)
    hints = types_of(kind)
    members = [(field.name, hints[field.name]) for field in written_fields(kind)]
    return st.builds(kind, **{at[0]: SPECIAL[at] if at in SPECIAL else made(at[1]) for at in members})


def untyped(schema: Any, where: str) -> Iterator[str]:
    """Yield the paths at which a schema allows any value."""
    if not isinstance(schema, dict):
        return
    if not {"type", "anyOf", "$ref", "const"} & schema.keys():
        yield where
    for name, member in schema.get("properties", {}).items():
        yield from untyped(member, f"{where}.{name}")
    inner = [schema.get("items"), schema.get("additionalProperties")]
    for part in (*inner, *schema.get("prefixItems", ()), *schema.get("anyOf", ())):
        yield from untyped(part, where)


def test_the_schema_leaves_open_only_what_is_open() -> None:
    kinds = {kind.kind for kind in results()}
    assert kinds <= SCHEMA["$defs"].keys()
    assert len(kinds) == len(results())
    assert {where for name, schema in SCHEMA["$defs"].items() for where in untyped(schema, name)} == UNTYPED


@pytest.mark.parametrize("kind", results(), ids=lambda kind: kind.kind)
def test_every_result_conforms_and_is_read_again(kind: type[Result]) -> None:
    @settings(max_examples=10)
    @given(made(kind))
    def holds(result: Result) -> None:
        values = json.loads(json.dumps(result.as_dict(), allow_nan=False))
        conforms(values)
        again = kind.from_dict(values)
        assert again == result
        assert again.as_dict() == result.as_dict()

    holds()
