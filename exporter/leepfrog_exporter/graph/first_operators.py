"""Detection of input scaling done by a graph's first operators."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from leepfrog_exporter.graph.edit import describe, stored

_SAME_VALUES = {"Identity", "Cast"}
_ARITHMETIC = {"Add", "Sub", "Mul", "Div"}
_Channels = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Scaling that a graph applies to its input first: x becomes slope * x + shift.

    Attributes:
        slope, shift: coefficients per channel, [3], in the channel order of the input.
        nodes: descriptions of the scaling nodes in messages.
    """

    slope: _Channels
    shift: _Channels
    nodes: tuple[str, ...]


def own_scaling(graph: GraphProto, image: str, axis: int) -> Scaling | None:
    """Return the scaling done by the first operators of a graph; None if there is none.

    Args:
        graph: the graph.
        image: name of its input, [N, 3, H, W] or in another axis order.
        axis: channel axis of the input.
    """
    constants = stored(graph)
    value = image
    slope, shift = np.ones(3), np.zeros(3)
    nodes: list[str] = []
    while len(users := [node for node in graph.node if value in node.input and node.op_type != "Shape"]) == 1:
        node = users[0]
        if node.op_type == "Transpose":
            order = next((list(attribute.ints) for attribute in node.attribute), [3, 2, 1, 0])
            axis = order.index(axis) if axis in order else -1
        elif node.op_type not in _SAME_VALUES:
            step = _step(node, value, constants, axis)
            if step is None:
                break
            slope, shift = step[0] * slope, step[0] * shift + step[1]
            nodes.append(describe(node))
        value = node.output[0]
    scales = not (np.allclose(slope, 1) and np.allclose(shift, 0))
    return Scaling(slope, shift, tuple(nodes)) if scales else None


def _step(
    node: NodeProto, value: str, constants: dict[str, TensorProto], axis: int
) -> tuple[_Channels, _Channels] | None:
    """Return slope and shift of a node, per channel; None if the node is not an affine map per channel."""
    if node.op_type == "BatchNormalization":
        arrays = [_by_channel(constants.get(name), 0) for name in node.input[1:5]]
        if axis != 1 or any(array is None for array in arrays):
            return None
        scale, bias, mean, variance = (array for array in arrays if array is not None)
        epsilon = next((helper.get_attribute_value(a) for a in node.attribute if a.name == "epsilon"), 1e-5)
        slope = scale / np.sqrt(variance + epsilon)
        return slope, bias - slope * mean
    if node.op_type not in _ARITHMETIC or len(node.input) != 2:
        return None
    first = node.input[0] == value
    number = _by_channel(constants.get(node.input[1] if first else node.input[0]), axis - 4)
    if number is None or (node.op_type == "Div" and (not first or not number.all())):
        return None
    if node.op_type in ("Mul", "Div"):
        return (number if node.op_type == "Mul" else 1 / number), np.zeros(3)
    if node.op_type == "Add":
        return np.ones(3), number
    return (np.ones(3), -number) if first else (-np.ones(3), number)


def _by_channel(tensor: TensorProto | None, axis: int) -> _Channels | None:
    """Return a constant as one number per channel; None if there is no constant or it varies between pixels.

    Args:
        tensor: the constant, a vector or broadcast against an image.
        axis: channel axis, counted from the end; 0 for a vector.
    """
    if tensor is None:
        return None
    array = numpy_helper.to_array(tensor).astype(np.float64)
    if array.size == 1:
        return np.full(3, array.ravel()[0])
    along = array.ndim - 1 if axis == 0 else array.ndim + axis
    if array.size != 3 or along < 0 or array.shape[along] != 3 or not np.isfinite(array).all():
        return None
    return array.ravel()
