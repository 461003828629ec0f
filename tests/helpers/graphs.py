"""Small graphs for tests of graph editing."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import GraphProto, TensorProto, helper, numpy_helper


def graph_of(*nodes: onnx.NodeProto, output: str = "y", **arrays: np.ndarray) -> GraphProto:
    """Return a graph with the input x [N, 6] and one output."""
    return helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
