"""Outputs of a scoring model: `features`, and `probs` for classifiers."""

from __future__ import annotations

from leepfrog.errors import ModelError
from leepfrog.inference.metadata import FEATURES_OUTPUT, PROBS_OUTPUT
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from leepfrog_exporter.graph.edit import drop_unused
from leepfrog_exporter.graph.heads.base import LOGITS, Classifier, Head, Location
from leepfrog_exporter.graph.shapes import shapes

# What transformers and Optimum call the outputs of networks without a classifier, best first: features of the whole
# image, then of each token.
TOWER_OUTPUTS = ("image_embeds", "pooler_output", "last_hidden_state")
USUAL_OUTPUTS = ("logits", *TOWER_OUTPUTS)


def pick_output(graph: GraphProto, chosen: str | None) -> str:
    """Keep the chosen, usual or only output, which holds the classes or features, and drop all others; return its name.

    Raises:
        ModelError: there is no such output, or there are several and none is chosen or usual.
    """
    names = [value.name for value in graph.output]
    if chosen is None and len(names) > 1:
        chosen = next((name for name in USUAL_OUTPUTS if name in names), None)
    if chosen is not None and chosen not in names:
        raise ModelError(f"has no output {chosen!r}; it has {', '.join(names)}")
    if chosen is None and len(names) != 1:
        listed = ", ".join(names)
        raise ModelError(f"has {len(names)} outputs ({listed}); choose the one with the classes: --output-name NAME")
    kept = 0 if chosen is None else names.index(chosen)
    del graph.output[kept + 1 :], graph.output[:kept]
    return str(names[kept])


def attach_outputs(model: ModelProto, head: Head) -> None:
    """Replace the outputs by `features` and, for classifiers, `probs`, both float32 [N, width]; drop unused nodes.

    `probs` is a float32 softmax, regardless of the network's own precision. `features` is averaged over space or tokens
    if there are several positions. A single logit z becomes the logits 0 and z of two classes.
    """
    graph = model.graph
    names = [FEATURES_OUTPUT]
    if isinstance(head, Classifier):
        names = [PROBS_OUTPUT, FEATURES_OUTPUT]
        graph.node.extend(_probs(graph, head))
    at = shapes(model)
    pooled = []
    for number, location in enumerate(head.locations):
        prefix = f"leepfrog_{number}_" if number else "leepfrog_"
        graph.node.extend(_pooled(graph, location, len(at.get(location.value, [])), prefix))
        pooled.append(f"{prefix}vector")
    if len(pooled) > 1:
        graph.node.append(helper.make_node("Concat", pooled, [FEATURES_OUTPUT], axis=1))
    else:
        graph.node.append(helper.make_node("Identity", pooled, [FEATURES_OUTPUT]))
    del graph.output[:]
    for name in names:
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", None]))
    drop_unused(graph)


def _pooled(graph: GraphProto, location: Location, n_axes: int, prefix: str) -> list[NodeProto]:
    """Create the nodes from a value with features to one vector per image, PREFIXvector [N, D]."""
    value, vector = f"{prefix}features", f"{prefix}vector"
    nodes = [helper.make_node("Cast", [location.value], [value], to=TensorProto.FLOAT)]
    if location.scale != 1 or location.zero != 0:
        numbers = {f"{prefix}zero_point": location.zero, f"{prefix}scale": location.scale}
        graph.initializer.extend(
            helper.make_tensor(name, TensorProto.FLOAT, [], [number]) for name, number in numbers.items()
        )
        shifted, scaled = f"{prefix}shifted", f"{prefix}scaled"
        nodes.append(helper.make_node("Sub", [value, f"{prefix}zero_point"], [shifted]))
        nodes.append(helper.make_node("Mul", [shifted, f"{prefix}scale"], [scaled]))
        value = scaled
    is_tokens = location.channels_last and n_axes > 2
    if is_tokens and location.first_token:
        graph.initializer.append(helper.make_tensor(f"{prefix}first", TensorProto.INT64, [1], [0]))
        token = helper.make_node("Gather", [value, f"{prefix}first"], [f"{prefix}token"], axis=1)
        return [*nodes, token, helper.make_node("Flatten", [token.output[0]], [vector], axis=1)]
    if is_tokens:
        channels_first = [0, n_axes - 1, *range(1, n_axes - 1)]
        nodes.append(helper.make_node("Transpose", [value], [f"{prefix}tokens"], perm=channels_first))
        value = f"{prefix}tokens"
    if is_tokens or not location.channels_last:
        nodes.append(helper.make_node("GlobalAveragePool", [value], [f"{prefix}pooled"]))
        nodes.append(helper.make_node("Flatten", [f"{prefix}pooled"], [vector], axis=1))
    else:
        nodes.append(helper.make_node("Identity", [value], [vector]))
    return nodes


def _probs(graph: GraphProto, head: Classifier) -> list[NodeProto]:
    """Create the nodes from a classifier's logits to `probs`."""
    logits = "leepfrog_logit" if head.binary else LOGITS
    nodes = [
        helper.make_node("Flatten", [head.logits], ["leepfrog_logits_flat"], axis=1),
        helper.make_node("Cast", ["leepfrog_logits_flat"], [logits], to=TensorProto.FLOAT),
    ]
    if head.binary:
        graph.initializer.append(helper.make_tensor("leepfrog_zero", TensorProto.FLOAT, [], [0]))
        nodes.append(helper.make_node("Mul", [logits, "leepfrog_zero"], ["leepfrog_other_logit"]))
        nodes.append(helper.make_node("Concat", ["leepfrog_other_logit", logits], [LOGITS], axis=1))
    return [*nodes, helper.make_node("Softmax", [LOGITS], [PROBS_OUTPUT], axis=1)]
