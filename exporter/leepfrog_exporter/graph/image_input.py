"""Input of a scoring model: `image`, [N, 3, H, W] float32, with a dynamic batch axis."""

from __future__ import annotations

from collections.abc import Sequence

from leepfrog.errors import ModelError
from leepfrog.inference.metadata import IMAGE_INPUT
from onnx import ModelProto, NodeProto, TensorProto, helper

from leepfrog_exporter.graph.edit import OWN_PREFIX, free_names, image_inputs, rename, values
from leepfrog_exporter.graph.free_batch import free_batch_axis

_ACCEPTED = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8}

# Weights of red, green and blue in grey: ITU-R 601-2, as in Pillow's mode L.
LUMA = (0.299, 0.587, 0.114)


def attach_input(
    model: ModelProto, input_size: tuple[int, int] | None, usual_size: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Replace the graph's single input by `image`.

    Single-channel inputs receive the image's luma, channels-last inputs a Transpose, other data types a Cast.

    Args:
        model: the model; changed in place.
        input_size: (height, width); if given, it must match those that the graph fixes.
        usual_size: (height, width) for a graph that leaves them dynamic, if `input_size` is None.

    Returns:
        (height, width) of the input.

    Raises:
        ModelError: there is not exactly one image input, it has no batch axis or neither one nor three channels, or its
            size is unknown or differs from `input_size`.
    """
    graph = model.graph
    free_names(graph, [name for name in values(graph) if name.startswith(OWN_PREFIX)])  # from an earlier export
    inputs = image_inputs(graph)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelError(f"has {len(inputs)} inputs ({names}); a scoring model takes a single image")
    old = inputs[0].name
    kind = inputs[0].type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    shown = [dim.dim_param or dim.dim_value or "?" for dim in kind.shape.dim]
    if kind.elem_type not in _ACCEPTED:
        raise ModelError(
            f"input {old!r} is {TensorProto.DataType.Name(kind.elem_type)}; expected float or uint8 pixels"
        )
    if len(dims) == 3:
        raise ModelError(f"input {old!r} is {shown}, without a batch axis; export it with one, [N, 3, H, W]")
    if len(dims) != 4:
        raise ModelError(f"input {old!r} is {shown}; a scoring model takes images [N, 3, H, W]")
    channels, channels_last = layout(dims)
    if channels not in (1, 3):
        raise ModelError(
            f"input {old!r} is {shown}: {channels} channels, but photographs have 3 (or 1, gray); put a layer before "
            f"the network that makes {channels} channels of 3, and export both as one graph"
        )
    size = _size((dims[1], dims[2]) if channels_last else (dims[2], dims[3]), input_size, usual_size, old)
    if dims[0] is not None:
        free_batch_axis(model, dims[0])

    free_names(graph, [IMAGE_INPUT] if old != IMAGE_INPUT else [])
    inner = f"{OWN_PREFIX}input"
    rename(graph, old, inner)
    nodes, value = [], IMAGE_INPUT
    if channels == 1:
        nodes += _grey(model, value, "leepfrog_grey")
        value = "leepfrog_grey"
        if kind.elem_type == TensorProto.UINT8:
            nodes += _whole(model, value, "leepfrog_whole")
            value = "leepfrog_whole"
    if channels_last:
        nodes.append(helper.make_node("Transpose", [value], ["leepfrog_channels_last"], perm=[0, 2, 3, 1]))
        value = "leepfrog_channels_last"
    if kind.elem_type == TensorProto.FLOAT:
        nodes.append(helper.make_node("Identity", [value], [inner]))
    else:
        nodes.append(helper.make_node("Cast", [value], [inner], to=kind.elem_type))
    # Before IR version 4, initializers also had to be listed as inputs. Dropping an unused one later would leave an
    # input that must be fed.
    model.ir_version = max(model.ir_version, 4)
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(IMAGE_INPUT, TensorProto.FLOAT, ["N", 3, *size]))
    old_nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *old_nodes])
    return size


def layout(dims: Sequence[int | None]) -> tuple[int, bool]:
    """Return the number of channels of an input [N, ., ., .], 3 if dynamic, and whether they are its last axis."""
    channels_last = dims[3] in (1, 3) and dims[1] not in (1, 3)
    return (dims[3] if channels_last else dims[1]) or 3, channels_last


def _grey(model: ModelProto, image: str, grey: str) -> list[NodeProto]:
    """Create the nodes from an image [N, 3, H, W] to its luma [N, 1, H, W]."""
    opset = next((imported.version for imported in model.opset_import if imported.domain in ("", "ai.onnx")), 1)
    luma = helper.make_tensor("leepfrog_luma", TensorProto.FLOAT, [1, 3, 1, 1], LUMA)
    channels = helper.make_tensor("leepfrog_channels", TensorProto.INT64, [1], [1])
    model.graph.initializer.extend([luma] if opset < 13 else [luma, channels])
    weighted = helper.make_node("Mul", [image, luma.name], ["leepfrog_weighted"])
    if opset < 13:
        return [weighted, helper.make_node("ReduceSum", [weighted.output[0]], [grey], axes=[1], keepdims=1)]
    return [weighted, helper.make_node("ReduceSum", [weighted.output[0], channels.name], [grey], keepdims=1)]


def _whole(model: ModelProto, value: str, whole: str) -> list[NodeProto]:
    """Create nodes that round to whole numbers, for a Cast that would truncate."""
    half = helper.make_tensor("leepfrog_half", TensorProto.FLOAT, [], [0.5])
    model.graph.initializer.append(half)
    raised = helper.make_node("Add", [value, half.name], ["leepfrog_raised"])
    return [raised, helper.make_node("Floor", [raised.output[0]], [whole])]


def _size(
    stated: tuple[int | None, int | None],
    wanted: tuple[int, int] | None,
    usual: tuple[int, int] | None,
    name: str,
) -> tuple[int, int]:
    height, width = stated
    if height and width:
        if wanted not in (None, (height, width)):
            raise ModelError(f"input {name!r} is {height} x {width} pixels, not {wanted[0]} x {wanted[1]} as requested")
        return height, width
    wanted = wanted or usual
    if wanted is None:
        raise ModelError(f"input {name!r} has dynamic height and width; set them, for example --input-size 224")
    if height not in (None, wanted[0]) or width not in (None, wanted[1]):
        raise ModelError(f"input {name!r} is {height or '?'} x {width or '?'} pixels, not {wanted[0]} x {wanted[1]}")
    return wanted
