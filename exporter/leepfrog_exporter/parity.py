"""The check that an exported model computes what its source computes. An export that fails it is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
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
# Largest difference allowed, relative to the largest absolute output (at least 1). Two correct float32 runtimes differ
# by some 1e-5; half precision by some 1e-2.
TOLERANCE = 1e-3
HALF_TOLERANCE = 3e-2
# And between two runs of one session on the same batch.
REPEATED = 1e-5
_NAMES = {PROBS_OUTPUT: "probabilities", FEATURES_OUTPUT: "features"}
_OTHER = "outputs"

Floats = NDArray[np.float32]
Reference = Callable[[Floats], tuple[Floats, Floats | None]]
"""The source: from a batch [n, 3, H, W] to its output [n, ...] and what its last linear layer sees, where known."""

# Rows of the batch that are compared with those of the first one: other neighbours, another order, another size.
_MIXED = (2, 0, 3, 1, 0, 2)


@dataclasses.dataclass(frozen=True)
class Parity:
    """What the check measured, over N_INPUTS synthetic images.

    Attributes:
        reference: what the export was compared with.
        n_inputs: images compared.
        max_difference: largest absolute difference of an output value, or of a feature where there are no probs.
        top1_agreement: fraction of images with the same top class; None where there are no probs.
        batch_difference: the same images alone, together and among others, largest absolute difference.
        tolerance: the difference of output values that was allowed.
        features_difference: largest absolute difference of a feature; None where the source does not give them.
        n_source, n_features: widths Z of probs, None where there are none, and D of features.
        head: the last linear layer; "" where there is none.
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
        """As JSON-ready values, those that are None left out."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


def check(
    model: onnx.ModelProto, head: Head, spec: PreprocessSpec, reference: Reference, reference_name: str
) -> Parity:
    """Compare the outputs of a scoring model with its source, and with themselves: run twice, alone and in batches.

    Args:
        model: the scoring model.
        head: the end of the network that it was made from.
        spec: its preprocessing.
        reference: the source.
        reference_name: what the source is called in messages and metadata.

    Raises:
        ModelError: onnxruntime cannot run it, its outputs are no probabilities or no function of the image, or it
            disagrees with its source.
    """
    if random := random_node(model):
        raise ModelError(
            f"refused: {random} draws random numbers, so outputs are not a function of the image; export the network "
            "in evaluation mode, model.eval()"
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
        seen = output if seen is None and not head.layer else seen
        if seen is None or (seen.ndim == 4 and head.channels_last and not head.layer):
            raise ModelError(f"refused: what {reference_name} has for features is not known; state the output's shape")
        difference = _features_difference(features, seen, head, reference_name, allowed)
        assert difference is not None
        return measured(
            max_difference=difference, top1_agreement=None, tolerance=allowed, features_difference=difference,
            n_source=None,
        )  # fmt: skip
    probs, value = together["probabilities"], together.get(_OTHER, together["probabilities"])
    if sum(width > 1 for width in output.shape[1:]) > 1:
        raise ModelError(f"puts out {list(output.shape[1:])} values an image, not one row of classes; no classifier")
    expected, value = head.expected(output), value.reshape(len(images), -1)
    if value.shape != expected.shape:
        raise ModelError(f"puts out {value.shape[1]} values an image, its source {expected.shape[1]}")
    if head.altered and head.ends_in == "softmax":
        _refuse_altered(head, expected)
    tolerance = relative * _scale(expected, "probabilities" if head.ends_in == "softmax" else _OTHER)
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
    """How much an image's output changes with the batch; ModelError where that, or a second run, changes it."""
    again = _run(session, images)
    for name, before in together.items():
        if not (difference := _furthest(again[name], before)) <= REPEATED * _scale(before, name):
            raise ModelError(
                f"refused: an image's {name} change by {difference:.3g} from one run to the next, so they are not a "
                "function of the image"
            )
    apart = [_run(session, image[None]) for image in images]
    mixed = _run(session, images[list(_MIXED)])
    largest = 0.0
    for name, before in together.items():
        alone = np.concatenate([outputs[name] for outputs in apart])
        difference = float(np.maximum(_furthest(alone, before), _furthest(mixed[name], before[list(_MIXED)])))
        if not difference <= relative * _scale(before, name):
            reason = mixing_node(model.graph) or "the network mixes images, so its batch axis is not free"
            raise ModelError(
                f"refused: an image's {name} change by {difference:.3g} with the batch that it is in; {reason}"
            )
        largest = max(largest, difference)
    return largest


def _features_difference(
    features: Floats, seen: Floats | None, head: Head, reference_name: str, allowed: float
) -> float | None:
    """How far features are from the source's, None where these are not known; ModelError beyond what is allowed."""
    if seen is None:
        return None
    expected = head.pooled(seen)
    if expected.shape != features.shape:
        raise ModelError(
            f"refused: features are {features.shape[1]} values an image, its source has {expected.shape[1]}"
        )
    if not (difference := _furthest(features, expected)) <= allowed:
        source = f"what {head.layer[:200]} of {reference_name} sees" if head.layer else f"those of {reference_name}"
        raise ModelError(f"refused: features differ from {source} by {difference:.3g} (allowed {allowed:.3g})")
    return difference


def _refuse_altered(head: Classifier, expected: Floats) -> None:
    """ModelError where the source's own rows are no distribution, because something follows its softmax."""
    total = float(expected[0].sum(dtype=np.float64))
    if abs(total - 1) <= ROW_SUM_TOLERANCE:
        return
    kind = " (percentages)" if abs(total - 100) <= 100 * ROW_SUM_TOLERANCE else ""
    raise ModelError(
        f"refused: its rows sum to {total:.4g}{kind}, not 1, because {head.altered} follows the softmax; export the "
        "network with the softmax, or the logits before it, as its output"
    )


def _furthest(a: Floats, b: Floats) -> float:
    return float(np.abs(a - b).max())


def _scale(values: Floats, name: str) -> float:
    """What differences are relative to: the largest value, or 1 where that is more and the values are logits."""
    # Logits may nearly cancel; features and probabilities may all be small, and still be what is scored.
    return max(1.0 if name == _OTHER else 0.0, float(np.abs(values).max()))


def _session(model: onnx.ModelProto, compared: str) -> onnxruntime.InferenceSession:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    if compared not in {value.name for value in probe.graph.output}:
        # Its type and shape are for onnxruntime to infer.
        probe.graph.output.append(helper.make_empty_tensor_value_info(compared))
    return load(probe.SerializeToString())


def _run(session: onnxruntime.InferenceSession, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """The outputs, as messages call them: of _NAMES, and _OTHER for what else is compared."""
    names = [output.name for output in session.get_outputs()]
    try:
        values = session.run(names, {IMAGE_INPUT: batch})
    except Exception as error:
        reason = one_line(error)
        batch_is_fixed = (
            " (its batch size may be written into it: export it with a free batch axis)" if len(batch) > 1 else ""
        )
        raise ModelError(f"does not run on {len(batch)} image(s){batch_is_fixed}: {reason}") from None
    if any(len(value) != len(batch) for value in values):
        raise ModelError(
            f"gives {len(values[0])} row(s) for {len(batch)} images: its batch size is fixed inside; export it with a "
            "free batch axis"
        )
    return {_NAMES.get(name, _OTHER): np.asarray(value) for name, value in zip(names, values, strict=True)}


def _check_outputs(outputs: dict[str, Floats]) -> None:
    rows = [outputs[name] for name in _NAMES.values() if name in outputs]
    if any(values.ndim != 2 for values in rows):
        shapes = " and ".join(str(list(values.shape)) for values in rows)
        raise ModelError(f"outputs have shapes {shapes}; expected one row an image")
    probs = outputs.get("probabilities")
    if probs is not None and probs.shape[1] < 2:
        raise ModelError(f"has {probs.shape[1]} source class; a score needs at least 2")
    if not all(np.isfinite(values).all() for values in rows):
        raise ModelError("puts out NaN or infinity")
    if probs is not None and np.abs(probs.sum(axis=1, dtype=np.float64) - 1).max() > ROW_SUM_TOLERANCE:
        raise ModelError("puts out rows that do not sum to 1")


def _same_top(value: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float) -> NDArray[np.bool_]:
    """Whether the top class is the same; where the reference's two best are within the tolerance, either will do."""
    rows = np.arange(len(expected))
    return np.asarray(expected[rows, value.argmax(axis=1)] >= expected.max(axis=1) - tolerance)


def synthetic_images(spec: PreprocessSpec) -> NDArray[np.float32]:
    """Seeded colour clouds with grain, [N_INPUTS, 3, H, W]: contrast at every scale, as photographs have."""
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
