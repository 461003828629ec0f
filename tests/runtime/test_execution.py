"""Units of work and their runners, the run context, and serialized requests."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pickle
import random
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import leepfrog
import models_made as made
import pytest
from baselines import put, two_models
from hypothesis import given
from hypothesis import strategies as st
from leepfrog import errors
from leepfrog.errors import LeepfrogError, MachineError, ModelError, UsageError
from leepfrog.execution.context import RunContext
from leepfrog.execution.hashed import hash_images
from leepfrog.execution.outputs import Inference, infer
from leepfrog.execution.pipeline import Unreadable
from leepfrog.execution.runner import LocalRunner, Runner
from leepfrog.execution.unit import Block, Unit, UnitModel, run_unit
from leepfrog.gate.rerun import context_of, request_of
from leepfrog.images.dataset import ImageSet
from leepfrog.inference.model_lookup import find_models
from leepfrog.ranking.budget import Budget
from leepfrog.ranking.rank import RankRequest
from leepfrog.ranking.score_files import ScoreRequest
from leepfrog.receipts.request import Request
from leepfrog.scoring.names import SCORE_NAMES
from leepfrog.task2vec.embed import EmbedRequest
from leepfrog.validation.tasks import TasksRequest
from leepfrog.validation.validate import ValidateRequest
from onnx import helper
from photos import folder_of_pieces, photo_set

BATCH = 4
REQUESTS = (RankRequest, ValidateRequest, TasksRequest, EmbedRequest, ScoreRequest)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Worker processes that share no state with this process."""
    with ProcessPoolExecutor(2, get_context("spawn")) as workers:
        yield workers


@dataclasses.dataclass(frozen=True)
class Workers:
    """A runner that splits units into shards and yields the results of other processes as they complete."""

    pool: ProcessPoolExecutor

    def map(self, units: Iterable[Unit]) -> Generator[Block | Unreadable, None, None]:
        futures = [self.pool.submit(run_unit, shard) for unit in units for shard in shards(unit)]
        for future in as_completed(futures):
            yield from future.result()


def shards(unit: Unit) -> Iterator[Unit]:
    """Split a unit into units of two batches each."""
    positions = sorted(unit.images)
    for start in range(0, len(positions), 2 * BATCH):
        part = frozenset(positions[start : start + 2 * BATCH])
        yield dataclasses.replace(
            unit,
            models=tuple(dataclasses.replace(model, needed=model.needed & part) for model in unit.models),
            images={position: unit.images[position] for position in part},
            digests={position: unit.digests[position] for position in part},
        )


@dataclasses.dataclass(frozen=True)
class Shuffled:
    """A runner that yields the blocks of another runner in shuffled order."""

    runner: Runner

    def map(self, units: Iterable[Unit]) -> Generator[Block | Unreadable, None, None]:
        blocks = list(self.runner.map(units))
        random.Random(0).shuffle(blocks)
        yield from blocks


@dataclasses.dataclass(frozen=True)
class Failing:
    """A runner that loses its worker after some blocks."""

    blocks: int

    def map(self, units: Iterable[Unit]) -> Generator[Block | Unreadable, None, None]:
        with contextlib.closing(LocalRunner().map(units)) as blocks:
            for _ in range(self.blocks):
                yield next(blocks)
        raise MachineError("the worker is gone")


def unit_of(images: ImageSet) -> Unit:
    """Return a unit of all models in the home directory and all readable images."""
    hashed = hash_images(images, RunContext(threads=1))
    used = sorted(position for at in hashed.positions.values() for position in at)
    models = tuple(UnitModel(model, frozenset(used), False) for model in find_models(()))
    return Unit(models, {i: images.images[i] for i in used}, {i: hashed.digests[i] for i in used}, "cpu", 1, BATCH)


def rows(blocks: Iterable[Block | Unreadable]) -> dict[tuple[str, int], Any]:
    """Return the outputs per model and image, as bytes."""
    return {
        (block.model, position): (block.probs[i].tobytes(), block.features[i].tobytes())
        for block in blocks
        if isinstance(block, Block)
        for i, position in enumerate(block.positions)
    }


@pytest.mark.full
@pytest.mark.parametrize("files", [True, False])
def test_another_process_gives_the_same_bits(
    files: bool, home: Path, tmp_path: Path, pool: ProcessPoolExecutor
) -> None:
    two_models(home)
    images = leepfrog.find_images(folder_of_pieces(tmp_path / "photos", count=5)) if files else photo_set(5)
    unit = unit_of(images)
    local = list(LocalRunner().map([unit]))
    remote = pool.submit(run_unit, unit).result()
    assert len(rows(local)) == 30
    assert rows(remote) == rows(local)
    assert rows(Workers(pool).map([unit])) == rows(local)
    assert not [*(home / "inference").rglob("*.npy")]  # only the driver writes to the cache


@pytest.mark.full
def test_a_ranking_by_other_processes_is_the_same(home: Path, pool: ProcessPoolExecutor) -> None:
    two_models(home)
    images = photo_set(6)

    def ranked(name: str, runner: Runner) -> list[Any]:
        context = RunContext(threads=1, batch_size=BATCH, runner=runner, cache=home / name)
        ranking = leepfrog.rank(images, context=context)
        assert [model.n_inferred for model in ranking] == [18, 18]
        assert all(not model.n_inferred for model in leepfrog.rank(images, context=context))  # all outputs are cached
        return [(model.name, {name: score.value for name, score in model.scores.items()}) for model in ranking]

    local = ranked("local", LocalRunner())
    assert ranked("workers", Workers(pool)) == local
    assert ranked("shuffled", Shuffled(LocalRunner())) == local


def test_an_image_that_a_worker_cannot_read_is_skipped_for_the_same_reason(
    home: Path, tmp_path: Path, pool: ProcessPoolExecutor
) -> None:
    two_models(home)
    folder = folder_of_pieces(tmp_path / "photos", count=4)
    bad = folder / "cat" / "01.jpg"
    bad.write_bytes(bad.read_bytes()[:600])
    images = leepfrog.find_images(folder)

    def skipped(name: str, runner: Runner, strict: bool = False) -> dict[int, str]:
        context = RunContext(threads=1, strict=strict, runner=runner, cache=home / name).checked()
        return infer(images, find_models(()), context).hashed.bad

    local, remote = skipped("local", LocalRunner()), skipped("workers", Workers(pool))
    assert local == remote
    assert [images.images[position].name for position in remote] == [str(bad)]
    with pytest.raises(errors.ImageError, match=r"01\.jpg"):
        skipped("strict", Workers(pool), strict=True)


def test_a_model_that_fails_in_a_worker_is_a_model_error(home: Path, pool: ProcessPoolExecutor) -> None:
    noise = helper.make_node("RandomNormalLike", ["before"], ["noise"], scale=0.05)
    model = made.scoring_through("features", noise, helper.make_node("Add", ["before", "noise"], ["features"]))
    path = put(home, "plain").with_name("random.onnx")
    path.write_bytes(model.SerializeToString())
    for runner in (LocalRunner(), Workers(pool)):
        with pytest.raises(ModelError, match=r"random.* when the same image is run again \(it has RandomNormalLike\)"):
            leepfrog.rank(photo_set(4), [path], context=RunContext(threads=1, runner=runner))


def test_what_had_come_before_a_runner_failed_is_kept(home: Path) -> None:
    put(home, "plain")
    images, context = photo_set(6), RunContext(threads=1, batch_size=BATCH)
    with pytest.raises(MachineError, match="the worker is gone"):
        leepfrog.rank(images, context=context.replace(runner=Failing(2)))
    assert leepfrog.rank(images, context=context)[0].n_inferred == 18 - 2 * BATCH


def test_every_error_pickles() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LeepfrogError)}
    assert {UsageError, ModelError, MachineError, errors.WriteError} <= kinds
    for kind in kinds:
        again = pickle.loads(pickle.dumps(kind("cat.jpg: broken")))
        assert type(again) is kind
        assert str(again) == "cat.jpg: broken"


def test_a_context_shows_what_is_not_the_default() -> None:
    context = RunContext(device="cuda", threads=2)
    assert repr(RunContext()) == "RunContext()"
    assert repr(context) == "RunContext(device='cuda', threads=2)"
    assert context.replace(device="", costs="sheet") == RunContext(threads=2, costs="sheet")
    assert RunContext(threads=3).cores == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        context.threads = 1  # type: ignore[misc]
    with pytest.raises(TypeError, match="thread"):
        context.replace(thread=1)


def test_a_context_is_checked() -> None:
    checked = RunContext().checked()
    assert (checked.device, checked.costs) == ("cpu", "here")
    assert checked.threads == checked.cores >= 1
    assert checked.checked() == checked
    for values, message in (
        ({"device": "gpu"}, "device 'gpu' is unknown"),
        ({"threads": 0}, "threads"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
    ):
        with pytest.raises(UsageError, match=message):
            RunContext(**values).checked()  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="place 'moon' is unknown; one of here"):
        leepfrog.rank("no-such-folder", context=RunContext(costs="moon"))


scores = st.lists(st.sampled_from((*SCORE_NAMES, "all")), max_size=3).map(tuple)
limits = st.none() | st.floats(1e-9, 1e12)
seeds = st.integers(0, 2**31 - 1)
requests = st.one_of(
    st.builds(
        RankRequest,
        by=st.sampled_from((None, "combined", "ridge", "knn", "leep_loo")),
        scores=scores,
        budget=st.builds(Budget, limits, limits, limits),
        racing=st.booleans(),
        seed=seeds,
    ),
    st.builds(
        ValidateRequest,
        scores=scores,
        images=st.integers(4, 10**6),
        splits=st.integers(1, 100),
        shots=st.integers(1, 50),
        seed=seeds,
    ),
    st.builds(TasksRequest, n_tasks=st.integers(3, 500), scores=scores, images=st.integers(4, 10**6), seed=seeds),
    st.builds(
        EmbedRequest,
        estimator=st.sampled_from(("signs", "sampled", "exact")),
        tolerance=st.floats(0, 10),
        max_images=st.none() | st.integers(2, 10**6),
        head_only=st.booleans(),
        l2=limits,
        seed=seeds,
    ),
    st.builds(ScoreRequest, scores=scores, seed=seeds),
)


@given(requests)
def test_a_request_is_read_as_it_was_written(request_: Request) -> None:
    values = json.loads(json.dumps(request_.as_dict()))
    assert "seed" not in values
    assert type(request_).from_dict(values, request_.seed) == request_
    assert type(request_).from_dict({**values, "device": "cpu"}, request_.seed) == request_


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (RankRequest, {"by": "beauty"}, "beauty"),
        (RankRequest, {"by": "leep", "racing": True}, "leep"),
        (RankRequest, {"scores": ("beauty",)}, "beauty"),
        (RankRequest, {"budget": {"size": 1}}, "budget must be a leepfrog.Budget"),
        (ValidateRequest, {"images": 3}, "images must be at least 4, not 3"),
        (ValidateRequest, {"seed": -1}, "seed"),
        (TasksRequest, {"n_tasks": 2}, "n_tasks must be at least 3 to compute correlations, not 2"),
        (EmbedRequest, {"tolerance": -1.0}, "tolerance must be 0 or more"),
        (EmbedRequest, {"max_images": 1}, "max_images must be at least 2"),
        (ScoreRequest, {"scores": ("beauty",)}, "beauty"),
    ],
)
def test_an_invalid_request_cannot_be_made(kind: type[Request], values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        kind(**values)


def test_a_receipt_gives_the_request_and_the_context_again(home: Path) -> None:
    put(home, "plain")
    context = RunContext(threads=1, batch_size=5, strict=True)
    receipt = leepfrog.rank(photo_set(4), by="ridge", scores=["knn"], context=context).receipt
    assert request_of(receipt) == RankRequest("ridge", ("knn",))
    assert receipt.arguments["costs"] == "here"
    assert context_of(receipt, RunContext()) == RunContext(device="cpu", costs="here", strict=True, batch_size=5)
    assert context_of(receipt, RunContext(device="cuda", costs="sheet")).costs == "sheet"
    for arguments, message in (
        (receipt.arguments | {"beauty": 1}, "receipt.arguments has 'beauty', which rank does not take"),
        (receipt.arguments | {"by": 1}, "receipt.arguments.by is 1"),
        (receipt.arguments | {"costs": 1}, "costs is 1"),
        (receipt.arguments | {"strict": "yes"}, "strict is 'yes'"),
        (receipt.arguments | {"batch_size": True}, "batch_size is True"),
    ):
        changed = dataclasses.replace(receipt, arguments=arguments)
        with pytest.raises(UsageError, match=message):
            context_of(changed, RunContext()), request_of(changed)
    with pytest.raises(UsageError, match="made by 'demo', which cannot be run again"):
        request_of(dataclasses.replace(receipt, command="demo"))


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.command)
def test_a_request_s_arguments_and_its_context_s_are_apart(kind: type[Request]) -> None:
    fields = {field.name for field in dataclasses.fields(kind)}
    assert not fields & set(kind.of_context)
    assert set(kind.of_context) <= {field.name for field in dataclasses.fields(RunContext)}


@dataclasses.dataclass(frozen=True)
class FallingBack:
    """A runner whose device falls back to the CPU for some nodes."""

    def map(self, units: Iterable[Unit]) -> Generator[Block | Unreadable, None, None]:
        for block in LocalRunner().map(units):
            yield dataclasses.replace(block, fallback="1 of 9 nodes") if isinstance(block, Block) else block


def test_a_later_part_of_a_run_still_tells_of_nodes_on_the_cpu(home: Path) -> None:
    """For example in racing, where the last stage may have nothing left to run."""
    put(home, "plain")
    context = RunContext(threads=1, runner=FallingBack()).checked()
    hashed, inference = hash_images(photo_set(4), context), Inference(context)
    for _ in range(2):
        assert inference.run(hashed, find_models(())).fallbacks == ("plain: 1 of 9 nodes",)
