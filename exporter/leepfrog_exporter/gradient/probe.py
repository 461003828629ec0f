"""Probe models: they map an image and the gradient of its features to the squared gradients of every filter."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import onnx
from leepfrog import __version__
from leepfrog.errors import ModelError
from leepfrog.files import printable, written_whole
from leepfrog.inference.choices import PROBE_SUFFIX
from leepfrog.inference.load import load
from leepfrog.inference.metadata import FEATURES_OUTPUT, IMAGE_INPUT
from leepfrog.inference.model import ModelFile
from leepfrog.progress import Progress, SilentProgress
from leepfrog.task2vec.probe import (
    COTANGENT_INPUT,
    FISHER_OUTPUT,
    Correlation,
    ProbeFile,
    ProbeLayer,
    ProbeMetadata,
)
from leepfrog.task2vec.session import filters
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from leepfrog_exporter.gradient.backward import layers_of, sweep
from leepfrog_exporter.gradient.filters import Layer
from leepfrog_exporter.gradient.simplify import OPSET, all_values, simplified
from leepfrog_exporter.gradient.tape import Shape, Tape, measured_shapes
from leepfrog_exporter.graph.edit import describe

# Allowed relative difference between an image's rows alone and in a batch. Rounding may push activations across a kink,
# which changes filters by a few per cent; rows that mix images differ by their full size.
BATCH_TOLERANCE = 0.1


@dataclasses.dataclass(frozen=True)
class Probe:
    """A probe model with a description of its outputs.

    Attributes:
        model: ONNX model from image [N, 3, H, W] and cotangent [N, D] to fisher [N, F'], which concatenates the layers
            without a correlation, and to the values that the correlations refer to.
        layers: the probed layers, in forward order.
        correlations: correlation of each layer; None if its squared gradients are in `fisher`.
        skipped: number of layers before the first probed one.
    """

    model: onnx.ModelProto
    layers: Sequence[Layer]
    correlations: Sequence[Correlation | None]
    skipped: int

    @property
    def table(self) -> tuple[ProbeLayer, ...]:
        """The layers in the form stored in a probe's metadata."""
        return tuple(
            ProbeLayer(printable(layer.weight), layer.kind, layer.n_filters, layer.n_weights, correlation)
            for layer, correlation in zip(self.layers, self.correlations, strict=True)
        )


def build(scoring: onnx.ModelProto, depth: int | None = None) -> Probe:
    """Build the probe of a scoring model by differentiating it.

    Args:
        scoring: scoring model with input `image` and output `features`.
        depth: number of layers to probe, counted from the end; None for all.

    Raises:
        ModelError: the model cannot be differentiated, for example because an operator has no gradient rule.
    """
    forward = simplified(scoring, FEATURES_OUTPUT)
    graph = forward.graph
    size = [axis.dim_value for axis in graph.input[0].type.tensor_type.shape.dim][1:]
    rng = np.random.default_rng(0)
    images = rng.standard_normal((3, *size)).astype(np.float32)
    two, three = (all_values(forward, {IMAGE_INPUT: images[:n]}) for n in (2, 3))
    opset = next(entry.version for entry in forward.opset_import if entry.domain in ("", "ai.onnx"))
    tape = Tape(graph, measured_shapes(two, three), np.dtype(np.float32), opset)
    all_layers = layers_of(tape, graph)
    layers = all_layers[-(depth or len(all_layers)) :]
    if not layers:
        raise ModelError("has no convolution or linear layer with constant weights to probe")
    seen: dict[str, Layer] = {}
    for layer in layers:
        if layer.weight in seen:
            raise ModelError(
                f"{describe(layer.node)} and {describe(seen[layer.weight].node)} share their weights, "
                "which probes do not support"
            )
        seen[layer.weight] = layer
    if tape.shape(FEATURES_OUTPUT)[0] != -1 or len(tape.shape(FEATURES_OUTPUT)) != 2:
        raise ModelError(f"features have shape {tape.shape(FEATURES_OUTPUT)}; expected one row per image")
    parts = sweep(tape, graph, FEATURES_OUTPUT, COTANGENT_INPUT, layers, two)
    of_layers = list(zip(layers, parts, strict=True))
    shapes: dict[str, Shape] = {
        FISHER_OUTPUT: (-1, sum(layer.n_filters for layer, part in of_layers if isinstance(part, str)))
    }
    for layer, part in of_layers:
        if isinstance(part, Correlation):
            shapes[part.seen], shapes[part.gradient] = tape.shape(part.seen), tape.shape(layer.node.output[0])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape[1:]]) for name, shape in shapes.items()
    ]
    joined = helper.make_node("Concat", [part for part in parts if isinstance(part, str)], [FISHER_OUTPUT], axis=1)
    n_features = tape.shape(FEATURES_OUTPUT)[1]
    model = helper.make_model(
        helper.make_graph(
            [*graph.node, *tape.nodes, joined],
            "probe",
            [*graph.input, helper.make_tensor_value_info(COTANGENT_INPUT, TensorProto.FLOAT, ["N", n_features])],
            outputs,
            [*graph.initializer, *(numpy_helper.from_array(a, name) for name, a in tape.constants.items())],
        ),
        opset_imports=[helper.make_opsetid("", max(opset, OPSET))],
        ir_version=forward.ir_version,
    )
    correlations = [part if isinstance(part, Correlation) else None for part in parts]
    return Probe(model, layers, correlations, len(all_layers) - len(layers))


def export_probe(scoring: ModelFile, depth: int | None = None, progress: Progress | None = None) -> ProbeFile:
    """Write the probe of an exported model next to it, as NAME.fisher.onnx, replacing an existing one.

    Args:
        scoring: the model.
        depth: number of layers to probe, counted from the end; None for all.
        progress: receives the progress of each step.

    Raises:
        ModelError: an operator has no gradient rule, or the probe mixes images.
        MachineError: the file cannot be written.
    """
    progress = progress or SilentProgress()
    progress.start(f"probe of {scoring.name}", 3)
    try:
        probe = build(onnx.load(scoring.path), depth)
        progress.advance(1)
        check(probe)
    except ModelError as error:
        raise ModelError(f"{printable(scoring.path)}: {error}") from None
    progress.advance(1)
    metadata = ProbeMetadata(
        name=scoring.metadata.name,
        scoring_sha256=scoring.sha256,
        preprocess=scoring.metadata.preprocess,
        layers=probe.table,
        n_features=probe.model.graph.input[1].type.tensor_type.shape.dim[1].dim_value,
        skipped=probe.skipped,
    )
    model = probe.model
    model.producer_name, model.producer_version = "leepfrog", __version__
    helper.set_model_props(model, metadata.to_props())
    path = scoring.path.with_name(scoring.path.name.removesuffix(".onnx") + PROBE_SUFFIX)
    with written_whole(path) as stream:
        stream.write(model.SerializeToString())
    progress.advance(1)
    return ProbeFile.read(path)


def check(probe: Probe) -> None:
    """Check that a probe's gradients are finite, not all zero, and independent of the other images in the batch.

    Raises:
        ModelError: the check fails.
    """
    rng = np.random.default_rng(0)
    images, cotangents = (
        rng.standard_normal((3, *(axis.dim_value for axis in value.type.tensor_type.shape.dim[1:]))).astype(np.float32)
        for value in probe.model.graph.input
    )
    session = load(probe.model.SerializeToString())

    def run(rows: slice) -> NDArray[np.float32]:
        return filters(session, probe.table, images[rows], cotangents[rows])

    together = run(slice(None))
    alone = np.concatenate([run(slice(i, i + 1)) for i in range(len(images))])
    if not together.any():
        raise ModelError("all its gradients are zero")
    differences = np.abs(together - alone).sum(axis=1) / np.maximum(alone.sum(axis=1), np.finfo(np.float32).tiny)
    if differences.max() > BATCH_TOLERANCE:
        raise ModelError("an image's gradients depend on the other images in the batch, so it cannot be probed")
