"""Arrays that callers and files bring. What NumPy would convert silently, and wrongly, is refused."""

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
    """Values as an array of whatever type they have.

    Args:
        values: an array, or what NumPy makes one of.
        what: the argument's name, for messages.
        error: the class of error to raise.

    Raises:
        BadInputError: not an array (rows of different lengths, a tensor on a GPU), or entries that are masked.
    """
    if np.ma.is_masked(values):
        raise error(f"{what} has masked entries, whose values are unknown; drop those rows first")
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as reason:
        raise error(f"{what} is not an array: {one_line(reason)}") from None


def numbers(values: ArrayLike, what: str, error: type[BadInputError] = ArrayError) -> NDArray[Any]:
    """Values as an array of integers or of real numbers that float64 can hold; arguments: see `as_array`.

    Raises:
        BadInputError: not an array, or of another type: complex, boolean, long double, text, dates, records, objects.

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
    """Labels [N] that name classes: integers, booleans or strings, as an array of that type.

    Args:
        labels: N of them, all of one type.
        error: the class of error to raise.

    Raises:
        BadInputError: not [N], or of another type; text mixed with other values, such as the NaN of a missing label.

    >>> class_labels(["dog", "cat"])
    array(['dog', 'cat'], dtype='<U3')
    """
    array = as_array(labels, "labels", error)
    if array.ndim != 1:
        raise error(f"labels has shape {list(array.shape)}; it must be [N]: one label per image")
    if array.dtype.kind in "OT" and all(isinstance(label, str) for label in array):
        array = array.astype(str)  # how data frames hold text
    if array.size and array.dtype.kind not in "biuU":
        raise error(f"labels has dtype {array.dtype}; it must be integers or strings, one label per image")
    if array.dtype.kind == "U" and not isinstance(labels, np.ndarray):
        other = next((label for label in np.asarray(labels, object) if not isinstance(label, str)), None)
        if other is not None:  # NumPy has made text of it
            raise error(f"labels mixes strings with {other!r}; it must be integers or strings, one label per image")
    return array


def same_fields(one: object, other: object) -> bool:
    """Whether two dataclasses of one type have equal fields; arrays are equal as a whole, NaN to NaN."""
    assert dataclasses.is_dataclass(one)
    return type(one) is type(other) and all(
        _same(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one)
    )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return bool(a == b)


def array_of(content: bytes) -> NDArray[Any]:
    """The array in the bytes of a `.npy` file, which are not copied.

    Memory is never taken for what the header declares and the file does not hold.
    """
    stream = io.BytesIO(content)
    try:
        read_header = _HEADERS[np.lib.format.read_magic(stream)]
        shape, in_columns, kind = read_header(stream)
        start = stream.tell()
        if kind.hasobject or math.prod(shape) * kind.itemsize != len(content) - start:
            raise ValueError(f"it does not hold what it declares: {kind} {shape}")
        flat: NDArray[Any] = np.frombuffer(content, kind, offset=start) if start < len(content) else np.empty(0, kind)
        return flat.reshape(shape, order="F" if in_columns else "C")
    except Exception as error:  # NumPy evaluates the header as Python, and raises what that does
        raise ValueError(stated.shown(one_line(error)).strip("'")) from None


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
