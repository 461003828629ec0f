"""Find a classifier's last linear layer and give the graph the outputs of a scoring model.

Walking back from the output:

1. Softmax, LogSoftmax: the logits are what goes in.
2. Operators that neither mix classes nor add any (reshaping, pooling over space, activations, a constant bias or scale)
   are passed over.
3. The first Gemm, MatMul with constant weights, or 1x1 Conv is the last linear layer; what it sees are the features.
4. Anything else, and there is no telling what the features are: an error that names the node.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from leepfrog.errors import ModelError
from leepfrog.inference.metadata import FEATURES_OUTPUT, PROBS_OUTPUT
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from leepfrog_exporter.graph.edit import constants, describe, drop_unused, producers, shapes

LOGITS = "leepfrog_logits"
"""The value inside a scoring model that `probs` is the softmax of, float32 [N, Z]."""

_SOFTMAX: dict[str, Literal["softmax", "log-softmax"]] = {"Softmax": "softmax", "LogSoftmax": "log-softmax"}
_PASSED_OVER = {
    "Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Cast", "Dropout", "Relu", "Clip", "GlobalAveragePool",
    "AveragePool", "ReduceMean", "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip
_WITH_A_CONSTANT = {"Add", "Sub", "Mul", "Div"}


@dataclasses.dataclass(frozen=True)
class Head:
    """A classifier's end.

    Attributes:
        logits: the value that a softmax over classes takes.
        features: the value that the last linear layer sees.
        ends_in: what the classifier's own output is.
        channels_last: whether the linear layer works on the features' last axis (MatMul) or on the second (Conv).
    """

    logits: str
    features: str
    ends_in: Literal["logits", "softmax", "log-softmax"]
    channels_last: bool


def find_head(graph: GraphProto, output: str) -> Head:
    """The last linear layer before `output`.

    Raises:
        ModelError: there is none, or something stands between that leepfrog cannot look through.
    """
    made_by, constant = producers(graph), constants(graph)
    value, logits = output, output
    ends_in: Literal["logits", "softmax", "log-softmax"] = "logits"
    while True:
        node = made_by.get(value)
        if node is None:
            raise ModelError(f"no linear layer between input and output {output!r}; it is no classifier")
        if node.op_type in _SOFTMAX and logits == output:
            value = logits = node.input[0]
            ends_in = _SOFTMAX[node.op_type]
        elif _is_linear(node, graph, constant):
            return Head(logits, node.input[0], ends_in, channels_last=node.op_type != "Conv")
        elif node.op_type in _PASSED_OVER:
            value = node.input[0]
        elif node.op_type in _WITH_A_CONSTANT and sum(name not in constant for name in node.input) == 1:
            value = _varying(node, constant)
        elif node.op_type == "Sigmoid":
            raise ModelError(f"ends in {describe(node)}, not a softmax: its outputs are no distribution over classes")
        else:
            raise ModelError(
                f"cannot find the last linear layer: {describe(node)} stands between it and the output; expected "
                "Gemm, MatMul or a 1x1 Conv, then reshaping, pooling, a bias or Softmax"
            )


def attach_outputs(model: ModelProto, head: Head) -> None:
    """Make `probs` and `features` the outputs, both float32 [N, width], and drop what they do not need.

    `probs` is a softmax in float32 whatever the network's own precision. `features` are averaged over space or tokens
    where the linear layer is applied at each position.
    """
    graph = model.graph
    shape = shapes(model).get(head.features)
    nodes = [
        helper.make_node("Flatten", [head.logits], ["leepfrog_logits_flat"], axis=1),
        helper.make_node("Cast", ["leepfrog_logits_flat"], [LOGITS], to=TensorProto.FLOAT),
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
