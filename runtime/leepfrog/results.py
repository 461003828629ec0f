"""Results as types that go both ways: to JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from leepfrog import stated
from leepfrog.arguments import StrPath, as_path
from leepfrog.codec import decode, encode_fields
from leepfrog.errors import UsageError
from leepfrog.files import printable, write_whole

# Metadata of fields that may differ between two runs of one request: what is measured anew, or follows from that.
MEASURED: Mapping[str, Any] = {"differs": "measured"}
# Of fields that follow from the order of models. Among models that are statistically tied it is a matter of rounding.
OF_ORDER: Mapping[str, Any] = {"differs": "order"}


class Result:
    """The base of results, which are frozen dataclasses.

    The `kind` is what JSON calls it. JSON of another `schema_version` is refused.
    """

    kind: ClassVar[str]
    schema_version: ClassVar[int]

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON-ready values, with its kind and its schema's version."""
        return {"schema_version": self.schema_version, "kind": self.kind, **encode_fields(self)}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Read what `as_dict` gave, or the JSON that a command writes.

        Raises:
            UsageError: it is another result, of another schema version, or something is missing or invalid.
        """
        if not isinstance(values, dict) or values.get("kind") != cls.kind:
            raise UsageError(f"is not a {cls.kind}")
        if values.get("schema_version") != cls.schema_version:
            version = stated.shown(values.get("schema_version"))
            raise UsageError(f"has schema version {version}, this leepfrog reads {cls.schema_version}; make it again")
        entries = {key: value for key, value in values.items() if key not in ("kind", "schema_version")}
        try:
            return decode(cls, entries, cls.kind)
        except ValueError as error:
            raise UsageError(str(error)) from None

    @classmethod
    def load(cls, path: StrPath) -> Self:
        """Read what `save`, or the command with `-o FILE.json`, wrote.

        What is not written, such as the scores' `terms`, is empty.

        Raises:
            UsageError: the file cannot be read, or is of another kind.
        """
        file = as_path(path, f"a {cls.kind}")
        try:
            return cls.from_dict(stated.document(file))
        except UsageError as error:
            raise UsageError(f"{printable(file)}: {error}") from None

    def save(self, path: StrPath) -> None:
        """Write JSON that `load` reads, as do the commands that take such a result.

        Raises:
            MachineError: it cannot be written.
        """
        text = json.dumps(self.as_dict(), indent=2, allow_nan=False)
        write_whole(as_path(path, f"a {self.kind}"), f"{text}\n".encode())
