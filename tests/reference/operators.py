"""Operators that ONNX's reference evaluator lacks or evaluates inexactly, for checks against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import scipy.special
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference.op_run import OpRun

OPSET = 20


class Erf(OpRun):  # type: ignore[misc]
    """Erf in float64; the evaluator's version rounds to float32."""

    def _run(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64]]:
        return (np.asarray(scipy.special.erf(x)),)


class Gelu(OpRun):  # type: ignore[misc]
    """Gelu in float64; the evaluator's version uses its float32 Erf."""

    def _run(self, x: NDArray[np.float64], approximate: str = "none") -> tuple[NDArray[np.float64]]:
        if approximate == "tanh":
            return (0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),)
        return (0.5 * x * (1 + np.asarray(scipy.special.erf(x / np.sqrt(2)))),)


class MaxPool(OpRun):  # type: ignore[misc]
    """MaxPool of onnxruntime, whose indices count through the whole input as ONNX requires; the evaluator's do not."""

    def _run(self, x: NDArray[np.float64], **given: Any) -> tuple[NDArray[Any], ...]:
        named = {name: value for name, value in given.items() if value is not None}
        node = helper.make_node("MaxPool", ["x"], ["y", "i"], **named)
        shown = [
            helper.make_tensor_value_info("y", TensorProto.DOUBLE, None),
            helper.make_tensor_value_info("i", TensorProto.INT64, None),
        ]
        graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.DOUBLE, x.shape)], shown)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return tuple(session.run(None, {"x": x}))[: len(self.onnx_node.output)]
