"""Conversion of dataclasses to JSON-ready values and back, validating every value against its annotation.

Files may be untrusted, so text lengths, numbers and nesting depths are bounded (`leepfrog.stated`).
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

# Key in a field's metadata: the name of the field in older files.
FORMERLY = "formerly"
# Metadata of a field that is not written, and is therefore empty when a result is read back.
NOT_WRITTEN = {"written": False}


def encode_fields(value: Any) -> dict[str, Any]:
    """Return the written fields of a dataclass as JSON-ready values.

    Nested classes with an `as_dict` encode themselves.

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
    """Return the fields of a dataclass that are written: all except those with the metadata NOT_WRITTEN."""
    return [field for field in dataclasses.fields(kind) if field.metadata.get("written", True)]


def written_properties(kind: Any) -> tuple[str, ...]:
    """Return the names of the properties written in addition to the fields, from the class attribute `also_written`."""
    return getattr(kind, "also_written", ())


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return value.as_dict() if hasattr(value, "as_dict") else encode_fields(value)
    if isinstance(value, collections.abc.Mapping):
        return {key: _encode(entry) for key, entry in value.items()}
    return [_encode(item) for item in value] if isinstance(value, tuple | list) else value


def decode(kind: type[_Result], value: Any, where: str) -> _Result:
    """Decode a value that was written as JSON.

    A dataclass takes the entries of an object that match its field names; other entries are ignored, and fields with a
    default may be missing. Nested classes with a `from_dict` decode themselves.

    Args:
        kind: target type: a dataclass, str, int, float, bool, or one of these within tuple, dict, Mapping or `| None`.
        value: parsed JSON (see `leepfrog.stated.parsed`).
        where: name of the value in error messages.

    Raises:
        ValueError: the value does not match `kind`; the message names the offending part.

    >>> @dataclasses.dataclass
    ... class Size:
    ...     name: str
    ...     sides: tuple[float, ...]
    >>> decode(Size, {"name": "A4", "sides": [210, 297]}, "size")
    Size(name='A4', sides=(210.0, 297.0))
    """
    # A top-level dataclass must not decode itself: its own `from_dict` may be the caller.
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
    raise TypeError(f"{where}: {kind} cannot be read")  # an unsupported field type is a bug for the tests to find


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
    """Return the resolved type hints of a class or function, by name."""
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
