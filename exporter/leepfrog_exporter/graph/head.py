"""Find a classifier's last linear layer and give the graph the outputs of a scoring model.

Walking back from the output:

1. Softmax, LogSoftmax or Sigmoid, also where written out (graph/softmax.py): the logits are what goes in.
2. Operators that neither mix classes nor add any (reshaping, pooling over space, activations, a constant bias or scale)
   are passed over.
3. The first Gemm, MatMul with constant weights, or 1x1 Conv is the last linear layer; what it sees are the features.
4. Anything else, and there is no telling what the features are: an error that names the node.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from leepfrog.errors import ModelError
from leepfrog.inference.metadata import FEATURES_OUTPUT, PROBS_OUTPUT
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from leepfrog_exporter.graph.edit import constants, describe, drop_unused, producers, shapes, stored
from leepfrog_exporter.graph.purity import mixing_node
from leepfrog_exporter.graph.softmax import Ending, softmax_at

LOGITS = "leepfrog_logits"
"""The value inside a scoring model that `probs` is the softmax of, float32 [N, Z]."""

_ACTIVATIONS = {"Relu", "Clip"}
_PASSED_OVER = _ACTIVATIONS | {
    "Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Cast", "Dropout", "GlobalAveragePool",
    "AveragePool", "ReduceMean", "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip
_STORED_WEIGHTS = {"Transpose", "Identity", "Cast", "DequantizeLinear"}
_WITH_A_CONSTANT = {"Add", "Sub", "Mul", "Div"}

# Numbers of classes that no embedding has: ImageNet-1k, also with a background class, and the subsets of ImageNet-21k
# that are in use.
KNOWN_COUNTS = frozenset({1000, 1001, 10450, 11221, 11821, 19168, 21841, 21842, 21843})


@dataclasses.dataclass(frozen=True)
class Head:
    """A classifier's end.

    Attributes:
        logits: the value that a softmax over classes takes.
        features: the value that the last linear layer sees.
        ends_in: what the classifier's own output is.
        channels_last: whether the linear layer works on the features' last axis (MatMul) or on the second (Conv).
        layer: the last linear layer.
        weights: its weights as they are stored, perhaps transposed; None where they are computed.
        binary: whether that has one output, the logit of the second of two classes.
        altered: the node between softmax and output that may change probabilities; "" if there is none.
        doubt: why the outputs may not be classes; "" if nothing in the graph says so.
    """

    logits: str
    features: str
    ends_in: Ending
    channels_last: bool
    layer: NodeProto = dataclasses.field(default_factory=NodeProto, compare=False, repr=False)
    weights: TensorProto | None = dataclasses.field(default=None, compare=False, repr=False)
    binary: bool = dataclasses.field(default=False, compare=False)
    altered: str = dataclasses.field(default="", compare=False)
    doubt: str = dataclasses.field(default="", compare=False)

    @property
    def compared(self) -> str:
        """The value in the scoring model that corresponds to the classifier's own output."""
        return LOGITS if self.ends_in == "logits" else PROBS_OUTPUT

    def expected(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """What `compared` must be, [n, Z], where the classifier itself puts out [n, ...]."""
        output = output.reshape(len(output), -1)
        if self.ends_in == "log-softmax":
            return np.exp(output)
        if self.binary and output.shape[1] == 1:
            return np.hstack([1 - output if self.ends_in == "sigmoid" else 0 * output, output])
        return output

    def pooled(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features [n, D] of what the linear layer sees, averaged over space or tokens."""
        positions = range(1, features.ndim - 1) if self.channels_last else range(2, features.ndim)
        return np.asarray(features.mean(axis=tuple(positions)), np.float32)


def find_head(graph: GraphProto, output: str) -> Head:
    """The last linear layer before `output`.

    Raises:
        ModelError: there is none, or something stands between that leepfrog cannot look through.
    """
    made_by, constant = producers(graph), constants(graph)
    value, logits = output, output
    ends_in: Ending = "logits"
    doubt, changed, altered, paired = "", "", "", False
    while True:
        node = made_by.get(value)
        if node is None:
            raise ModelError(f"no linear layer between input and output {output!r}; it is no classifier")
        if ends_in == "logits" and (softmax := softmax_at(node, made_by)) is not None:
            logits, ends_in = softmax
            value, altered, ending = logits, changed, node
        elif _is_linear(node, graph, constant):
            weights, axis = _weights(node, graph, made_by)
            binary = weights is not None and len(weights.dims) > 1 and weights.dims[axis] == 1
            binary = binary and (paired or ends_in in ("logits", "sigmoid"))
            if ends_in == "sigmoid" and not binary:
                raise ModelError(
                    f"ends in {describe(ending)}, not a softmax: its outputs are no distribution over classes"
                )
            if binary and not paired:
                doubt = "it puts out one number without a sigmoid, as a regression does"
            doubt = doubt if ends_in == "logits" else ""
            return Head(
                logits,
                node.input[0],
                ends_in,
                node.op_type != "Conv",
                node,
                weights,
                binary,
                altered=altered,
                doubt=doubt,
            )
        elif (single := _of_two_logits(node, made_by)) is not None:
            value, logits, paired = single, single, True
        elif node.op_type in _PASSED_OVER:
            if node.op_type in _ACTIVATIONS:
                doubt = f"{describe(node)} follows its last linear layer"
            value = node.input[0]
        elif node.op_type in _WITH_A_CONSTANT and sum(name not in constant for name in node.input) == 1:
            changed = describe(node)
            value = _varying(node, constant)
        else:
            if mixing := mixing_node(graph):
                raise ModelError(f"refused: {mixing}")
            raise ModelError(
                f"cannot find the last linear layer: {describe(node)} stands between it and the output; expected "
                "Gemm, MatMul or a 1x1 Conv, then reshaping, pooling, a bias or Softmax"
            )


def refuse_embedding(head: Head, n_classes: int, doubt: str) -> None:
    """ModelError where outputs that nobody named may be an embedding.

    Args:
        head: of the network.
        n_classes: Z.
        doubt: what the source says that speaks against classes; "" for nothing.
    """
    doubt = head.doubt or doubt
    if doubt and head.ends_in == "logits" and n_classes not in KNOWN_COUNTS:
        raise ModelError(
            f"may be a network without a classifier: {doubt}; if its {n_classes:,} outputs are classes, name them: "
            "--labels FILE; otherwise export the network with its classifier"
        )


def attach_outputs(model: ModelProto, head: Head) -> None:
    """Make `probs` and `features` the outputs, both float32 [N, width], and drop what they do not need.

    `probs` is a softmax in float32 whatever the network's own precision. `features` are averaged over space or tokens
    where the linear layer is applied at each position. A single logit z becomes the logits 0 and z of two classes.
    """
    graph = model.graph
    shape = shapes(model).get(head.features)
    nodes = [
        helper.make_node("Flatten", [head.logits], ["leepfrog_logits_flat"], axis=1),
        helper.make_node(
            "Cast", ["leepfrog_logits_flat"], ["leepfrog_logit" if head.binary else LOGITS], to=TensorProto.FLOAT
        ),
        *(_two_logits(graph) if head.binary else ()),
        helper.make_node("Softmax", [LOGITS], [PROBS_OUTPUT], axis=1),
        helper.make_node("Cast", [head.features], ["leepfrog_features"], to=TensorProto.FLOAT),
    ]
    if not head.channels_last:
        nodes.append(helper.make_node("GlobalAveragePool", ["leepfrog_features"], ["leepfrog_pooled"]))
        nodes.append(helper.make_node("Flatten", ["leepfrog_pooled"], [FEATURES_OUTPUT], axis=1))
    elif shape is not None and len(shape) > 2:
        channels_first = [0, len(shape) - 1, *range(1, len(shape) - 1)]
        nodes.append(helper.make_node("Transpose", ["leepfrog_features"], ["leepfrog_tokens"], perm=channels_first))
        nodes.append(helper.make_node("GlobalAveragePool", ["leepfrog_tokens"], ["leepfrog_pooled"]))
        nodes.append(helper.make_node("Flatten", ["leepfrog_pooled"], [FEATURES_OUTPUT], axis=1))
    else:
        nodes.append(helper.make_node("Identity", ["leepfrog_features"], [FEATURES_OUTPUT]))
    graph.node.extend(nodes)
    del graph.output[:]
    for name in (PROBS_OUTPUT, FEATURES_OUTPUT):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", None]))
    drop_unused(graph)


def pick_output(graph: GraphProto, chosen: str | None) -> str:
    """The output that holds the classes, the chosen one or the only one; the graph's other outputs are dropped.

    Raises:
        ModelError: no such output, or several and none chosen.
    """
    names = [value.name for value in graph.output]
    if chosen is not None and chosen not in names:
        raise ModelError(f"has no output {chosen!r}; it has {', '.join(names)}")
    if chosen is None and len(names) != 1:
        listed = ", ".join(names)
        raise ModelError(f"has {len(names)} outputs ({listed}); say which holds the classes: --output-name NAME")
    kept = 0 if chosen is None else names.index(chosen)
    del graph.output[kept + 1 :], graph.output[:kept]
    return str(names[kept])


def _two_logits(graph: GraphProto) -> list[NodeProto]:
    graph.initializer.append(helper.make_tensor("leepfrog_zero", TensorProto.FLOAT, [], [0]))
    return [
        helper.make_node("Mul", ["leepfrog_logit", "leepfrog_zero"], ["leepfrog_other_logit"]),
        helper.make_node("Concat", ["leepfrog_other_logit", "leepfrog_logit"], [LOGITS], axis=1),
    ]


def _of_two_logits(node: NodeProto, made_by: dict[str, NodeProto]) -> str | None:
    """The logit z of a Concat of 0 and z, as `attach_outputs` makes it; None for any other node."""
    if node.op_type != "Concat" or len(node.input) != 2:
        return None
    zero = made_by.get(node.input[0])
    return node.input[1] if zero is not None and zero.op_type == "Mul" and zero.input[0] == node.input[1] else None


def _weights(layer: NodeProto, graph: GraphProto, made_by: dict[str, NodeProto]) -> tuple[TensorProto | None, int]:
    """The weights of a linear layer as they are stored, and their axis of outputs; None where they are computed."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in layer.attribute)
    name = layer.input[1]
    while (node := made_by.get(name)) is not None and node.op_type in _STORED_WEIGHTS:
        transposed ^= node.op_type == "Transpose"
        name = node.input[0]
    return stored(graph).get(name), 0 if layer.op_type == "Conv" or transposed else -1


def _is_linear(node: NodeProto, graph: GraphProto, constant: set[str]) -> bool:
    if node.op_type not in ("Gemm", "MatMul", "Conv") or node.input[0] in constant or node.input[1] not in constant:
        return False
    return node.op_type != "Conv" or _is_pointwise(node, graph)


def _is_pointwise(node: NodeProto, graph: GraphProto) -> bool:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kernel = attributes.get("kernel_shape")
    if kernel is None:
        shapes = [tensor.dims[2:] for tensor in graph.initializer if tensor.name == node.input[1]]
        kernel = list(shapes[0]) if shapes else []
    return list(kernel) == [1, 1] and attributes.get("group", 1) == 1


def _varying(node: NodeProto, constant: set[str]) -> str:
    return next(str(name) for name in node.input if name not in constant)
