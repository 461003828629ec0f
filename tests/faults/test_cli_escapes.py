"""Escaping of untrusted strings in all commands and formats: terminals, CI logs, browsers, spreadsheets (fault 30)."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import models_made as made
import pytest
from commands import Done, Here
from leepfrog.cli.formats import Format, as_csv, as_json, as_markdown, as_text
from leepfrog.cli.layout import as_table
from leepfrog.inference.device import available_threads
from leepfrog.inference.metadata import Variant
from leepfrog.inference.model_lookup import find_models
from leepfrog.listings import Diagnosis
from leepfrog.tables import Table
from machine_load import keep_costs
from photos import folder_of_pieces

pytestmark = pytest.mark.full

HOSTILE = (
    "\x1b[31mred\x1b]0;title\x07\r\n::error title=forged::not ours\n::stop-commands::x",
    "::error title=forged::not ours",
    "##[error]x ##vso[task.complete]",
    "=1+1|`a`<script>alert(1)</script>![x](http://127.0.0.1/x)",
    "@SUM(1) \u202egnp.exe\u2066 \x9b31m \x7f \u2028 \ufeff",
)
FORMATS = [member.value for member in Format]


def harmless(text: str, written_as: str, commands: tuple[str, ...] = ()) -> None:
    """Check that an output is free of active content, except lines that begin with one of `commands`."""
    assert all(c.isprintable() or c == "\n" for c in text), ascii(text)
    for line in text.splitlines():
        assert not line.lstrip().startswith("::") or line.startswith(commands or ("\0",)), line
        assert not re.search(r"##\w*\[", line), line
    if written_as == "md":
        assert not re.search(r"[<>]|(?<!\\)`|(?<!\\)\[", text), text
        # All rows of a table have the same number of bars; text around it has none.
        bars = [len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in text.splitlines()]
        assert max(bars) > 1, text
        for _, table in itertools.groupby(bars, key=bool):
            assert len(set(table)) == 1, text
        assert not re.search(r"^(#|={3}|-{3})", text, re.MULTILINE), text
    if written_as == "csv":
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(row) for row in rows}) == 1
        for cell in (cell for row in rows for cell in row):
            assert (
                cell[:1] not in tuple("=+-@\t\r") or re.fullmatch(r"[-+][0-9.e+-]+( to [-0-9.e]+)?", cell) or not cell
            )
    if written_as == "json":
        json.loads(text)


def checked(done: Done, written_as: str = "table", codes: tuple[int, ...] = (0, 1, 4)) -> None:
    assert done.code in codes, done
    assert "internal error" not in done.err, done
    harmless(done.out, written_as)
    harmless(done.err, "table")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_fault_30_renderers(hostile: str) -> None:
    table = Table(("name", hostile), [(hostile, "-1"), ("plain", "1")], (False, True))
    result = Diagnosis({hostile: hostile}, (hostile,))
    for written_as in Format:
        harmless(as_text(written_as, result, [hostile, table, [hostile, "x"]]), written_as)
    harmless(as_csv(table.header, [(hostile, -1.5), ("x", None)]), "csv")
    value = {hostile: [hostile, 1.5, "\ud800", "\U0001f600", "\U000e0001"]}
    assert json.loads(as_json(value)) == value
    harmless(as_json(value), "json")
    assert as_csv(("a", "b", "c", "d"), [("-2", "=2", -2, "-x")]).splitlines()[1] == "-2,'=2,-2,'-x"
    assert as_markdown(Table(("a",), [("a\\|b",)], (False,))).splitlines()[2] == r"| a\\\|b |"
    assert as_table(Table(("a",), [("mobilenet_v2",)], (False,))).splitlines()[2] == "mobilenet_v2"


@pytest.fixture(params=range(len(HOSTILE)))
def evil(request: pytest.FixtureRequest, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Create a home folder, models and images, all named by a hostile string, and return that string."""
    hostile = HOSTILE[request.param]
    name = hostile.replace("/", "\u2215")
    home = tmp_path / name
    monkeypatch.setenv("LEEPFROG_HOME", str(home))
    (home / "models").mkdir(parents=True)
    parent = Variant("fp16", hostile, hostile, hostile, ({"recipe": hostile},))
    texts = {"source": hostile, "license": hostile, "labels": (hostile,) * made.CLASSES, "weights_sha256": hostile}
    for which in ("a", "b"):
        model = made.scoring(name=hostile if which == "a" else which + hostile, variant=parent, **texts)
        model.producer_name = which  # makes the files differ
        (home / "models" / f"{name}{which}.onnx").write_bytes(model.SerializeToString())
    keep_costs(find_models(()), available_threads())
    folder = folder_of_pieces(here.folder / "photos", count=6)
    for i, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"{name}{i or ''}")
    (folder / f"{name}1" / f"{name}.jpg").write_text("no image")
    return hostile


@pytest.mark.skipif(sys.platform == "win32", reason="files on Windows have no such names")
def test_fault_30_models_classes_and_images(evil: str, here: Here) -> None:
    for written_as in FORMATS:
        checked(here.call("rank", "photos", "--format", written_as), written_as)
        checked(here.call("zoo", "list", "--format", written_as), written_as)
        checked(here.call("doctor", "--format", written_as), written_as)
    checked(here.call("rank", "photos", "-o", f"{evil[:1]}.csv"))
    one = next((Path(os.environ["LEEPFROG_HOME"]) / "models").glob("*a.onnx"))
    shutil.copy(one, "one.onnx")
    for written_as in FORMATS:
        checked(here.call("explain", "photos", "-m", "one.onnx", "--format", written_as), written_as)
    checked(here.call("bench", "one.onnx", "--seconds", "0.01", "--format", "md"), "md")
    checked(here.call("validate", "photos", "--splits", "1", "-s", "leep", "--format", "csv"), "csv")
    checked(here.call("validate", "photos", "-m", "one.onnx", "--tasks", "3", "--format", "csv"), "csv")
    checked(here.call("rank", "photos", "-m", evil), codes=(0, 2, 3))
    checked(here.call("export", evil), codes=(2, 3))


@pytest.mark.skipif(sys.platform == "win32", reason="files on Windows have no such names")
def test_fault_30_tasks(evil: str, here: Here) -> None:
    one = next((Path(os.environ["LEEPFROG_HOME"]) / "models").glob("*a.onnx"))
    shutil.copy(one, "one.onnx")
    files = []
    for i in range(2):
        files.append(f"{i}.npz")
        words = ("embed", "photos", "--probe", "one.onnx", "--head-only", "--seed", str(i))
        checked(here.call(*words, "-o", files[-1], "--name", f"{evil}{i or ''}"))
    with open(here.folder / "errors.csv", "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("task", "model", "error"), (evil, evil, 0.1), (evil, "other", 0.2)])
    checked(here.call("library", "add", "tasks", *files, "--errors", "errors.csv"))
    for written_as in FORMATS:
        checked(here.call("library", "list", "tasks", "--format", written_as), written_as)
        checked(here.call("distance", *files, "--format", written_as), written_as)
        checked(here.call("distance", *files, "--kind", "kl", "--format", written_as), written_as)
        checked(here.call("experts", "0.npz", "-l", "tasks", "--format", written_as), written_as)
    checked(here.call("map", "tasks", "-o", "map.svg"))


def _strings(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every string in a JSON value."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if isinstance(value, str):
        yield path
    for key, item in items:
        yield from _strings(item, (*path, key))


def _changed(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    copy = json.loads(json.dumps(value))
    holder = copy
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = change(holder[path[-1]])
    return copy


OURS = ("::error title=leepfrog ", "::notice title=leepfrog check::")


def _judged(here: Here, values: Any) -> None:
    """Run `check` in all its formats, and `verify`, on a baseline."""
    (here.folder / "ranking.json").write_text(json.dumps(values), encoding="utf-8")
    for written_as in ("table", "github", "junit", "json"):
        done = here.call("check", "ranking.json", "photos", "--cached", "--format", written_as)
        assert done.code in (0, 1, 2, 3), done
        harmless(done.out, written_as, OURS if written_as == "github" else ())
        harmless(done.err, "table")
        if written_as == "junit" and done.out:
            ElementTree.fromstring(done.out)  # noqa: S314 - our own output
        if done.code > 1:
            break  # errors do not depend on the format
    checked(here.call("verify", "ranking.json", "photos", "--cached"), codes=(0, 1, 2, 3))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_fault_30_baselines_all_of_whose_strings_are_hostile(hostile: str, furnished: Here) -> None:
    """Replace all strings except those that select what is rerun; changed scores trigger the full report."""
    values = json.loads((furnished.folder / "ranking.json").read_text())
    for score in values["models"][0]["scores"].values():
        score["value"] += 1
    receipt = values["receipt"]
    decides = {("receipt", "command"), ("receipt", "models", 0, "name")}
    for path in list(_strings(receipt, ("receipt",))):
        if path not in decides and path[:2] != ("receipt", "arguments"):
            values = _changed(values, path, lambda _: hostile)
    data = values["receipt"]["data"]
    data["skipped"] = [{"name": hostile, "reason": hostile}]
    data["classes"] |= {hostile: next(iter(data["classes"].values()))}
    values["receipt"]["environment"] |= {hostile: hostile}
    values["notes"] = [hostile]
    _judged(furnished, values)


def test_fault_30_each_string_of_a_baseline(furnished: Here) -> None:
    values = json.loads((furnished.folder / "ranking.json").read_text())
    tried = set()
    for path in _strings(values):
        kind = tuple(key for key in path if isinstance(key, str))
        if kind not in tried and kind[:2] != ("receipt", "environment"):
            tried.add(kind)
            _judged(furnished, _changed(values, path, lambda _: HOSTILE[0]))
    assert len(tried) > 20


def test_fault_30_formulas_of_a_baseline(furnished: Here) -> None:
    values = json.loads((furnished.folder / "ranking.json").read_text())
    values["models"][0]["license"] = '=HYPERLINK("http://x")'
    (furnished.folder / "hostile.json").write_text(json.dumps(values))
    done = furnished.call("verify", "hostile.json", "photos", "--format", "csv")
    (row,) = [row for row in csv.DictReader(io.StringIO(done.out)) if row["value"].endswith("license")]
    assert row["was"].startswith("'")
    assert "=HYPERLINK" in row["was"]
