"""Baselines: result files of earlier runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from leepfrog.errors import EmbeddingError, UsageError
from leepfrog.files import printable
from leepfrog.ranking.result import Ranking
from leepfrog.ranking.score_files import Scores
from leepfrog.receipts.receipt import Receipt
from leepfrog.stated import document
from leepfrog.task2vec.embedding import Embedding
from leepfrog.validation.tasks import TaskStudy
from leepfrog.validation.validate import Validation

Replayable = Ranking | Scores | Validation | TaskStudy | Embedding
"""Results with a receipt, from which they can be reproduced."""

_KINDS: tuple[type[Ranking | Scores | Validation | TaskStudy], ...] = (Ranking, Scores, Validation, TaskStudy)
_REMEDY = "create a baseline with leepfrog rank DIR -o baseline.json"


@dataclasses.dataclass(frozen=True)
class Baseline:
    """An earlier result.

    Attributes:
        file: path of the file, for messages.
        result: result read from the file.
        receipt: record of how the result was made.
    """

    file: str
    result: Replayable
    receipt: Receipt

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read a JSON result or an embedding.

        Raises:
            UsageError: the file is missing, truncated, or of an unsupported kind or version. An unreadable baseline is
                a usage error, so that it never counts as a passed check.
        """
        file = printable(path)
        try:
            result = _embedding(path) if path.suffix == ".npz" else _result(path)
            return cls(file, result, result.receipt)
        except UsageError as error:
            raise UsageError(f"{file}: {error}; {_REMEDY}") from None

    @property
    def kind(self) -> str:
        """Name of the kind of result."""
        return self.result.kind


def _result(path: Path) -> Ranking | Scores | Validation | TaskStudy:
    values = document(path)
    for kind in _KINDS:
        if isinstance(values, dict) and values.get("kind") == kind.kind:
            return kind.from_dict(values)
    raise UsageError("not a result with a receipt")


def _embedding(path: Path) -> Embedding:
    try:
        return Embedding.load(path)
    except EmbeddingError as error:
        raise UsageError(str(error).removeprefix(f"{printable(path)}: ")) from None
