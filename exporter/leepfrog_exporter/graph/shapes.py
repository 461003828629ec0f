"""Shape inference with onnx_ir, which does not pass weights to onnx; onnx alone would copy them three times."""

from __future__ import annotations

import onnx_ir as ir
from onnx import ModelProto
from onnx_ir.passes.common import ShapeInferencePass

from leepfrog_exporter.quiet import quiet

Shapes = dict[str, list[int]]
"""Axis lengths of values by name; 0 for a dynamic axis."""


def shapes(model: ModelProto, image: tuple[int, ...] = ()) -> Shapes:
    """Return the axis lengths of each value whose rank shape inference can determine.

    Args:
        model: the model; not changed.
        image: shape to use for the first input instead of the model's own, with the batch as first axis; () to keep it.
    """
    with quiet("onnx_ir"):
        try:
            inferred = ir.from_proto(model)
            if image:
                inferred.graph.inputs[0].shape = ir.Shape(image)
                for output in inferred.graph.outputs:
                    output.shape = output.shape and ir.Shape([image[0], *output.shape[1:]])
            ShapeInferencePass(check_type=False, strict_mode=False)(inferred)
        except Exception:  # onnx_ir may raise almost anything; without shapes, fewer edits are done
            return {}
    values = ir.convenience.create_value_mapping(inferred.graph)
    return {
        name: [axis if isinstance(axis, int) else 0 for axis in value.shape]
        for name, value in values.items()
        if value.shape is not None
    }
