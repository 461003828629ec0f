"""Small synthetic ONNX classifiers of every supported form, each with a NumPy reference.

All have a 3x3 convolution with 6 filters and a ReLU, followed by one of HEADS, and take images of 8 x 8 pixels.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog.inference.metadata import ModelMetadata
from leepfrog_exporter.export import ExportOptions
from leepfrog_exporter.presets import PreprocessChoice
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]

SIDE, WIDTH, CLASSES = 8, 6, 5
HEADS = ("gemm", "matmul", "tokens", "positions", "conv", "squeezenet")
IMAGENET = PreprocessChoice(preset="imagenet")
SPEC = PreprocessSpec(input_size=(SIDE, SIDE), resize_size=(SIDE + 1, SIDE + 1))
_NUMPY = {TensorProto.FLOAT16: np.float16, TensorProto.DOUBLE: np.float64}


@dataclasses.dataclass
class Made:
    """Synthetic model with its weights and head."""

    model: ModelProto
    weights: dict[str, NDArray[np.floating]]
    head: str

    def save(self, path: Path) -> Path:
        """Write the model to one file."""
        path.write_bytes(self.model.SerializeToString())
        return path

    def expected(self, images: Floats) -> tuple[Floats, Floats]:
        """Return probs [n, Z] and features [n, D] of images [n, 3, H, W], computed in float64 with NumPy."""
        w = {name: value.astype(np.float64) for name, value in self.weights.items()}
        padded = np.pad(images.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        maps = np.maximum(np.einsum("nchwij,fcij->nfhw", windows, w["filters"]) + w["shift"][:, None, None], 0)
        features = maps.mean(axis=(2, 3))
        logits = features @ w["linear"] + w["bias"]
        if self.head == "squeezenet":  # the ReLU comes before the mean
            at_each = np.einsum("nfhw,fz->nzhw", maps, w["linear"]) + w["bias"][:, None, None]
            logits = np.maximum(at_each, 0).mean(axis=(2, 3))
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True), features


def classifier(
    head: str = "gemm",
    *,
    tail: tuple[str, ...] = (),
    shape: tuple[int | str | None, ...] = ("N", 3, SIDE, SIDE),
    kind: int = TensorProto.FLOAT,
    classes: int = CLASSES,
    opset: int = 17,
    ir: int = 8,
    names: tuple[str, str, str] = ("pixels", "deep", "scores"),
    fixed_reshape: int | None = None,
) -> Made:
    """Build a classifier.

    Args:
        head: one of HEADS.
        tail: operators after the logits: Softmax, LogSoftmax, Sigmoid.
        shape: shape of the input; a last axis of 3 means channels last.
        kind: data type of the input, and of the weights unless it is UINT8.
        classes: number of classes, Z.
        opset: opset version of the default ONNX domain.
        ir: IR version; below 4, the weights are also graph inputs.
        names: names of the input, of the input to the linear layer, and of the output.
        fixed_reshape: flatten with a Reshape to [fixed_reshape, -1].
    """
    image, deep, out = names
    number = _NUMPY.get(kind, np.float32)
    rng = np.random.default_rng(0)
    weights = {
        "filters": rng.normal(0, 0.4, (WIDTH, 3, 3, 3)).astype(number),
        "shift": rng.normal(0, 0.2, WIDTH).astype(number),
        "linear": rng.normal(0, 1, (WIDTH, classes)).astype(number),
        "bias": rng.normal(0, 0.3, classes).astype(number),
    }
    tensors = {**weights, "pointwise": weights["linear"].T.reshape(classes, WIDTH, 1, 1)}
    node = helper.make_node
    nodes, value = [], image
    if kind == TensorProto.UINT8:
        nodes.append(node("Cast", [value], ["floats"], to=TensorProto.FLOAT))
        value = "floats"
    if shape[-1] == 3:
        nodes.append(node("Transpose", [value], ["channels_first"], perm=[0, 3, 1, 2]))
        value = "channels_first"
    nodes.append(node("Conv", [value, "filters", "shift"], ["conv"], pads=[1, 1, 1, 1]))
    nodes.append(node("Relu", ["conv"], ["maps"]))
    chain = [out] if not tail else ["logits", *(f"tail{i}" for i in range(1, len(tail))), out]
    tensors["flat"] = np.array([fixed_reshape or 0, -1], np.int64)
    tensors["sequence"] = np.array([0, WIDTH, SIDE * SIDE], np.int64)
    nodes += _HEADS[head](deep, chain[0], fixed_reshape is not None)
    nodes += [node(op, [chain[i]], [chain[i + 1]]) for i, op in enumerate(tail)]
    used = {name for n in nodes for name in n.input}
    initializers = [numpy_helper.from_array(array, name) for name, array in tensors.items() if name in used]
    inputs = [helper.make_tensor_value_info(image, kind, shape)]
    if ir < 4:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in initializers]
    outputs = [helper.make_empty_tensor_value_info(out)]
    outputs[0].type.tensor_type.elem_type = TensorProto.FLOAT if kind == TensorProto.UINT8 else kind
    graph = helper.make_graph(nodes, "made", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    return Made(model, weights, head)


def _gemm(deep: str, logits: str, fixed: bool) -> list[NodeProto]:
    node = helper.make_node
    flatten = node("Reshape", ["mean", "flat"], [deep]) if fixed else node("Flatten", ["mean"], [deep])
    return [
        node("GlobalAveragePool", ["maps"], ["mean"]),
        flatten,
        node("Gemm", [deep, "linear", "bias"], [logits]),
    ]


def _matmul(deep: str, logits: str, fixed: bool) -> list[NodeProto]:
    node = helper.make_node
    return [
        node("ReduceMean", ["maps"], [deep], axes=[2, 3], keepdims=0),
        node("MatMul", [deep, "linear"], ["product"]),
        node("Add", ["bias", "product"], [logits]),
    ]


def _tokens(deep: str, logits: str, fixed: bool) -> list[NodeProto]:
    node = helper.make_node
    return [
        node("Reshape", ["maps", "sequence"], ["rows"]),
        node("Transpose", ["rows"], [deep], perm=[0, 2, 1]),
        node("MatMul", [deep, "linear"], ["product"]),
        node("Add", ["product", "bias"], ["biased"]),
        node("ReduceMean", ["biased"], [logits], axes=[1], keepdims=0),
    ]


def _positions(deep: str, logits: str, fixed: bool) -> list[NodeProto]:
    node = helper.make_node
    return [
        node("Transpose", ["maps"], [deep], perm=[0, 2, 3, 1]),
        node("MatMul", [deep, "linear"], ["product"]),
        node("Add", ["product", "bias"], ["biased"]),
        node("ReduceMean", ["biased"], [logits], axes=[1, 2], keepdims=0),
    ]


def _conv(deep: str, logits: str, fixed: bool) -> list[NodeProto]:
    node = helper.make_node
    return [
        node("GlobalAveragePool", ["maps"], [deep]),
        node("Conv", [deep, "pointwise", "bias"], ["square"]),
        node("Flatten", ["square"], [logits]),
    ]


def _squeezenet(deep: str, logits: str, fixed: bool) -> list[NodeProto]:
    node = helper.make_node
    return [
        node("Dropout", ["maps"], [deep]),
        node("Conv", [deep, "pointwise", "bias"], ["square"], kernel_shape=[1, 1]),
        node("Relu", ["square"], ["positive"]),
        node("GlobalAveragePool", ["positive"], ["pooled"]),
        node("Flatten", ["pooled"], [logits]),
    ]


_HEADS = dict(zip(HEADS, (_gemm, _matmul, _tokens, _positions, _conv, _squeezenet), strict=True))


def add_tail(made: Made, *nodes: NodeProto, output: str, **constants: NDArray[np.generic]) -> Made:
    """Append nodes to a classifier; `output` becomes its new output."""
    made.model.graph.node.extend(nodes)
    made.model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    made.model.graph.output[0].name = output
    return made


def external(made: Made, location: str, offset: int | None = None) -> ModelProto:
    """Return a copy of the model that declares its filters as external data in `location`."""
    model = ModelProto()
    model.CopyFrom(made.model)
    tensor = next(t for t in model.graph.initializer if t.name == "filters")
    onnx.external_data_helper.set_external_data(tensor, location, offset=offset, length=len(tensor.raw_data))
    tensor.ClearField("raw_data")
    return model


def options(**values: object) -> ExportOptions:
    """Return export options, with ImageNet preprocessing by default."""
    return ExportOptions(**{"preprocess": IMAGENET, **values})  # type: ignore[arg-type]


def input_size(side: int) -> PreprocessChoice:
    """Return the choice of an input size alone."""
    return PreprocessChoice(input_size=(side, side))


def scoring(**changes: object) -> ModelProto:
    """Return a hand-built valid scoring model; `changes` override its metadata."""
    made = classifier(tail=("Softmax",), names=("image", "features", "probs"))
    graph = made.model.graph
    del graph.output[:]
    for name, width in (("probs", CLASSES), ("features", WIDTH)):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]))
    metadata = dataclasses.replace(ModelMetadata("made", "onnx:made.onnx", SPEC), **changes)  # type: ignore[arg-type]
    helper.set_model_props(made.model, metadata.to_props())
    return made.model


def embedder(name: str = "embedder", **changes: object) -> ModelProto:
    """Return a scoring model without probabilities; its features are those of `scoring` with reversed filters."""
    model = scoring(name=name, source=f"onnx:{name}.onnx", has_probs=False, **changes)
    graph = model.graph
    del graph.node[[each.output[0] for each in graph.node].index("features") + 1 :]
    del graph.output[0]
    kept = [each for each in graph.initializer if each.name in {name for each in graph.node for name in each.input}]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    filters = next(each for each in graph.initializer if each.name == "filters")
    filters.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(filters)[::-1, ::-1].copy(), "filters"))
    return model


def scoring_through(output: str, *nodes: NodeProto, **constants: NDArray[np.generic]) -> ModelProto:
    """Return a scoring model with extra nodes before one output; they read "before" and write the output's name."""
    model = scoring(name=f"odd_{output}")
    for node in model.graph.node:
        node.output[:] = ["before" if name == output else name for name in node.output]
        node.input[:] = ["before" if name == output else name for name in node.input]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    return model


def endless() -> ModelProto:
    """Return a scoring model whose features pass through an infinite loop."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still_on"]), helper.make_node("Abs", ["value"], ["next"])],
        "body",
        [value("i", TensorProto.INT64, []), value("on", TensorProto.BOOL, []), value("value", TensorProto.FLOAT, None)],
        [value("still_on", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, None)],
    )
    loop = helper.make_node("Loop", ["", "go", "before"], ["looped"], body=body)
    shape = helper.make_node("Reshape", ["looped", "shape"], ["features"])
    return scoring_through("features", loop, shape, go=np.array(True), shape=np.array([-1, WIDTH]))


def slow_to_load(products: int = 40, side: int = 3000) -> ModelProto:
    """Return a scoring model whose constants take onnxruntime minutes to fold when it loads the model."""
    node = helper.make_node
    square = node("ConstantOfShape", ["square"], ["c0"], value=numpy_helper.from_array(np.array([1e-4], np.float32)))
    chain = [node("MatMul", [f"c{i}", f"c{i}"], [f"c{i + 1}"]) for i in range(products)]
    end = [node("ReduceSum", [f"c{products}"], ["sum"], keepdims=0), node("Add", ["before", "sum"], ["features"])]
    return scoring_through("features", square, *chain, *end, square=np.array([side, side]))


def images(n: int, seed: int = 1) -> Floats:
    """Return a normalized batch [n, 3, H, W]."""
    return np.random.default_rng(seed).normal(0, 1, (n, 3, SIDE, SIDE)).astype(np.float32)
