"""The check that an exported model computes what its source computes. An export that fails it is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
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

from leepfrog_exporter.graph.heads.base import Classifier
from leepfrog_exporter.graph.purity import mixing_node, random_node

N_INPUTS = 4
# Largest difference allowed, relative to the largest absolute output (at least 1). Two correct float32 runtimes differ
# by some 1e-5; half precision by some 1e-2.
TOLERANCE = 1e-3
HALF_TOLERANCE = 3e-2
# And between two runs of one session on the same batch.
REPEATED = 1e-5
_NAMES = ("probabilities", "features", "outputs")

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
        max_difference: largest absolute difference of an output value.
        top1_agreement: fraction of images with the same top class.
        batch_difference: the same images alone, together and among others, largest absolute difference.
        tolerance: the difference of output values that was allowed.
        features_difference: largest absolute difference of a feature; None where the source does not give them.
        n_source, n_features: widths Z of probs and D of features.
        head: the last linear layer.
    """

    reference: str
    n_inputs: int
    max_difference: float
    top1_agreement: float
    batch_difference: float
    tolerance: float
    features_difference: float | None
    n_source: int
    n_features: int
    head: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return dataclasses.asdict(self)


def check(
    model: onnx.ModelProto, head: Classifier, spec: PreprocessSpec, reference: Reference, reference_name: str
) -> Parity:
    """Compare both outputs of a scoring model with its source, and with themselves: run twice, alone and in batches.

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
    probs, features, value = together
    _check_outputs(probs, features)
    half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    relative = HALF_TOLERANCE if half else TOLERANCE
    batch_difference = _check_rows(session, images, together, relative, model)
    output, seen = reference(images)
    if sum(width > 1 for width in output.shape[1:]) > 1:
        raise ModelError(f"puts out {list(output.shape[1:])} values an image, not one row of classes; no classifier")
    expected, value = head.expected(output), value.reshape(len(images), -1)
    if value.shape != expected.shape:
        raise ModelError(f"puts out {value.shape[1]} values an image, its source {expected.shape[1]}")
    if head.altered and head.ends_in == "softmax":
        _refuse_altered(head, expected)
    tolerance = relative * _scale(expected, "probabilities" if head.ends_in == "softmax" else _NAMES[-1])
    parity = Parity(
        reference=reference_name,
        n_inputs=len(images),
        max_difference=float(np.abs(value - expected).max()),
        top1_agreement=float(_same_top(value, expected, tolerance).mean()),
        batch_difference=batch_difference,
        tolerance=tolerance,
        features_difference=_features_difference(features, seen, head),
        n_source=probs.shape[1],
        n_features=features.shape[1],
        head=head.layer[:200],
    )
    if not parity.max_difference <= tolerance or parity.top1_agreement < 1:
        raise ModelError(
            f"refused: the exported model differs from {reference_name} by {parity.max_difference:.3g} (allowed "
            f"{tolerance:.3g}), top-1 agreement {parity.top1_agreement:.0%}"
        )
    allowed = relative * _scale(features, "features")
    if parity.features_difference is not None and not parity.features_difference <= allowed:
        raise ModelError(
            f"refused: features differ from what {parity.head} of {reference_name} sees by "
            f"{parity.features_difference:.3g} (allowed {allowed:.3g})"
        )
    return parity


def _check_rows(
    session: onnxruntime.InferenceSession,
    images: Floats,
    together: list[Floats],
    relative: float,
    model: onnx.ModelProto,
) -> float:
    """How much an image's output changes with the batch; ModelError where that, or a second run, changes it."""
    for name, again, before in zip(_NAMES, _run(session, images), together, strict=True):
        if not (difference := _furthest(again, before)) <= REPEATED * _scale(before, name):
            raise ModelError(
                f"refused: an image's {name} change by {difference:.3g} from one run to the next, so they are not a "
                "function of the image"
            )
    apart = [_run(session, image[None]) for image in images]
    alone = [np.concatenate(outputs) for outputs in zip(*apart, strict=True)]
    mixed = _run(session, images[list(_MIXED)])
    largest = 0.0
    for name, before, single, other in zip(_NAMES, together, alone, mixed, strict=True):
        difference = float(np.maximum(_furthest(single, before), _furthest(other, before[list(_MIXED)])))
        if not difference <= relative * _scale(before, name):
            reason = mixing_node(model.graph) or "the network mixes images, so its batch axis is not free"
            raise ModelError(
                f"refused: an image's {name} change by {difference:.3g} with the batch that it is in; {reason}"
            )
        largest = max(largest, difference)
    return largest


def _features_difference(features: Floats, seen: Floats | None, head: Classifier) -> float | None:
    if seen is None:
        return None
    expected = head.pooled(seen)
    if expected.shape != features.shape:
        raise ModelError(
            f"refused: features are {features.shape[1]} values an image, its source has {expected.shape[1]}"
        )
    return _furthest(features, expected)


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
    return max(1.0 if name == _NAMES[-1] else 0.0, float(np.abs(values).max()))


def _session(model: onnx.ModelProto, compared: str) -> onnxruntime.InferenceSession:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    if compared not in {value.name for value in probe.graph.output}:
        # Its type and shape are for onnxruntime to infer.
        probe.graph.output.append(helper.make_empty_tensor_value_info(compared))
    return load(probe.SerializeToString())


def _run(session: onnxruntime.InferenceSession, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    names = [output.name for output in session.get_outputs()]
    others = [name for name in names if name not in (PROBS_OUTPUT, FEATURES_OUTPUT)]
    try:
        found = session.run([PROBS_OUTPUT, FEATURES_OUTPUT, *(others or [PROBS_OUTPUT])], {IMAGE_INPUT: batch})
    except Exception as error:
        reason = one_line(error)
        batch_is_fixed = (
            " (its batch size may be written into it: export it with a free batch axis)" if len(batch) > 1 else ""
        )
        raise ModelError(f"does not run on {len(batch)} image(s){batch_is_fixed}: {reason}") from None
    if any(len(value) != len(batch) for value in found):
        raise ModelError(
            f"gives {len(found[0])} row(s) for {len(batch)} images: its batch size is fixed inside; export it with a "
            "free batch axis"
        )
    return [np.asarray(value) for value in found]


def _check_outputs(probs: NDArray[np.float32], features: NDArray[np.float32]) -> None:
    if probs.ndim != 2 or features.ndim != 2:
        raise ModelError(
            f"outputs have shapes {list(probs.shape)} and {list(features.shape)}; expected one row an image"
        )
    if probs.shape[1] < 2:
        raise ModelError(f"has {probs.shape[1]} source class; a score needs at least 2")
    if not (np.isfinite(probs).all() and np.isfinite(features).all()):
        raise ModelError("puts out NaN or infinity")
    if np.abs(probs.sum(axis=1, dtype=np.float64) - 1).max() > ROW_SUM_TOLERANCE:
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
