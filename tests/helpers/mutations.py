"""Mutations of valid files and ONNX graphs, as caused by bad disks, truncated downloads or malicious authors."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st
from onnx import AttributeProto, ModelProto, TensorProto

# Damage to headers has the most varied effects, so short ranges from the start are sampled as well.
REACHES = (32, 128, 1024, None)
# Edge cases for lengths, counts and sizes.
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def damage(*others: bytes) -> Any:
    """Return a strategy for functions that mutate a file one to three times; pieces of `others` may be spliced in."""
    kinds = ("flip", "set", "cut", "drop", "repeat", "number", *(("splice",) if others else ()))

    def apply(steps: list[str], seed: int) -> Any:
        def to(content: bytes) -> bytes:
            chance = random.Random(seed)  # Hypothesis's own choices are biased towards the first option
            for step in steps:
                content = _step(content, step, chance, others)
            return content

        return to

    return st.builds(apply, st.lists(st.sampled_from(kinds), min_size=1, max_size=3), st.integers(0, 2**32))


def _step(content: bytes, kind: str, chance: random.Random, others: tuple[bytes, ...]) -> bytes:
    if not content:
        return content
    reach = chance.choice(REACHES)
    place = chance.randrange(min(reach or len(content), len(content)))
    length = chance.choice((1, 2, 4, 16, 200))
    damaged = bytearray(content)
    match kind:
        case "flip":
            damaged[place] ^= 1 << chance.randrange(8)
        case "set":
            damaged[place] = chance.randrange(256)
        case "cut":
            del damaged[place:]
        case "drop":
            del damaged[place : place + length]
        case "repeat":
            damaged[place:place] = damaged[place : place + length]
        case "number":
            value, width = chance.choice(NUMBERS), chance.choice((2, 4))
            raw = (value & (256**width - 1)).to_bytes(width, chance.choice(("little", "big")))
            damaged[place : place + width] = raw
        case "splice":
            other = chance.choice(others)
            start = chance.randrange(len(other))
            damaged[place : place + length] = other[start : start + length]
    return bytes(damaged)


OPERATORS = (
    "Relu",
    "Conv",
    "Gemm",
    "MatMul",
    "Reshape",
    "Softmax",
    "Gather",
    "Concat",
    "Resize",
    "Loop",
    "If",
    "Tile",
    "",
)
SIZES = (0, -1, 1, 2, 7, 1 << 20, 1 << 31, 1 << 62, -(1 << 63))


def graph_damage() -> Any:
    """Return a strategy for functions that apply one to three changes to a graph; the file remains valid protobuf."""

    def apply(n: int, seed: int) -> Any:
        def to(content: bytes) -> bytes:
            chance, model = random.Random(seed), ModelProto.FromString(content)
            for _ in range(n):
                chance.choice((_change_node, _change_node, _change_tensor, _change_value))(model, chance)
            return model.SerializeToString()

        return to

    return st.builds(apply, st.sampled_from((1, 1, 1, 2, 3)), st.integers(0, 2**32))


def _change_node(model: ModelProto, chance: random.Random) -> None:
    nodes = model.graph.node
    if not nodes:
        return
    node = chance.choice(nodes)
    names = [name for each in nodes for name in (*each.input, *each.output)]
    match chance.randrange(6):
        case 0:
            node.op_type = chance.choice(OPERATORS)
        case 1 if node.input:
            node.input[chance.randrange(len(node.input))] = chance.choice([*names, "", "nowhere"])
        case 2 if node.output:
            node.output[chance.randrange(len(node.output))] = chance.choice([*names, ""])
        case 3:
            nodes.remove(node)
        case 4:
            node.input.append(chance.choice(names))
        case _ if node.attribute:
            _change_attribute(chance.choice(node.attribute), chance)


def _change_attribute(attribute: AttributeProto, chance: random.Random) -> None:
    if attribute.ints and chance.random() < 0.8:
        attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(SIZES)
    elif chance.random() < 0.3:
        attribute.ints.append(chance.choice(SIZES))
    else:
        attribute.i = chance.choice(SIZES)


def _change_tensor(model: ModelProto, chance: random.Random) -> None:
    if not model.graph.initializer:
        return
    tensor = chance.choice(model.graph.initializer)
    match chance.randrange(4):
        case 0 if tensor.dims:
            tensor.dims[chance.randrange(len(tensor.dims))] = chance.choice(SIZES)
        case 1:
            tensor.data_type = chance.choice((*range(24), 99))
        case 2:
            tensor.raw_data = tensor.raw_data[: chance.randrange(len(tensor.raw_data) + 1)]
        case _:
            raw = bytearray(tensor.raw_data)
            for _ in range(min(8, len(raw))):
                raw[chance.randrange(len(raw))] = chance.randrange(256)
            tensor.raw_data = bytes(raw)


def _change_value(model: ModelProto, chance: random.Random) -> None:
    values = [*model.graph.input, *model.graph.output]
    if not values:
        return
    value = chance.choice(values)
    match chance.randrange(3):
        case 0:
            value.type.tensor_type.elem_type = chance.choice((TensorProto.FLOAT16, TensorProto.INT64, 0, 99))
        case 1 if value.type.tensor_type.shape.dim:
            chance.choice(value.type.tensor_type.shape.dim).dim_value = chance.choice(SIZES)
        case _:
            value.name = chance.choice([name for node in model.graph.node for name in node.output] or [""])
