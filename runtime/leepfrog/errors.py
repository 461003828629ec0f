"""Errors that leepfrog raises on purpose, with their command-line exit codes.

    LeepfrogError
    ├── UsageError          2   invalid call: an option, a name or a combination of them; also a ValueError
    ├── BadInputError       3   invalid file or array; also a ValueError
    │   ├── ModelError          an ONNX file, or its outputs
    │   ├── ImageError          an image
    │   ├── DataSetError        a folder or table of images
    │   ├── ArrayError          probabilities or labels given as arrays
    │   └── EmbeddingError      a task embedding or an embedding library
    └── MachineError        4   missing resource: a package, a GPU, the network or disk space
        └── WriteError          a file that cannot be written; also an OSError

Every message is one line: the problem, its location and the fix.
"""

from __future__ import annotations

import re


def one_line(error: object, most: int | None = 300) -> str:
    r"""Return an exception's message as one line, without onnxruntime's prefix; its class name if it has no message.

    Args:
        error: the exception.
        most: number of characters after which the text is truncated; None for no limit.

    >>> one_line(ValueError("not\na number")), one_line(KeyError())
    ('not a number', 'KeyError')
    """
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split())) or type(error).__name__
    return text if most is None or len(text) <= most else text[:most] + " ..."


class LeepfrogError(Exception):
    """Base class of all deliberate errors; `exit_code` is the exit code of the command line."""

    exit_code = 1


class UsageError(LeepfrogError, ValueError):
    """Invalid call: an unknown name, or incompatible options."""

    exit_code = 2


class BadInputError(LeepfrogError, ValueError):
    """Invalid input data."""

    exit_code = 3


class ModelError(BadInputError):
    """A model file that is broken, unsupported, or whose outputs are not probabilities."""


class ImageError(BadInputError):
    """An image that cannot be decoded."""


class DataSetError(BadInputError):
    """A labeled image set that cannot be used for a ranking."""


class ArrayError(BadInputError):
    """An array with the wrong shape, type or values."""


class EmbeddingError(BadInputError):
    """A task embedding or library that cannot be read, or embeddings that cannot be compared."""


class MachineError(LeepfrogError):
    """Something missing on this machine: a package, a device, a network route or disk space."""

    exit_code = 4


class WriteError(MachineError, OSError):
    """A file that cannot be written: no permission, no space, or a folder in its place."""


def counted(n: int, noun: str) -> str:
    """Format a number with a noun in the singular or plural.

    >>> counted(1, "class"), counted(2, "class"), counted(1_000, "latency"), counted(3, "pair of models")
    ('1 class', '2 classes', '1,000 latencies', '3 pairs of models')
    """
    word, space, rest = noun.partition(" ")
    if n != 1:
        word = word[:-1] + "ies" if word.endswith("y") else word + ("es" if word.endswith("s") else "s")
    return f"{n:,} {word}{space}{rest}"
