"""What a result says of how it came about."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

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

    def as_dict(self) -> dict[str, Any]:
        """The receipt as JSON-ready values, tuples as lists."""
        found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return found

    @classmethod
    def from_dict(cls, values: object) -> Receipt:
        """Read what `as_dict` wrote.

        Raises:
            UsageError: something is missing or of another kind; the message is the reason alone.
        """
        found = _of(values, dict, "receipt")
        data = found.get("data")
        return cls(
            command=_of(found.get("command"), str, "receipt.command"),
            arguments=_of(found.get("arguments"), dict, "receipt.arguments"),
            data=None if data is None else _data(data),
            arrays={
                name: _array(each, f"receipt.arrays.{name}")
                for name, each in _of(found.get("arrays"), dict, "receipt.arrays").items()
            },
            models=tuple(
                _built(ModelReceipt, each, f"receipt.models[{i}]")
                for i, each in enumerate(_of(found.get("models"), list, "receipt.models"))
            ),
            environment=_of(found.get("environment"), dict, "receipt.environment"),
            seed=_seed(found.get("seed")),
            started=_of(found.get("started"), str, "receipt.started"),
            seconds=float(_of(found.get("seconds"), int | float, "receipt.seconds")),
            stages=_of(found.get("stages"), dict, "receipt.stages"),
            notices=tuple(
                _of(each, str, f"receipt.notices[{i}]")
                for i, each in enumerate(_of(found.get("notices", []), list, "receipt.notices"))
            ),
        )


def _seed(value: object) -> int:
    seed: int = _of(value, int, "receipt.seed")
    if seed < 0:
        raise UsageError(f"receipt.seed is {seed}")
    return seed


def _array(values: object, where: str) -> ArrayReceipt:
    array = _built(ArrayReceipt, values, where)
    # `verify` looks for the file in a folder; a stranger's receipt may not name one elsewhere.
    if array.file in ("", "..") or Path(array.file).name != array.file:
        raise UsageError(f"{where}.file is {array.file!r:.40}, not a file's name")
    return array


def _data(values: object) -> DataReceipt:
    found = _of(values, dict, "receipt.data")
    classes = {
        name: _built(ClassReceipt, each, f"receipt.data.classes.{name}")
        for name, each in _of(found.get("classes"), dict, "receipt.data.classes").items()
    }
    skipped: Sequence[Any] = _of(found.get("skipped"), list, "receipt.data.skipped")
    images = tuple(_built(SkippedImage, each, f"receipt.data.skipped[{i}]") for i, each in enumerate(skipped))
    return _built(DataReceipt, {**found, "classes": classes, "skipped": images}, "receipt.data")


_Part = TypeVar("_Part", DataReceipt, ClassReceipt, SkippedImage, ModelReceipt, ArrayReceipt)

# How a field's annotation, which is text here, is checked.
_KINDS: Mapping[str, Any] = {"str": str, "int": int, "dict[str, Any]": dict}


def _built(kind: type[_Part], values: object, where: str) -> _Part:
    """A dataclass from the entries of a JSON object that it has fields for."""
    found = _of(values, dict, where)
    fields = dataclasses.fields(kind)
    for field in fields:
        if field.name not in found:
            raise UsageError(f"{where} has no {field.name}")
        if str(field.type) in _KINDS:
            _of(found[field.name], _KINDS[str(field.type)], f"{where}.{field.name}")
    return kind(**{field.name: found[field.name] for field in fields})


def _of(value: Any, kind: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UsageError(f"{where} is {'missing' if value is None else f'{value!r:.40}'}")
    return value
