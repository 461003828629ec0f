"""Damaged files that leepfrog reads back: recomputed with a notice, or refused in one line; no wrong numbers."""

from __future__ import annotations

import copy
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import leepfrog
import numpy as np
import pytest
import tally
from commands import Here
from hypothesis import given
from hypothesis import strategies as st
from leepfrog.errors import EmbeddingError
from leepfrog.execution.context import RunContext
from leepfrog.files import sealed, unsealed
from leepfrog.task2vec.embedding import Embedding
from mutations import damage
from photos import folder_of_pieces
from rankings import Listener

pytestmark = pytest.mark.full

# Malicious or unexpected JSON values.
ODD = st.sampled_from(
    (
        None,
        True,
        -1,
        0,
        2**70,
        1e308,
        float("nan"),
        float("inf"),
        "",
        "\ud800",
        "a\nb",
        "x" * 5000,
        [],
        [1],
        {},
        {"a": []},
    )
)


@pytest.fixture
def photos(with_made: Path, here: Here) -> Path:
    return folder_of_pieces(here.folder / "photos", count=4)


def numbers(ranking: leepfrog.Ranking) -> dict[str, float]:
    return {name: score.value for name, score in ranking.models[0].scores.items()}


def test_shards_of_the_cache(photos: Path, with_made: Path) -> None:
    first = numbers(leepfrog.rank(photos, ["made"]))
    (shard,) = (with_made / "inference").glob("*/*.npy")
    whole = shard.read_bytes()

    @tally.examples(30)
    @given(damage())
    def try_one(to: Any) -> None:
        content = to(whole)
        shard.write_bytes(content)
        listener = Listener()
        with tally.limited("cache files", shard_npy=content):
            again = leepfrog.rank(photos, ["made"], context=RunContext(progress=listener))
        assert bool([notice for notice in listener.notices if "damaged" in notice]) == (content != whole)
        assert again.models[0].n_inferred == (0 if content == whole else 12)
        assert numbers(again) == pytest.approx(first, abs=1e-6)
        (kept,) = (with_made / "inference").glob("*/*.npy")
        if kept != shard:  # a different order of rows changes the hash
            kept.unlink()
        tally.outcome("cache files", "same" if content == whole else "computed again")

    try_one()


def test_kept_costs(photos: Path, with_made: Path) -> None:
    values = {"latency": 0.0012, "memory": 123456789, "threads": 2, "name": "caf\u00e9", "of": [1.5, None]}
    assert unsealed(sealed(values)) == values

    @tally.examples(300)
    @given(damage(b"{[]}0123456789.e-"))
    def try_one(to: Any) -> None:
        content = to(sealed(values))
        try:
            with tally.limited("cache files", cost_json=content):
                assert unsealed(content) == values
        except ValueError:
            tally.outcome("cache files", "computed again")
        else:
            tally.outcome("cache files", "same")

    try_one()
    leepfrog.rank(photos, ["made"])
    kept = list((with_made / "inference").glob("*/cost-*.json"))  # one per number of threads
    whole = kept[0].read_text()
    latency = str(json.loads(whole)["latency"])
    wrong = latency.replace(latency[-1], "1" if latency[-1] != "1" else "2")
    for text in (whole.replace(latency, wrong), "[" * 100_000, whole[:-1], "\0"):
        for path in kept:
            path.write_text(text)
        listener = Listener()
        ranking = leepfrog.rank(photos, ["made"], context=RunContext(progress=listener))
        assert [notice for notice in listener.notices if "cost-" in notice and "damaged" in notice]
        assert ranking.models[0].cost.latency != float(wrong)
        tally.outcome("cache files", "computed again")


@pytest.fixture
def task(photos: Path, here: Here) -> Path:
    """File of an embedding."""
    path = here.folder / "task.npz"
    here.call("embed", "photos", "--probe", "made", "-o", "task.npz", "-q").check(0)
    return path


def use(here: Here, name: str, library: Path) -> None:
    """Run every command that reads a task; exit codes must be 0, 2 or 3."""
    shutil.rmtree(library, ignore_errors=True)
    commands = [["distance", name, "task.npz"], ["distance", name, "task.npz", "--format", "json"]]
    commands += [["library", "add", library, name], ["library", "list", library]]
    commands += [["library", "list", library, "--format", "json"], ["experts", "task.npz", "-l", library]]
    for command in commands:
        done = here.call(*command)
        done.check(done.code)
        assert done.code in (0, 2, 3), done
        if "json" in command and done.code == 0:
            assert done.json
    parts = [path for path in library.rglob("*") if path.name.endswith(".part")]
    assert not parts


def test_embeddings_bytes(task: Path, here: Here) -> None:
    whole, vector = task.read_bytes(), Embedding.load(task).vector

    @tally.examples(150)
    @given(damage(whole))
    def try_one(to: Any) -> None:
        content = to(whole)
        (here.folder / "damaged.npz").write_bytes(content)
        try:
            with tally.limited("embeddings", damaged_npz=content):
                found = Embedding.load(here.folder / "damaged.npz")
        except EmbeddingError as error:
            assert "damaged.npz: " in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
            tally.outcome("embeddings", "refused")
        else:
            assert found.vector.tolist() == vector.tolist()  # members of a zip file have checksums
            tally.outcome("embeddings", "read")

    try_one()


def places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value nested in JSON values."""
    yield path
    inside = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in inside:
        yield from places(value, (*path, key))


def replaced(values: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    changed = copy.deepcopy(values)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = odd
    return changed


def rewritten(whole: bytes, header: Any = None, **arrays: Any) -> bytes:
    """Return the file of an embedding with some members replaced and valid checksums."""
    members = dict(np.load(io.BytesIO(whole)))
    members.update(arrays)
    if header is not None:
        members["header"] = np.array(json.dumps(header))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in members.items():
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(f"{name}.npy", member.getvalue())
    return stream.getvalue()


def test_embeddings_by_strangers(task: Path, here: Here) -> None:
    whole = task.read_bytes()
    with np.load(task) as arrays:
        header, vector = json.loads(str(arrays["header"])), arrays["vector"]
    wheres = list(places(header))
    others = {
        "vector": (
            vector * 1e300,
            vector * 1e-300,
            np.full_like(vector, 1.7e308),
            vector.astype(str),
            vector[None],
            -vector,
        ),
        "standard_errors": (vector * np.nan, vector * np.inf, -vector, vector * 1e200, np.float64(1)),
    }

    @tally.examples(25)
    @given(st.one_of(st.tuples(st.sampled_from(wheres), ODD), st.sampled_from(sorted(others)).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(range(len(others[name]))))
    )))  # fmt: skip
    def try_one(change: tuple[Any, Any]) -> None:
        where, odd = change
        if isinstance(where, str):
            content = rewritten(whole, **{where: others[where][odd]})
        else:
            content = rewritten(whole, replaced(header, where, odd))
        (here.folder / "damaged.npz").write_bytes(content)
        with tally.limited("embeddings", damaged_npz=content):
            use(here, "damaged.npz", here.folder / "library")
        tally.outcome("embeddings", "used or refused")

    try_one()


@pytest.mark.parametrize(
    ("where", "odd"),
    [(("made", "classes", "cat"), None), (("made", "n_available"), float("nan")), (("name",), "\ud800")],
)
def test_bug_library_list_believed_a_stranger(where: tuple[str, ...], odd: Any, task: Path, here: Here) -> None:
    with np.load(task) as arrays:
        header = json.loads(str(arrays["header"]))
    (here.folder / "damaged.npz").write_bytes(rewritten(task.read_bytes(), replaced(header, where, odd)))
    use(here, "damaged.npz", here.folder / "library")


def test_tables_of_errors(task: Path, here: Here) -> None:
    name = Embedding.load(task).name
    whole = f"task,model,error\n{name},a,0.25\n{name},b,0.5\n".encode()

    @tally.examples(40)
    @given(damage(b'",\n\r\0nan,inf,1e999\xff'))
    def try_one(to: Any) -> None:
        library = here.folder / "library"
        shutil.rmtree(library, ignore_errors=True)
        content = to(whole)
        (here.folder / "errors.csv").write_bytes(content)
        with tally.limited("library tables", errors_csv=content):
            done = here.call("library", "add", library, "task.npz", "--errors", "errors.csv")
            assert done.code in (0, 2, 3), done
            done.check(done.code)
            if library.exists():
                (library / "errors.csv").write_bytes(content)
                for command in (["library", "list", library], ["experts", "task.npz", "-l", library]):
                    done = here.call(*command)
                    assert done.code in (0, 2, 3), done
                    done.check(done.code)
        tally.outcome("library tables", "refused" if done.code else "read")

    try_one()


@pytest.mark.parametrize("command", ["check", "verify"])
def test_results_read_again(command: str, photos: Path, here: Here) -> None:
    rank = here.call("rank", "photos", "-m", "made", "-s", "leep", "-o", "result.json")
    rank.check(0)
    whole = (here.folder / "result.json").read_bytes()
    values = json.loads(whole)
    wheres = list(places(values))
    text = damage(b'{[]}",:0123456789.e-').map(lambda to: to(whole))
    parts = st.builds(
        lambda where, odd: json.dumps(replaced(values, where, odd)).encode("utf-8", "surrogatepass"),
        st.sampled_from(wheres), ODD,
    )  # fmt: skip

    @tally.examples(25)
    @given(st.one_of(text, parts))
    def try_one(content: bytes) -> None:
        (here.folder / "damaged.json").write_bytes(content)
        with tally.limited("results", damaged_json=content):
            done = here.call(command, "damaged.json", "photos", "--cached", "-q")
        assert "internal error" not in done.err, done
        assert "Traceback" not in done.err, done
        assert done.code in (0, 1, 2, 3, 4), done
        tally.outcome("results", f"exit {done.code}")

    try_one()
