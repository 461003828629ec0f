"""Requests as data: created by callers, stored in receipts and read back to repeat a command."""

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
    """The options of a command, apart from data and models.

    Subclasses are frozen dataclasses that raise UsageError for invalid values on construction. `command` is the
    name of the command in receipts.

    Attributes:
        seed: random seed; a separate field in receipts.
    """

    command: ClassVar[str]
    of_context: ClassVar[tuple[str, ...]] = ("strict", "device", "batch_size")
    """Names of context fields that receipts record among the arguments."""
    of_models: ClassVar = False
    """True if the command runs models instead of reading arrays."""
    seed: int = dataclasses.field(default=0, kw_only=True)

    def as_dict(self) -> dict[str, Any]:
        """Return the request as JSON-ready values, without the seed."""
        values = encode_fields(self)
        del values["seed"]
        return values

    @abc.abstractmethod
    def run_again(self, data: Path, models: Sequence[Path], receipt: Receipt, context: RunContext) -> Any:
        """Repeat the request and return the result.

        Args:
            data: the images; for scores of arrays, the folder that contains the arrays.
            models: model files, in the order of the receipt.
            receipt: receipt of the first run.
            context: execution environment.

        Raises:
            UsageError: the receipt is incomplete.
        """

    @classmethod
    def field_names(cls) -> set[str]:
        """Return the names of the arguments, without the seed."""
        return {field.name for field in dataclasses.fields(cls)} - {"seed"}

    @classmethod
    def from_dict(cls, arguments: dict[str, Any], seed: int = 0) -> Self:
        """Read the output of `as_dict`; other arguments of a receipt are ignored.

        Raises:
            UsageError: a value is missing or invalid.
        """
        known = {name: value for name, value in arguments.items() if name in cls.field_names()}
        try:
            return decode(cls, {**known, "seed": seed}, "receipt.arguments")
        except ValueError as error:
            raise UsageError(str(error)) from None


@dataclasses.dataclass(frozen=True)
class ModelsRequest(Request):
    """The options of a command that runs models on images."""

    of_models: ClassVar = True

    @abc.abstractmethod
    def run(self, data: Any, models: Any, context: RunContext, /) -> Any:
        """Run the command and return the result."""

    def run_again(self, data: Path, models: Sequence[Path], receipt: Receipt, context: RunContext) -> Any:
        """Repeat the request and return the result; see `Request`."""
        return self.run(data, models, context)
