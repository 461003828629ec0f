"""leepfrog schema: what results in JSON hold."""

from __future__ import annotations

from leepfrog.cli.formats import as_json
from leepfrog.cli.options import OutputOption, QuietOption
from leepfrog.cli.output import emit


def schema(output: OutputOption = None, quiet: QuietOption = False) -> None:
    """Print the JSON Schema of what commands write with --format json; each result names its definition as "kind"."""
    from leepfrog.schema import json_schema

    emit(as_json(json_schema()), output, quiet)
