"""Base class of results, which convert to JSON and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from leepfrog import stated
from leepfrog.arguments import StrPath, as_path
from leepfrog.codec import decode, encode_fields
from leepfrog.errors import UsageError
from leepfrog.files import printable, write_whole

# Metadata of fields that may differ between two runs of one request: measurements, and values derived from them.
MEASURED: Mapping[str, Any] = {"differs": "measured"}
# Metadata of fields that depend on the order of models. Rounding decides the order of statistically tied models.
OF_ORDER: Mapping[str, Any] = {"differs": "order"}


class Result:
    """Base class of results, which are frozen dataclasses.

    `kind` identifies the type of result in JSON. JSON with another `schema_version` is rejected.
    """

    kind: ClassVar[str]
    schema_version: ClassVar[int]

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON-ready values, including its kind and schema version."""
        return {"schema_version": self.schema_version, "kind": self.kind, **encode_fields(self)}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Create a result from the output of `as_dict`, or from the JSON that a command writes.

        Raises:
            UsageError: the values have another kind or schema version, or a field is missing or invalid.
        """
        if not isinstance(values, dict) or values.get("kind") != cls.kind:
            raise UsageError(f"is not a {cls.kind}")
        if values.get("schema_version") != cls.schema_version:
            version = stated.shown(values.get("schema_version"))
            raise UsageError(
                f"has schema version {version}, but this leepfrog reads {cls.schema_version}; create it again"
            )
        entries = {key: value for key, value in values.items() if key not in ("kind", "schema_version")}
        try:
            return decode(cls, entries, cls.kind)
        except ValueError as error:
            raise UsageError(str(error)) from None

    @classmethod
    def load(cls, path: StrPath) -> Self:
        """Read a result that was written by `save`, or by the command with `-o FILE.json`.

        Fields that are not written, such as the scores' `terms`, are empty.

        Raises:
            UsageError: the file cannot be read, or contains another kind of result.
        """
        file = as_path(path, f"a {cls.kind}")
        try:
            return cls.from_dict(stated.document(file))
        except UsageError as error:
            raise UsageError(f"{printable(file)}: {error}") from None

    def save(self, path: StrPath) -> None:
        """Write the result as JSON, for `load` and for commands that take such a result.

        Raises:
            MachineError: the file cannot be written.
        """
        text = json.dumps(self.as_dict(), indent=2, allow_nan=False)
        write_whole(as_path(path, f"a {self.kind}"), f"{text}\n".encode())
