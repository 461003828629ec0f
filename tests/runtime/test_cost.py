"""Measured costs, multiply-adds, budgets and the Pareto front in `rank`, `bench` and the plot."""

from __future__ import annotations

import json
from pathlib import Path

import leepfrog
import models_made as made
import numpy as np
import onnx
import pytest
from baselines import conforms, put
from commands import Here
from hypothesis import given
from hypothesis import strategies as st
from leepfrog.cli.amounts import amount
from leepfrog.costs.cost import Cost
from leepfrog.costs.places.here import measure
from leepfrog.errors import ModelError, UsageError
from leepfrog.execution.context import RunContext
from leepfrog.inference.model_lookup import find_models
from leepfrog.ranking.budget import Budget, pareto_front
from leepfrog.ranking.records import records
from leepfrog.report.page import render
from leepfrog_exporter.export import export
from leepfrog_exporter.graph.macs import count_macs
from leepfrog_exporter.networks.packages import package
from leepfrog_exporter.sources import builder
from photos import folder_of_pieces, photo_set
from rankings import FAST, Listener


@pytest.mark.alone
def test_a_real_model_is_measured_by_itself(zoo_home: Path) -> None:
    small, large = (measure(find_models([name])[0], "cpu", 1, 0.1) for name in ("mobilenet_v2", "efficientnet_lite2"))
    for cost in (small, large):
        assert 1e-4 < cost.latency <= cost.latency_p95 < 5
        assert cost.n_runs >= 10
        assert cost.threads == 1
        assert 0 < cost.memory_of_model < cost.memory < 1e9
        assert Cost.from_dict(json.loads(json.dumps(cost.as_dict()))) == cost
    # The larger model has 0.87 instead of 0.3 billion multiply-adds, and 24 instead of 14 MB.
    assert large.relative_latency > 1.3 * small.relative_latency
    assert large.throughput < small.throughput
    assert large.memory_of_model > small.memory_of_model


@pytest.mark.full
def test_the_process_does_not_count_its_parent_s_memory(two_home: Path) -> None:
    ballast = np.ones(1 << 27)  # 1 GiB in this process
    assert measure(find_models(FAST[:1])[0], "cpu", 1, 0.05).memory < ballast.nbytes / 2


def test_a_model_that_cannot_be_run_is_an_error(two_home: Path) -> None:
    (file,) = find_models(FAST[:1])
    file.path.write_bytes(b"")
    with pytest.raises(ModelError, match="changed while it was being used"):
        measure(file, "cpu", 1, 0.05)


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "millions"),
    [("mobilenet_v2", 300.8), ("squeezenet1_1", 349.2), pytest.param("resnet18", 1814.1, marks=pytest.mark.slow)],
)
def test_multiply_adds(name: str, millions: float, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with published counts of well-known networks and with hooks on torch's layers."""
    torch = package("torch")
    file = export(f"torchvision:{name}", made.options(random_weights=True))
    network = builder("torchvision")(name, pretrained=False).module.eval()
    counted = 0

    def count(layer: object, _: object, output: object) -> None:
        nonlocal counted
        weight = layer.weight  # type: ignore[attr-defined]
        counted += output.numel() * weight[0].numel()  # type: ignore[attr-defined]

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 3, 224, 224))
    assert file.metadata.macs == counted
    assert counted / 1e6 == pytest.approx(millions, rel=0.01)


def test_multiply_adds_without_shapes_are_not_known() -> None:
    model = made.scoring()
    assert count_macs(model, (32, 32)) is not None
    model.graph.node[0].op_type = "Unheard"
    model.graph.node[0].domain = "nowhere"
    for value in list(model.graph.value_info):
        model.graph.value_info.remove(value)
    assert count_macs(onnx.ModelProto.FromString(model.SerializeToString()), (32, 32)) is None


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("20ms", "time", 0.02),
        ("1.5 s", "time", 1.5),
        ("10MB", "bytes", 1e7),
        ("1GiB", "bytes", 2**30),
        (".5mb", "bytes", 5e5),
    ],
)
def test_amounts(text: str, kind: str, expected: float) -> None:
    assert amount(text, kind, "--max") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "kind"), [("20", "time"), ("ms", "time"), ("20MB", "time"), ("-1ms", "time"), ("0MB", "bytes")]
)
def test_bad_amounts(text: str, kind: str) -> None:
    with pytest.raises(UsageError, match="expected a positive number with a unit"):
        amount(text, kind, "--max-latency")


def test_a_budget_names_what_is_exceeded() -> None:
    cost = Cost(0.02, 0.03, 15.0, 60.0, 200, 100, 1, 10, 1e-3)
    assert Budget().exceeded(cost, 10) == ()
    assert Budget(latency=0.01, size=10, memory=150).exceeded(cost, 10) == ("latency", "memory")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    front = pareto_front([s for s, _ in points], [t for _, t in points])
    assert any(front)
    for (s, t), on in zip(points, front, strict=True):
        beaten = any((a > s and b <= t) or (a >= s and b < t) for a, b in points)
        assert on == (not beaten)


def test_models_outside_the_budget_are_shown(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=3)
    sizes = {file.name: file.size for file in find_models(FAST)}
    ranking = leepfrog.rank(folder, FAST, budget=Budget(size=(min(sizes.values()) + max(sizes.values())) / 2))
    rows = {model.name: model for model in ranking.models}
    assert rows["efficientnet_lite0"].outside == ("size",)
    assert not rows["efficientnet_lite0"].on_front
    assert rows["mobilenet_v2"].outside == ()
    assert rows["mobilenet_v2"].on_front
    assert len(rows) == 2
    assert ranking.as_dict()["budget"]["size"] == ranking.budget.size


@pytest.mark.full
def test_the_command_line(zoo_home: Path, here: Here) -> None:
    folder_of_pieces(here.folder / "photos", count=3)
    result = here.call("bench", *FAST, "--seconds", "0.05", "--threads", "1", "--format", "json").json
    assert [row["model"] for row in result["models"]] == list(FAST)
    assert all(row["macs"] > 1e8 and row["latency"] > 0 for row in result["models"])
    here.call("bench", FAST[0], "--seconds", "0.05").check(0, "MACs M")
    ranked = here.call("rank", "photos", "-m", ",".join(FAST), "--max-latency", "1us", "--plot", "front.svg")
    ranked.check(0)
    assert ranked.out.count("over latency") == 2
    drawn = (here.folder / "front.svg").read_text()
    assert all(name in drawn for name in (*FAST, "budget"))
    here.call("rank", "photos", "--max-size", "10").check(2, "--max-size '10'")


@pytest.mark.full
def test_nothing_is_measured_where_earlier_runs_count(with_made: Path, tmp_path: Path, here: Here) -> None:
    """Models without a stored cost are ranked too, but they are excluded from the front."""
    put(with_made, "plain", noise=0.5)
    folder_of_pieces(here.folder / "photos", count=4)
    listener = Listener()
    context = RunContext(costs="kept", progress=listener)
    ranking = leepfrog.rank(here.folder / "photos", context=context)
    assert "measuring" not in listener.stages
    assert ranking["made"].cost is not None
    assert ranking["made"].cost.place == "here"
    assert (ranking["plain"].cost, ranking["plain"].on_front, ranking["made"].on_front) == (None, False, True)
    conforms(ranking.as_dict())
    ranking.save(tmp_path / "ranking.json")
    assert leepfrog.Ranking.load(tmp_path / "ranking.json") == ranking
    assert "Not considered for the front because their costs are unknown: plain." in render(ranking)
    assert ranking._repr_html_()
    assert [row["latency"] is None for row in records(ranking)] == [model.name == "plain" for model in ranking]
    done = here.call("rank", "photos", "--costs", "kept", "--plot", "front.svg")
    done.check(0, "Not considered for the front because their costs are unknown: plain.")
    svg = (here.folder / "front.svg").read_text()
    assert f'id="model-{ranking["made"].rank - 1}"' in svg
    assert f'id="model-{ranking["plain"].rank - 1}"' not in svg
    here.call("rank", "photos", "--costs", "kept", "--max-size", "1MB").check(0)
    here.call("rank", "photos", "--costs", "kept", "--max-latency", "1s").check(2, "leepfrog bench, or rank with")
    here.call("bench", "--costs", "kept").check(2, "'kept' does not measure costs; use --costs here")
    check = ("check", tmp_path / "ranking.json", "photos", "--cached", "--fail-on")
    here.call(*check, "score").check(0)
    here.call(*check, "latency").check(2, "use --costs here")
    here.call(*check, "latency", "--costs", "here").check(2, "the latency of plain is unknown; recreate the baseline")


def test_a_front_needs_costs(home: Path, here: Here) -> None:
    put(home, "plain")
    folder_of_pieces(here.folder / "photos", count=4)
    ranking = leepfrog.rank(here.folder / "photos", context=RunContext(costs="kept"))
    assert ranking.priced == []
    page = render(ranking)
    assert 'id="front"' not in page
    assert "because their costs are unknown" in page
    done = here.call("rank", "photos", "--costs", "kept", "--plot", "front.svg")
    assert done.code == 2
    assert "cannot plot score against latency: no model's cost is known" in done.error
    assert "because their costs are unknown" in done.out


def test_a_budget_without_costs_is_refused_before_any_work(home: Path) -> None:
    put(home, "plain")
    listener = Listener()
    with pytest.raises(UsageError, match="needs the costs of all models"):
        leepfrog.rank(photo_set(2), budget=Budget(latency=1.0), context=RunContext(costs="kept", progress=listener))
    assert "hashing" not in listener.stages
