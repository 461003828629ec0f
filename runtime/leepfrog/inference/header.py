"""Read the header of an ONNX file without the onnx package and without parsing its weights.

A ModelProto is a protobuf message. Only its small top-level fields are read; the graph is skipped. This yields versions
and metadata in microseconds, and distinguishes broken files from unsupported ones, for which onnxruntime reports the
same error ("protobuf parsing failed").
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from leepfrog.errors import ModelError
from leepfrog.files import sha256_of

# Field numbers of ModelProto, OperatorSetIdProto and StringStringEntryProto in onnx.proto.
_IR_VERSION, _OPSET_IMPORT, _GRAPH, _METADATA, _FUNCTIONS = 1, 8, 7, 14, 25
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_KEY, _VALUE = 1, 2
# Field numbers of GraphProto (nodes, weights), FunctionProto (nodes) and TensorProto (type; name and description).
_GRAPH_NODE, _INITIALIZER, _FUNCTION_NODE, _TENSOR_TYPE, _TENSOR_NAMES = 1, 5, 7, 2, (8, 12)
# Field numbers of NodeProto and AttributeProto; the graphs in attributes are the bodies of loops and branches.
_OPERATOR, _ATTRIBUTE, _ATTRIBUTE_NAME, _ATTRIBUTE_NUMBER, _ATTRIBUTE_GRAPHS = 4, 5, 1, 3, (6, 11)
_FLOAT16, _BFLOAT16 = 10, 16
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Limits on fields per message, metadata entries and nested graphs; real files have about 10,000, 20 and 3.
MAX_FIELDS, MAX_ENTRIES, MAX_DEPTH = 1 << 22, 1 << 12, 16

Value = int | bytes | memoryview
"""Value of a protobuf field: int (varint), bytes (fixed width, 4 or 8), or memoryview (message, string or bytes)."""


@dataclasses.dataclass(frozen=True)
class Header:
    """Versions and metadata of an ONNX file.

    Attributes:
        ir_version: version of the ONNX file format.
        opsets: operator-set version by domain; `""` is the default ONNX domain.
        metadata: the file's `metadata_props`, text by key.
    """

    ir_version: int
    opsets: dict[str, int]
    metadata: dict[str, str]


def read_header(content: memoryview) -> Header:
    """Read the header of an ONNX file held in memory.

    Raises:
        ModelError: the file is empty, a Git LFS pointer, truncated or not ONNX; the message is the reason alone.
    """
    if not content:
        raise ModelError("empty file (0 bytes)")
    if bytes(content[:23]) == b"version https://git-lfs":
        raise ModelError("a Git LFS pointer, not the model (run git lfs pull)")
    ir_version, opsets, metadata, has_graph = 0, {}, {}, False
    try:
        for field, value in _fields(content):
            if field == _IR_VERSION and isinstance(value, int):
                ir_version = value
            elif field == _OPSET_IMPORT and isinstance(value, memoryview):
                domain, version = _last(value, _OPSET_DOMAIN, _OPSET_VERSION)
                opsets[_text(domain)] = _number(version)
            elif field == _METADATA and isinstance(value, memoryview):
                key, text = _last(value, _KEY, _VALUE)
                metadata[_text(key)] = _text(text)
            elif field == _GRAPH and isinstance(value, memoryview):
                has_graph = True
            if len(opsets) + len(metadata) > MAX_ENTRIES:
                raise ModelError(f"more than {MAX_ENTRIES:,} metadata entries")
    except ModelError:
        raise
    except (ValueError, IndexError, UnicodeDecodeError):
        raise ModelError("not an ONNX model, or cut short") from None
    if not has_graph or not ir_version:
        raise ModelError("not an ONNX model, or cut short")
    return Header(ir_version, opsets, metadata)


class Fingerprint(NamedTuple):
    """Hashes of the network in a file, excluding its metadata.

    Attributes:
        graph: hash of the network as stored.
        weights: hash of the weights, ignoring names and order; unchanged if only the graph was rewritten.
    """

    graph: str
    weights: str


def fingerprint(content: memoryview) -> Fingerprint:
    """Compute the hashes of the network in a file that `read_header` accepts."""
    graph, functions = _network(content)
    network = sha256_of(graph) if not functions else sha256_of(b"".join([graph, *functions]))
    try:
        weights = sorted(_tensor_hash(value) for value in _messages(graph, _INITIALIZER))
    except (ValueError, IndexError):  # malformed; onnxruntime will reject it too
        return Fingerprint(network, network)
    return Fingerprint(network, sha256_of("".join(weights).encode()))


def operators(content: memoryview) -> set[str]:
    """Return the operators in a file that `read_header` accepts.

    Returns:
        Names such as "Conv"; TRAINING is appended to operators in training mode, and FEW_BITS is included if any
        weights are 16-bit.
    """
    graph, functions = _network(content)
    names: set[str] = set()
    try:
        _add_operators(graph, _GRAPH_NODE, names, 0)
        for function in functions:
            _add_operators(function, _FUNCTION_NODE, names, 0)
        if any(_last(tensor, _TENSOR_TYPE)[0] in (_FLOAT16, _BFLOAT16) for tensor in _messages(graph, _INITIALIZER)):
            names.add(FEW_BITS)
    except (ValueError, IndexError, UnicodeDecodeError):  # keep the names read so far
        pass
    return names


TRAINING, FEW_BITS = " in training mode", "16-bit weights"


def _add_operators(message: memoryview, field: int, names: set[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        return
    for node in _messages(message, field):
        training = False
        for attribute in _messages(node, _ATTRIBUTE):
            name, number = _last(attribute, _ATTRIBUTE_NAME, _ATTRIBUTE_NUMBER)
            training |= _text(name) == "training_mode" and bool(_number(number))
            for graphs in _ATTRIBUTE_GRAPHS:
                for graph in _messages(attribute, graphs):
                    _add_operators(graph, _GRAPH_NODE, names, depth + 1)
        names.add(_text(_last(node, _OPERATOR)[0]) + (TRAINING if training else ""))


def _network(content: memoryview) -> tuple[memoryview, list[memoryview]]:
    """Return the graph and the functions that its nodes may call.

    Protobuf merges repeated occurrences of a message, which is equivalent to concatenating their bytes.
    """
    graphs = list(_messages(content, _GRAPH))
    graph = graphs[0] if len(graphs) == 1 else memoryview(b"".join(graphs))
    return graph, list(_messages(content, _FUNCTIONS))


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    return (value for field, value in _fields(message) if field == wanted and isinstance(value, memoryview))


def _last(message: memoryview, *wanted: int) -> list[Value | None]:
    """Return the values of the given fields; the last one wins if a field is repeated, as in protobuf."""
    by_field: dict[int, Value] = {field: value for field, value in _fields(message) if field in wanted}
    return [by_field.get(field) for field in wanted]


def _tensor_hash(tensor: memoryview) -> str:
    digest = hashlib.sha256()
    for field, value in _fields(tensor):
        if field not in _TENSOR_NAMES:
            digest.update(f"{field}:{value if isinstance(value, int) else len(value)};".encode())
            digest.update(b"" if isinstance(value, int) else value)
    return digest.hexdigest()


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    position = n = 0
    while position < len(message):
        n += 1
        if n > MAX_FIELDS:
            raise ValueError("too many fields")
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == _VARINT:
            number, position = _varint(message, position)
            yield tag >> 3, number
            continue
        if kind == _BYTES:
            length, position = _varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("unknown wire type")
        if position + length > len(message):
            raise ValueError("a field runs past the end")
        value = message[position : position + length]
        yield tag >> 3, value if kind == _BYTES else bytes(value)
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ValueError("a number of more than 64 bits")


def _text(value: Value | None) -> str:
    return bytes(value).decode() if isinstance(value, memoryview) else ""


def _number(value: Value | None) -> int:
    return value if isinstance(value, int) else 0
