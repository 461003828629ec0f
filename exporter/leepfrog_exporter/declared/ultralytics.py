"""Metadata in exports of Ultralytics' YOLO classifiers."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from leepfrog.errors import ModelError
from leepfrog.images.preprocess import PreprocessSpec
from onnx import ModelProto

from leepfrog_exporter.declared import Declaration


def declared(path: Path, model: ModelProto) -> Declaration | None:
    """Return what Ultralytics' metadata says; see `Format.declared`.

    Classifiers resize the shorter side to the input size, crop the center, and take pixels in 0..1. Other networks get
    the whole image, with gray margins.

    Raises:
        ModelError: the values cannot be read.
    """
    given = {entry.key: entry.value for entry in model.metadata_props}
    if not {"names", "imgsz", "task"} <= given.keys():
        return None
    size, names = _literal(given["imgsz"]), _literal(given["names"])
    sizes = [size, size] if isinstance(size, int) else size
    if not (isinstance(sizes, list | tuple) and len(sizes) == 2 and all(isinstance(side, int) for side in sizes)):
        raise ModelError(f"its metadata imgsz is {given['imgsz'][:60]!r}; expected [height, width]")
    if not (isinstance(names, dict) and sorted(names) == list(range(len(names)))):
        raise ModelError(f"its metadata names is {given['names'][:60]!r}; expected {{0: NAME, 1: NAME, ...}}")
    size = (sizes[0], sizes[1])
    if given["task"] != "classify":
        task = given["task"][:40]
        refusal = f"is made for the task {task!r}, not a classifier; to use what it computes inside: --features VALUE"
        spec = PreprocessSpec(input_size=size, resize_size=size, resize_mode="letterbox", pad_color=(114, 114, 114))
        return Declaration(spec, refusal=refusal)
    spec = PreprocessSpec(input_size=size, resize_size=size)
    return Declaration(spec, tuple(str(names[i]) for i in range(len(names))), license=given.get("license", "")[:100])


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
