"""leepfrog embed: compute the task embedding of a set of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import leepfrog
from leepfrog.cli.bars import Bars
from leepfrog.cli.completion import complete_estimator, complete_probe
from leepfrog.cli.options import DataArgument, check_output
from leepfrog.cli.output import emit, remark, skipped_lines
from leepfrog.cli.run_options import RunOptions, run_options
from leepfrog.errors import UsageError
from leepfrog.files import printable
from leepfrog.task2vec.choices import DEFAULT_ESTIMATOR, DEFAULT_TOLERANCE

if TYPE_CHECKING:
    from leepfrog.task2vec.embedding import Embedding


@run_options("device", "threads", "strict", "quiet")
def embed(
    data: DataArgument,
    probe: Annotated[
        str,
        typer.Option(
            "--probe",
            help="Model with a probe (leepfrog export NAME --probe), or its file.",
            autocompletion=complete_probe,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Write the embedding to this .npz file.", callback=check_output)
    ],
    name: Annotated[str | None, typer.Option("--name", help="Name of the task (default: that of the folder).")] = None,
    estimator: Annotated[
        str,
        typer.Option(
            "--estimator",
            help="Fisher estimator: signs (least noise for its time), sampled or exact.",
            autocompletion=complete_estimator,
        ),
    ] = DEFAULT_ESTIMATOR,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance",
            min=0,
            help="Stop once the expected distance to another sample is below this; 0: use all images.",
        ),
    ] = DEFAULT_TOLERANCE,
    max_images: Annotated[
        int | None, typer.Option("--max-images", min=2, help="Maximum number of backward passes (default: all images).")
    ] = None,
    head_only: Annotated[
        bool,
        typer.Option(
            "--head-only", help="Embed only the last layer, in closed form: no probe file, no backward passes."
        ),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of the image order and the signs.")] = 0,
    *,
    run: RunOptions,
) -> None:
    """Embed a task as the Fisher information of a network's filters (TASK2VEC), for leepfrog distance.

    A linear head is fitted to the network's features, and gradients are propagated back through the probe, an ONNX
    file: no training framework is needed, and no weights change. Only embeddings from the same probe are comparable.
    """
    if output.suffix != ".npz":
        raise UsageError(f"-o {printable(output)}: an embedding must be an .npz file")
    request = leepfrog.EmbedRequest(estimator, tolerance, max_images, head_only, seed=seed)
    with Bars(run.quiet) as bars:
        embedding = request.run(data, probe, run.context(bars), name)
    embedding.save(output)
    emit(describe(embedding, output), None)
    for line in remarks(embedding):
        remark(line, run.quiet)


def describe(embedding: Embedding, path: Path) -> str:
    """Return a summary of an embedding, in two lines."""
    made = embedding.made
    return (
        f"{printable(path)}  {printable(embedding.name)}: {len(embedding.vector)} filters of {len(embedding.layers)} "
        f"layer(s) of {made['probe']}, {made['n_images']} of {made['n_available']} images\n"
        f"distance to another sample of the same task: about {embedding.self_distance:.3f}"
    )


def remarks(embedding: Embedding) -> list[str]:
    """Return notes on the images, and the images that were skipped."""
    lines = [f"note: {note}" for note in embedding.made["notes"]]
    skipped = embedding.made["receipt"]["data"]["skipped"]
    return lines + skipped_lines([(image["name"], image["reason"]) for image in skipped], "the file")
