"""A result file of an earlier run, read again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from leepfrog.errors import EmbeddingError, UsageError
from leepfrog.files import printable
from leepfrog.receipts.receipt import Receipt
from leepfrog.stated import document

# The kinds of result files, and the schema version that this leepfrog writes and reads.
SCHEMA_VERSION = 2
KINDS = ("ranking", "scores", "validation", "tasks", "embedding")


@dataclasses.dataclass(frozen=True)
class Baseline:
    """An earlier result.

    Attributes:
        where: the file, for messages.
        kind: one of KINDS.
        values: the whole result, JSON values.
        receipt: what made it.
    """

    where: str
    kind: str
    values: dict[str, Any]
    receipt: Receipt

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read a JSON result, or an embedding.

        Raises:
            UsageError: missing, of another kind or version, or cut short. A baseline that cannot be read is a wrong
                call: it must never pass for one that was met.
        """
        where = printable(path)
        try:
            if path.suffix == ".npz":
                return _embedding(path)
            return _result(document(path), where)
        except UsageError as error:
            raise UsageError(f"{where}: {error}; {_REMEDY}") from None


_REMEDY = "leepfrog rank DIR -o baseline.json makes one"


def _result(values: Any, where: str) -> Baseline:
    if not isinstance(values, dict) or values.get("kind") not in KINDS:
        raise UsageError("is no result with a receipt")
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageError(f"has schema version {str(version)[:20]}, this leepfrog reads {SCHEMA_VERSION}; make it again")
    return Baseline(where, values["kind"], values, Receipt.from_dict(values.get("receipt")))


def _embedding(path: Path) -> Baseline:
    from leepfrog.task2vec.embedding import Embedding

    try:
        found = Embedding.load(path)
    except EmbeddingError as error:
        raise UsageError(str(error).removeprefix(f"{printable(path)}: ")) from None
    values = {"vector": found.vector.tolist(), "network": found.network}
    return Baseline(printable(path), "embedding", values, Receipt.from_dict(found.made.get("receipt")))
