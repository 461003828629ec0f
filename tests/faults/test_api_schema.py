"""Conformance of every command's JSON output to the published schema (fault 25)."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import leepfrog
import numpy as np
import pytest
from baselines import SCHEMA
from commands import Done, Here
from help_text import commands
from photos import folder_of_pieces
from subtasks import disjoint_samples

# One entry per command with --format json, covering each kind of result.
CALLS = {
    "rank": ["rank photos --race --max-size 1MB --score all", "rank photos --by leep_loo"],
    "bench": ["bench made --seconds 0.05"],
    "check": ["check ranking.json photos"],
    "verify": ["verify ranking.json photos"],
    "explain": ["explain photos --model made"],
    "validate": ["validate photos --models made,twin --splits 1", "validate photos --models made --tasks 3"],
    "score": ["score --labels labels.npy --features features.npy"],
    "distance": ["distance one.npz two.npz", "distance one.npz two.npz --kind kl"],
    "experts": ["experts one.npz --library library", "experts one.npz --library unknown"],
    "library list": ["library list library", "library list unknown"],
    "zoo list": ["zoo list"],
    "zoo search": ["zoo search mobilenetv2*"],
    "doctor": ["doctor"],
}


@pytest.fixture
def material(with_made: Path, here: Here) -> Here:
    """Folder with the inputs of the commands in CALLS."""
    content = (with_made / "models" / "made.onnx").read_bytes()
    (with_made / "models" / "twin.onnx").write_bytes(content.replace(b"made", b"twin"))
    photos = folder_of_pieces(here.folder / "photos", count=8)
    np.save(here.folder / "labels.npy", np.arange(20) % 2)
    np.save(here.folder / "features.npy", np.random.default_rng(0).normal(size=(20, 3)))
    here.call("rank", photos, "-o", "ranking.json").check(0)
    names = ("one", "two", "three", "four")
    for name, images in zip(names, disjoint_samples(leepfrog.find_images(photos), 4), strict=True):
        leepfrog.embed(images, "made", name=name).save(here.folder / f"{name}.npz")
    lines = [f"{name},{model},{0.1 * i + 0.05 * j}" for i, name in enumerate(names) for j, model in enumerate("ab")]
    (here.folder / "errors.csv").write_text("\n".join(["task,model,error", *lines]))
    files = [f"{name}.npz" for name in names]
    here.call("library", "add", "library", *files, "--errors", "errors.csv").check(0)
    here.call("library", "add", "unknown", *files[:2]).check(0)
    return here


def kind_of(done: Done) -> str:
    """Validate a result against the whole schema and against the definition of its kind; return the kind."""
    assert done.code in (0, 1, 4), done  # check and verify may find differences, doctor problems
    kind = done.json["kind"]
    definition = {"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]}
    jsonschema.Draft202012Validator(definition).validate(done.json)  # first, for its more specific message
    jsonschema.Draft202012Validator(SCHEMA).validate(done.json)
    return str(kind)


def test_fault_25_every_command_with_json_is_called_here() -> None:
    with_formats = {name for name, command in commands() if any("--format" in option.opts for option in command.params)}
    assert with_formats == CALLS.keys()


@pytest.mark.full
def test_fault_25_every_json_output_has_a_schema(material: Here) -> None:
    kinds = {
        kind_of(material.call(*call.split(), "--format", "json", "--quiet"))
        for calls in CALLS.values()
        for call in calls
    }
    named = {entry["$ref"].rpartition("/")[2] for entry in SCHEMA["oneOf"]}
    assert kinds == named


@pytest.mark.parametrize("kind", [entry["$ref"].rpartition("/")[2] for entry in SCHEMA["oneOf"]])
def test_fault_25_a_definition_is_closed(kind: str) -> None:
    """Added, removed and retyped fields fail validation."""
    definition = SCHEMA["$defs"][kind]
    assert definition["properties"]["kind"] == {"const": kind}
    assert set(definition["required"]) == definition["properties"].keys()
    assert definition["additionalProperties"] is False
    assert definition["description"]
