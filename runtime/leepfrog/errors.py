"""Every error that leepfrog raises on purpose, each with the exit code of the command line.

    LeepfrogError
    ├── UsageError          2   the call itself is wrong: an option, a name, a combination
    ├── BadInputError       3   a file or an array is not what it has to be
    │   ├── ModelError          an ONNX file, or what it puts out
    │   ├── ImageError          one image
    │   ├── DataSetError        a folder or table of images
    │   └── ArrayError          probabilities or labels given as arrays
    └── MachineError        4   this machine cannot do it: a missing package, GPU, network or disk space

A message is one line: what is wrong, where, and what mends it.
"""

from __future__ import annotations


class LeepfrogError(Exception):
    """Base of all deliberate errors; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(LeepfrogError):
    """The call is wrong: an unknown name, or options that do not go together."""

    exit_code = 2


class BadInputError(LeepfrogError):
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
