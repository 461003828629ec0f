"""The `Tape`: the forward graph's shapes and constants, and the backward graph while it is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from leepfrog.errors import ModelError
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, helper, numpy_helper

from leepfrog_exporter.graph.edit import describe

# Axes of a value. A positive number is a length; -k means k times the batch size, as in [batch * windows, ...].
Shape = tuple[int, ...]


def measured_shapes(two: Mapping[str, NDArray[Any]], three: Mapping[str, NDArray[Any]]) -> dict[str, Shape]:
    """Determine shapes from runs of the same graph on two and on three samples.

    Measuring is exact for any operator, whereas shape inference fails for reshapes to computed shapes.

    Raises:
        ModelError: a value's rank depends on the batch size, or an axis is neither constant nor proportional to it.
    """
    shapes = {}
    for name, value in two.items():
        other = three[name]
        if np.ndim(value) != np.ndim(other):
            raise ModelError(f"the rank of {name!r} depends on the batch size")
        axes = []
        for a, b in zip(np.shape(value), np.shape(other), strict=True):
            if a != b and (a % 2 or a // 2 * 3 != b):
                raise ModelError(f"an axis of {name!r} has length {a} for two images and {b} for three")
            axes.append(a if a == b else -(a // 2))
        shapes[name] = tuple(axes)
    return shapes


class Tape:
    """Shapes and constants of the forward graph, and the nodes of the backward graph as rules emit them.

    Args:
        graph: the forward graph, with folded constants.
        shapes: shape of every value.
        dtype: floating-point type of the forward graph.
        opset: opset version of the emitted operators; at least 18.
    """

    def __init__(self, graph: GraphProto, shapes: Mapping[str, Shape], dtype: np.dtype[Any], opset: int) -> None:
        self.arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.shapes: dict[str, Shape] = {**shapes, **{name: array.shape for name, array in self.arrays.items()}}
        self.inputs = {value.name for value in graph.input}
        """Names of the graph's inputs: values that are neither constant nor computed by a node."""
        self.dtype, self.opset = dtype, opset
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.needed: set[str] = set()
        """Names of the values whose gradients are needed."""
        self._n_values = 0

    def shape(self, name: str) -> Shape:
        """Return the axes of a forward value."""
        return self.shapes[name]

    def array(self, name: str) -> NDArray[Any] | None:
        """Return the value of a constant; None if the value is computed from the image."""
        return self.arrays.get(name)

    def required(self, node: NodeProto, index: int, what: str) -> NDArray[Any]:
        """Return an input that a rule needs as a constant; raise ModelError if it is not constant."""
        array = self.arrays.get(node.input[index])
        if array is None:
            raise ModelError(f"cannot differentiate {describe(node)}: its {what} is not a constant")
        return array

    def emit(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        return self.emit_many(1, operator, *inputs, **attributes)[0]

    def emit_many(self, n_outputs: int, operator: str, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with several outputs and return their names."""
        first = self._n_values + 1
        self._n_values += n_outputs
        names = [f"gradient_{number}" for number in range(first, first + n_outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Add a constant of the graph's floating-point type or of `dtype`; equal constants share a name."""
        array = np.ascontiguousarray(np.asarray(value, dtype or self.dtype))
        array = array.reshape(np.shape(value))
        key = hashlib.sha256(f"{array.dtype} {array.shape}".encode() + array.tobytes()).hexdigest()[:16]
        name = f"gradient_constant_{key}"
        self.constants[name] = array
        return name

    def integers(self, values: Iterable[int]) -> str:
        """Add a constant int64 vector, as used for axes and shapes."""
        return self.constant(list(values), np.int64)

    def reshape(self, value: str, shape: Shape) -> str:
        """Reshape a value; raise ModelError if more than one axis depends on the batch size."""
        if sum(axis < 0 for axis in shape) > 1:
            raise ModelError(f"cannot reshape to {shape}: two axes depend on the batch size")
        # No axis may be 0, which would mean "copy from the input".
        return self.emit("Reshape", value, self.integers(-1 if axis < 0 else axis for axis in shape))

    def sum(self, value: str, axes: Iterable[int], keep: bool = False) -> str:
        """Sum a value over axes."""
        return self.emit("ReduceSum", value, self.integers(axes), keepdims=int(keep))

    def multiply(self, value: str, factor: float) -> str:
        """Multiply a value by a number."""
        return value if factor == 1 else self.emit("Mul", value, self.constant(factor))

    def scatter_add(self, like: str, indices: str, gradient: str) -> str:
        """Add gradients, at flat indices, to zeros of a forward value's shape."""
        shape = self.emit("Shape", like)
        zero = numpy_helper.from_array(np.zeros(1, self.dtype))
        zeros = self.emit("ConstantOfShape", self.emit("ReduceProd", shape, keepdims=1), value=zero)
        flat = self.integers([-1])
        at, added = (self.emit("Reshape", value, flat) for value in (indices, gradient))
        total = self.emit("ScatterElements", zeros, at, added, axis=0, reduction="add")
        return self.emit("Reshape", total, shape)

    def unbroadcast(self, gradient: str, from_shape: Shape, to_shape: Shape) -> str:
        """Undo broadcasting from `to_shape` by summing the gradient over the broadcast axes."""
        if from_shape == to_shape:
            return gradient
        extra = len(from_shape) - len(to_shape)
        stretched = [
            axis for axis in range(len(from_shape)) if axis < extra or to_shape[axis - extra] != from_shape[axis]
        ]
        if stretched:
            gradient = self.sum(gradient, stretched, keep=True)
        return self.reshape(gradient, to_shape) if extra else gradient


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape of an elementwise operation on values of these shapes."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(next((a for a in axes if a != 1), 1) for axes in zip(*padded, strict=True))
