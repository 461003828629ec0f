"""Score a single model from arrays in files, for any modality."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from leepfrog.arguments import StrPath, several
from leepfrog.errors import ArrayError, UsageError, one_line
from leepfrog.execution.context import RunContext
from leepfrog.files import open_regular, printable
from leepfrog.ranking.result import SCHEMA_VERSION
from leepfrog.receipts.receipt import Receipt
from leepfrog.receipts.recorder import Recorder, array_receipt
from leepfrog.receipts.request import Request
from leepfrog.results import MEASURED, Result
from leepfrog.scoring.registry import chosen_scores
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.score import Score, with_intervals


@dataclasses.dataclass(frozen=True)
class Scores(Result):
    """Scores of one model.

    Attributes:
        scores: scores by name, with 90 % intervals, in the requested order.
        receipt: record of how the scores were made.
    """

    kind: ClassVar = "scores"
    schema_version: ClassVar = SCHEMA_VERSION

    scores: dict[str, Score]
    receipt: Receipt = dataclasses.field(metadata=MEASURED)


@dataclasses.dataclass(frozen=True)
class ScoreRequest(Request):
    """Options of scoring arrays.

    Attributes:
        scores: names of the scores; "all" or empty for all that the arrays allow.

    Raises:
        UsageError: a score is unknown.
    """

    command: ClassVar = "score"
    scores: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that all scores exist."""
        chosen_scores(self.scores)

    def run_again(self, data: Path, models: Sequence[Path], receipt: Receipt, context: RunContext) -> Scores:
        """Repeat the scoring; UsageError if the receipt records no labels."""
        arrays = {name: data / array.file for name, array in receipt.arrays.items() if array.file is not None}
        if "labels" not in arrays:
            raise UsageError("the receipt records no labels")
        return score_files(arrays["labels"], arrays.get("probs"), arrays.get("features"), self.scores, context)


def score_files(
    labels: StrPath,
    probs: StrPath | None,
    features: StrPath | None,
    names: str | Sequence[str] = (),
    context: RunContext | None = None,
) -> Scores:
    """Score a model from its predictions, its features or both.

    Args:
        labels: `.npy` file of class labels, [N] integers.
        probs: `.npy` file of predictions, [N, Z], or None.
        features: `.npy` file of features, [N, D], or None.
        names: one or more names of scores; empty for all that the arrays allow.
        context: execution environment, such as the progress listener.

    Raises:
        UsageError: neither array is given, or a score needs one that is not given.
        ArrayError: a file or an array is invalid.
    """
    recorder = Recorder(context)
    names = several(names)
    given = {"probs": probs, "features": features}
    if probs is None and features is None:
        raise UsageError("nothing to score: give --probs, --features or both")
    chosen = chosen_scores(names or ["all"])
    absent = next((definition for definition in chosen if given[definition.reads] is None), None)
    if names and absent is not None and "all" not in names:
        raise UsageError(f"{absent.name} needs --{absent.reads}, which is not given")
    chosen = [definition for definition in chosen if given[definition.reads] is not None]
    arrays = {name: None if path is None else load_array(path) for name, path in given.items()}
    sample = Sample.of(load_array(labels), **arrays)
    recorder.start("scoring", len(chosen))
    raw_scores = []
    for definition in chosen:
        raw_scores.append(definition.of(sample))
        recorder.advance(1)
    scores = with_intervals(raw_scores, sample.labels)
    files = {"labels": labels, **{name: path for name, path in given.items() if path is not None}}
    receipt = recorder.receipt(
        ScoreRequest(tuple(definition.name for definition in chosen)),
        arrays={name: array_receipt(Path(path)) for name, path in files.items()},
    )
    return Scores({score.name: score for score in scores}, receipt)


def load_array(path: StrPath) -> NDArray[Any]:
    """Load an array from a `.npy` file, refusing pickled objects.

    Raises:
        ArrayError: the file is missing, not a `.npy` file, truncated, or contains pickled objects.
    """
    path = Path(path)
    try:
        stream = open_regular(path)
    except OSError as error:
        raise ArrayError(f"{printable(path)}: cannot be read: {error.strerror or error}") from None
    try:
        with stream:
            if stream.read(6) != b"\x93NUMPY":
                raise ArrayError(f"{printable(path)}: not a .npy file (write it with numpy.save)")
            stream.seek(0)
            array: NDArray[Any] = np.load(stream, allow_pickle=False)
    except ArrayError:
        raise
    except MemoryError:
        raise ArrayError(f"{printable(path)}: broken, or too large for the memory of this machine") from None
    except Exception as error:  # NumPy raises many kinds of exceptions on broken headers
        reason = one_line(error)
        reason = "contains pickled Python objects, which are not loaded" if "pickle" in reason else f"broken: {reason}"
        raise ArrayError(f"{printable(path)}: {reason}") from None
    return array
