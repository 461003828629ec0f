"""Declarations: what a model file, or files beside it, say of its preprocessing and its labels, one module per format.

A format is a module in this package that defines `declared(path, model)`, which returns a `Declaration`, or None if
the model has none of this format.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
from pathlib import Path
from typing import Protocol, cast

from leepfrog.images.preprocess import PreprocessSpec
from onnx import ModelProto


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What a model is declared to be.

    Attributes:
        preprocess: its preprocessing; None if it is not declared.
        labels: names of its classes in the order of its outputs; () if they are not declared.
        name: a better name than that of the file; "" if there is none.
        license: license of the weights; "" if it is not declared.
        refusal: why the network is neither a classifier nor a backbone; "" if it may be one.
    """

    preprocess: PreprocessSpec | None = None
    labels: tuple[str, ...] = ()
    name: str = ""
    license: str = ""
    refusal: str = ""


class Format(Protocol):
    """Interface of the modules in this package."""

    def declared(self, path: Path, model: ModelProto) -> Declaration | None:
        """Return the declaration of a model file; None if it has none of this format.

        Args:
            path: the file.
            model: its content.

        Raises:
            ModelError: the declaration is damaged, or of preprocessing that leepfrog cannot do.
        """


@functools.cache
def formats() -> tuple[Format, ...]:
    """Return all formats, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(cast(Format, importlib.import_module(f"{__name__}.{name}")) for name in names)


def declaration(path: Path, model: ModelProto) -> Declaration:
    """Return the first declaration found, or an empty one."""
    found = (of_format.declared(path, model) for of_format in formats())
    return next((each for each in found if each is not None), Declaration())
