"""The GitHub action, its steps run as GitHub's runner would; the files of a public project are well formed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from commands import Here, run
from photos import folder_of_pieces

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
(CHECK,) = (step for step in ACTION["runs"]["steps"] if step.get("id") == "check")


@pytest.mark.full
def test_the_action_runs_the_gate(two_home: Path, here: Here, tmp_path: Path) -> None:
    folder_of_pieces(here.folder / "photos", count=12)
    run("rank", here.folder / "photos", "-o", here.folder / "baseline.json")
    # The step before installs leepfrog into an environment there; this one will do.
    (tmp_path / "leepfrog").symlink_to(Path(sys.executable).parents[1])
    given = {"baseline": "baseline.json", "images": "photos", "models": str(two_home / "models")}
    inputs = {name: str(about.get("default", "")) for name, about in ACTION["inputs"].items()} | given
    variables = {
        name: inputs[value.removeprefix("${{ inputs.").removesuffix(" }}")] for name, value in CHECK["env"].items()
    }

    def step(**changes: str) -> subprocess.CompletedProcess[str]:
        files = {"RUNNER_TEMP": str(tmp_path), "GITHUB_OUTPUT": str(tmp_path / "outputs")}
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", CHECK["run"]],
            cwd=here.folder, env={**os.environ, **files, **variables, **changes},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    passed = step()
    assert passed.returncode == 0, passed.stderr
    assert "passed" in passed.stdout
    assert f"report={tmp_path}/leepfrog.xml" in (tmp_path / "outputs").read_text()
    assert "<testsuite" in (tmp_path / "leepfrog.xml").read_text()
    assert step(IMAGES="nowhere").returncode == 3
    for i, path in enumerate(sorted((here.folder / "photos" / "cat").iterdir())[:6]):
        path.rename(here.folder / "photos" / "coffee" / f"mislabelled{i}{path.suffix}")
    assert step().returncode == 1
    # Inputs are data: nothing in them is run.
    assert step(IMAGES="$(touch here)").returncode == 3
    assert not (here.folder / "here").exists()


def test_files_of_a_public_project_are_well_formed() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "title", "message", "authors", "license"} <= citation.keys()
    for form in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        content = yaml.safe_load(form.read_text())
        assert form.name == "config.yml" or {"name", "description", "body"} <= content.keys()
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"):
        assert "jobs" in yaml.safe_load(workflow.read_text())
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert {"ruff-check", "ruff-format", "mypy", "lint-imports", "words"} == {hook["id"] for hook in hooks}
