"""What an ONNX file says of itself, read without onnx and without its weights.

A ModelProto is a protobuf message; only its small top-level fields are read and the graph is stepped over. That gives
versions and metadata in microseconds, and lets a broken file be told from an unsupported one before onnxruntime
(whose message for both is "protobuf parsing failed") sees it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import NamedTuple

from leepfrog.errors import ModelError
from leepfrog.files import sha256_of

# Field numbers of ModelProto, OperatorSetIdProto and StringStringEntryProto in onnx.proto.
_IR_VERSION, _OPSET_IMPORT, _GRAPH, _METADATA = 1, 8, 7, 14
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_KEY, _VALUE = 1, 2
# And of GraphProto's weights, and a TensorProto's name and description.
_INITIALIZER, _TENSOR_NAMES = 5, (8, 12)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclasses.dataclass(frozen=True)
class Header:
    """Versions and metadata of an ONNX file.

    Attributes:
        ir_version: ONNX's file format version.
        opsets: operator-set version by domain; "" is ONNX's own.
        metadata: the `metadata_props`, text by key.
    """

    ir_version: int
    opsets: dict[str, int]
    metadata: dict[str, str]


def read_header(content: memoryview) -> Header:
    """Read the header of an ONNX file held in memory.

    Raises:
        ModelError: empty, a Git LFS pointer, truncated or not ONNX; the message is the reason alone.
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
                opset = dict(_fields(value))
                opsets[_text(opset.get(_OPSET_DOMAIN))] = _number(opset.get(_OPSET_VERSION))
            elif field == _METADATA and isinstance(value, memoryview):
                entry = dict(_fields(value))
                metadata[_text(entry.get(_KEY))] = _text(entry.get(_VALUE))
            elif field == _GRAPH:
                has_graph = True
    except (ValueError, IndexError, UnicodeDecodeError):
        raise ModelError("not an ONNX model, or cut short") from None
    if not has_graph or not ir_version:
        raise ModelError("not an ONNX model, or cut short")
    return Header(ir_version, opsets, metadata)


class Fingerprint(NamedTuple):
    """Hashes of what a file computes, without what it says of itself.

    Attributes:
        graph: of the network as it is written.
        weights: of the numbers in it, whatever their names and order; the same where a network was written anew.
    """

    graph: str
    weights: str


def fingerprint(content: memoryview) -> Fingerprint:
    """Hashes of the network in a file that `read_header` reads."""
    graphs = [value for field, value in _fields(content) if field == _GRAPH and isinstance(value, memoryview)]
    graph = graphs[-1] if graphs else content[:0]
    try:
        tensors = [value for field, value in _fields(graph) if field == _INITIALIZER and isinstance(value, memoryview)]
        weights = sorted(map(_tensor_hash, tensors))
    except (ValueError, IndexError):  # onnxruntime will refuse it as well
        weights = []
    return Fingerprint(sha256_of(graph), sha256_of("".join(weights).encode()))


def _tensor_hash(tensor: memoryview) -> str:
    found = hashlib.sha256()
    for field, value in _fields(tensor):
        if field not in _TENSOR_NAMES:
            found.update(f"{field}:{value if isinstance(value, int) else len(value)};".encode())
            found.update(b"" if isinstance(value, int) else value)
    return found.hexdigest()


def _fields(message: memoryview) -> list[tuple[int, int | memoryview]]:
    found: list[tuple[int, int | memoryview]] = []
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == _VARINT:
            number, position = _varint(message, position)
            found.append((tag >> 3, number))
            continue
        if kind == _BYTES:
            length, position = _varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("unknown wire type")
        if position + length > len(message):
            raise ValueError("a field runs past the end")
        found.append((tag >> 3, message[position : position + length]))
        position += length
    return found


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ValueError("a number of more than 64 bits")


def _text(value: int | memoryview | None) -> str:
    return bytes(value).decode() if isinstance(value, memoryview) else ""


def _number(value: int | memoryview | None) -> int:
    return value if isinstance(value, int) else 0
