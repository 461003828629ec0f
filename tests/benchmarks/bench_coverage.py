"""Coverage of the 90 % intervals of scores, on samples of a real data set.

    PYTHONPATH=tests python tests/benchmarks/bench_coverage.py FOLDER [SAMPLES]

For each score and sample size: the standard deviation of the score over samples, the standard error estimated from a
sample (with finite-population correction), and how often the interval of a sample contains (a) the mean over samples of
that size, which is its target, and (b) the score of the whole set, which differs for scores that grow with the number
of images.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from leepfrog.execution.context import RunContext
from leepfrog.scoring.registry import SCORES
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.uncertainty import intervals, resampled_means
from leepfrog.validation.holdout import labelled_outputs, split

SIZES = (100, 300, 1000)


def main(folder: Path, n_samples: int) -> None:
    material = labelled_outputs(folder, ["mobilenet_v2"], RunContext())
    probs, features = material.samples(material.outputs.models[0])
    everything = Sample(probs, features)
    whole = {name: definition.of(everything).value for name, definition in SCORES.items()}
    print(f"{len(probs)} images from {folder}, {n_samples} samples of each size")
    for size in (size for size in SIZES if size <= len(probs) / 2):
        found: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in SCORES}
        finite = np.sqrt(1 - size / len(probs))
        for seed in range(n_samples):
            rows = split(material.labels, size, seed)[0]
            sample = Sample(probs.part(rows), features.part(rows))
            scored = [SCORES[name].of(sample) for name in SCORES]
            bounds = intervals(resampled_means(np.stack([s.terms for s in scored], axis=1), sample.labels, seed=seed))
            for score, (low, high) in zip(scored, bounds, strict=True):
                middle = score.value
                ends = middle + finite * (low - middle), middle + finite * (high - middle)
                found[score.name].append((middle, finite * (score.standard_error or 0), *ends))
        for name, rows in found.items():
            values, errors, low, high = np.array(rows).T
            mean, spread = values.mean(), values.std(ddof=1)
            inside = np.mean((low <= mean) & (mean <= high))
            of_whole = np.mean((low <= whole[name]) & (whole[name] <= high))
            ratio = f"{np.sqrt((errors**2).mean()) / spread:5.2f}" if spread > 0 else "    -"
            print(
                f"{size:5d} {name:13s} mean {mean:10.4f} spread {spread:8.4f} error/spread {ratio} "
                f"covers mean {100 * inside:3.0f} %, covers whole {100 * of_whole:3.0f} % (whole {whole[name]:.4f})",
                flush=True,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)
