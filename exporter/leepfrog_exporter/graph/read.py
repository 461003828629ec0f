"""Reading of untrusted ONNX files into memory, including external weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from leepfrog.errors import ModelError, one_line
from leepfrog.files import printable, read_regular
from leepfrog.inference.header import read_header
from onnx import GraphProto, NodeProto, TensorProto
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from leepfrog_exporter.graph.edit import subgraphs, values

# Size limit of a protobuf message, and so of a model in one file.
MAX_BYTES = 2**31 - 1


def read_onnx(path: Path) -> tuple[onnx.ModelProto, str]:
    """Load a model with its external data; the checker refuses data files outside the model's folder.

    Returns:
        The model, and the SHA-256 of the file and its external data.

    Raises:
        ModelError: the file is missing, empty, not a regular file, a Git LFS pointer, corrupt or too large, or its
            external data is missing, not a regular file, too large or outside the model's folder.
    """
    where = printable(path)
    try:
        content = read_regular(path, MAX_BYTES)
    except OSError as error:
        raise ModelError(f"{where}: cannot be read: {error.strerror or error}") from None
    try:
        read_header(memoryview(content))
        model = onnx.load_model_from_string(content)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None
    except DecodeError:
        raise ModelError(f"{where}: not an ONNX model, or cut short") from None
    if not all(isinstance(name, str) for name in values(model.graph)):  # protobuf returns bytes for invalid UTF-8
        raise ModelError(f"{where}: not an ONNX model: it contains names that are not UTF-8")
    digest = hashlib.sha256(content)
    try:
        external = [tensor for tensor in tensors_of(model) if uses_external_data(tensor)]
        _check_external(external, path.parent, len(content))
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        reason = one_line(error)
        raise ModelError(f"{where}: its external data cannot be used: {reason}") from None
    if model.ByteSize() > MAX_BYTES:
        raise ModelError(f"{where}: larger than 2 GB with its external data")
    for tensor in external:
        digest.update(tensor.raw_data)
    return model, digest.hexdigest()


def _check_external(tensors: list[TensorProto], folder: Path, size: int) -> None:
    """Raise ValueError or OSError if reading external data would block forever or take too much memory.

    Args:
        tensors: the tensors with external data.
        folder: folder of the model.
        size: number of bytes already in memory.
    """
    for tensor in tensors:
        info = ExternalDataInfo(tensor)
        file = folder / info.location
        if not file.is_file():
            raise ValueError(f"{info.location!r} is missing or not a regular file")
        size += info.length if info.length is not None else file.stat().st_size - (info.offset or 0)
        if size > MAX_BYTES:
            raise ValueError("it is larger than 2 GB")


def tensors_of(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor of a model."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for subgraph in subgraphs(node):
            yield from _of_graph(subgraph)
