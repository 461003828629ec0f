"""Take down what makes a result while it is made."""

from __future__ import annotations

import datetime
import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from leepfrog.errors import ArrayError
from leepfrog.files import open_regular, printable
from leepfrog.images import heif
from leepfrog.images.decode import PIPELINE_VERSION
from leepfrog.images.kinds import HEIF_EXTENSIONS, ending
from leepfrog.inference.device import environment
from leepfrog.inference.model import ModelFile
from leepfrog.inference.outputs import Outputs
from leepfrog.progress import Progress
from leepfrog.receipts.receipt import ArrayReceipt, ClassReceipt, DataReceipt, ModelReceipt, Receipt, SkippedImage


class Stopwatch:
    """A listener that passes on what it is told, and records when work began, how long stages took, and notices."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.started = datetime.datetime.now(datetime.UTC)
        self._begun = self._stage_begun = time.perf_counter()
        self._stage = "start"
        self._stages: dict[str, float] = {}
        self.notices: list[str] = []

    def start(self, what: str, total: int) -> None:
        """Begin another stage."""
        self._end_stage()
        self._stage = what
        self._progress.start(what, total)

    def advance(self, steps: int) -> None:
        """Pass it on."""
        self._progress.advance(steps)

    def notice(self, text: str) -> None:
        """Pass it on, and keep it for the receipt."""
        self.notices.append(printable(text))
        self._progress.notice(text)

    def _end_stage(self) -> None:
        now = time.perf_counter()
        self._stages[self._stage] = self._stages.get(self._stage, 0.0) + now - self._stage_begun
        self._stage_begun = now

    def receipt(
        self,
        command: str,
        arguments: Mapping[str, Any],
        *,
        outputs: Outputs | None = None,
        bad: Mapping[int, str] | None = None,
        arrays: Mapping[str, ArrayReceipt] | None = None,
        models: Sequence[ModelFile] = (),
        device: str = "cpu",
        threads: int = 1,
        seed: int = 0,
    ) -> Receipt:
        """The receipt of a result that is made by now.

        Args:
            command: see `Receipt`, as of all that follow.
            arguments: JSON-ready values.
            outputs: the models' outputs on the images, which know these.
            bad: images left out for other reasons than `outputs` knows, by position.
            arrays: for `score`.
            models: the files.
            device: its name, such as "cpu" (see `leepfrog.inference.devices`).
            threads: cores used.
            seed: of all that is random.
        """
        self._end_stage()
        return Receipt(
            command=command,
            arguments=dict(arguments),
            data=None if outputs is None else data_receipt(outputs, bad or {}),
            arrays=dict(arrays or {}),
            models=tuple(map(model_receipt, models)),
            environment={
                **environment(device, threads),
                "image_pipeline": PIPELINE_VERSION,
                **({"heif": heif.version()} if outputs is not None and _has_heif(outputs) else {}),
            },
            seed=seed,
            started=self.started.isoformat(timespec="seconds"),
            seconds=round(time.perf_counter() - self._begun, 3),
            stages={name: round(seconds, 3) for name, seconds in self._stages.items()},
            notices=tuple(self.notices),
        )


def _has_heif(outputs: Outputs) -> bool:
    return heif.installed() and any(ending(image.name) in HEIF_EXTENSIONS for image in outputs.images.images)


def model_receipt(model: ModelFile) -> ModelReceipt:
    """Which model a file holds."""
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
    """Which array a file holds; ArrayError where it cannot be read."""
    try:
        with open_regular(path) as stream:
            return ArrayReceipt(printable(path.name), hashlib.file_digest(stream, "sha256").hexdigest())
    except OSError as error:
        raise ArrayError(f"{printable(path)}: cannot be read: {error.strerror or error}") from None


def data_receipt(outputs: Outputs, bad: Mapping[int, str]) -> DataReceipt:
    """Which images outputs are of."""
    images = outputs.images
    by_class: list[list[bytes]] = [[] for _ in images.classes]
    for digest, at in outputs.positions.items():
        for position in at:
            if position not in bad:
                by_class[images.labels[position]].append(digest)
    classes = {
        name: ClassReceipt(len(digests), _hash_of(digests))
        for name, digests in zip(images.classes, by_class, strict=True)
    }
    return DataReceipt(
        name=images.name,
        sha256=_hash_of(f"{each.sha256} {name}".encode() for name, each in classes.items() if each.n),
        images_sha256=_hash_of(digest for digests in by_class for digest in digests),
        n_images=sum(map(len, by_class)),
        classes=classes,
        skipped=tuple(
            SkippedImage(images.images[i].name, reason) for i, reason in sorted({**outputs.bad, **bad}.items())
        ),
    )


def _hash_of(parts: Iterable[bytes]) -> str:
    """Of parts in any order."""
    return hashlib.sha256(b"\n".join(sorted(parts))).hexdigest()
