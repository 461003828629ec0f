"""leepfrog export: sources into scoring models."""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from leepfrog_exporter.choices import PRESETS

import leepfrog
from leepfrog.cli.bars import Bars
from leepfrog.cli.completion import (
    complete_channel_order,
    complete_interpolation,
    complete_precisions,
    complete_preset,
    complete_resize_mode,
    complete_source,
)
from leepfrog.cli.options import QuietOption, check_output, either, split_commas
from leepfrog.cli.output import emit
from leepfrog.errors import MachineError, UsageError
from leepfrog.files import printable
from leepfrog.images.choices import CHANNEL_ORDERS, INTERPOLATIONS
from leepfrog.inference.choices import PRECISIONS

if TYPE_CHECKING:
    from leepfrog_exporter.export import ExportOptions

    from leepfrog.inference.model import ModelFile
    from leepfrog.task2vec.probe import ProbeFile


def _check_output(output: Path | None) -> Path | None:
    """Before any work: MachineError where the model cannot be written there."""
    if output is not None:
        check_output(output if output.suffix == ".onnx" else output / "model.onnx")
    return output


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
            "--output", "-o", help="A folder, or a file ending in .onnx (default: the zoo).", callback=_check_output
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What the model is called (default: as its source).")
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            "--preprocess",
            help=f"For onnx: files: {either(PRESETS)} (see the README).",
            autocompletion=complete_preset,
        ),
    ] = None,
    input_size: Annotated[str | None, typer.Option("--input-size", help="224 or 224,320: height, width.")] = None,
    resize_size: Annotated[str | None, typer.Option("--resize-size", help="Size before the centre crop.")] = None,
    resize_mode: Annotated[
        str | None,
        typer.Option(
            "--resize-mode",
            help="cover (keep the aspect, cut off), letterbox (keep it, pad) or stretch.",
            autocompletion=complete_resize_mode,
        ),
    ] = None,
    pad_color: Annotated[
        str | None, typer.Option("--pad-color", help="With letterbox: red,green,blue of 0..255, or one number for all.")
    ] = None,
    interpolation: Annotated[
        str | None,
        typer.Option(
            "--interpolation",
            help=f"{either(INTERPOLATIONS)}.",
            autocompletion=complete_interpolation,
        ),
    ] = None,
    mean: Annotated[
        str | None, typer.Option("--mean", help="A number for each channel, of pixels 0..1: 0.5,0.5,0.5")
    ] = None,
    std: Annotated[str | None, typer.Option("--std", help="Likewise.")] = None,
    channel_order: Annotated[
        str | None,
        typer.Option("--channel-order", help=f"{either(CHANNEL_ORDERS)}.", autocompletion=complete_channel_order),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Text file of source class names, one a line.")
    ] = None,
    license: Annotated[str | None, typer.Option("--license", "--licence", help="License of the weights.")] = None,
    output_name: Annotated[
        str | None, typer.Option("--output-name", help="The graph's output that holds the classes, if it has several.")
    ] = None,
    no_probs: Annotated[
        bool,
        typer.Option("--no-probs", help="Its outputs are no source classes: an embedding, or a multi-label head."),
    ] = False,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Untrained weights: tries an export without a model hub.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Also write the model's probe, NAME.fisher.onnx, for TASK2VEC embeddings.")
    ] = False,
    depth: Annotated[
        int | None, typer.Option("--depth", min=1, help="With --probe: so many layers, the last ones (default: all).")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            help=f"{', '.join(PRECISIONS)} or both: also write these variants, each a model of its own.",
            autocompletion=complete_precisions,
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", metavar="DIR", help="With int8: images like those that the model will see."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Export again, and replace a model of the same name.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Make scoring models: ONNX files that put out features and probs and carry their own preprocessing.

    Each export is checked against its source on the same images and refused where they differ. Needs the export extra;
    onnx: sources need no torch. With --precision, SOURCE may also be a model that is exported already; the variants are
    compared with it on your images, and named after it: mobilenet_v2-int8.
    """
    precisions = split_commas(precision)
    if len(sources) > 1 and (name or (output and output.suffix == ".onnx")):
        raise UsageError("--name and an .onnx file as --output go with a single SOURCE")
    if depth is not None and not probe:
        raise UsageError("--depth goes with --probe")
    if probe and precisions:
        raise UsageError("--probe goes without --precision: probes are made of float32 models")
    if calibrate is not None and "int8" not in precisions:
        raise UsageError("--calibrate goes with --precision int8")
    if precisions and (name or (output and output.suffix == ".onnx")) and len(precisions) > 1:
        raise UsageError("--name and an .onnx file as --output go with a single --precision")
    exporter = load_exporter()
    from leepfrog_exporter.gradient.probe import export_probe
    from leepfrog_exporter.presets import PreprocessChoice

    choice = PreprocessChoice(
        preset=preprocess,
        input_size=_size("--input-size", input_size),
        resize_size=_size("--resize-size", resize_size),
        resize_mode=resize_mode,
        interpolation=interpolation,
        mean=_channels("--mean", mean),
        std=_channels("--std", std),
        channel_order=channel_order,
        pad_color=_color("--pad-color", pad_color),
    )
    options = exporter.ExportOptions(
        output, name, choice, labels, license, output_name,
        random_weights=random_weights, no_probs=no_probs, force=force,
    )  # fmt: skip
    if precisions:
        _export_variants(sources, precisions, calibrate, options, quiet)
        return
    for source in sources:
        with Bars(quiet) as bars:
            model = exporter.export(source, options, bars)
        emit(describe(model), None)
        if probe:
            with Bars(quiet) as bars:
                made = export_probe(model, depth, bars)
            emit(describe_probe(made), None)


def _export_variants(
    sources: list[str], precisions: list[str], calibrate: Path | None, options: ExportOptions, quiet: bool
) -> None:
    """Parents first, as far as they are not there; what the options say of name, output and force is the variants'."""
    from leepfrog_exporter.export import export as export_source
    from leepfrog_exporter.precision.variant import VariantOptions, check_precision, export_variant

    from leepfrog.inference.model import ModelFile
    from leepfrog.inference.model_lookup import exported

    for precision in precisions:
        check_precision(precision, calibrate is not None)
    images = leepfrog.find_images(calibrate) if calibrate else None
    for source in sources:
        if (path := exported().get(source)) is not None:
            parent = ModelFile.read(path)
        else:
            with Bars(quiet) as bars:
                parent = export_source(source, dataclasses.replace(options, name=None, output=None, force=False), bars)
            emit(describe(parent), None)
        for precision in precisions:
            variant_options = VariantOptions(options.output, options.name, options.force)
            with Bars(quiet) as bars:
                variant = export_variant(parent, precision, images, variant_options, bars)
            emit(describe_variant(variant), None)


def describe_variant(model: ModelFile) -> str:
    """One line on a variant, and one on each recipe that was tried, where there were several."""
    measured, made = model.metadata.parity, model.metadata.variant
    assert made is not None
    kind = "synthetic images" if measured.get("synthetic") else "images"
    line = f"{printable(model.path)}  {model.size / 1e6:.1f} MB"
    if measured.keys() >= _COMPARED:  # a variant that another program made need not say how it compares
        parent, same = printable(made.parent), _first_class(measured, " of ")
        line += f", same first class as {parent} on {same}" if same else f", against {parent} on "
        line += f"{measured['n_inputs']} {kind}, features' cosine {measured['features_cosine']:.4f}"
    tried = [
        f"    {trial['recipe']}: {_first_class(trial, ', ')}{trial['features_cosine']:.4f}"
        for trial in made.tried
        if {*trial, "n_inputs"} >= _COMPARED
    ]
    return "\n".join([f"{line} ({printable(made.recipe)})", *(tried if len(tried) > 1 else [])])


_COMPARED = {"features_cosine", "n_inputs"}


def _first_class(measured: Mapping[str, Any], after: str) -> str:
    """How often the first source class is the same; "" where there are no source classes."""
    return f"{measured['top1_agreement']:.0%}{after}" if "top1_agreement" in measured else ""


def describe_probe(probe: ProbeFile) -> str:
    """One line on a probe."""
    made = probe.metadata
    left_out = f", the first {made.skipped} left out" if made.skipped else ""
    return (
        f"{printable(probe.path)}  {probe.size / 1e6:.1f} MB, {made.n_filters} filters of {len(made.layers)} layers"
        f"{left_out}"
    )


def describe(model: ModelFile) -> str:
    """Lines on an exported model: how far it differs from its source, and what was taken for its classes."""
    parity = model.metadata.parity
    reference, head = (printable(str(parity.get(key, ""))) for key in ("reference", "head"))
    difference, allowed, n_source, n_features = (
        value if isinstance(value := parity.get(key), int | float) else 0
        for key in ("max_difference", "tolerance", "n_source", "n_features")
    )
    line = (
        f"{printable(model.path)}  {model.size / 1e6:.1f} MB, differs from {reference} by {difference:.1e} "
        f"(allowed {allowed:.1e})"
    )
    if not n_features:
        return line
    classes = f"{n_source:,} classes" if n_source else "no probabilities over source classes"
    return f"{line}\n    {classes}, {n_features:,} features from {head or 'its output'}"


def load_exporter() -> ModuleType:
    """The exporter, or MachineError: one line on what it lacks."""
    try:
        return importlib.import_module("leepfrog_exporter.export")
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in ("onnx", "google"):
            raise MachineError(
                "exporting needs the export extra: pip install 'leepfrog[export]' (in a checkout: "
                "pip install -c constraints.txt -e '.[export]')"
            ) from None
        raise


def _size(option: str, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    numbers = _numbers(option, text)
    if len(numbers) not in (1, 2) or not all(n.is_integer() and n >= 1 for n in numbers):
        raise _wrong(option, text, "224 or 224,320")
    return int(numbers[0]), int(numbers[-1])


def _channels(option: str, text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    numbers = _numbers(option, text)
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise _wrong(option, text, "three numbers, such as 0.5,0.5,0.5")
    return numbers[0], numbers[1], numbers[2]


def _color(option: str, text: str | None) -> tuple[int, int, int] | None:
    channels = _channels(option, text)
    if channels is None:
        return None
    if any(not 0 <= n <= 255 or n != int(n) for n in channels):
        raise _wrong(option, text or "", "whole numbers from 0 to 255, such as 114 or 124,116,104")
    return int(channels[0]), int(channels[1]), int(channels[2])


def _numbers(option: str, text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.replace("x", ",").split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(map(math.isfinite, numbers)):
        raise _wrong(option, text, "numbers separated by commas")
    return numbers


def _wrong(option: str, text: str, expected: str) -> Exception:

    return UsageError(f"{option} {text!r}: expected {expected}")
