"""Whether what a model puts out for an image depends on the image alone.

Random nodes, dropout or batch-norms in training mode, and dynamic quantisation make it depend on chance or on the other
images of the batch. Such outputs must be neither scored nor cached.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.inference.header import FEW_BITS, TRAINING

# Differences that are allowed, as a fraction of an output's largest value. On a CPU there are none at all; a GPU may
# choose another kernel for another batch, and where values are rounded to few bits that may move them by a step.
TOLERANCE, FEW_BITS_TOLERANCE = 1e-3, 3e-2

RANDOM = frozenset(
    ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "Dropout"]
)
DYNAMIC = "DynamicQuantizeLinear"
# How the names of operators begin that round to few bits.
ROUNDING = ("Quantize", "Dequantize", "QLinear", FEW_BITS)

Array = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Inconsistency:
    """An output that differs for the same image.

    Attributes:
        output: its name.
        difference: the largest difference of a value, as a fraction of the output's largest value.
        repeated: whether the very same input was run twice; else it was run alone and among others.
    """

    output: str
    difference: float
    repeated: bool

    def reason(self, operators: Collection[str] = ()) -> str:
        """What is wrong and how to mend it, given the operators in the model."""
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
            remedy = "quantise it statically: leepfrog export NAME --precision int8"
        return f"its {self.output} for an image change by {self.difference:.1%} {what}{named}; {remedy}"


def inconsistencies(
    run: Callable[[Array], Sequence[Array]], images: Array, names: Sequence[str], together: Sequence[Array] = ()
) -> list[Inconsistency]:
    """Run one or two images alone, again, and in the company of a very different one: its own negative.

    Args:
        run: a model: a batch [n, 3, H, W] to one array [n, ...] for each of `names`.
        images: [n, 3, H, W], n of at least 1.
        names: of the outputs.
        together: what `run` gave for `images`, if it is known.

    Returns:
        For each output, the differences that are not 0; of the same image run twice first.
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
    """The largest difference of two arrays of one shape, as a fraction of their largest value."""
    apart = float(np.abs(one.astype(np.float64) - other).max(initial=0))
    return apart / float(max(np.abs(one).max(initial=0), np.abs(other).max(initial=0))) if apart else 0.0


def first_refused(differing: Sequence[Inconsistency], operators: Callable[[], Collection[str]]) -> str | None:
    """Why a model with these inconsistencies is refused; None where they are within the tolerance.

    Args:
        differing: see `inconsistencies`.
        operators: the operators in the model; asked for only where it matters.
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
