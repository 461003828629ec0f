"""Shared fixtures, and the pytest hooks for tiers, exclusive tests and the summary of fuzzing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import hypothesis
import models_made as made
import pytest
import small_calls
import tally
from commands import Here
from hostile_ranking import Reported, rank_hostile
from leepfrog.files import locked
from leepfrog.inference.device import available_threads
from leepfrog.inference.model import ModelFile
from leepfrog.inference.model_lookup import find_models
from leepfrog.report.page import report_html
from leepfrog_exporter import zoo
from leepfrog_exporter.export import ExportOptions, export
from leepfrog_exporter.gradient.probe import export_probe
from machine_load import keep_costs
from rankings import FAST
from turns import turn

# One thread for OpenMP and OpenBLAS: pytest-xdist workers share the cores, and spinning idle threads would slow them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Files whose tests take many seconds.
LONGEST = ("test_contributing", "test_benchmarks", "test_kills")

# Cost measurements need not be accurate: most tests that rank models check something else.
os.environ.setdefault("LEEPFROG_COST_SECONDS", "0.01")

# Deterministic examples, so that failures in CI are reproducible locally.
hypothesis.settings.register_profile("leepfrog", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("fast", hypothesis.settings.get_profile("leepfrog"), max_examples=25)
hypothesis.settings.load_profile("leepfrog")


@pytest.fixture(scope="session")
def starters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the four starter models of the zoo, with real weights from wheels, exported once per session."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the parent of the workers' folders
        shared = shared.parent
    home = shared / "starters"
    with locked(shared / "starters.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEEPFROG_HOME", str(home))
        for entry in zoo.load().values():
            if entry.is_starter:
                export(f"zoo:{entry.name}", ExportOptions())  # does nothing if the model exists
        if not (home / "costs").exists():
            keep_costs(find_models(()), available_threads())
            (home / "inference").rename(home / "costs")
    return home / "models"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty leepfrog home for this test only."""
    folder = tmp_path / "home"
    monkeypatch.setenv("LEEPFROG_HOME", str(folder))
    return folder


@pytest.fixture
def zoo_home(home: Path, starters: Path) -> Path:
    """Leepfrog home with the four starter models and their costs, but without cached outputs."""
    shutil.copytree(starters, home / "models")
    shutil.copytree(starters.with_name("costs"), home / "inference")
    return home


@pytest.fixture
def two_home(home: Path) -> Path:
    """Leepfrog home with two synthetic models, named like the fast models of the zoo, and their costs."""
    (home / "models").mkdir(parents=True)
    for name, license in zip(FAST, ("", "x" * 1000), strict=True):  # of different sizes
        (home / "models" / f"{name}.onnx").write_bytes(made.scoring(name=name, license=license).SerializeToString())
    keep_costs(find_models(FAST), available_threads())
    return home


@pytest.fixture
def tiny(with_made: Path) -> Path:
    """Synthetic model in a home of its own, with its probe; an embedding takes a fraction of a second."""
    return with_made / "models" / "made.onnx"


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """Ranking in which every name is hostile."""
    folder = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEEPFROG_HOME", str(folder / "home"))
        return rank_hostile(folder)


@pytest.fixture(scope="session")
def report_text(reported: Reported, tmp_path_factory: pytest.TempPathFactory) -> str:
    """HTML report of `reported`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEEPFROG_HOME", str(tmp_path_factory.mktemp("home")))
        return report_html(reported.ranking, reported.outputs)


@pytest.fixture
def here(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """Runner of commands in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    return Here(folder, capsys, monkeypatch)


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home with the synthetic model "made", its probe and its costs; shared, so tests must not modify it."""
    home = tmp_path_factory.mktemp("made-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEEPFROG_HOME", str(home))
        (home / "models").mkdir()
        path = home / "models" / "made.onnx"
        path.write_bytes(made.scoring().SerializeToString())
        model = ModelFile.read(path)
        export_probe(model)
        for threads in {1, available_threads()}:
            keep_costs([model], threads)
    return home


@pytest.fixture
def with_made(made_home: Path, home: Path) -> Path:
    """Copy of `made_home` for this test only."""
    shutil.copytree(made_home, home)
    return home


@pytest.fixture(scope="session")
def furniture(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that the calls of `small_calls.CALLS` read; shared, so tests must not modify them."""
    folder = tmp_path_factory.mktemp("furniture")
    home = folder / "home"
    shutil.copytree(made_home, home)
    (folder / "here").mkdir()
    small_calls.furnish(folder / "here", home)
    return folder


@pytest.fixture
def furnished(furniture: Path, home: Path, here: Here) -> Here:
    """Runner of commands, with copies of the files that the calls of `small_calls.CALLS` read."""
    shutil.copytree(furniture / "home", home)
    shutil.copytree(furniture / "here", here.folder, dirs_exist_ok=True)
    return here


def pytest_configure(config: pytest.Config) -> None:
    """Reduce the number of Hypothesis examples if only the fast tier is selected."""
    if config.getoption("markexpr") == "fast":
        hypothesis.settings.load_profile("fast")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with its tier: `fast`, unless it is marked `full` or `slow` or needs downloaded weights."""
    for item in items:
        if item.get_closest_marker("slow") is None and "starters" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.full)
        if not any(item.get_closest_marker(tier) for tier in ("full", "slow")):
            item.add_marker(pytest.mark.fast)
    # Exclusive tests first, then the longest ones, so that no worker is idle at the end.
    items.sort(key=lambda item: (item.get_closest_marker("alone") is None, item.path.stem not in LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run tests marked `alone` while the other workers wait."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    with turn(Path(item.config.getoption("basetemp")).parent, item.get_closest_marker("alone") is not None):
        return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the counters of a pytest-xdist worker to the controller."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["tried"] = tally.counts()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the counters of a worker."""
    tally.add(getattr(node, "workeroutput", {}).get("tried", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many bad inputs and faults were tried."""
    for line in tally.tell():
        terminalreporter.write_line(line)
