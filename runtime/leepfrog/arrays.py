"""Validation of arrays from callers and files; whatever NumPy would convert silently and wrongly is rejected."""

from __future__ import annotations

import dataclasses
import io
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leepfrog import stated
from leepfrog.errors import ArrayError, BadInputError, one_line


def as_array(values: ArrayLike, what: str, error: type[BadInputError] = ArrayError) -> NDArray[Any]:
    """Return values as an array, keeping their dtype.

    Args:
        values: an array or array-like.
        what: name of the argument, for error messages.
        error: class of the error to raise.

    Raises:
        BadInputError: the values are not array-like (rows of different lengths, a tensor on a GPU), or some are masked.
    """
    if np.ma.is_masked(values):
        raise error(f"{what} has masked entries, whose values are unknown; drop those rows first")
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as reason:
        raise error(f"{what} is not an array: {one_line(reason)}") from None


def numbers(values: ArrayLike, what: str, error: type[BadInputError] = ArrayError) -> NDArray[Any]:
    """Return values as an array of integers or real numbers of at most 64 bits. The arguments are those of `as_array`.

    Raises:
        BadInputError: the values are not array-like or have another dtype: complex, boolean, long double, text, dates,
            records or objects.

    >>> numbers([1, 2], "sizes")
    array([1, 2])
    >>> numbers([1j], "sizes")
    Traceback (most recent call last):
    leepfrog.errors.ArrayError: sizes has dtype complex128; it must be real numbers, such as float32
    """
    array = as_array(values, what, error)
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        raise error(f"{what} has dtype {array.dtype}; it must be real numbers, such as float32")
    return array


def class_labels(labels: ArrayLike, error: type[BadInputError] = ArrayError) -> NDArray[Any]:
    """Return class labels [N] as an array of integers, booleans or strings.

    Args:
        labels: class label of each image, [N], all of one type.
        error: class of the error to raise.

    Raises:
        BadInputError: the labels are not [N], have another type, or mix text with other values, such as NaN for a
            missing label.

    >>> class_labels(["dog", "cat"])
    array(['dog', 'cat'], dtype='<U3')
    """
    array = as_array(labels, "labels", error)
    if array.ndim != 1:
        raise error(f"labels has shape {list(array.shape)}; it must be [N]: one label per image")
    if array.dtype.kind in "OT" and all(isinstance(label, str) for label in array):
        array = array.astype(str)  # data frames store text as objects or in NumPy's string dtype
    if array.size and array.dtype.kind not in "biuU":
        raise error(f"labels has dtype {array.dtype}; it must be integers or strings, one label per image")
    if array.dtype.kind == "U" and not isinstance(labels, np.ndarray):
        other = next((label for label in np.asarray(labels, object) if not isinstance(label, str)), None)
        if other is not None:  # NumPy has converted it to text
            raise error(f"labels mixes strings with {other!r}; it must be integers or strings, one label per image")
    return array


def same_fields(one: object, other: object) -> bool:
    """Return True if two dataclasses of one type have equal fields; NaN in arrays counts as equal to NaN."""
    assert dataclasses.is_dataclass(one)
    return type(one) is type(other) and all(
        _same(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one)
    )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return bool(a == b)


def array_of(content: bytes) -> NDArray[Any]:
    """Return the array in the bytes of a `.npy` file, without copying them.

    Nothing is allocated for data that the header declares but the file does not contain.

    Raises:
        ValueError: the bytes are not a valid `.npy` file of plain values.
    """
    stream = io.BytesIO(content)
    try:
        read_header = _HEADERS[np.lib.format.read_magic(stream)]
        shape, in_columns, kind = read_header(stream)
        start = stream.tell()
        if kind.hasobject or math.prod(shape) * kind.itemsize != len(content) - start:
            raise ValueError(f"its size does not match its header: {kind} {shape}")
        flat: NDArray[Any] = np.frombuffer(content, kind, offset=start) if start < len(content) else np.empty(0, kind)
        return flat.reshape(shape, order="F" if in_columns else "C")
    except Exception as error:  # NumPy parses the header as a Python literal, which may raise anything
        raise ValueError(stated.shown(one_line(error)).strip("'")) from None


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
