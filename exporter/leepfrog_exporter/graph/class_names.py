"""Tails that turn scores of classes into names, as in exports from Custom Vision and scikit-learn: cut off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from leepfrog_exporter.graph.edit import attributes, constants, producers, stored

# Operators between the index of the best class and its name.
_NAMING = {
    "ArrayFeatureExtractor", "Cast", "Flatten", "Gather", "GatherElements", "Identity", "LabelEncoder", "Reshape",
    "Squeeze", "Unsqueeze",
}  # fmt: skip


def cut_class_names(graph: GraphProto) -> tuple[str, ...]:
    """Replace outputs that name classes by the scores that they are computed from; return the names, if there are any.

    A ZipMap is replaced by its input. An output with the name or the index of the best class is replaced by the scores
    that its ArgMax compares, or dropped if they are an output already.
    """
    made_by, constant, tensors = producers(graph), constants(graph), stored(graph)
    found_names: list[list[str]] = []
    kept: dict[str, None] = {}
    of_names: dict[str, None] = {}
    described = {value.name: value for value in graph.output}
    for output in described:
        node = made_by.get(output)
        if node is not None and node.op_type == "ZipMap":
            found_names.append(_of_attributes(node, "classlabels_strings", "classlabels_int64s"))
            kept[node.input[0]] = None
        elif (found := _compared(output, made_by, constant)) is not None:
            scores, naming = found
            found_names += [_names(step, tensors) for step in naming]
            of_names[scores] = None
        else:
            kept[output] = None
    if not kept:
        kept = of_names
    if list(kept) != list(described):
        del graph.output[:]
        graph.output.extend(described.get(name) or _floats(name) for name in kept)
    best: list[str] = []
    for names in found_names:
        best = max(best, names, key=_worth)
    return tuple(best)


def _worth(names: Sequence[str]) -> tuple[bool, int]:
    """Prefer words to numbers, and anything to nothing."""
    return not all(name.isdigit() for name in names), len(names)


def _floats(name: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def _compared(value: str, made_by: Mapping[str, NodeProto], constant: set[str]) -> tuple[str, list[NodeProto]] | None:
    """Return the scores whose ArgMax an output names, and the nodes between them; None for any other output."""
    naming: list[NodeProto] = []
    while (node := made_by.get(value)) is not None:
        if node.op_type == "ArgMax":
            return str(node.input[0]), naming
        depends = [name for name in node.input if name and name not in constant]
        if node.op_type not in _NAMING or len(depends) != 1:
            return None
        naming.append(node)
        value = depends[0]
    return None


def _names(node: NodeProto, tensors: Mapping[str, TensorProto]) -> list[str]:
    """Return the class names in a node that maps indices to names, ordered by index; [] for any other node."""
    if node.op_type == "LabelEncoder":
        given = attributes(node)
        keys, names = given.get("keys_int64s", ()), given.get("values_strings", ())
        pairs = sorted(zip(keys, names, strict=False))
        return [_text(name) for _, name in pairs] if [key for key, _ in pairs] == list(range(len(pairs))) else []
    if node.op_type in ("ArrayFeatureExtractor", "Gather"):
        tensor = tensors.get(node.input[0])
        return list(map(_text, numpy_helper.to_array(tensor).ravel())) if tensor is not None else []
    return []


def _of_attributes(node: NodeProto, *names: str) -> list[str]:
    given = attributes(node)
    return next((list(map(_text, given[name])) for name in names if given.get(name)), [])


def _text(name: object) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
