"""Extreme numbers and empty arguments, for every parameter that takes numbers or paths (fault 31)."""

from __future__ import annotations

import json
import sys

import pytest
import small_calls as calls
from commands import Here, at_most

pytestmark = [pytest.mark.full, pytest.mark.skipif(sys.platform == "win32", reason="needs SIGALRM to stop hangs")]

HOSTILE = ("-1", "0", "nan", "inf", "-inf", "1e400", "1" + 20 * "0", "1e-400", "0x10", "\uff11")
TEXTS = {"input_size": "", "resize_size": "", "mean": "", "std": "", "max_latency": "ms", "max_size": "MB"}
TEXTS |= {"max_memory": "MB"}
"""Unit of each text parameter whose number the command itself parses."""
NUMBERS = list(calls.parameters(int, float)) + [entry for entry in calls.parameters(str) if entry[1] in TEXTS]
# The allowed number of threads depends on the machine.
LEFT_OUT = {"threads"}


@pytest.mark.parametrize(("name", "parameter"), [entry for entry in NUMBERS if entry[1] not in LEFT_OUT])
def test_fault_31_hostile_numbers(name: str, parameter: str, furnished: Here) -> None:
    for number in HOSTILE:
        with at_most(60):
            done = furnished.call(*calls.words(name, **{parameter: number + TEXTS.get(parameter, "")}))
        assert done.code in (0, 1, 2, 3, 4), done
        assert "internal error" not in done.err, done
        if number in ("nan", "1e400", "-inf"):
            assert done.code == 2, done


def test_the_numbers_of_all_commands_are_tried() -> None:
    """NUMBERS must include the numeric parameters declared as text."""
    assert {parameter for _, parameter in NUMBERS} >= TEXTS.keys() | {"seed", "seconds", "splits", "depth"}


PATHS = [
    entry
    for entry in calls.parameters(calls.Path, str)
    if entry in set(calls.parameters(calls.Path)) or entry[1] in {*calls.NAMES_OR_FILES, "sources", "name"}
]


@pytest.mark.parametrize(("name", "parameter"), PATHS)
def test_fault_31_empty_arguments(name: str, parameter: str, furnished: Here) -> None:
    """An empty path would silently mean the current folder."""
    done = furnished.call(*calls.words(name, **{parameter: ""}))
    done.check(2, "empty")
    joined = calls.words(name, **{parameter: "EMPTY"})
    apart = [part for word in joined for part in word.replace("EMPTY", "").split("=")]
    furnished.call(*apart).check(2, "empty")


@pytest.mark.parametrize(
    "race",
    [1, [], "x", {"dropped": 1}, {"dropped": [1]}, {"dropped": [{}]}, {"outside": [[]]}, {"outside": [[{}, 1]]},
     {"dropped": [{"model": []}]}, {"outside": None}],
    ids=json.dumps,
)  # fmt: skip
def test_fault_31_malformed_race(race: object, furnished: Here) -> None:
    path = furnished.folder / "ranking.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"race": race}))
    furnished.call("check", path, "photos", "--cached").check(2, "ranking.json")
