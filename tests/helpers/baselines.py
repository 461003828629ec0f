"""Shared by tests of receipts, `verify` and `check`: two fast synthetic models, photographs and a baseline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import leepfrog
import models_made as made
import numpy as np
from leepfrog.inference.device import available_threads
from leepfrog.inference.model import ModelFile
from leepfrog.schema import json_schema
from machine_load import keep_costs
from onnx import ModelProto, numpy_helper
from photos import folder_of_pieces

NAMES = ("plain", "coarse")
SCHEMA = json_schema()


def conforms(result: dict[str, Any]) -> None:
    """Validate the JSON form of a result against the published schema."""
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(result)))


def model(name: str, noise: float = 0.0, alike: bool = False, **changes: object) -> ModelProto:
    """Return a synthetic scoring model.

    Args:
        name: model name.
        noise: standard deviation of the noise added to the filters.
        alike: make all filters equal to the first one.
        changes: overrides of metadata fields.
    """
    proto = made.scoring(name=name, source=f"onnx:{name}.onnx", **changes)
    filters = next(tensor for tensor in proto.graph.initializer if tensor.name == "filters")
    values = numpy_helper.to_array(filters)
    values = np.repeat(values[:1], len(values), axis=0) if alike else values
    moved = values + noise * np.random.default_rng(1).normal(0, 1, values.shape)
    filters.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), "filters"))
    return proto


def put(home: Path, name: str, noise: float = 0.0, alike: bool = False, **changes: object) -> Path:
    """Write `model` of the other arguments to the models folder and return its path."""
    path = home / "models" / f"{name}.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model(name, noise, alike, **changes).SerializeToString())
    return path


def two_models(home: Path) -> None:
    """Write two models with known costs: one with six distinct features, one with the same feature six times."""
    paths = [put(home, NAMES[0]), put(home, NAMES[1], alike=True)]
    for threads in {1, available_threads()}:
        keep_costs([ModelFile.read(path) for path in paths], threads)


def photographs(folder: Path) -> Path:
    """Create an image folder with 60 crops of three photographs."""
    return folder_of_pieces(folder, count=20)


def baseline(home: Path, folder: Path, path: Path, **asked: Any) -> dict[str, Any]:
    """Rank both models on a folder, write the result to `path` and return it."""
    found = leepfrog.rank(folder, NAMES, **asked).as_dict()
    path.write_text(json.dumps(found))
    return found
