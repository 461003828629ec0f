"""Read a stranger's ONNX file: one model in memory, weights included, or one line on why not."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from leepfrog.errors import ModelError, one_line
from leepfrog.files import printable
from leepfrog.inference.header import read_header

# A protobuf message, and so a model in one file, cannot be larger.
MAX_BYTES = 2**31 - 1


def read_onnx(path: Path) -> onnx.ModelProto:
    """Load a model with its external data; the checker refuses data files outside the model's folder.

    Raises:
        ModelError: missing, empty, a Git LFS pointer, broken, too large, or its external data are missing or escape.
    """
    where = printable(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{where}: larger than 2 GB")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{where}: cannot be read: {error.strerror or error}") from None
    try:
        read_header(memoryview(content))
        model = onnx.load_model_from_string(content)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None
    except DecodeError:
        raise ModelError(f"{where}: not an ONNX model, or cut short") from None
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        reason = one_line(error)
        raise ModelError(f"{where}: its external data cannot be used: {reason}") from None
    if model.ByteSize() > MAX_BYTES:
        raise ModelError(f"{where}: larger than 2 GB with its external data")
    return model
