"""Check that a model's output for an image depends on that image alone.

Random nodes make the output non-deterministic; dropout or batch norm in training mode and dynamic quantization can make
it random or dependent on the other images in the batch. Such outputs must be neither scored nor cached.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.inference.header import FEW_BITS, TRAINING

# Allowed differences, as a fraction of the output's largest value. On a CPU there are none at all; a GPU may choose
# a different kernel for a different batch size, which can move values rounded to few bits by one step.
TOLERANCE, FEW_BITS_TOLERANCE = 1e-3, 3e-2

RANDOM = frozenset(
    ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "Dropout"]
)
DYNAMIC = "DynamicQuantizeLinear"
# Prefixes of the names of operators that round to few bits.
ROUNDING = ("Quantize", "Dequantize", "QLinear", FEW_BITS)

Array = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Inconsistency:
    """An output that differs between two runs on the same image.

    Attributes:
        output: name of the output.
        difference: largest absolute difference, as a fraction of the output's largest value.
        repeated: True if the same input was run twice; False if the image was run alone and in a batch.
    """

    output: str
    difference: float
    repeated: bool

    def reason(self, operators: Collection[str] = ()) -> str:
        """Describe the problem and its fix, given the operators in the model."""
        dynamic = DYNAMIC in operators
        if self.repeated:
            what = "when the same image is run again"
            culprits = sorted(RANDOM & set(operators))
        else:
            what = "with the other images in the batch"
            culprits = [DYNAMIC] if dynamic else []
        culprits += sorted(operator for operator in operators if operator.endswith(TRAINING))
        named = f" (it has {', '.join(culprits)})" if culprits else ""
        remedy = "export it in inference mode"
        if dynamic and not self.repeated:
            remedy = "quantize it statically: leepfrog export NAME --precision int8"
        return f"its {self.output} for an image change by {self.difference:.1%} {what}{named}; {remedy}"


def inconsistencies(
    run: Callable[[Array], Sequence[Array]], images: Array, names: Sequence[str], together: Sequence[Array] = ()
) -> list[Inconsistency]:
    """Compare the outputs for one or two images when run alone, run again, and run in a batch.

    The batch also contains the negative of the first image, an input that differs strongly.

    Args:
        run: runs the model: takes a batch [n, 3, H, W] and returns an array [n, ...] for every name in `names`.
        images: preprocessed images [n, 3, H, W], at least one; the first two are used.
        names: names of the outputs.
        together: the result of `run` for `images`, if known.

    Returns:
        Outputs with nonzero differences; differences between two identical runs come first.
    """
    images = images[:2]
    alone = [run(image[None]) for image in images]
    again, among = run(images[:1]), run(np.concatenate([images[:1], -images[:1], images[1:]]))
    pairs = [(True, alone[0], again), (False, alone[0], [rows[:1] for rows in among])]
    pairs += [(False, outputs, [rows[2:] for rows in among]) for outputs in alone[1:]]
    if together:
        pairs += [(False, outputs, [rows[i : i + 1] for rows in together]) for i, outputs in enumerate(alone)]
    compared = [
        Inconsistency(name, difference(once, twice), repeated)
        for repeated, *pair in pairs
        for name, once, twice in zip(names, *pair, strict=True)
    ]
    return [inconsistency for inconsistency in compared if inconsistency.difference]


def difference(one: Array, other: Array) -> float:
    """Return the largest difference between two arrays of the same shape, as a fraction of their largest value."""
    apart = float(np.abs(one.astype(np.float64) - other).max(initial=0))
    return apart / float(max(np.abs(one).max(initial=0), np.abs(other).max(initial=0))) if apart else 0.0


def first_refused(differing: Sequence[Inconsistency], operators: Callable[[], Collection[str]]) -> str | None:
    """Return the reason to reject a model with these inconsistencies; None if they are within the tolerance.

    Args:
        differing: the result of `inconsistencies`.
        operators: returns the operators in the model; called only if needed.
    """
    beyond = [inconsistency for inconsistency in differing if not inconsistency.difference <= TOLERANCE]
    if not beyond:
        return None
    inside = operators()
    few_bits = DYNAMIC not in inside and any(operator.startswith(ROUNDING) for operator in inside)
    for inconsistency in beyond:
        if not few_bits or not inconsistency.difference <= FEW_BITS_TOLERANCE:
            return inconsistency.reason(inside)
    return None
