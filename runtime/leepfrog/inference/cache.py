"""Model outputs cached on disk, keyed by content, so that no image is run through the same model twice.

There is one folder per key: the hash of everything besides the image that affects the output (`cache_key`). It holds
shards: `.npy` files whose rows are an image's digest and the model's outputs: its probs, if it has any, and its
features. A shard's name is the hash of its bytes, so a damaged one is noticed; it is written whole or not at all, so a
killed run keeps what it had finished, and two processes can fill one cache (the worst that happens is an image computed
twice).
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

# 2: only outputs of models that passed the consistency check.
CACHE_FORMAT = 2
# A shard is written when it has this many rows, or when its oldest row is this old: the most that a kill can lose.
ROWS_PER_SHARD = 256
SECONDS_PER_SHARD = 10.0
# Memory for shards of all caches together, so that those of small sets are read only once.
HELD_BYTES = 64 << 20

Records = NDArray[np.void]
Notice = Callable[[str], None]


def cache_key(model: ModelFile, device: str) -> str:
    """Hash of everything besides the image that affects a model's output."""
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
    """Outputs of n images of a set: their positions in the set [n], probs [n, Z] or None, features [n, D]."""

    positions: NDArray[np.int64]
    probs: NDArray[np.float32] | None
    features: NDArray[np.float32]


class OutputCache:
    """The outputs of one model on one kind of device.

    Where the folder cannot be written, outputs are kept in memory for this run, and `notice` is called once.
    """

    def __init__(self, model: ModelFile, device: str, notice: Notice, folder: StrPath | None = None) -> None:
        """Open the cache in a folder, by default leepfrog's, and index its shards; damaged ones are deleted."""
        self.folder = Path(folder or paths.inference()) / cache_key(model, device)
        self._name, self._outputs = model.name, model.metadata.outputs
        self._notice = notice
        # Shards are kept as paths and read again on demand: every memory map would hold a file descriptor.
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
        """Numbers per image of each output, by name; empty where no image has any yet."""
        return {} if self._kind is None else {name: self._kind[name].shape[0] for name in self._outputs}

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._row_of

    def add(self, digests: Iterable[Digest], probs: NDArray[np.float32] | None, features: NDArray[np.float32]) -> None:
        """Add a batch: probs [n, Z], None of a model without, features [n, D]. Safe to call from several threads."""
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
        """The outputs for images of a set, at most a shard's rows at a time.

        An image that occurs more than once is yielded more than once.

        Args:
            positions: indices of the images in the set, by digest.

        Raises:
            MachineError: a cache file that existed when the cache was opened is missing or changed.
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
            # A few images with many copies make many rows.
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
            raise MachineError(f"the cache {printable(self.folder)} is of another model; delete this folder")
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
                self._notice(f"outputs of {self._name} are not cached, the next run computes them again: {error}")
        return self._writable

    def _read_shard(self, path: Path) -> Records | None:
        held = _HELD.get(path)
        if held is not None and self._kind in (None, held.dtype):
            return held
        try:
            content = read_regular(path, LARGEST_BINARY)
        except OSError as error:  # not the file's fault: it stays
            self._notice(
                f"cache entry {printable(path)} cannot be read ({error.strerror}); its images are computed again"
            )
            return None
        try:
            if _shard_name(content) != path.stem:
                raise ValueError("its content does not match its name")
            records = _records_of(content, self._outputs)
            if self._kind not in (None, records.dtype):
                raise ValueError("its rows have other lengths than those of other entries")
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
    """The rows in a shard's bytes; ValueError where they are not rows of these outputs."""
    records: Records = array_of(content)
    kind = records.dtype
    if kind.names != ("digest", *outputs) or any(
        len(kind[name].shape) != 1 or not kind[name].shape[0] for name in outputs
    ):
        raise ValueError("it holds something else")
    if kind != _kind({name: kind[name].shape[0] for name in outputs}) or records.ndim != 1:
        raise ValueError("it holds something else")
    if problem_of_rows(records["probs"] if "probs" in outputs else None, records["features"]):
        raise ValueError("its rows are not a model's outputs")
    return records


def _kind(widths: Mapping[str, int]) -> np.dtype[np.void]:
    return np.dtype([("digest", "V32"), *((name, "<f4", (width,)) for name, width in widths.items())])


class _Held:
    """The shards used last, up to HELD_BYTES in total; a shard whose file has changed since is dropped."""

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
            self._shards[path] = state, records  # now the youngest
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
