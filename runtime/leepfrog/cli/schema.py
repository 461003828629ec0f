"""leepfrog schema: JSON Schema of results."""

from __future__ import annotations

from leepfrog.cli.formats import as_json
from leepfrog.cli.options import OutputOption, QuietOption
from leepfrog.cli.output import emit


def schema(output: OutputOption = None, quiet: QuietOption = False) -> None:
    """Print the JSON Schema of results in --format json. The field "kind" of a result names its definition."""
    from leepfrog.schema import json_schema

    emit(as_json(json_schema()), output, quiet)
