"""Record how a result is made during its computation."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import ArrayError
from leepfrog.execution.context import RunContext
from leepfrog.execution.hashed import HashedImages
from leepfrog.files import open_regular, printable
from leepfrog.images import heif
from leepfrog.images.dataset import ImageSet
from leepfrog.images.decode import PIPELINE_VERSION
from leepfrog.images.kinds import HEIF_EXTENSIONS, ending
from leepfrog.inference.device import environment
from leepfrog.inference.model import ModelFile
from leepfrog.receipts.receipt import ArrayReceipt, ClassReceipt, DataReceipt, ModelReceipt, Receipt, SkippedImage
from leepfrog.receipts.request import Request


class Recorder:
    """Recorder of how a result is made: start time, durations of stages and problems.

    Attributes:
        context: validated execution environment, which reports progress to this recorder.
        notices: problems on this machine so far, and how they were handled.
    """

    def __init__(self, context: RunContext | None = None) -> None:
        """Start recording.

        Raises:
            UsageError, MachineError: see `RunContext.checked`.
        """
        context = (context or RunContext()).checked()
        self._listener = context.progress
        self.context = dataclasses.replace(context, progress=self)
        self.notices: list[str] = []
        self._started = datetime.datetime.now(datetime.UTC)
        self._begun = self._stage_begun = time.perf_counter()
        self._stage = "start"
        self._stages: dict[str, float] = {}

    def plan(self, text: str) -> None:
        """Pass an announcement on to the listener."""
        self._listener.plan(text)

    def start(self, what: str, total: int) -> None:
        """Begin another stage."""
        self._end_stage()
        self._stage = what
        self._listener.start(what, total)

    def advance(self, steps: int) -> None:
        """Pass progress on to the listener."""
        self._listener.advance(steps)

    def notice(self, text: str) -> None:
        """Pass a notice on to the listener, and keep it for the receipt."""
        self.notices.append(printable(text))
        self._listener.notice(text)

    def _end_stage(self) -> None:
        now = time.perf_counter()
        self._stages[self._stage] = self._stages.get(self._stage, 0.0) + now - self._stage_begun
        self._stage_begun = now

    def receipt(
        self,
        request: Request,
        *,
        images: HashedImages | None = None,
        arrays: Mapping[str, ArrayReceipt] | None = None,
        models: Sequence[ModelFile] = (),
        **resolved: Any,
    ) -> Receipt:
        """Return the receipt of a finished result.

        Args:
            request: the request.
            images: the images used and skipped.
            arrays: receipts of the arrays of `score` and `rank_arrays`.
            models: the model files.
            resolved: further arguments by name, JSON-ready: defaults resolved during the run.
        """
        self._end_stage()
        context = self.context
        arguments = {**request.as_dict(), **resolved}
        if images is not None:
            arguments |= {name: getattr(context, name) for name in request.of_context}
        return Receipt(
            command=request.command,
            arguments=arguments,
            data=None if images is None else data_receipt(images),
            arrays=dict(arrays or {}),
            models=tuple(map(model_receipt, models)),
            environment={
                **environment(context.device, context.cores),
                "image_pipeline": PIPELINE_VERSION,
                **({"heif": heif.version()} if images is not None and _has_heif(images.image_set) else {}),
            },
            seed=request.seed,
            started=self._started.isoformat(timespec="seconds"),
            seconds=round(time.perf_counter() - self._begun, 3),
            stages={name: round(seconds, 3) for name, seconds in self._stages.items()},
            notices=tuple(self.notices),
        )


def _has_heif(images: ImageSet) -> bool:
    return heif.installed() and any(ending(image.name) in HEIF_EXTENSIONS for image in images.images)


def model_receipt(model: ModelFile) -> ModelReceipt:
    """Return the receipt of a model."""
    return ModelReceipt(
        name=model.name,
        source=printable(model.metadata.source),
        sha256=model.sha256,
        graph_sha256=model.fingerprint.graph,
        weights_sha256=model.fingerprint.weights,
        size_bytes=model.size,
        preprocess=model.metadata.preprocess.as_dict(),
    )


def array_receipt(path: Path) -> ArrayReceipt:
    """Return the receipt of an array file; ArrayError if it cannot be read."""
    try:
        with open_regular(path) as stream:
            return ArrayReceipt(printable(path.name), hashlib.file_digest(stream, "sha256").hexdigest())
    except OSError as error:
        raise ArrayError(f"{printable(path)}: cannot be read: {error.strerror or error}") from None


def memory_receipt(array: NDArray[Any]) -> ArrayReceipt:
    """Return the receipt of an array in memory."""
    described = f"{array.dtype} {array.shape} ".encode()
    return ArrayReceipt(None, hashlib.sha256(described + np.ascontiguousarray(array).tobytes()).hexdigest())


def data_receipt(hashed: HashedImages) -> DataReceipt:
    """Return the receipt of the images used."""
    images = hashed.image_set
    by_class: list[list[bytes]] = [[] for _ in images.classes]
    for digest, at in hashed.positions.items():
        for position in at:
            by_class[images.labels[position]].append(digest)
    classes = {
        name: ClassReceipt(len(digests), _hash_of(digests))
        for name, digests in zip(images.classes, by_class, strict=True)
    }
    return DataReceipt(
        name=images.name,
        sha256=_hash_of(f"{receipt.sha256} {name}".encode() for name, receipt in classes.items() if receipt.n),
        images_sha256=_hash_of(digest for digests in by_class for digest in digests),
        n_images=sum(map(len, by_class)),
        classes=classes,
        skipped=tuple(SkippedImage(images.images[i].name, reason) for i, reason in sorted(hashed.bad.items())),
    )


def _hash_of(parts: Iterable[bytes]) -> str:
    """Return a hash that does not depend on the order of the parts."""
    return hashlib.sha256(b"\n".join(sorted(parts))).hexdigest()
