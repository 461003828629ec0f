"""Conversion of scoring models to int8, with onnxruntime's static quantization in the QDQ format."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from leepfrog.errors import MachineError, ModelError, one_line
from leepfrog.inference.metadata import IMAGE_INPUT
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data
from onnxruntime.quantization.registry import QDQRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process

from leepfrog_exporter.graph.edit import name_nodes
from leepfrog_exporter.precision.last_softmax import last_softmax

# Number of images whose activations are all held in memory at once.
IMAGES_AT_ONCE = 4

# Methods to determine an activation's range from the calibration images: the full range, or the 99.99th percentile, so
# that outliers do not coarsen the quantization steps of all other values.
RANGES = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "percentile": (CalibrationMethod.Percentile, {"percentile": 99.99, "symmetric": False}),
}
# If a step fails and the temporary folder has less free space than this, in bytes, the disk is reported as full.
LEAST_SPACE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A quantization recipe.

    Attributes:
        per_channel: whether each output channel of a weight has its own scale, instead of one scale for all.
        ranges: calibration method of activation ranges, a key of RANGES.
    """

    per_channel: bool
    ranges: str

    def __str__(self) -> str:
        return f"{'per channel' if self.per_channel else 'per tensor'}, {self.ranges}"


RECIPES = tuple(Recipe(per_channel, ranges) for ranges in RANGES for per_channel in (False, True))


def to_int8(
    model: onnx.ModelProto, images: Sequence[NDArray[np.float32]], recipes: Sequence[Recipe] = RECIPES
) -> Iterator[tuple[Recipe, onnx.ModelProto]]:
    """Quantize a model to int8 weights and uint8 activations, and yield the result of each recipe.

    The graph is simplified first (constants folded, batch-norm folded into convolutions). Activations are uint8, for
    which x86 has faster kernels; ARM supports both. The softmax that computes `probs` stays float32.

    Args:
        model: a scoring model in float32.
        images: preprocessed calibration images, [1, 3, H, W] each, which determine the ranges of activations.
        recipes: recipes to try.

    Raises:
        ModelError: the model is already quantized, or onnxruntime cannot quantize it.
        MachineError: the folder for temporary files is full or not writable.
    """
    if any(node.op_type in ("QuantizeLinear", "QLinearConv", "ConvInteger") for node in model.graph.node):
        raise ModelError("is already quantized; quantize its float32 original instead")
    with tempfile.TemporaryDirectory(prefix="leepfrog-int8-") as folder:
        simple, ranges, made = (Path(folder) / name for name in ("simple.onnx", "ranges.json", "made.onnx"))
        with _step("cannot be quantized"):
            onnx.save(model, simple)
            quant_pre_process(str(simple), simple, skip_symbolic_shape=True)
            graph = onnx.load(simple)
            name_nodes(graph.graph)
            onnx.save(graph, simple)
        kept = [node.name for node in last_softmax(graph.graph)]
        measured = ""
        for recipe in sorted(recipes, key=lambda recipe: recipe.ranges):
            method, _ = RANGES[recipe.ranges]
            with _step(f"cannot be quantized ({recipe})"):
                if measured != recipe.ranges:
                    ranges.unlink(missing_ok=True)
                    _measure_ranges(simple, recipe.ranges, images, ranges)
                    measured = recipe.ranges
                quantize_static(
                    simple,
                    made,
                    None,
                    quant_format=QuantFormat.QDQ,
                    op_types_to_quantize=list(QDQRegistry),
                    per_channel=recipe.per_channel,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=kept,
                    calibrate_method=method,
                    calibration_cache_path=ranges,
                )
            yield recipe, onnx.load(made)


def _measure_ranges(model: Path, ranges: str, images: Sequence[NDArray[np.float32]], result: Path) -> None:
    method, options = RANGES[ranges]
    calibrator = create_calibrator(
        model,
        list(QDQRegistry),
        augmented_model_path=str(result.with_suffix(".augmented.onnx")),
        calibrate_method=method,
        extra_options=options,
    )
    for start in range(0, len(images), IMAGES_AT_ONCE):
        calibrator.collect_data(_Reader(images[start : start + IMAGES_AT_ONCE]))
    save_tensors_data(calibrator.compute_data(), result)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no type hints
    def __init__(self, images: Sequence[NDArray[np.float32]]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next image; None after the last one."""
        image = next(self._images, None)
        return None if image is None else {IMAGE_INPUT: image}


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    """Run a step of the quantizer, with its output suppressed (stdout is for results); errors start with `what`."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except OSError as error:
        raise MachineError(f"{what}: {error.strerror or error} (temporary folder: {tempfile.gettempdir()})") from None
    except Exception as error:  # the quantizer may raise almost anything
        folder = tempfile.gettempdir()
        if shutil.disk_usage(folder).free < LEAST_SPACE:  # onnxruntime truncates files silently
            raise MachineError(f"{what}: {os.strerror(errno.ENOSPC)} (temporary folder: {folder})") from None
        raise ModelError(f"{what}: {one_line(error)}") from None
    finally:
        logging.disable(disabled)
