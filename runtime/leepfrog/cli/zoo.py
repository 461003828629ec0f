"""leepfrog zoo: models available by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from leepfrog_exporter import catalog, zoo

from leepfrog.cli.amounts import amount
from leepfrog.cli.bars import Bars
from leepfrog.cli.completion import complete_zoo
from leepfrog.cli.export import check_exporter
from leepfrog.cli.exported_lines import described
from leepfrog.cli.options import QuietOption
from leepfrog.cli.output import emit, remark
from leepfrog.cli.result_options import ResultOptions, result_options
from leepfrog.listings import Catalog, FoundNetwork, ListedModel, ZooListing
from leepfrog.tables import Column, table_of

app = typer.Typer(help="Models available by name.", no_args_is_help=True, rich_markup_mode=None)

COLUMNS: tuple[Column[ListedModel], ...] = (
    Column("model", lambda model: model.model, number=False),
    Column("exported", lambda model: "yes" * model.exported, number=False),
    Column("weights from", lambda model: model.weights_from, number=False),
    Column("architecture", lambda model: model.architecture, number=False),
    Column("top-1 %", lambda model: "" if model.top1 is None else f"{model.top1:.1f}"),
    Column("license", lambda model: model.license, number=False),
)
# Columns that narrow terminals omit, the least important first.
LEAST = ("architecture", "weights from", "license")


@app.command("list")
@result_options(with_quiet=True)
def list_(*, out: ResultOptions) -> None:
    """List the zoo, and exported models of your own."""
    from leepfrog.inference.model_lookup import exported

    local, entries = exported(), zoo.load()
    models = [
        ListedModel(
            entry.name, entry.name in local, f"package {entry.weights.wheel}" if entry.weights else "hub",
            entry.architecture, entry.top1, entry.license,
        )
        for entry in entries.values()
    ]  # fmt: skip
    models += [ListedModel(name, True, "your own export", "", None, "") for name in local if name not in entries]
    listing = ZooListing(tuple(models))
    table = table_of(COLUMNS, listing.models, LEAST)
    out.emit(out.text(listing, [table]))


SEARCHED: tuple[Column[FoundNetwork], ...] = (
    Column("source", lambda network: network.source, number=False),
    Column("params M", lambda network: f"{network.parameters / 1e6:.1f}"),
    Column("input", lambda network: str(network.input_size)),
    Column("top-1 %", lambda network: "" if network.top1 is None else f"{network.top1:.1f}"),
    Column("license", lambda network: network.license, number=False),
)


@app.command("search")
@result_options(with_quiet=True)
def search(
    pattern: Annotated[
        str, typer.Argument(help="Part of a name, or a wildcard pattern such as 'mobilenet*' (default: all).")
    ] = "*",
    max_params: Annotated[
        str | None, typer.Option("--max-params", metavar="N", help="Maximum number of parameters, such as 5M.")
    ] = None,
    min_top1: Annotated[
        float | None, typer.Option("--min-top1", min=0, max=100, help="Minimum published accuracy, in percent.")
    ] = None,
    max_input: Annotated[int | None, typer.Option("--max-input", min=1, help="Maximum input size, in pixels.")] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Maximum number of networks to show.")] = 30,
    *,
    out: ResultOptions,
) -> None:
    """Search the networks of timm and torchvision with pre-trained weights, offline; the most accurate first.

    leepfrog export SOURCE downloads the weights from the library's hub.
    """
    found = catalog.search(pattern, amount(max_params, "count", "--max-params"), min_top1, max_input)
    networks = tuple(found[:most])
    out.emit(out.text(Catalog(networks), [table_of(SEARCHED, networks, ("license", "input"))]))
    if len(found) > most:
        remark(f"{most} of {len(found):,} networks; --most N shows more", out.quiet)
    elif not found:
        remark("no network of this name is within these limits", out.quiet)


@app.command("pull")
def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", help="Zoo entries (default: all that need no model hub).", autocompletion=complete_zoo
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Export again even if the model exists.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Download models of the zoo and export them. Requires the export extra."""
    for line in pull_models(names or [], force, quiet):
        emit(line, None)  # as soon as each is done: a later one may fail


def pull_models(names: list[str], force: bool, quiet: bool) -> Iterator[str]:
    """Export zoo entries, or all starters if none are named, and yield a line on each when it is done."""
    check_exporter()
    from leepfrog_exporter.export import ExportOptions, export

    wanted = names or [entry.name for entry in zoo.load().values() if entry.is_starter]
    for name in wanted:
        zoo.find(name)  # a misspelt name fails before anything is downloaded
    options = ExportOptions(force=force)
    for name in wanted:
        with Bars(quiet) as bars:
            line = described(export(f"zoo:{name}", options, bars))
        yield line
