"""Forms of head, one file each: how a network ends, where its features are, and whether there are probabilities.

A form is a module beside this one that holds `PRIORITY`, a number of its own, and `head(tail)`, which gives the head of
a graph that ends so (see `leepfrog_exporter.graph.tail`), or None. The form of the lowest priority is asked first.
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
    """What a module of this package holds."""

    PRIORITY: int

    def head(self, tail: Tail) -> Head | None:
        """The head of a graph that ends in this form; None for any other."""


@functools.cache
def forms() -> tuple[Form, ...]:
    """All forms, in the order in which they are asked."""
    names = {module.name for module in pkgutil.iter_modules(__path__)} - {"base"}
    modules = [cast(Form, importlib.import_module(f"{__name__}.{name}")) for name in names]
    return tuple(sorted(modules, key=lambda form: form.PRIORITY))


def find_head(graph: GraphProto, output: str) -> Head:
    """How a graph ends at `output`: a `Classifier`, or a `FeatureExtractor`, which has no probabilities.

    Raises:
        ModelError: no form knows it.
    """
    tail = tail_of(graph, output)
    for form in forms():
        if (head := form.head(tail)) is not None:
            return head
    raise ModelError(tail.refusal)


def find_features(graph: GraphProto, output: str) -> FeatureExtractor:
    """The end of a graph whose outputs are said to be no source classes.

    Its features are what the last layer of a multi-label head sees, and otherwise the output itself.

    Raises:
        ModelError: it puts out probabilities of classes, or no form knows it.
    """
    head = find_head(graph, output)
    if isinstance(head, FeatureExtractor):
        return head
    if head.ends_in != "logits":
        raise ModelError(f"ends in a {head.ends_in}, so it has probabilities of classes; export it without --no-probs")
    embedding = importlib.import_module(f"{__name__}.embedding")
    return cast(FeatureExtractor, embedding.head(tail_of(graph, output)))
