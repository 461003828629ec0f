"""What a result says of how it came about."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from leepfrog.arguments import check_seed
from leepfrog.codec import decode, encode_fields
from leepfrog.errors import UsageError


@dataclasses.dataclass(frozen=True)
class SkippedImage:
    """An image that was left out, and why."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class ClassReceipt:
    """The images of one class: how many, and a hash of their contents, whatever their order and names."""

    n: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class DataReceipt:
    """Which images.

    Attributes:
        name: where they came from.
        sha256: of the used images' contents and classes, whatever their order and file names.
        images_sha256: of their contents alone; the same for the same images under other classes.
        n_images: images used.
        classes: those used, by class.
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
    """Which model.

    Attributes:
        name: the model's.
        source: where it was exported from.
        sha256: of the file.
        graph_sha256: of the network in it alone, without what the file says of itself.
        weights_sha256: of the numbers in that, whatever their names; the same where a network was written anew.
        size_bytes: of the file.
        preprocess: what its images went through.
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
    """Which array: its file's name, and a hash of the file."""

    file: str
    sha256: str

    def __post_init__(self) -> None:
        """Refuse more than a name: `verify` looks for it in a folder, and a stranger may not name one elsewhere."""
        if self.file in ("", "..") or Path(self.file).name != self.file:
            raise UsageError(f"{self.file!r:.40} is not a file's name")


@dataclasses.dataclass(frozen=True)
class Receipt:
    """What made a result.

    Attributes:
        command: "rank", "score", "embed", "validate" or "tasks".
        arguments: what it was asked for, besides data and models; what changes numbers, and no more.
        data: the images, None where there were none.
        arrays: arrays by what they hold, for `score`.
        models: the models.
        environment: versions, provider really used, threads, machine (see `leepfrog.inference.device.environment`).
        seed: of all that is random.
        started: when, in UTC.
        seconds: how long it took.
        stages: seconds of each stage of the work.
        notices: faults of this machine met on the way, such as a damaged cache entry, and what was done about them.
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
        """Refuse a seed that no generator takes."""
        check_seed(self.seed)

    def as_dict(self) -> dict[str, Any]:
        """The receipt as JSON-ready values."""
        return encode_fields(self)

    @classmethod
    def from_dict(cls, values: object) -> Receipt:
        """Read what `as_dict` wrote.

        Raises:
            UsageError: something is missing or of another kind; the message is the reason alone.
        """
        try:
            return decode(cls, values, "receipt")
        except ValueError as error:
            raise UsageError(str(error)) from None
