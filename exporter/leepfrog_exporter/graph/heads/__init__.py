"""Recognized forms of network heads, one module each.

A form is a module in this package that defines a unique number `PRIORITY`, and `head(tail)`, which returns the head of
a graph that ends in this form (see `leepfrog_exporter.graph.tail`), or None. Forms are tried in order of `PRIORITY`.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import Protocol, cast

from leepfrog.errors import ModelError
from onnx import GraphProto

from leepfrog_exporter.graph.heads.base import FeatureExtractor, Head
from leepfrog_exporter.graph.tail import Tail, tail_of


class Form(Protocol):
    """Interface of the modules in this package."""

    PRIORITY: int

    def head(self, tail: Tail) -> Head | None:
        """Return the head of a graph that ends in this form; None for any other graph."""


@functools.cache
def forms() -> tuple[Form, ...]:
    """Return all forms, in the order in which they are tried."""
    names = {module.name for module in pkgutil.iter_modules(__path__)} - {"base", "chosen"}
    modules = [cast(Form, importlib.import_module(f"{__name__}.{name}")) for name in names]
    return tuple(sorted(modules, key=lambda form: form.PRIORITY))


def find_head(graph: GraphProto, output: str) -> Head:
    """Return the head of a graph: a `Classifier`, or a `FeatureExtractor`, which has no probabilities.

    Raises:
        ModelError: no form recognizes the head.
    """
    tail = tail_of(graph, output)
    for form in forms():
        if (head := form.head(tail)) is not None:
            return head
    raise ModelError(tail.refusal)


def find_features(graph: GraphProto, output: str) -> FeatureExtractor:
    """Return the head of a graph whose outputs are declared not to be source classes.

    The features are the input of the last layer of a multi-label head, and otherwise the output itself.

    Raises:
        ModelError: the graph outputs class probabilities, or no form recognizes the head.
    """
    head = find_head(graph, output)
    if isinstance(head, FeatureExtractor):
        return head
    if head.ends_in != "logits":
        raise ModelError(f"ends in a {head.ends_in}, so it has class probabilities; export it without --no-probs")
    embedding = importlib.import_module(f"{__name__}.embedding")
    return cast(FeatureExtractor, embedding.head(tail_of(graph, output)))
