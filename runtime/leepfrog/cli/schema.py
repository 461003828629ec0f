"""leepfrog schema: what results in JSON hold."""

from __future__ import annotations

from importlib import resources

from leepfrog.cli.options import OutputOption, QuietOption
from leepfrog.cli.output import emit


def schema(output: OutputOption = None, quiet: QuietOption = False) -> None:
    """Print the JSON Schema of what commands write with --format json; each result names its definition as "kind"."""
    emit(resources.files("leepfrog.schemas").joinpath("results.schema.json").read_text(encoding="utf-8"), output, quiet)
