"""Hostile numbers and empty arguments, for every parameter that takes such."""

from __future__ import annotations

import json
import sys

import pytest
import small_calls as calls
from commands import Here, at_most

pytestmark = [pytest.mark.full, pytest.mark.skipif(sys.platform == "win32", reason="hangs are ended by Unix's alarm")]

HOSTILE = ("-1", "0", "nan", "inf", "-inf", "1e400", "1" + 20 * "0", "1e-400", "0x10", "\uff11")
TEXTS = {"input_size": "", "resize_size": "", "mean": "", "std": "", "max_latency": "ms", "max_size": "MB"}
TEXTS |= {"max_memory": "MB"}
"""Numbers that are parsed by the command itself, and their units."""
NUMBERS = list(calls.parameters(int, float)) + [each for each in calls.parameters(str) if each[1] in TEXTS]
# How many threads can be had is a matter of the machine.
LEFT_OUT = {"threads"}


@pytest.mark.parametrize(("name", "parameter"), [each for each in NUMBERS if each[1] not in LEFT_OUT])
def test_fault_31_hostile_numbers(name: str, parameter: str, furnished: Here) -> None:
    for number in HOSTILE:
        with at_most(60):
            done = furnished.call(*calls.words(name, **{parameter: number + TEXTS.get(parameter, "")}))
        assert done.code in (0, 1, 2, 3, 4), done
        assert "internal error" not in done.err, done
        if number in ("nan", "1e400", "-inf"):
            assert done.code == 2, done


def test_the_numbers_of_all_commands_are_tried() -> None:
    """A number that is written as text is in TEXTS."""
    assert {parameter for _, parameter in NUMBERS} >= TEXTS.keys() | {"seed", "seconds", "splits", "depth"}


PATHS = [
    each
    for each in calls.parameters(calls.Path, str)
    if each in set(calls.parameters(calls.Path)) or each[1] in {*calls.NAMES_OR_FILES, "sources", "name"}
]


@pytest.mark.parametrize(("name", "parameter"), PATHS)
def test_fault_31_empty_arguments(name: str, parameter: str, furnished: Here) -> None:
    """As a path, an empty argument would mean the current folder."""
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
