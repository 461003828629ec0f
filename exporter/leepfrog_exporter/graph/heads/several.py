"""Heads of several linear layers whose outputs are averaged, added or concatenated, as in DeiT, LeViT and CrossViT."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto

from leepfrog_exporter.graph.edit import outer_inputs
from leepfrog_exporter.graph.heads import convolution, linear
from leepfrog_exporter.graph.heads.base import Classifier, Head, Location
from leepfrog_exporter.graph.tail import Tail, tail_of

PRIORITY = 30

# Maximum number of linear layers; without it, the search would follow the residual connections of deep networks.
MOST = 16
_JOINING = {"Add", "Sum", "Mean", "Concat"}
# Operators that map each channel by itself, so that features before and after them carry the same information.
_PER_CHANNEL = {"BatchNormalization", "Identity", "Cast", "Dropout", "Add", "Sub", "Mul", "Div"}


def head(tail: Tail) -> Head | None:
    """Return the head of a network that joins the outputs of several linear layers with constant weights.

    Layers that see the same features, up to a batch normalization, count once. The features of the others are
    concatenated.
    """
    layers = _layers(tail)
    if layers is None or tail.ends_in == "sigmoid":
        return None
    seen = [layer.locations[0] for layer in layers]
    above = [_ancestors(location.value, tail.made_by) for location in seen]
    outputs = {layer.logits for layer in layers}
    if any(names & outputs for names in above):  # residual connections, not parallel layers
        return None
    distinct: dict[str, Location] = {}
    for location in seen:
        distinct.setdefault(_root(location.value, tail), location)
    return Classifier(
        locations=tuple(distinct.values()),
        logits=tail.logits,
        ends_in=tail.ends_in,
        altered=tail.altered,
        doubt="it joins the outputs of several linear layers" if tail.ends_in == "logits" else "",
        rounding=tail.rounding,
    )


def _layers(tail: Tail) -> list[Classifier] | None:
    """Return the linear layers that the tail's node joins, each as a head of its own; None if it joins others."""
    found: list[Classifier] = []
    left = [tail]
    while left:
        joint = left.pop()
        if joint.node.op_type not in _JOINING or len(found) + len(left) > MOST:
            return None
        for name in joint.node.input:
            if name in tail.constant:
                continue
            if name not in tail.made_by:
                return None
            branch = tail_of(tail.graph, name)
            if branch.ends_in != "logits" or branch.activation:
                return None
            if branch.node.op_type in _JOINING:
                left.append(branch)
                continue
            layer = linear.head(branch) or convolution.head(branch)
            if not isinstance(layer, Classifier):
                return None
            found.append(layer)
    return found if len(found) > 1 else None


def _ancestors(value: str, made_by: Mapping[str, NodeProto]) -> set[str]:
    """Return all values that a value depends on, with itself."""
    found, left = {value}, [value]
    while left:
        if (node := made_by.get(left.pop())) is not None:
            further = set(outer_inputs(node)) - found
            found |= further
            left += further
    return found


def _root(value: str, tail: Tail) -> str:
    """Return the first value that carries the same information in each channel."""
    while (node := tail.made_by.get(value)) is not None and node.op_type in _PER_CHANNEL:
        depends = [name for name in node.input if name and name not in tail.constant]
        if len(depends) != 1:
            break
        value = depends[0]
    return value
