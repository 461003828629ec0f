"""Give a graph the input of a scoring model: `image`, [N, 3, H, W] float32, with a free batch axis."""

from __future__ import annotations

from leepfrog.errors import ModelError
from leepfrog.inference.metadata import IMAGE_INPUT
from onnx import ModelProto, TensorProto, helper

from leepfrog_exporter.graph.edit import OWN_PREFIX, free_names, image_inputs, rename, values
from leepfrog_exporter.graph.free_batch import free_batch_axis

_ACCEPTED = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8}


def attach_input(model: ModelProto, input_size: tuple[int, int] | None) -> tuple[int, int]:
    """Make the graph's single input `image`; channels-last inputs get a Transpose, other number types a Cast.

    Args:
        model: changed in place.
        input_size: (height, width) for a graph that leaves them open; otherwise it must agree with the graph.

    Returns:
        (height, width).

    Raises:
        ModelError: not exactly one image input, no batch axis, not three channels, or the size is open or another.
    """
    graph = model.graph
    free_names(graph, [name for name in values(graph) if name.startswith(OWN_PREFIX)])  # exported before
    inputs = image_inputs(graph)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelError(f"has {len(inputs)} inputs ({names}); a scoring model takes one image and nothing else")
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
    channels_last = dims[3] == 3 and dims[1] != 3
    channels = dims[3] if channels_last else dims[1]
    if channels != 3:
        raise ModelError(f"input {old!r} is {shown}: {channels or 'an open number of'} channels; leepfrog feeds three")
    size = _size((dims[1], dims[2]) if channels_last else (dims[2], dims[3]), input_size, old)
    if dims[0] is not None:
        free_batch_axis(model, dims[0])

    free_names(graph, [IMAGE_INPUT] if old != IMAGE_INPUT else [])
    inner = f"{OWN_PREFIX}input"
    rename(graph, old, inner)
    nodes, value = [], IMAGE_INPUT
    if channels_last:
        nodes.append(helper.make_node("Transpose", [value], ["leepfrog_channels_last"], perm=[0, 2, 3, 1]))
        value = "leepfrog_channels_last"
    if kind.elem_type == TensorProto.FLOAT:
        nodes.append(helper.make_node("Identity", [value], [inner]))
    else:
        nodes.append(helper.make_node("Cast", [value], [inner], to=kind.elem_type))
    # Before IR version 4, initializers had to be listed among the inputs too. One that no output needs would be dropped
    # later and leave an input that must be fed.
    model.ir_version = max(model.ir_version, 4)
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(IMAGE_INPUT, TensorProto.FLOAT, ["N", 3, *size]))
    old_nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *old_nodes])
    return size


def _size(stated: tuple[int | None, int | None], wanted: tuple[int, int] | None, name: str) -> tuple[int, int]:
    height, width = stated
    if height and width:
        if wanted not in (None, (height, width)):
            raise ModelError(
                f"input {name!r} is {height} x {width} pixels, not the {wanted[0]} x {wanted[1]} asked for"
            )
        return height, width
    if wanted is None:
        raise ModelError(f"input {name!r} leaves height and width open; say them: --input-size 224")
    if height not in (None, wanted[0]) or width not in (None, wanted[1]):
        raise ModelError(f"input {name!r} is {height or '?'} x {width or '?'} pixels, not {wanted[0]} x {wanted[1]}")
    return wanted
