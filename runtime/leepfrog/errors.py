"""Every error that leepfrog raises on purpose, each with the exit code of the command line.

    LeepfrogError
    ├── UsageError          2   the call itself is wrong: an option, a name, a combination; also a ValueError
    ├── BadInputError       3   a file or an array is not what it has to be; also a ValueError
    │   ├── ModelError          an ONNX file, or its outputs
    │   ├── ImageError          one image
    │   ├── DataSetError        a folder or table of images
    │   ├── ArrayError          probabilities or labels given as arrays
    │   └── EmbeddingError      a task embedding or a library of them
    └── MachineError        4   this machine cannot do it: a missing package, GPU, network or disk space
        └── WriteError          a file cannot be written; also an OSError

A message is one line: the problem, where it is, and the fix.
"""

from __future__ import annotations

import re


def one_line(error: object, most: int | None = 300) -> str:
    r"""What an exception says, as one line without onnxruntime's prefix; the name of its class if it says nothing.

    Args:
        error: the exception.
        most: characters before the text is cut off; None for no limit.

    >>> one_line(ValueError("not\na number")), one_line(KeyError())
    ('not a number', 'KeyError')
    """
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split())) or type(error).__name__
    return text if most is None or len(text) <= most else text[:most] + " ..."


class LeepfrogError(Exception):
    """Base of all deliberate errors; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(LeepfrogError, ValueError):
    """The call is wrong: an unknown name, or options that do not go together."""

    exit_code = 2


class BadInputError(LeepfrogError, ValueError):
    """Input that cannot be used as it is."""

    exit_code = 3


class ModelError(BadInputError):
    """A model file that is broken, unsupported, or whose outputs are not probabilities."""


class ImageError(BadInputError):
    """An image that cannot be decoded."""


class DataSetError(BadInputError):
    """A labelled image set that cannot be ranked on."""


class ArrayError(BadInputError):
    """An array with the wrong shape, type or values."""


class EmbeddingError(BadInputError):
    """A task embedding or library that cannot be read, or embeddings that cannot be compared."""


class MachineError(LeepfrogError):
    """The machine lacks something: a package, a device, a network route, disk space."""

    exit_code = 4


class WriteError(MachineError, OSError):
    """A file cannot be written: no permission, no space, or a folder in its place."""


def counted(n: int, noun: str) -> str:
    """A number and a noun in the singular or plural.

    >>> counted(1, "class"), counted(2, "class"), counted(1_000, "latency"), counted(3, "pair of models")
    ('1 class', '2 classes', '1,000 latencies', '3 pairs of models')
    """
    word, space, rest = noun.partition(" ")
    if n != 1:
        word = word[:-1] + "ies" if word.endswith("y") else word + ("es" if word.endswith("s") else "s")
    return f"{n:,} {word}{space}{rest}"
