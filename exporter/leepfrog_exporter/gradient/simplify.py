"""Preparation of the forward graph for differentiation: a single output, folded constants, and all values of a run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from leepfrog.errors import ModelError, one_line
from leepfrog.inference.load import load
from numpy.typing import NDArray
from onnx import helper, version_converter

from leepfrog_exporter.graph.edit import describe, drop_unused, subgraphs

# ScatterElements supports addition from opset 16, ReduceSumSquare takes its axes as an input from 18.
OPSET = 18
# Fusing a product of more than two axes into a Gemm adds two reshapes and hides which rows belong to one sample.
NOT_WANTED = ["MatMulAddFusion"]


def simplified(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """Return the model with a single output, folded constants and batch-norms, and an opset of at least OPSET.

    Folding a batch-norm into the preceding convolution multiplies the filter's weights by a constant, and so divides
    the filter's Fisher information by the square of that constant.

    Raises:
        ModelError: onnxruntime or the version converter rejects the model, or it has control flow.
    """
    pruned = onnx.ModelProto()
    pruned.CopyFrom(model)
    kept = [value for value in pruned.graph.output if value.name == output]
    if not kept:
        raise ModelError(f"has no output {output!r}")
    del pruned.graph.output[:]
    pruned.graph.output.extend(kept)
    drop_unused(pruned.graph)
    version = next((entry.version for entry in pruned.opset_import if entry.domain in ("", "ai.onnx")), 1)
    if version < OPSET:
        try:
            pruned = version_converter.convert_version(pruned, OPSET)
        except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
            reason = one_line(error)
            raise ModelError(f"cannot be converted from opset {version} to {OPSET}: {reason}") from None
    folded = _folded(pruned)
    for node in folded.graph.node:
        if next(subgraphs(node), None) is not None:
            raise ModelError(f"cannot differentiate {describe(node)}: control flow is not supported")
    return folded


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory(prefix="leepfrog-") as folder:
        path = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(path)
        try:
            load(model.SerializeToString(), options, disabled_optimizers=NOT_WANTED)
            return onnx.load(path)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise ModelError(f"onnxruntime cannot fold its constants: {one_line(error)}") from None


def all_values(model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return every value that a model computes from the given inputs, and the inputs themselves."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output if name]
    del shown.graph.output[:]
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = load(shown.SerializeToString(), options)
    return {**feeds, **dict(zip(names, session.run(names, dict(feeds)), strict=True))}
