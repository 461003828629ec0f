"""leepfrog score: the scores from arrays, for any modality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leepfrog.cli.completion import complete_scores
from leepfrog.cli.options import FormatOption, OutputOption, QuietOption, split_commas
from leepfrog.cli.output import Format, as_json, as_rows, chosen_format, emit

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADER = ("score", "value", "standard error", "90 % interval", "images", "inputs", "target classes", "diagnostics")
NUMBERS = (False, True, True, True, True, True, True, False)


def score(
    labels: Annotated[Path, typer.Option("--labels", help="Target class of each row, .npy, [N] integers.")],
    probs: Annotated[
        Path | None, typer.Option("--probs", help="Softmax over source classes, .npy, [N, Z] float32/float64.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option("--features", help="Inputs of the model's last layer, .npy, [N, D] numbers.")
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--score",
            "-s",
            help="Scores by name, commas between them (default: all that the arrays allow).",
            autocompletion=complete_scores,
        ),
    ] = None,
    format_: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> None:
    """Score one model from its predictions, its features or both, whatever it saw (images, text, sound).

    leep_loo, leep, leep_loo_t and nce read --probs, all others --features. The intervals are those that other images of
    the same classes would fall into.
    """
    from leepfrog.errors import UsageError
    from leepfrog.ranking.result import SCHEMA_VERSION
    from leepfrog.scoring.registry import chosen_scores
    from leepfrog.scoring.sample import Sample
    from leepfrog.scoring.score import with_intervals

    written_as = chosen_format(format_, output)
    given = {"probs": probs, "features": features}
    if probs is None and features is None:
        raise UsageError("nothing to score: give --probs, --features or both")
    chosen = chosen_scores(split_commas(names) or ["all"])
    absent = next((each for each in chosen if given[each.reads] is None), None)
    if names and absent is not None and "all" not in names:
        raise UsageError(f"{absent.name} reads --{absent.reads}, which is not given")
    arrays = {name: None if path is None else load_array(path) for name, path in given.items()}
    sample = Sample.of(load_array(labels), **arrays)
    scores = with_intervals([each.of(sample) for each in chosen if given[each.reads] is not None], sample.labels)
    if written_as is Format.json:
        found = {"schema_version": SCHEMA_VERSION, "scores": {s.name: s.as_dict() for s in scores}}
        emit(as_json(found), output, quiet)
        return
    rows = []
    for s in scores:
        diagnostics = ", ".join(f"{name} {count:.6g}" for name, count in s.diagnostics.items())
        error = "" if s.standard_error is None else f"{s.standard_error:.6g}"
        value = repr(s.value) if written_as is Format.csv else f"{s.value:.6f}"
        low, high = s.interval or (s.value, s.value)
        interval = f"{low:.6g} to {high:.6g}"
        rows.append((s.name, value, error, interval, str(s.n_samples), str(s.n_source), str(s.n_target), diagnostics))
    emit(as_rows(written_as, HEADER, rows, NUMBERS), output, quiet)


def load_array(path: Path) -> NDArray[Any]:
    """An array from a `.npy` file; pickled objects are refused.

    Raises:
        ArrayError: missing, no `.npy` file, cut short, or pickled.
    """
    import numpy as np

    from leepfrog.errors import ArrayError
    from leepfrog.files import printable

    try:
        with open(path, "rb") as stream:
            if stream.read(6) != b"\x93NUMPY":
                raise ArrayError(f"{printable(path)}: not a .npy file (write it with numpy.save)")
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except OSError as error:
        raise ArrayError(f"{printable(path)}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        reason = "holds pickled Python objects, which are not loaded" if "pickle" in str(error) else f"broken: {error}"
        raise ArrayError(f"{printable(path)}: {reason}") from None
    return array
