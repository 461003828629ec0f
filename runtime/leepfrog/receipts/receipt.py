"""Receipts: the record of how a result was made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from leepfrog.arguments import check_seed
from leepfrog.codec import decode, encode_fields
from leepfrog.errors import UsageError


@dataclasses.dataclass(frozen=True)
class SkippedImage:
    """An image that was skipped, and why."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class ClassReceipt:
    """The images of one class: how many, and a hash of their contents that ignores order and names."""

    n: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class DataReceipt:
    """The images used.

    Attributes:
        name: where they came from.
        sha256: hash of the used images' contents and classes; ignores order and file names.
        images_sha256: hash of their contents alone; the same for the same images in other classes.
        n_images: images used.
        classes: the images used, by class.
        skipped: images left out.
    """

    name: str
    sha256: str
    images_sha256: str
    n_images: int
    classes: dict[str, ClassReceipt]
    skipped: tuple[SkippedImage, ...] = ()


@dataclasses.dataclass(frozen=True)
class ModelReceipt:
    """The identity of a model.

    Attributes:
        name: the model's name.
        source: where it was exported from.
        sha256: hash of the file.
        graph_sha256: hash of the network alone, without the metadata.
        weights_sha256: hash of its weights, ignoring their names; unchanged where only the graph was rewritten.
        size_bytes: size of the file.
        preprocess: how its images were preprocessed.
    """

    name: str
    source: str
    sha256: str
    graph_sha256: str
    weights_sha256: str
    size_bytes: int
    preprocess: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class ArrayReceipt:
    """The identity of an array: its file's name and a hash of the file, or None and a hash of what was in memory."""

    file: str | None
    sha256: str

    def __post_init__(self) -> None:
        """Refuse anything but a bare name: a receipt from a stranger must not point `verify` at other folders."""
        if self.file is not None and (self.file in ("", "..") or Path(self.file).name != self.file):
            raise UsageError(f"{self.file!r:.40} is not a file's name")


@dataclasses.dataclass(frozen=True)
class Receipt:
    """How a result was made.

    Attributes:
        command: "rank", "score", "embed", "validate" or "tasks".
        arguments: the request besides data and models, and what counts of the context (`Request.of_context`).
        data: the images, None where there were none.
        arrays: the arrays of `score`, by what they hold.
        models: the models.
        environment: versions, provider in use, threads, machine (see `leepfrog.inference.device.environment`).
        seed: seed of everything random.
        started: start time, in UTC.
        seconds: duration in seconds.
        stages: duration in seconds, by stage.
        notices: problems on this machine, such as a damaged cache entry, and how they were handled.
    """

    command: str
    arguments: dict[str, Any]
    data: DataReceipt | None
    arrays: dict[str, ArrayReceipt]
    models: tuple[ModelReceipt, ...]
    environment: dict[str, Any]
    seed: int
    started: str
    seconds: float
    stages: dict[str, float]
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an invalid seed."""
        check_seed(self.seed)

    def as_dict(self) -> dict[str, Any]:
        """The receipt as JSON-ready values."""
        return encode_fields(self)

    @classmethod
    def from_dict(cls, values: object) -> Receipt:
        """Read what `as_dict` wrote.

        Raises:
            UsageError: something is missing or of another type; the message is the reason alone.
        """
        try:
            return decode(cls, values, "receipt")
        except ValueError as error:
            raise UsageError(str(error)) from None
