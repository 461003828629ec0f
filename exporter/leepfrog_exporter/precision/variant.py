"""Variants of scoring models in float16 or int8, written as separate models next to their float32 parent."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from leepfrog import __version__
from leepfrog.arguments import StrPath, check_name
from leepfrog.errors import DataSetError, ImageError, ModelError, UsageError
from leepfrog.images.dataset import ImageSet
from leepfrog.images.greys import level_some
from leepfrog.images.preprocess import PreprocessSpec, normalize, resize_and_crop_reduced
from leepfrog.inference.choices import PRECISIONS
from leepfrog.inference.device import available_threads
from leepfrog.inference.metadata import Variant
from leepfrog.inference.model import BatchOutputs, ModelFile, Session
from leepfrog.progress import Progress, SilentProgress
from leepfrog.scoring.subsample import drawn_in_proportion
from numpy.typing import NDArray

from leepfrog_exporter import parity
from leepfrog_exporter.export import write_model
from leepfrog_exporter.places import path_of, refuse_to_replace_another
from leepfrog_exporter.precision.agreement import Agreement, agreement, outputs_of
from leepfrog_exporter.precision.half import to_half
from leepfrog_exporter.precision.int8 import RECIPES, to_int8

Images = list[NDArray[np.float32]]
Candidate = tuple[str, onnx.ModelProto]

# Activation ranges are stable after about 100 images; agreement is measured on different ones.
MOST_CALIBRATING, MOST_COMPARED = 100, 200
FEWEST_IMAGES = 10


@dataclasses.dataclass(frozen=True)
class VariantOptions:
    """Options of a variant's export.

    Attributes:
        output: path of the variant: a file ending in .onnx, or a folder; None for the models folder.
        name: name of the variant; None for the parent's name followed by the precision.
        force: whether to replace another model of that name.
    """

    output: StrPath | None = None
    name: str | None = None
    force: bool = False


def export_variant(
    parent: ModelFile,
    precision: str,
    images: ImageSet | None = None,
    options: VariantOptions | None = None,
    progress: Progress | None = None,
) -> ModelFile:
    """Write a scoring model in lower precision.

    For int8, half of the images (at most MOST_CALIBRATING) calibrate the activation ranges, once per recipe of
    `leepfrog_exporter.precision.int8`. The recipe that agrees best with the parent on the other images is kept; top
    source classes count first, then features. fp16 needs no images; without them, synthetic images are compared.

    Args:
        parent: the scoring model in float32.
        precision: one of PRECISIONS.
        images: images like those that the model will see. Their labels only serve to draw a proportional sample.
        options: see VariantOptions.
        progress: receives the progress of each step.

    Returns:
        The file written. Its metadata records the agreement of each recipe.

    Raises:
        UsageError: the precision is unknown, int8 has no images, the parent is itself a variant, or the name is taken.
        DataSetError: fewer than FEWEST_IMAGES images are usable.
        ModelError: the model cannot be converted, or the result does not run.
    """
    check_precision(precision, images is not None)
    if (made := parent.metadata.variant) is not None:
        raise UsageError(f"{parent.name} is already {made.precision}; export {made.parent} in {precision} instead")
    options, progress = options or VariantOptions(), progress or SilentProgress()
    name = options.name or f"{parent.name}-{precision}"
    path = path_of(options.output, name)
    metadata = dataclasses.replace(
        parent.metadata,
        name=name,
        source=f"{parent.metadata.source} ({precision})",
        top1=None,  # the published accuracy is the parent's
    )
    refuse_to_replace_another(path, metadata, options.force)
    progress.start(f"{parent.name} in {precision}", 3 + (len(RECIPES) if precision == "int8" else 1))
    spec = parent.metadata.preprocess
    calibrating, compared = _samples(images, spec, progress) if images else ([], _synthetic(spec))
    progress.advance(1)
    expected = outputs_of(Session(parent, "cpu", available_threads()), compared)
    progress.advance(1)
    try:
        tried: list[tuple[Agreement, str, onnx.ModelProto]] = []
        for recipe, model in _candidates(precision, onnx.load(parent.path, load_external_data=False), calibrating):
            tried.append((_measured(model, parent, expected, compared), recipe, model))
            progress.advance(1)
    except ModelError as error:
        raise ModelError(f"{parent.name} in {precision}: {error}") from None
    best, recipe, model = max(tried, key=lambda attempt: attempt[0])
    metadata = dataclasses.replace(
        metadata,
        parity={"reference": parent.name, **best.as_dict(), "synthetic": images is None},
        variant=Variant(
            precision, parent.name, parent.sha256, recipe, tuple({"recipe": r, **a.as_dict()} for a, r, _ in tried)
        ),
    )
    model.producer_name, model.producer_version = "leepfrog", __version__
    write_model(model, metadata, path)
    progress.advance(1)
    return ModelFile.read(path)


def check_precision(precision: str, calibrated: bool) -> None:
    """Raise UsageError if the precision is unknown, or needs calibration images that are not given."""
    check_name("precision", precision, PRECISIONS)
    if precision == "int8" and not calibrated:
        raise UsageError("int8 needs calibration images like those that the model will see: add --calibrate DIR")


def _candidates(precision: str, model: onnx.ModelProto, calibrating: Images) -> Iterator[Candidate]:
    if precision == "fp16":
        yield "float16 weights and arithmetic", to_half(model)
        return
    for recipe, made in to_int8(model, calibrating):
        yield str(recipe), made


def _measured(model: onnx.ModelProto, parent: ModelFile, expected: BatchOutputs, images: Images) -> Agreement:
    """Return the agreement of a candidate, which is run as `rank` will: from a file, with checked outputs."""
    with tempfile.TemporaryDirectory(prefix="leepfrog-variant-") as folder:
        path = Path(folder) / "candidate.onnx"  # not the parent's name, which is untrusted ("../../x")
        write_model(model, parent.metadata, path)
        try:
            return agreement(expected, outputs_of(Session(ModelFile.read(path), "cpu", available_threads()), images))
        except ModelError as error:
            raise ModelError(str(error).removeprefix(f"{path}: ")) from None


def _samples(images: ImageSet, spec: PreprocessSpec, progress: Progress) -> tuple[Images, Images]:
    """Return images for calibration and others for comparison, preprocessed, [1, 3, H, W] each."""
    drawn = drawn_in_proportion(images.labels, MOST_CALIBRATING + MOST_COMPARED)
    images, notes, _ = level_some(images, drawn.tolist())
    for note in notes:
        progress.notice(note)
    prepared = []
    for position in np.random.default_rng(0).permutation(drawn):
        try:
            _, (decoded,) = images.images[position].load_reduced([spec.reduction])
        except ImageError as error:
            progress.notice(f"skipped: {images.images[position].name}: {error}")
            continue
        prepared.append(normalize(resize_and_crop_reduced(decoded, spec)[None], spec))
    if len(prepared) < FEWEST_IMAGES:
        raise DataSetError(f"{images.name}: {len(prepared)} usable images; calibration needs at least {FEWEST_IMAGES}")
    calibrating = min(MOST_CALIBRATING, len(prepared) // 2)
    return prepared[:calibrating], prepared[calibrating:]


def _synthetic(spec: PreprocessSpec) -> Images:
    return list(parity.synthetic_images(spec)[:, None])
