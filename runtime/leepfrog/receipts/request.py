"""Requests as data: made by callers, stored in receipts, and read from them to run a command again."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from leepfrog.codec import decode, encode_fields
from leepfrog.errors import UsageError
from leepfrog.execution.context import RunContext
from leepfrog.receipts.receipt import Receipt


@dataclasses.dataclass(frozen=True)
class Request(abc.ABC):
    """What a command is asked to do, besides data and models.

    A subclass is a frozen dataclass that refuses invalid values with UsageError when it is made. `command` is
    its name in receipts.

    Attributes:
        seed: seed of everything random; a separate field in receipts.
    """

    command: ClassVar[str]
    of_context: ClassVar[tuple[str, ...]] = ("strict", "device", "batch_size")
    """Fields of the context that a receipt records among the arguments."""
    of_models: ClassVar = False
    """Whether models are run, rather than arrays read."""
    seed: int = dataclasses.field(default=0, kw_only=True)

    def as_dict(self) -> dict[str, Any]:
        """The request as JSON-ready values, without the seed."""
        values = encode_fields(self)
        del values["seed"]
        return values

    @abc.abstractmethod
    def run_again(self, data: Path, models: Sequence[Path], receipt: Receipt, context: RunContext) -> Any:
        """The result once more.

        Args:
            data: the images; for scores of arrays, the folder that the arrays lie in.
            models: the receipt's models, in its order.
            receipt: of the first run.
            context: execution environment.

        Raises:
            UsageError: the receipt lacks something.
        """

    @classmethod
    def field_names(cls) -> set[str]:
        """Names of the arguments, without the seed."""
        return {field.name for field in dataclasses.fields(cls)} - {"seed"}

    @classmethod
    def from_dict(cls, arguments: dict[str, Any], seed: int = 0) -> Self:
        """Read what `as_dict` gave; other arguments of a receipt are ignored.

        Raises:
            UsageError: something is missing or invalid.
        """
        known = {name: value for name, value in arguments.items() if name in cls.field_names()}
        try:
            return decode(cls, {**known, "seed": seed}, "receipt.arguments")
        except ValueError as error:
            raise UsageError(str(error)) from None


@dataclasses.dataclass(frozen=True)
class ModelsRequest(Request):
    """What a command is asked to do with models on images."""

    of_models: ClassVar = True

    @abc.abstractmethod
    def run(self, data: Any, models: Any, context: RunContext, /) -> Any:
        """The result."""

    def run_again(self, data: Path, models: Sequence[Path], receipt: Receipt, context: RunContext) -> Any:
        """The result once more; see `Request`."""
        return self.run(data, models, context)
