"""Feature extractors: every exported network, at several input sizes, cut after its blocks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog.inference.metadata import FEATURES_OUTPUT, PROBS_OUTPUT
from leepfrog.inference.model import ModelFile
from leepfrog_exporter.graph.shapes import shapes
from onnx import TensorProto, helper

# Maximum number of features of a cut; wider cuts are slow to score and add little information.
WIDEST = 2100


@dataclasses.dataclass(frozen=True)
class Trunk:
    """Network at an input size, with an output for each cut.

    Attributes:
        name: NETWORK@SIZE.
        content: serialized ONNX model with the outputs `features`, each cut, and `probs` if available.
        cuts: names of the feature outputs; the last one is `features`.
        preprocess: preprocessing of images.
        has_probs: whether the model has the output `probs`.
    """

    name: str
    content: bytes
    cuts: tuple[str, ...]
    preprocess: PreprocessSpec
    has_probs: bool


def trunk(path: Path, size: int) -> Trunk:
    """Return a scoring model at an input size, with an output for each cut."""
    file = ModelFile.read(path)
    model = onnx.load(path)
    _pool_globally(model)
    at = shapes(model, (1, 3, size, size))
    graph = model.graph
    for axis, value in zip(graph.input[0].type.tensor_type.shape.dim[2:], (size, size), strict=True):
        axis.Clear()
        axis.dim_value = value
    del graph.value_info[:]
    cuts = []
    for i, value in enumerate(_block_ends(graph, at)):
        name = f"cut{i}"
        graph.node.append(helper.make_node("GlobalAveragePool", [value], [f"{name}_pooled"]))
        graph.node.append(helper.make_node("Flatten", [f"{name}_pooled"], [name], axis=1))
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", None]))
        cuts.append(name)
    spec = file.metadata.preprocess
    larger = tuple(round(side * size / of) for side, of in zip(spec.resize_size, spec.input_size, strict=True))
    spec = dataclasses.replace(spec, input_size=(size, size), resize_size=larger)
    has_probs = any(output.name == PROBS_OUTPUT for output in graph.output)
    return Trunk(f"{file.name}@{size}", model.SerializeToString(), (*cuts, FEATURES_OUTPUT), spec, has_probs)


def _pool_globally(model: onnx.ModelProto) -> None:
    """Replace pools over the whole map by global pools, so that they cover the map at any input size."""
    at = shapes(model)
    for node in model.graph.node:
        windows = [list(attribute.ints) for attribute in node.attribute if attribute.name == "kernel_shape"]
        if node.op_type == "AveragePool" and windows and at.get(node.input[0], [])[2:] == windows[0]:
            node.op_type = "GlobalAveragePool"
            del node.attribute[:]


def _block_ends(graph: onnx.GraphProto, at: dict[str, list[int]]) -> list[str]:
    """Return the last value of each resolution, and one from the middle of the resolution with most blocks."""
    by_side: dict[int, list[str]] = {}
    for node in graph.node:
        for value in node.output:
            axes = at.get(value, [])
            if node.op_type in ("Add", "Conv", "Clip", "Relu") and len(axes) == 4 and axes[2] == axes[3] > 1:
                by_side.setdefault(axes[2], []).append(value)
    ends = []
    longest = max(by_side, key=lambda side: len(by_side[side]), default=0)
    for side in sorted(by_side, reverse=True)[1:]:
        values = by_side[side]
        if side == longest:
            adds = [value for value in values if at[value][1] == at[values[len(values) // 2]][1]]
            ends.append(adds[len(adds) // 2])
        ends.append(values[-1])
    return [value for value in dict.fromkeys(ends) if at[value][1] <= WIDEST]
