"""Parity check: an exported model must compute the same outputs as its source, or the export is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
from leepfrog.errors import ModelError, one_line
from leepfrog.images.preprocess import PreprocessSpec, normalize, resize_and_crop
from leepfrog.inference.load import load
from leepfrog.inference.metadata import FEATURES_OUTPUT, IMAGE_INPUT, PROBS_OUTPUT
from leepfrog.kernels.rows import ROW_SUM_TOLERANCE
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from leepfrog_exporter.graph.heads.base import Classifier, FeatureExtractor, Head
from leepfrog_exporter.graph.purity import mixing_node, random_node

N_INPUTS = 4
# Allowed difference, relative to the largest absolute output (at least 1). Two correct float32 runtimes differ by about
# 1e-5; half precision differs by about 1e-2.
TOLERANCE = 1e-3
HALF_TOLERANCE = 3e-2
# Allowed relative difference between two runs of one session on the same batch.
REPEATED = 1e-5
_NAMES = {PROBS_OUTPUT: "probabilities", FEATURES_OUTPUT: "features"}
_OTHER = "outputs"

Floats = NDArray[np.float32]
Reference = Callable[[Floats], tuple[Floats, Sequence[Floats] | None]]
"""The source, from a batch [n, 3, H, W] to its output [n, ...] and the inputs of its last linear layers, if known."""

# Image indices of a second batch, which differs from the first in order, size and neighbours of each image.
_MIXED = (2, 0, 3, 1, 0, 2)


@dataclasses.dataclass(frozen=True)
class Parity:
    """Measurements of the parity check on N_INPUTS synthetic images.

    Attributes:
        reference: name of the reference that the export was compared with.
        n_inputs: number of images compared.
        max_difference: largest absolute difference of an output value, or of a feature for models without probs.
        top1_agreement: fraction of images with the same top class; None for models without probs.
        batch_difference: largest absolute difference between an image's outputs alone and in different batches.
        tolerance: largest allowed difference of an output value.
        features_difference: largest absolute difference of a feature; None if the source's features are unknown.
        n_source, n_features: number of source classes Z (None for models without probs) and of features D.
        head: description of the last linear layer; "" if there is none.
    """

    reference: str
    n_inputs: int
    max_difference: float
    top1_agreement: float | None
    batch_difference: float
    tolerance: float
    features_difference: float | None
    n_source: int | None
    n_features: int
    head: str

    def as_dict(self) -> dict[str, Any]:
        """Return the measurements as JSON-ready values, without those that are None."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


def check(
    model: onnx.ModelProto, head: Head, spec: PreprocessSpec, reference: Reference, reference_name: str
) -> Parity:
    """Compare a scoring model with its source, and its outputs across repeated runs and different batches.

    Args:
        model: the scoring model.
        head: head of the original network.
        spec: preprocessing of the model.
        reference: the source.
        reference_name: name of the source in messages and metadata.

    Raises:
        ModelError: onnxruntime cannot run the model, its outputs are not probabilities or not a function of the image
            alone, or they differ from the source.
    """
    if random := random_node(model):
        raise ModelError(
            f"refused: {random} draws random numbers, so the outputs are not deterministic; export the network "
            "in evaluation mode (model.eval())"
        )
    session = _session(model, head.compared)
    images = synthetic_images(spec)
    together = _run(session, images)
    features = together["features"]
    _check_outputs(together)
    half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    relative = HALF_TOLERANCE if half else TOLERANCE
    batch_difference = _check_rows(session, images, together, relative, model)
    output, seen = reference(images)
    measured = partial(
        Parity,
        reference=reference_name,
        n_inputs=len(images),
        batch_difference=batch_difference,
        n_features=features.shape[1],
        head=head.layer[:200],
    )
    allowed = relative * _scale(features, "features")
    if isinstance(head, FeatureExtractor):
        seen = [output] if seen is None and not head.layer else seen
        if seen is None or (seen[0].ndim == 4 and not head.is_map and not head.layer):
            raise ModelError(f"refused: cannot locate the features of {reference_name}; declare the output's shape")
        difference = _features_difference(features, seen, head, reference_name, allowed)
        assert difference is not None
        return measured(
            max_difference=difference, top1_agreement=None, tolerance=allowed, features_difference=difference,
            n_source=None,
        )  # fmt: skip
    probs, value = together["probabilities"], together.get(_OTHER, together["probabilities"])
    if sum(width > 1 for width in output.shape[1:]) > 1:
        raise ModelError(f"is not a classifier: it returns {list(output.shape[1:])} values per image, not one row")
    expected, value = head.expected(output), value.reshape(len(images), -1)
    if value.shape != expected.shape:
        raise ModelError(f"returns {value.shape[1]} values per image, but its source returns {expected.shape[1]}")
    if head.altered and head.ends_in == "softmax":
        _refuse_altered(head, expected)
    tolerance = relative * _scale(expected, "probabilities" if head.ends_in == "softmax" else _OTHER)
    tolerance = max(tolerance, head.rounding)
    difference, same = _furthest(value, expected), float(_same_top(value, expected, tolerance).mean())
    if not difference <= tolerance or same < 1:
        raise ModelError(
            f"refused: the exported model differs from {reference_name} by {difference:.3g} (allowed {tolerance:.3g}), "
            f"top-1 agreement {same:.0%}"
        )
    return measured(
        max_difference=difference,
        top1_agreement=same,
        tolerance=tolerance,
        features_difference=_features_difference(features, seen, head, reference_name, allowed),
        n_source=probs.shape[1],
    )


def _check_rows(
    session: onnxruntime.InferenceSession,
    images: Floats,
    together: dict[str, Floats],
    relative: float,
    model: onnx.ModelProto,
) -> float:
    """Return how much an image's outputs change with its batch.

    Raise ModelError if that exceeds the tolerance, or if a second run gives different outputs.
    """
    again = _run(session, images)
    for name, before in together.items():
        if not (difference := _furthest(again[name], before)) <= REPEATED * _scale(before, name):
            raise ModelError(
                f"refused: an image's {name} change by {difference:.3g} between two runs, so they are not deterministic"
            )
    apart = [_run(session, image[None]) for image in images]
    mixed = _run(session, images[list(_MIXED)])
    largest = 0.0
    for name, before in together.items():
        alone = np.concatenate([outputs[name] for outputs in apart])
        difference = float(np.maximum(_furthest(alone, before), _furthest(mixed[name], before[list(_MIXED)])))
        if not difference <= relative * _scale(before, name):
            reason = mixing_node(model.graph) or "the network mixes images along its batch axis"
            raise ModelError(
                f"refused: an image's {name} change by {difference:.3g} with other images in the batch; {reason}"
            )
        largest = max(largest, difference)
    return largest


def _features_difference(
    features: Floats, seen: Sequence[Floats] | None, head: Head, reference_name: str, allowed: float
) -> float | None:
    """Return the largest difference from the source's features, or None if those are unknown.

    Raise ModelError if it exceeds the tolerance.
    """
    if seen is None:
        return None
    expected = head.pooled(seen)
    if expected.shape != features.shape:
        raise ModelError(
            f"refused: it has {features.shape[1]} features per image, but its source has {expected.shape[1]}"
        )
    if not (difference := _furthest(features, expected)) <= allowed:
        source = f"the input of {head.layer[:200]} in {reference_name}" if head.layer else f"those of {reference_name}"
        raise ModelError(f"refused: features differ from {source} by {difference:.3g} (allowed {allowed:.3g})")
    return difference


def _refuse_altered(head: Classifier, expected: Floats) -> None:
    """Raise ModelError if the source's own rows are not distributions because a node follows its softmax."""
    total = float(expected[0].sum(dtype=np.float64))
    if abs(total - 1) <= ROW_SUM_TOLERANCE:
        return
    kind = " (percentages)" if abs(total - 100) <= 100 * ROW_SUM_TOLERANCE else ""
    raise ModelError(
        f"refused: its rows sum to {total:.4g}{kind}, not 1, because {head.altered} follows the softmax; export the "
        "network with the softmax or the logits as its output"
    )


def _furthest(a: Floats, b: Floats) -> float:
    return float(np.abs(a - b).max())


def _scale(values: Floats, name: str) -> float:
    """Return the scale of differences: the largest absolute value, but at least 1 for logits."""
    # Logits may nearly cancel. Features and probabilities may all be small and still matter, so they have no minimum.
    return max(1.0 if name == _OTHER else 0.0, float(np.abs(values).max()))


def _session(model: onnx.ModelProto, compared: str) -> onnxruntime.InferenceSession:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    if compared not in {value.name for value in probe.graph.output}:
        # onnxruntime infers its type and shape.
        probe.graph.output.append(helper.make_empty_tensor_value_info(compared))
    return load(probe.SerializeToString())


def _run(session: onnxruntime.InferenceSession, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return the outputs by their names in messages: _NAMES, and _OTHER for any other value that is compared."""
    names = [output.name for output in session.get_outputs()]
    try:
        values = session.run(names, {IMAGE_INPUT: batch})
    except Exception as error:
        reason = one_line(error)
        batch_is_fixed = " (its batch size may be fixed; export it with a dynamic batch axis)" if len(batch) > 1 else ""
        raise ModelError(f"does not run on {len(batch)} image(s){batch_is_fixed}: {reason}") from None
    if any(len(value) != len(batch) for value in values):
        raise ModelError(
            f"returns {len(values[0])} row(s) for {len(batch)} images, so its batch size is fixed; export it with a "
            "dynamic batch axis"
        )
    return {_NAMES.get(name, _OTHER): np.asarray(value) for name, value in zip(names, values, strict=True)}


def _check_outputs(outputs: dict[str, Floats]) -> None:
    rows = [outputs[name] for name in _NAMES.values() if name in outputs]
    if any(values.ndim != 2 for values in rows):
        shapes = " and ".join(str(list(values.shape)) for values in rows)
        raise ModelError(f"outputs have shapes {shapes}; expected one row per image")
    probs = outputs.get("probabilities")
    if probs is not None and probs.shape[1] < 2:
        raise ModelError(f"has {probs.shape[1]} source class; scores need at least 2")
    if not all(np.isfinite(values).all() for values in rows):
        raise ModelError("outputs contain NaN or infinity")
    if probs is not None and np.abs(probs.sum(axis=1, dtype=np.float64) - 1).max() > ROW_SUM_TOLERANCE:
        raise ModelError("its output rows do not sum to 1")


def _same_top(value: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float) -> NDArray[np.bool_]:
    """Return for each row whether the top classes agree, up to ties within the tolerance in the reference."""
    rows = np.arange(len(expected))
    return np.asarray(expected[rows, value.argmax(axis=1)] >= expected.max(axis=1) - tolerance)


def synthetic_images(spec: PreprocessSpec) -> NDArray[np.float32]:
    """Generate seeded color clouds with grain, [N_INPUTS, 3, H, W]: like photographs, with contrast at every scale."""
    rng = np.random.default_rng(0)
    height, width = spec.input_size
    crops = []
    for _ in range(N_INPUTS):
        clouds = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        grain = rng.normal(0, 20, (height, width, 3))
        noisy = Image.fromarray(np.clip(np.asarray(clouds) + grain, 0, 255).astype(np.uint8))
        crops.append(resize_and_crop(noisy, spec))
    return normalize(np.stack(crops), spec)
