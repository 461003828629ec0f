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
    """An image that was skipped, and why.

    Attributes:
        name: name of the image.
        reason: reason why it was skipped.
    """

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class ClassReceipt:
    """The images of one class.

    Attributes:
        n: number of images.
        sha256: hash of their contents; ignores order and names.
    """

    n: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class DataReceipt:
    """The images used.

    Attributes:
        name: source of the images.
        sha256: hash of the used images' contents and classes; ignores order and file names.
        images_sha256: hash of the contents alone; unaffected by moving images between classes.
        n_images: number of images used.
        classes: images used, by class.
        skipped: skipped images with reasons.
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
        source: source that the model was exported from.
        sha256: hash of the file.
        graph_sha256: hash of the network without the metadata.
        weights_sha256: hash of the weights, ignoring their names; unchanged if only the graph was rewritten.
        size_bytes: size of the file.
        preprocess: preprocessing of the images.
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
    """The identity of an array.

    Attributes:
        file: name of its file, without the folder; None for an array in memory.
        sha256: hash of the file, or of the array in memory.
    """

    file: str | None
    sha256: str

    def __post_init__(self) -> None:
        """Accept only bare file names: an untrusted receipt must not point `verify` at other folders."""
        if self.file is not None and (self.file in ("", "..") or Path(self.file).name != self.file):
            raise UsageError(f"{self.file!r:.40} is not a bare file name")


@dataclasses.dataclass(frozen=True)
class Receipt:
    """The record of how a result was made.

    Attributes:
        command: name of the command: "rank", "rank_arrays", "score", "embed", "validate" or "tasks".
        arguments: options of the request, and the relevant options of the context (`Request.of_context`).
        data: the images used; None if there were none.
        arrays: the arrays of `score` and `rank_arrays`, by role.
        models: the models used.
        environment: versions, provider in use, threads, machine (see `leepfrog.inference.device.environment`).
        seed: random seed.
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
        """Check the seed."""
        check_seed(self.seed)

    def as_dict(self) -> dict[str, Any]:
        """Return the receipt as JSON-ready values."""
        return encode_fields(self)

    @classmethod
    def from_dict(cls, values: object) -> Receipt:
        """Read the output of `as_dict`.

        Raises:
            UsageError: a value is missing or has the wrong type; the message contains only the reason.
        """
        try:
            return decode(cls, values, "receipt")
        except ValueError as error:
            raise UsageError(str(error)) from None
