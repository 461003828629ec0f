"""Export of torch networks as ONNX graphs from `image` to `logits`, with a dynamic batch axis."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from typing import Any

import onnx
from leepfrog.errors import ModelError, one_line

from leepfrog_exporter.networks.packages import package
from leepfrog_exporter.quiet import quiet

# Old enough for onnxruntime 1.17 on embedded boards, new enough for all operators of the zoo's networks.
OPSET = 18
IR_VERSION = 9

_COLORS = re.compile(r"\x1b\[[0-9;]*m")


def trace(module: Any, input_size: tuple[int, int], name: str) -> onnx.ModelProto:
    """Export a network to ONNX through torch.export or, where that fails, torch's older tracer.

    The tracer records one run, so that control flow that depends on the image would be lost; the parity check, on other
    images and batch sizes, would refuse such a graph.

    Args:
        module: torch.nn.Module in evaluation mode.
        input_size: (height, width).
        name: name of the network in messages.

    Raises:
        ModelError: torch cannot trace the network or express it in ONNX either way.
    """
    torch = package("torch")
    example = torch.zeros(2, 3, *input_size)
    problem = ""
    for way in (_exported, _recorded):
        said = io.StringIO()
        try:
            with (
                quiet("torch.onnx"),
                warnings.catch_warnings(),
                contextlib.redirect_stdout(said),
                contextlib.redirect_stderr(said),
            ):
                warnings.simplefilter("ignore")  # the tracers warn about their own internals
                model = way(torch, module, example)
        except Exception as error:
            problem = problem or f"{type(error).__name__}: {one_line(_COLORS.sub('', str(error)))}"
            continue
        model.ir_version = min(model.ir_version, IR_VERSION)
        return model
    raise ModelError(f"{name}: torch cannot export it to ONNX: {problem}")


def _exported(torch: Any, module: Any, example: Any) -> onnx.ModelProto:
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        input_names=["image"],
        output_names=["logits"],
        opset_version=OPSET,
        verbose=False,
    )
    model: onnx.ModelProto = program.model_proto
    return model


def _recorded(torch: Any, module: Any, example: Any) -> onnx.ModelProto:
    stream = io.BytesIO()
    torch.onnx.export(
        module,
        (example,),
        stream,
        dynamo=False,
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
        input_names=["image"],
        output_names=["logits"],
        opset_version=OPSET,
    )
    return onnx.load_model_from_string(stream.getvalue())
