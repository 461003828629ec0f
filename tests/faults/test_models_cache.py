"""Output cache: shards are read once, memory is bounded, and foreign structures are rejected (faults 23 and 31)."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import leepfrog
import numpy as np
import pytest
from commands import Here, run
from leepfrog.execution.context import RunContext
from leepfrog.inference import cache
from leepfrog.inference.cache import OutputCache
from leepfrog.inference.model_lookup import find_models
from photos import folder_of_pieces
from rankings import Listener

pytestmark = pytest.mark.full

COUNTED = """
import collections, json, sys
opened = collections.Counter()
def count(event, args):
    if event == "open" and str(args[0]).endswith(".npy"):
        opened[str(args[0])] += 1
sys.addaudithook(count)
import leepfrog
from leepfrog.inference import cache
cache.ROWS_PER_SHARD = 8
ranking = leepfrog.rank(sys.argv[1], ["made"], scores=["all"])
print(json.dumps([ranking.models[0].n_inferred, dict(opened)]))
"""


def test_fault_23_a_wholly_cached_ranking_reads_every_shard_once(with_made: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=8)
    for inferred in (24, 0):
        n_inferred, opened = run(folder, code=COUNTED).json
        assert n_inferred == inferred
    shards = list((with_made / "inference").glob("*/*.npy"))
    assert len(shards) >= 3
    assert opened == {str(path): 1 for path in shards}


def test_fault_23_what_is_held_of_shards_is_bounded(
    with_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits below the size of one shard also work and do not change scores."""
    monkeypatch.setattr(cache, "ROWS_PER_SHARD", 8)
    folder = folder_of_pieces(tmp_path / "photos", count=8)
    first = leepfrog.rank(folder, ["made"])
    shards = list((with_made / "inference").glob("*/*.npy"))
    for limit in (0, 2 * shards[0].stat().st_size):
        monkeypatch.setattr(cache, "HELD_BYTES", limit)
        monkeypatch.setattr(cache, "_HELD", cache._Held())
        again = leepfrog.rank(folder, ["made"])
        assert sum(records.nbytes for _, records in cache._HELD._shards.values()) == cache._HELD._bytes <= limit
        assert again.models[0].n_inferred == 0
        assert again.models[0].scores["leep"].value == first.models[0].scores["leep"].value


def shard(kind: Any, n: int = 3, fill: Callable[[Any], None] = lambda _: None, order: str = "C") -> bytes:
    records = np.zeros(n, kind)
    fill(records)
    stream = io.BytesIO()
    np.save(stream, records)
    return stream.getvalue()


def rows(z: int, d: int, digest: str = "V32", number: str = "<f4") -> list[tuple[str, str, tuple[int, ...]]]:
    return [("digest", digest, ()), ("probs", number, (z,)), ("features", number, (d,))]


def huge() -> bytes:
    """Return a shard whose header declares 10^12 rows that are missing."""
    content = shard(rows(5, 6), 1)
    return content.replace(b"'shape': (1,), }" + b" " * 12, b"'shape': (1000000000000,), }", 1)


def uniform(records: Any) -> None:
    records["probs"] = 1 / records["probs"].shape[-1]


def spoiled(records: Any) -> None:
    uniform(records)
    records["features"][0, 0] = np.nan


STRUCTURES = {
    "no columns": shard("<f4"),
    "a scalar": shard("<f4", ()),
    "two axes": shard(rows(5, 6), (2, 2)),
    "text": shard(rows(5, 6, number="U3")),
    "other numbers": shard(rows(5, 6, number=">f8")),
    "digests of other lengths": shard(rows(5, 6, digest="V16")),
    "numbers for rows": shard([("digest", "V32"), ("probs", "<f4"), ("features", "<f4")]),
    "matrices for rows": shard([("digest", "V32"), ("probs", "<f4", (2, 2)), ("features", "<f4", (6,))]),
    "rows without numbers": shard(rows(0, 6)),
    "probabilities of 0": shard(rows(5, 6)),
    "features that are no numbers": shard(rows(5, 6), 3, spoiled),
    "cut short": shard(rows(5, 6), 3, uniform)[:-4],
    "too many rows": huge(),
    "no array": b"\x93NUMPY\x01\x00\x00\x00",
}


@pytest.mark.parametrize("what", STRUCTURES)
def test_fault_31_shards_of_another_structure(what: str, with_made: Path, tmp_path: Path) -> None:
    """The file name matches the hash of the content, as an attacker with write access could arrange."""
    folder = folder_of_pieces(tmp_path / "photos", count=3)
    first = leepfrog.rank(folder, ["made"])
    (whole,) = (with_made / "inference").glob("*/*.npy")
    content = STRUCTURES[what]
    whole.with_name(f"{hashlib.sha256(content).hexdigest()[:32]}.npy").write_bytes(content)
    listener = Listener()
    again = leepfrog.rank(folder, ["made"], context=RunContext(progress=listener))
    assert [notice for notice in listener.notices if "is damaged" in notice]
    assert again.models[0].scores["ridge"].value == first.models[0].scores["ridge"].value
    assert list((with_made / "inference").glob("*/*.npy")) == [whole]


@pytest.mark.parametrize("z", [4, 1 << 20])
@pytest.mark.parametrize("first", [True, False])
def test_fault_31_shards_of_other_widths(z: int, first: bool, with_made: Path, here: Here) -> None:
    """The wrong shard may be read first or second; errors must be clear."""
    folder_of_pieces(here.folder / "photos", count=3)
    command = ["rank", "photos", "-m", "made", "--format", "json"]
    here.call(*command).check(0)
    (whole,) = (with_made / "inference").glob("*/*.npy")
    for fill in range(100):  # until its name sorts before (or after) the valid shard
        records = np.zeros(1, rows(z, 6))
        records["probs"], records["features"] = 1 / z, fill
        stream = io.BytesIO()
        np.save(stream, records)
        content = stream.getvalue()
        name = hashlib.sha256(content).hexdigest()[:32]
        if (name < whole.stem) == first:
            break
    whole.with_name(f"{name}.npy").write_bytes(content)
    done = here.call(*command)
    done.check(done.code)
    assert done.code in (0, 4), done
    assert done.code == 0 or "delete this folder" in done.error
    model = find_models(["made"])[0]
    assert os.path.isdir(OutputCache(model, "cpu", lambda _: None).folder)
