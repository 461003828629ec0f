"""Networks that must see one image at a time, since they quantize each batch with a single range."""

from __future__ import annotations

from leepfrog.inference.metadata import IMAGE_INPUT
from onnx import GraphProto, ModelProto, TensorProto, helper

from leepfrog_exporter.graph.edit import OWN_PREFIX, rename, subgraphs
from leepfrog_exporter.graph.heads.base import LOGITS

_PREFIX = f"{OWN_PREFIX}one_"


def quantizes_batches(graph: GraphProto) -> bool:
    """Return whether nodes choose the range of a quantization by all images in a batch (dynamic quantization)."""
    return any(
        node.op_type.startswith("DynamicQuantize") or any(map(quantizes_batches, subgraphs(node)))
        for node in graph.node
    )


def run_one_by_one(model: ModelProto) -> None:
    """Run a scoring model's network on each image of a batch by itself, in a Scan; the outputs are the same per image.

    Args:
        model: a scoring model with the input `image`, [N, 3, H, W], and float32 outputs [N, width]; changed in place.
    """
    graph = model.graph
    size = [axis.dim_value for axis in graph.input[0].type.tensor_type.shape.dim[1:]]
    shapes = {f"{_PREFIX}batch_shape": [1, *size], f"{_PREFIX}row_shape": [-1]}
    outputs = [output.name for output in graph.output]
    # The parity check reads the logits, too.
    names = [*outputs, *(LOGITS for node in graph.node if LOGITS in node.output)]
    rename(graph, IMAGE_INPUT, f"{_PREFIX}batch")
    nodes = [helper.make_node("Reshape", [f"{_PREFIX}image", f"{_PREFIX}batch_shape"], [f"{_PREFIX}batch"])]
    rows = []
    for name in names:
        rename(graph, name, f"{_PREFIX}{name}")
        rows.append(helper.make_node("Reshape", [f"{_PREFIX}{name}", f"{_PREFIX}row_shape"], [f"{_PREFIX}{name}_row"]))
    body = helper.make_graph(
        [*nodes, *graph.node, *rows],
        "network",
        [helper.make_tensor_value_info(f"{_PREFIX}image", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info(row.output[0], TensorProto.FLOAT, [None]) for row in rows],
    )
    del graph.node[:], graph.output[:]
    graph.input[0].name = IMAGE_INPUT
    graph.node.append(helper.make_node("Scan", [IMAGE_INPUT], names, num_scan_inputs=1, body=body))
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", None]) for name in outputs)
    graph.initializer.extend(
        helper.make_tensor(name, TensorProto.INT64, [len(shape)], shape) for name, shape in shapes.items()
    )
