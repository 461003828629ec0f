"""Content-addressed cache of model outputs on disk, so that no image is run through the same model twice.

There is one folder per key, the hash of everything besides the image that affects the output (`cache_key`). A folder
contains shards: `.npy` files in which each row holds an image's digest and the model's outputs, which are its probs, if
any, and its features. A shard is named after the hash of its bytes, so corruption is detected. Shards are written
atomically, so a killed run keeps the rows already written, and several processes can share a cache (at worst, an image
is computed twice).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from leepfrog import paths
from leepfrog.arguments import StrPath
from leepfrog.arrays import array_of
from leepfrog.errors import MachineError
from leepfrog.files import LARGEST_BINARY, listed, printable, read_regular, remove_old_parts, write_whole
from leepfrog.images.dataset import Digest
from leepfrog.images.decode import PIPELINE_VERSION, decoder_versions
from leepfrog.inference.device import ort_options
from leepfrog.inference.devices import DEVICES
from leepfrog.inference.model import ModelFile, problem_of_rows

# Since version 2, only outputs of models that passed the consistency check are cached.
CACHE_FORMAT = 2
# A shard is written when it reaches this many rows or when its oldest row is this old, which bounds the work lost when
# the process is killed.
ROWS_PER_SHARD = 256
SECONDS_PER_SHARD = 10.0
# Memory limit for shards kept in memory, over all caches, so that the shards of small image sets are read only once.
HELD_BYTES = 64 << 20

Records = NDArray[np.void]
Notice = Callable[[str], None]


def cache_key(model: ModelFile, device: str) -> str:
    """Compute the hash of everything besides the image that affects a model's output."""
    parts = [
        CACHE_FORMAT,
        model.sha256,
        model.metadata.preprocess.as_dict(),
        PIPELINE_VERSION,
        *decoder_versions(),
        onnxruntime.__version__,
        DEVICES.named(device).providers,
        *ort_options().items(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@dataclasses.dataclass(frozen=True)
class Rows:
    """Outputs for n images of a set.

    Attributes:
        positions: index of each image in the set, [n].
        probs: probabilities over source classes, [n, Z]; None if the model has none.
        features: features, [n, D].
    """

    positions: NDArray[np.int64]
    probs: NDArray[np.float32] | None
    features: NDArray[np.float32]


class OutputCache:
    """Cached outputs of one model on one kind of device.

    If the folder cannot be written, outputs are kept in memory for this run and `notice` is called once.
    """

    def __init__(self, model: ModelFile, device: str, notice: Notice, folder: StrPath | None = None) -> None:
        """Open the cache in a folder (leepfrog's by default) and index its shards; damaged shards are deleted."""
        self.folder = Path(folder or paths.inference()) / cache_key(model, device)
        self._name, self._outputs = model.name, model.metadata.outputs
        self._notice = notice
        # Shards are kept as paths and re-read on demand; memory maps would hold one file descriptor each.
        self._shards: list[Path | Records] = []
        self._kind: np.dtype[np.void] | None = None
        self._row_of: dict[Digest, tuple[int, int]] = {}
        self._waiting: list[tuple[Digest, Sequence[NDArray[np.float32]]]] = []  # in the order of the outputs
        self._waiting_since = 0.0
        self._lock = threading.Lock()
        self._writable = True
        remove_old_parts(self.folder)
        for path in self._files():
            records = self._read_shard(path)
            if records is not None:
                self._index(path, records)

    def __len__(self) -> int:
        """Number of images with outputs in the cache."""
        return len(self._row_of)

    def _files(self) -> list[Path]:
        try:
            return listed(self.folder, ".npy")
        except OSError as error:
            self._notice(
                f"the cache {printable(self.folder)} cannot be read ({error.strerror}); outputs of {self._name} are "
                "computed again"
            )
            return []

    @property
    def widths(self) -> dict[str, int]:
        """Width of each output, by name; empty while the cache is empty."""
        return {} if self._kind is None else {name: self._kind[name].shape[0] for name in self._outputs}

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._row_of

    def add(self, digests: Iterable[Digest], probs: NDArray[np.float32] | None, features: NDArray[np.float32]) -> None:
        """Add a batch: probs [n, Z], None if the model has none, and features [n, D]. Thread-safe."""
        outputs = zip(*(rows for rows in (probs, features) if rows is not None), strict=True)
        with self._lock:
            if not self._waiting:
                self._waiting_since = time.monotonic()
            self._waiting.extend(zip(digests, outputs, strict=True))
            overdue = time.monotonic() - self._waiting_since > SECONDS_PER_SHARD
            if overdue or len(self._waiting) >= ROWS_PER_SHARD:
                self._flush()

    def flush(self) -> None:
        """Write all pending rows."""
        with self._lock:
            self._flush()

    def rows(self, positions: Mapping[Digest, list[int]]) -> Iterator[Rows]:
        """Yield the cached outputs for images of a set, at most ROWS_PER_SHARD rows at a time.

        An image that occurs several times in the set is yielded once per occurrence.

        Args:
            positions: indices of the images in the set, by digest.

        Raises:
            MachineError: a cache file has been removed or changed since the cache was opened.
        """
        chosen: list[tuple[list[int], list[int]]] = [([], []) for _ in self._shards]
        for digest, occurrences in positions.items():
            location = self._row_of.get(digest)
            if location is not None:
                rows, places = chosen[location[0]]
                rows.extend([location[1]] * len(occurrences))
                places.extend(occurrences)
        for shard, (rows, places) in zip(self._shards, chosen, strict=True):
            if not rows:
                continue
            records = self._records(shard)
            # A few images with many copies can yield more rows than a shard has.
            for start in range(0, len(rows), ROWS_PER_SHARD):
                part = slice(start, start + ROWS_PER_SHARD)
                taken = records[rows[part]]
                yield Rows(
                    np.array(places[part], np.int64),
                    np.ascontiguousarray(taken["probs"]) if "probs" in self._outputs else None,
                    np.ascontiguousarray(taken["features"]),
                )

    def _flush(self) -> None:
        if not self._waiting:
            return
        kind = _kind({name: len(row) for name, row in zip(self._outputs, self._waiting[0][1], strict=True)})
        records = np.empty(len(self._waiting), kind)
        for record, (digest, rows) in zip(records, self._waiting, strict=True):
            record["digest"] = np.void(digest)
            for name, row in zip(self._outputs, rows, strict=True):
                record[name] = row
        self._waiting.clear()
        if self._kind not in (None, kind):
            raise MachineError(f"the cache {printable(self.folder)} belongs to another model; delete this folder")
        stream = io.BytesIO()
        np.save(stream, records, allow_pickle=False)
        content = stream.getvalue()
        path = self.folder / f"{_shard_name(content)}.npy"
        written = self._write(path, content)
        if written:
            _HELD.add(path, records)
        self._index(path if written else records, records)

    def _write(self, path: Path, content: bytes) -> bool:
        if self._writable:
            try:
                write_whole(path, content)
            except MachineError as error:
                self._writable = False
                self._notice(f"outputs of {self._name} are not cached; the next run will compute them again: {error}")
        return self._writable

    def _read_shard(self, path: Path) -> Records | None:
        held = _HELD.get(path)
        if held is not None and self._kind in (None, held.dtype):
            return held
        try:
            content = read_regular(path, LARGEST_BINARY)
        except OSError as error:  # the file itself may be intact, so it is not deleted
            self._notice(
                f"cache entry {printable(path)} cannot be read ({error.strerror}); its images are computed again"
            )
            return None
        try:
            if _shard_name(content) != path.stem:
                raise ValueError("its content does not match its name")
            records = _records_of(content, self._outputs)
            if self._kind not in (None, records.dtype):
                raise ValueError("its row lengths differ from other entries")
            _HELD.add(path, records)
            return records
        except ValueError as error:
            self._notice(f"cache entry {printable(path)} is damaged ({error}); its images are computed again")
            with contextlib.suppress(OSError):
                path.unlink()
            return None

    def _records(self, shard: Path | Records) -> Records:
        if not isinstance(shard, Path):
            return shard
        records = self._read_shard(shard)
        if records is None:
            raise MachineError(f"the cache {printable(self.folder)} changed while it was being used; run again")
        return records

    def _index(self, shard: Path | Records, records: Records) -> None:
        self._kind = records.dtype
        number = len(self._shards)
        self._shards.append(shard)
        for row, digest in enumerate(records["digest"].tolist()):
            self._row_of.setdefault(digest, (number, row))


def _shard_name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _records_of(content: bytes, outputs: Sequence[str]) -> Records:
    """Decode a shard; ValueError if it does not consist of rows of these outputs."""
    records: Records = array_of(content)
    kind = records.dtype
    if kind.names != ("digest", *outputs) or any(
        len(kind[name].shape) != 1 or not kind[name].shape[0] for name in outputs
    ):
        raise ValueError("it is not a shard of these outputs")
    if kind != _kind({name: kind[name].shape[0] for name in outputs}) or records.ndim != 1:
        raise ValueError("it is not a shard of these outputs")
    if problem_of_rows(records["probs"] if "probs" in outputs else None, records["features"]):
        raise ValueError("its rows are not a model's outputs")
    return records


def _kind(widths: Mapping[str, int]) -> np.dtype[np.void]:
    return np.dtype([("digest", "V32"), *((name, "<f4", (width,)) for name, width in widths.items())])


class _Held:
    """Least-recently-used cache of shards, up to HELD_BYTES in total; shards whose files have changed are dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shards: dict[Path, tuple[tuple[int, ...], Records]] = {}
        self._bytes = 0

    def get(self, path: Path) -> Records | None:
        with self._lock:
            state, records = self._shards.pop(path, ((), None))
            if records is None:
                return None
            if state != _state(path):
                self._bytes -= records.nbytes
                return None
            self._shards[path] = state, records  # now the most recently used
            return records

    def add(self, path: Path, records: Records) -> None:
        with self._lock:
            _, old = self._shards.pop(path, ((), None))
            self._bytes += records.nbytes - (0 if old is None else old.nbytes)
            self._shards[path] = _state(path), records
            while self._bytes > HELD_BYTES:
                self._bytes -= self._shards.pop(next(iter(self._shards)))[1].nbytes


def _state(path: Path) -> tuple[int, ...]:
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


_HELD = _Held()
