"""Requests as data: made by callers, stored in receipts, and read from them to run a command again."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Self

from leepfrog.codec import decode, encode_fields
from leepfrog.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Request:
    """What a command is asked to do, besides data and models: only what changes numbers.

    A subclass is a frozen dataclass that refuses invalid values with UsageError when it is made. `command` is
    its name in receipts.

    Attributes:
        seed: seed of everything random; a separate field in receipts.
    """

    command: ClassVar[str]
    of_context: ClassVar[tuple[str, ...]] = ("strict", "device", "batch_size")
    """Fields of the context that a receipt records among the arguments."""
    seed: int = dataclasses.field(default=0, kw_only=True)

    def as_dict(self) -> dict[str, Any]:
        """The request as JSON-ready values, without the seed."""
        values = encode_fields(self)
        del values["seed"]
        return values

    @classmethod
    def from_dict(cls, arguments: dict[str, Any], seed: int = 0) -> Self:
        """Read what `as_dict` gave; other arguments of a receipt are ignored.

        Raises:
            UsageError: something is missing or invalid.
        """
        fields = {field.name for field in dataclasses.fields(cls)} - {"seed"}
        known = {name: value for name, value in arguments.items() if name in fields}
        try:
            return decode(cls, {**known, "seed": seed}, "receipt.arguments")
        except ValueError as error:
            raise UsageError(str(error)) from None
