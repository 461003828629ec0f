"""The files that ship: a scoring model in float16 or int8, each a model of its own beside its float32 parent."""

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

# Ranges settle with a hundred images; agreement is then measured on others.
MOST_CALIBRATING, MOST_COMPARED = 100, 200
FEWEST_IMAGES = 10


@dataclasses.dataclass(frozen=True)
class VariantOptions:
    """How to write a variant.

    Attributes:
        output: a file ending in .onnx, or a folder; None for the models folder.
        name: the variant's name; None for the parent's with the precision behind it.
        force: replace another model of that name.
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
    """Write a scoring model in fewer bits.

    For int8, half of the images (MOST_CALIBRATING at most) set the ranges of activations, by each recipe of
    `leepfrog_exporter.precision.int8`; the recipe is taken that agrees best with the parent on the others, by first
    source class and then by features. Without images, which fp16 does not need, synthetic ones are compared.

    Args:
        parent: the scoring model in float32.
        precision: one of PRECISIONS.
        images: what the model will see. Their labels only make the sample fair.
        options: see VariantOptions.
        progress: told of each step.

    Returns:
        The file written. Its metadata say what each recipe measured.

    Raises:
        UsageError: an unknown precision, int8 without images, a variant of a variant, or a name that is taken.
        DataSetError: fewer than FEWEST_IMAGES can be used.
        ModelError: it cannot be converted, or does not run then.
    """
    check_precision(precision, images is not None)
    if (made := parent.metadata.variant) is not None:
        raise UsageError(f"{parent.name} is {made.precision} already; export {made.parent} in {precision}")
    options, progress = options or VariantOptions(), progress or SilentProgress()
    name = options.name or f"{parent.name}-{precision}"
    path = path_of(options.output, name)
    metadata = dataclasses.replace(
        parent.metadata,
        name=name,
        source=f"{parent.metadata.source} ({precision})",
        top1=None,  # what was published is of the parent
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
    """UsageError where there is no such precision, or where it wants images and has none."""
    check_name("precision", precision, PRECISIONS)
    if precision == "int8" and not calibrated:
        raise UsageError("int8 is calibrated on images like those that the model will see: add --calibrate DIR")


def _candidates(precision: str, model: onnx.ModelProto, calibrating: Images) -> Iterator[Candidate]:
    if precision == "fp16":
        yield "float16 weights and arithmetic", to_half(model)
        return
    for recipe, made in to_int8(model, calibrating):
        yield str(recipe), made


def _measured(model: onnx.ModelProto, parent: ModelFile, expected: BatchOutputs, images: Images) -> Agreement:
    """Run a candidate as `rank` will: from a file, its outputs checked."""
    with tempfile.TemporaryDirectory(prefix="leepfrog-variant-") as folder:
        path = Path(folder) / "candidate.onnx"  # the parent's name may be a stranger's, "../../x"
        write_model(model, parent.metadata, path)
        try:
            return agreement(expected, outputs_of(Session(ModelFile.read(path), "cpu", available_threads()), images))
        except ModelError as error:
            raise ModelError(str(error).removeprefix(f"{path}: ")) from None


def _samples(images: ImageSet, spec: PreprocessSpec, progress: Progress) -> tuple[Images, Images]:
    """Images for calibration and others for comparison, preprocessed, [1, 3, H, W] each."""
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
        raise DataSetError(f"{images.name}: {len(prepared)} usable images; calibration takes at least {FEWEST_IMAGES}")
    calibrating = min(MOST_CALIBRATING, len(prepared) // 2)
    return prepared[:calibrating], prepared[calibrating:]


def _synthetic(spec: PreprocessSpec) -> Images:
    return list(parity.synthetic_images(spec)[:, None])
