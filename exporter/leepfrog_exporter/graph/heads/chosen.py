"""Features that the user names: any value of the graph instead of the last linear layer's input."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from leepfrog.arguments import nearest
from leepfrog.errors import UsageError
from onnx import ModelProto

from leepfrog_exporter.graph.edit import constants, producers
from leepfrog_exporter.graph.heads import find_head
from leepfrog_exporter.graph.heads.base import Classifier, FeatureExtractor, Head, Location
from leepfrog_exporter.graph.shapes import shapes
from leepfrog_exporter.graph.tail import tail_of

# Number of candidates in messages.
MOST = 4


def chosen_head(model: ModelProto, output: str, value: str) -> Head:
    """Return the head of a model with the value `value` as features; with probabilities if the output has them.

    Raises:
        UsageError: there is no such value, or it is not a vector, a sequence of tokens or a map per image.
    """
    at, graph = shapes(model), model.graph
    if value not in producers(graph) or value in constants(graph):
        near = nearest(value, producers(graph))
        hint = f"did you mean {near!r}? " if near else ""
        raise UsageError(f"--features: the graph computes no value {value!r}; {hint}{candidates(model)}")
    if len(at.get(value, ())) not in (2, 3, 4):
        raise UsageError(
            f"--features: {value!r} is {at.get(value, 'of unknown shape')}; expected [N, D], tokens [N, T, D] or a map "
            f"[N, C, H, W]; {candidates(model)}"
        )
    location = Location(value, channels_last=_channels_last(at[value]))
    tail = tail_of(graph, output)
    if tail.ends_in in ("softmax", "log-softmax"):
        return Classifier(
            locations=(location,),
            logits=tail.logits,
            ends_in=tail.ends_in,
            altered=tail.altered,
            rounding=tail.rounding,
        )
    found = find_head(graph, output) if tail.ends_in == "logits" else None
    if isinstance(found, Classifier):
        return dataclasses.replace(found, locations=(location,))
    return FeatureExtractor(locations=(location,), reason="its features are those of --features", is_sure=True)


def candidates(model: ModelProto) -> str:
    """Describe the last values of a graph that may be features, for messages; "" if no shapes are known."""
    at, known = shapes(model), constants(model.graph)
    found: dict[tuple[int, ...], str] = {}
    for node in reversed(model.graph.node):
        for name in node.output:
            shape = at.get(name, [])
            if name not in known and len(shape) in (2, 3, 4) and tuple(shape) not in found:
                found[tuple(shape)] = f"{name!r} {_shown(shape)}"
        if len(found) == MOST:
            break
    return f"candidates are {', '.join(found.values())}" if found else "the shapes of its values are unknown"


def _shown(shape: Sequence[int]) -> str:
    return f"[N, {', '.join(str(axis or '?') for axis in shape[1:])}]"


def _channels_last(shape: Sequence[int]) -> bool:
    """Return whether channels are the last axis: of vectors, of tokens, and of maps whose other axes are equal."""
    return len(shape) != 4 or (shape[1] == shape[2] != shape[3])
