"""Shape inference by onnx_ir's pass, which hands no weights to onnx; onnx by itself copies them thrice."""

from __future__ import annotations

import onnx_ir as ir
from onnx import ModelProto
from onnx_ir.passes.common import ShapeInferencePass

from leepfrog_exporter.quiet import quiet

Shapes = dict[str, list[int]]
"""The axes of values by name; 0 is an open axis."""


def shapes(model: ModelProto, image: tuple[int, ...] = ()) -> Shapes:
    """The axes of each value for which shape inference can tell how many.

    Args:
        model: left as it is.
        image: the axes of the first input, where they are to be others than the model states; the first is the batch.
    """
    with quiet("onnx_ir"):
        try:
            inferred = ir.from_proto(model)
            if image:
                inferred.graph.inputs[0].shape = ir.Shape(image)
                for output in inferred.graph.outputs:
                    output.shape = output.shape and ir.Shape([image[0], *output.shape[1:]])
            ShapeInferencePass(check_type=False, strict_mode=False)(inferred)
        except Exception:  # onnx_ir's readers raise nearly anything, and without shapes there are fewer edits
            return {}
    values = ir.convenience.create_value_mapping(inferred.graph)
    return {
        name: [axis if isinstance(axis, int) else 0 for axis in value.shape]
        for name, value in values.items()
        if value.shape is not None
    }
