"""Small example calls of every command, so that tests can iterate over all parameters of a type.

The parameters come from `leepfrog.cli.app`; their values are listed here, relative to the folder filled by `furnish`.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import models_made as made
import numpy as np
from commands import process
from help_text import commands
from photos import folder_of_pieces

Values = Mapping[str, str | list[str] | bool]

CALLS: dict[str, Values] = {
    "demo": {},
    "rank": {"data": "photos", "models": "made"},
    "bench": {"models": "made", "seconds": "0.01"},
    "check": {"baseline": "ranking.json", "data": "photos", "cached": True},
    "verify": {"result": "ranking.json", "data": "photos", "cached": True},
    "explain": {"data": "photos", "model": "made"},
    "validate": {"data": "photos", "models": ["made", "twin.onnx"], "scores": "leep", "splits": "1"},
    "score": {"labels": "labels.npy", "probs": "probs.npy", "features": "features.npy", "names": "leep,h_score"},
    "embed": {"data": "photos", "probe": "made", "output": "out.npz", "tolerance": "0"},
    "distance": {"files": ["a.npz", "b.npz"]},
    "export": {"sources": "onnx:plain.onnx", "preprocess": "imagenet", "output": "exported"},
    "experts": {"data": "a.npz", "library": "tasks"},
    "map": {"library": "tasks", "output": "map.svg"},
    "library add": {"library": "added", "files": "a.npz", "errors": "errors.csv"},
    "library list": {"library": "tasks"},
    "zoo list": {},
    "zoo search": {},
    "zoo pull": {},
    "schema": {},
    "doctor": {},
}
# Further values that a call needs if it sets this parameter.
WITH: dict[tuple[str, str], Values] = {
    ("export", "depth"): {"probe": True},
    ("export", "calibrate"): {"precision": "int8"},
    ("validate", "plot"): {"models": "made", "tasks": "3"},
    ("validate", "tasks"): {"models": "made"},
}
# String parameters that may also be file names.
NAMES_OR_FILES = {"models", "model", "probe"}


def furnish(folder: Path, home: Path) -> None:
    """Create the files that the calls read; `home` must contain the model "made"."""
    folder_of_pieces(folder / "photos", count=6)
    made.classifier().save(folder / "plain.onnx")
    (folder / "twin.onnx").write_bytes(made.scoring(name="twin", license="other").SerializeToString())
    rng = np.random.default_rng(0)
    np.save(folder / "labels.npy", np.arange(12) % 3)
    np.save(folder / "probs.npy", rng.dirichlet(np.ones(4), 12))
    np.save(folder / "features.npy", rng.normal(size=(12, 5)))
    (folder / "errors.csv").write_text("task,model,error\na,made,0.1\na,twin,0.2\n")
    made_by = [
        "rank photos -m made -o ranking.json",
        "embed photos --probe made -o a.npz --name a",
        "embed photos --probe made -o b.npz --name b",
        "library add tasks a.npz b.npz",
    ]
    for line in made_by:
        process(line.split(), cwd=folder, env={**os.environ, "LEEPFROG_HOME": str(home)}).check(0)


def parameters(*kinds: type) -> Iterator[tuple[str, str]]:
    """Yield command and name of every parameter of one of these types."""
    for name, command in commands():
        hints = typing.get_type_hints(command.callback.__wrapped__)
        for parameter in command.params:
            if parameter.name in hints and set(kinds) & _kinds(hints[parameter.name]):
                yield name, parameter.name


def _kinds(hint: Any) -> set[Any]:
    inside = typing.get_args(hint)
    return set().union(*map(_kinds, inside)) if inside else {hint}


def words(name: str, /, **changes: str | list[str] | bool) -> list[str]:
    """Return the words of a command's example call, with some parameters changed."""
    values: dict[str, Any] = dict(CALLS[name])
    for parameter in changes:
        values |= WITH.get((name, parameter), {})
    values |= changes
    command = dict(commands())[name]
    found, positional = name.split(), []
    for parameter in command.params:
        value = values.pop(parameter.name, None)
        if value is None:
            continue
        if parameter.param_type_name == "argument":
            positional += value if isinstance(value, list) else [value]
        elif value is True:
            found.append(parameter.opts[0])
        else:
            for each in value if isinstance(value, list) else [value]:
                found += [f"{parameter.opts[0]}={each}"]
    assert not values, values
    return [*found, *positional]
