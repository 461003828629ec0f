"""The reference graph for relative latencies: a few MobileNet-like layers, used only for timing.

    python -m leepfrog_exporter.latency_reference

writes it into the runtime package. Changing the graph changes the unit of relative latencies, so existing baselines
would have to be regenerated.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from leepfrog.costs.worker import REFERENCE
from leepfrog.files import write_whole
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 13, 8
SIZE = 112
# Output channels, kernel size, stride, groups.
LAYERS = (
    (32, 3, 2, 1),
    (32, 3, 1, 32),
    (64, 1, 1, 1),
    (64, 3, 2, 64),
    (128, 1, 1, 1),
    (128, 3, 1, 128),
    (128, 1, 1, 1),
)


def reference_graph() -> onnx.ModelProto:
    """Build the graph: an image [1, 3, 112, 112] through convolutions with constant weights, to keep the file small."""
    nodes, constants = [], []
    value, channels = "image", 3
    for i, (out, kernel, stride, groups) in enumerate(LAYERS):
        shape = np.array([out, channels // groups, kernel, kernel], np.int64)
        constants.append(numpy_helper.from_array(shape, f"shape_{i}"))
        # Each layer averages its input, which avoids overflow and denormal numbers, whose arithmetic is slow.
        weight = numpy_helper.from_array(np.array([1 / np.prod(shape[1:])], np.float32))
        nodes.append(helper.make_node("ConstantOfShape", [f"shape_{i}"], [f"weights_{i}"], value=weight))
        pads = [kernel // 2] * 4
        nodes.append(
            helper.make_node(
                "Conv", [value, f"weights_{i}"], [f"conv_{i}"],
                kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, group=groups,
            )
        )  # fmt: skip
        nodes.append(helper.make_node("Relu", [f"conv_{i}"], [f"relu_{i}"]))
        value, channels = f"relu_{i}", out
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["mean"]))
    graph = helper.make_graph(
        nodes,
        "calibration",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1, channels, 1, 1])],
        constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="leepfrog")
    onnx.checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    write_whole(Path(REFERENCE), reference_graph().SerializeToString())
