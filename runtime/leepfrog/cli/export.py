"""leepfrog export: convert models into scoring models."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from leepfrog_exporter.choices import MEAN, POOLS

import leepfrog
from leepfrog.arguments import check_name
from leepfrog.cli.bars import Bars
from leepfrog.cli.completion import (
    complete_pools,
    complete_precisions,
    complete_source,
)
from leepfrog.cli.exported_lines import described, described_probe, described_variant
from leepfrog.cli.options import QuietOption, check_output, split_commas
from leepfrog.cli.output import emit, remark
from leepfrog.cli.preprocess_options import PreprocessOptions, preprocess_options
from leepfrog.errors import MachineError, UsageError
from leepfrog.inference.choices import PRECISIONS

if TYPE_CHECKING:
    from leepfrog_exporter.export import ExportOptions

    from leepfrog.inference.model import ModelFile


def _check_output(output: Path | None) -> Path | None:
    """Raise MachineError before any work if the model cannot be written there."""
    if output is not None:
        check_output(output if output.suffix == ".onnx" else output / "model.onnx")
    return output


@preprocess_options
def export(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="timm:NAME, torchvision:NAME, onnx:FILE, or a name from zoo list.",
            autocompletion=complete_source,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder, or file ending in .onnx (default: the models folder).",
            callback=_check_output,
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the model (default: that of its source).")] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Text file of source class names, one per line.")
    ] = None,
    license: Annotated[str | None, typer.Option("--license", "--licence", help="License of the weights.")] = None,
    output_name: Annotated[
        str | None,
        typer.Option("--output-name", help="Graph output that holds the classes, if there are several outputs."),
    ] = None,
    no_probs: Annotated[
        bool,
        typer.Option("--no-probs", help="The outputs are not source classes, but an embedding or a multi-label head."),
    ] = False,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            metavar="VALUE",
            help="Value of an ONNX graph to use as features (default: what the last linear layer sees).",
        ),
    ] = None,
    pool: Annotated[
        str,
        typer.Option(
            "--pool",
            help=f"How tokens become features: {' (average) or '.join(POOLS)} (first token).",
            autocompletion=complete_pools,
        ),
    ] = MEAN,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Use untrained weights, to try an export without a model hub.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Also write the model's probe, NAME.fisher.onnx, for TASK2VEC embeddings.")
    ] = False,
    depth: Annotated[
        int | None,
        typer.Option("--depth", min=1, help="With --probe: use only this many of the last layers (default: all)."),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            help=f"Also write variants as separate models: {', '.join(PRECISIONS)} or both.",
            autocompletion=complete_precisions,
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            metavar="DIR",
            help="With int8: images like those that the model will see, in one subfolder per class. Up to 100 "
            "calibrate, up to 200 others compare.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Export again, and replace a model of the same name.")] = False,
    quiet: QuietOption = False,
    *,
    preprocess: PreprocessOptions,
) -> None:
    """Create scoring models: ONNX files that output features and probs and include their preprocessing.

    Each export is compared with its source on the same images and rejected if they differ. Requires the export extra;
    onnx: sources need no torch. With --precision, SOURCE may also be an exported model; its variants are compared with
    it on your images, and named after it: mobilenet_v2-int8.
    """
    precisions = split_commas(precision)
    names_one_file = name is not None or (output is not None and output.suffix == ".onnx")
    if len(sources) > 1 and names_one_file:
        raise UsageError("--name and an .onnx file as --output require a single SOURCE")
    if depth is not None and not probe:
        raise UsageError("--depth requires --probe")
    if probe and precisions:
        raise UsageError("--probe cannot be combined with --precision: probes are made from float32 models")
    for each in precisions:
        check_name("precision", each, PRECISIONS)
    if calibrate is not None and "int8" not in precisions:
        raise UsageError("--calibrate requires --precision int8")
    if len(precisions) > 1 and names_one_file:
        raise UsageError("--name and an .onnx file as --output require a single --precision")
    check_exporter()
    from leepfrog_exporter.export import ExportOptions
    from leepfrog_exporter.export import export as export_source

    options = ExportOptions(
        output=output, name=name, preprocess=preprocess.choice(), labels=labels, license=license,
        output_name=output_name, features=features, pool=pool, random_weights=random_weights, no_probs=no_probs,
        force=force,
    )  # fmt: skip
    if precisions:
        _export_variants(sources, precisions, calibrate, options, quiet)
        return
    for source in sources:
        with Bars(quiet) as bars:
            model = export_source(source, options, bars)
        emit(described(model), None)
        if probe:
            _export_probe(model, depth, quiet)


def _export_probe(model: ModelFile, depth: int | None, quiet: bool) -> None:
    from leepfrog_exporter.gradient.probe import export_probe

    with Bars(quiet) as bars:
        probe = export_probe(model, depth, bars)
    emit(described_probe(probe), None)


def _export_variants(
    sources: list[str], precisions: list[str], calibrate: Path | None, options: ExportOptions, quiet: bool
) -> None:
    """Export missing parents, then the variants, to which the options name, output and force apply."""
    from leepfrog_exporter.export import export as export_source
    from leepfrog_exporter.precision.variant import VariantOptions, check_precision, export_variant

    from leepfrog.inference.model import ModelFile
    from leepfrog.inference.model_lookup import exported

    for precision in precisions:
        check_precision(precision, calibrate is not None)
    images = leepfrog.find_images(calibrate) if calibrate else None
    of_parents = dataclasses.replace(options, name=None, output=None, force=False)
    of_variants = VariantOptions(options.output, options.name, options.force)
    for source in sources:
        if (path := exported().get(source)) is not None:
            parent = ModelFile.read(path)
        else:
            with Bars(quiet) as bars:
                parent = export_source(source, of_parents, bars)
            emit(described(parent), None)
        for precision in precisions:
            with Bars(quiet) as bars:
                variant = export_variant(parent, precision, images, of_variants, bars)
            emit(described_variant(variant), None)
        names = f"{parent.name},{parent.name}-*"
        remark(f"compare them on other images: leepfrog rank PHOTOS -m '{names}'", quiet)


def check_exporter() -> None:
    """Raise MachineError, with the command to install it, if the export extra is missing."""
    try:
        importlib.import_module("leepfrog_exporter.export")
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in ("onnx", "google"):
            raise MachineError(
                "exporting needs the export extra: pip install 'leepfrog[export]' (in a checkout: "
                "pip install -c constraints.txt -e '.[export]')"
            ) from None
        raise
