"""Results survive failures of later steps; unwritable output paths are detected early (fault 33)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import small_calls as calls
from commands import Here, heed_permissions, needs_permissions, process

pytestmark = pytest.mark.full

OUTPUTS = [entry for entry in calls.parameters(Path) if entry[1] in ("output", "plot", "report")]
ENDINGS = {"plot": ".svg", "report": ".html"}
ENDINGS_OF = {"embed": ".npz", "map": ".svg", "export": ".onnx"}


def place(name: str, parameter: str, stem: str = "given") -> str:
    return stem + ENDINGS.get(parameter, ENDINGS_OF.get(name, ".json"))


@pytest.mark.parametrize("option", ["--plot", "--report"])
def test_fault_33_the_ranking_comes_before_what_fails(option: str, furnished: Here) -> None:
    """A link to a full device passes all up-front checks."""
    given = "given" + ENDINGS[option[2:]]
    os.symlink("/dev/full", furnished.folder / given)
    done = furnished.call("rank", "photos", "-m", "made", "--format", "json", option, given)
    assert done.code == 4, done
    assert given in done.error
    assert json.loads(done.out)["models"][0]["name"] == "made"
    done = furnished.call("rank", "photos", "-m", "made", "-o", "found.json", option, given)
    assert done.code == 4, done
    assert json.loads((furnished.folder / "found.json").read_bytes())["kind"] == "ranking"


def test_fault_33_one_output_that_fails_takes_no_other_with_it(furnished: Here) -> None:
    os.symlink("/dev/full", furnished.folder / "front.svg")
    done = furnished.call("rank", "photos", "-m", "made", "--plot", "front.svg", "--report", "page.html")
    assert done.code == 4, done
    assert "front.svg" in done.error
    assert "made" in done.out
    assert (furnished.folder / "page.html").read_text().endswith("</html>")
    os.symlink("/dev/full", furnished.folder / "found.json")
    done = furnished.call("rank", "photos", "-m", "made", "-o", "found.json", "--plot", "front.svg")
    assert done.code == 4, done
    assert "found.json" in done.error
    assert "also: cannot write front.svg" in done.err


def test_fault_33_a_study_comes_before_its_plot(furnished: Here) -> None:
    os.symlink("/dev/full", furnished.folder / "tasks.svg")
    done = furnished.call(*calls.words("validate", plot="tasks.svg"))
    assert done.code == 4, done
    assert "made on 3 tasks" in done.out


def test_fault_33_models_are_named_as_they_are_done(furnished: Here) -> None:
    done = furnished.call("export", "onnx:plain.onnx", "onnx:absent.onnx", "--preprocess", "unit", "-o", "out")
    assert done.code == 3, done
    assert "plain.onnx" in done.out


@needs_permissions
@pytest.mark.parametrize(("name", "parameter"), OUTPUTS)
def test_fault_33_places_that_cannot_be_written_are_found_before_any_work(
    name: str, parameter: str, furnished: Here, home: Path
) -> None:
    """Read-only folders, and files in place of folders; reported even if the inputs do not exist."""
    closed = furnished.folder / "closed"
    closed.mkdir()
    closed.chmod(0o500)
    (furnished.folder / "file").write_text("")
    for given in ("file/" + place(name, parameter), "file/deep/" + place(name, parameter)):
        done = furnished.call(*_nothing_is_there(calls.words(name, **{parameter: given})))
        done.check(4, "cannot write file/")
    given = "closed/deep/" + place(name, parameter)
    words = _nothing_is_there(calls.words(name, **{parameter: given}))
    done = process(words, cwd=furnished.folder, preexec_fn=heed_permissions)
    done.check(4, f"cannot write {given}", "Permission denied")
    assert not (furnished.folder / "file").read_text()


def _nothing_is_there(words: list[str]) -> list[str]:
    """Replace the inputs by missing ones, which would be reported if outputs were not checked first."""
    return [word.replace("photos", "absent").replace("a.npz", "absent.npz") for word in words]


def test_fault_33_two_outputs_are_two_files(furnished: Here) -> None:
    os.symlink("page.html", furnished.folder / "link.html")
    for words in ("--plot page.html --report page.html", "--plot link.html --report page.html"):
        furnished.call("rank", "photos", *words.split()).check(2, "same file", "page.html")
    furnished.call(*calls.words("validate", plot="x.svg", output="x.svg"), "--format", "csv").check(2, "same file")


@pytest.mark.parametrize(
    "words",
    ["rank photos --plot front.txt", "rank photos --plot front", "validate photos -m made --tasks 3 --plot front.txt"],
)
def test_fault_20_an_ending_is_reported_by_its_option(words: str, furnished: Here) -> None:
    furnished.call(*words.split()).check(2, "--plot front", ".svg")
    furnished.call("map", "tasks", "-o", "map.txt").check(2, "-o map.txt")
