"""Dataclasses to JSON-ready values, and back by their fields' annotations, every value checked on the way.

A file may come from a stranger, so texts, numbers and depths are bounded (`leepfrog.stated`).
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import types
import typing
from typing import Any, TypeVar

from leepfrog import stated
from leepfrog.errors import LeepfrogError, one_line

_Result = TypeVar("_Result")

# Metadata of a field: the name under which older files have it.
FORMERLY = "formerly"
# Metadata of a field that is not written, and so empty where a result is read again.
NOT_WRITTEN = {"written": False}


def encode_fields(value: Any) -> dict[str, Any]:
    """What is written of a dataclass, as JSON-ready values. Within it, a class with an `as_dict` writes itself.

    >>> @dataclasses.dataclass
    ... class Size:
    ...     name: str
    ...     sides: tuple[float, ...]
    >>> encode_fields(Size("A4", (210, 297)))
    {'name': 'A4', 'sides': [210, 297]}
    """
    names = [*(field.name for field in written_fields(type(value))), *written_properties(type(value))]
    return {name: _encode(getattr(value, name)) for name in names}


def written_fields(kind: Any) -> list[dataclasses.Field[Any]]:
    """The fields of a dataclass that are written: all but those with the metadata NOT_WRITTEN."""
    return [field for field in dataclasses.fields(kind) if field.metadata.get("written", True)]


def written_properties(kind: Any) -> tuple[str, ...]:
    """The properties that are written beside the fields: what the class attribute `also_written` names."""
    return getattr(kind, "also_written", ())


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return value.as_dict() if hasattr(value, "as_dict") else encode_fields(value)
    if isinstance(value, collections.abc.Mapping):
        return {key: _encode(entry) for key, entry in value.items()}
    return [_encode(item) for item in value] if isinstance(value, tuple | list) else value


def decode(kind: type[_Result], value: Any, where: str) -> _Result:
    """Read a value that was written as JSON.

    A dataclass takes the entries of an object that are named like its fields; others are passed over, and those with a
    default may be missing. Within it, a class with a `from_dict` reads itself.

    Args:
        kind: a dataclass, str, int, float, bool, or one of these within tuple, dict, Mapping or `| None`.
        value: parsed JSON (see `leepfrog.stated.parsed`).
        where: what messages call it.

    Raises:
        ValueError: the value is something else; the message says where and what.

    >>> @dataclasses.dataclass
    ... class Size:
    ...     name: str
    ...     sides: tuple[float, ...]
    >>> decode(Size, {"name": "A4", "sides": [210, 297]}, "size")
    Size(name='A4', sides=(210.0, 297.0))
    """
    # The class's own `from_dict` may be what calls this.
    result: _Result = (_decode_fields if dataclasses.is_dataclass(kind) else _decode)(kind, value, where)
    return result


def _decode(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if kind in _PLAIN:
        return _PLAIN[kind](value, where)
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _decode_optional(parts, value, where)
    if origin is tuple:
        return _decode_tuple(parts, value, where)
    if origin in (dict, collections.abc.Mapping):
        entries = _of(dict, value, where)
        return {stated.text(key, where): _decode(parts[1], entry, f"{where}.{key}") for key, entry in entries.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_class(kind, value, where)
    raise TypeError(f"{where}: {kind} cannot be read")  # of a field, which is for tests to find


def _decode_optional(parts: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in parts:
        return None
    kinds = [part for part in parts if part is not type(None)]
    if set(kinds) == {int, float}:
        return value if isinstance(value, int) and not isinstance(value, bool) else stated.number(value, where)
    (kind,) = kinds
    return _decode(kind, value, where)


def _decode_tuple(parts: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    items = _of(list, value, where)
    kinds = [parts[0]] * len(items) if parts[-1] is Ellipsis else parts
    if len(items) != len(kinds):
        raise ValueError(f"{where} has {len(items)} items, not {len(kinds)}")
    return tuple(_decode(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, items, strict=True)))


def _decode_class(kind: Any, value: Any, where: str) -> Any:
    entries = _of(dict, value, where)
    try:
        return kind.from_dict(entries) if hasattr(kind, "from_dict") else _decode_fields(kind, entries, where)
    except LeepfrogError as error:  # an invalid value
        raise ValueError(f"{where}: {error}") from None
    except ValueError as error:
        if not hasattr(kind, "from_dict"):
            raise
        raise ValueError(f"{where}: {one_line(error)}") from None
    except KeyError as error:
        raise ValueError(f"{where} has no {error}") from None
    except Exception as error:
        raise ValueError(f"{where}: {one_line(error)}") from None


def _decode_fields(kind: Any, value: Any, where: str) -> Any:
    entries, values = _of(dict, value, where), {}
    for field in dataclasses.fields(kind):
        name = field.name if field.name in entries else field.metadata.get(FORMERLY, field.name)
        if name in entries:
            values[field.name] = _decode(types_of(kind)[field.name], entries[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where} has no {field.name}")
    return kind(**values)


@functools.cache
def types_of(kind: Any) -> dict[str, Any]:
    """The types of a class's attributes by name."""
    return typing.get_type_hints(kind)


def _of(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind):
        what = {list: "a list", dict: "an object", bool: "true or false"}[kind]
        raise ValueError(f"{where} is {stated.shown(value)}, not {what}")
    return value


_PLAIN: dict[Any, Any] = {
    str: stated.text,
    int: lambda value, where: stated.whole(value, where, least=-stated.MOST),
    float: lambda value, where: float(stated.number(value, where)),
    bool: lambda value, where: _of(bool, value, where),
}
