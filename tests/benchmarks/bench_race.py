"""What racing saves and what it risks, against full runs on the same images.

Run: PYTHONPATH=tests python tests/benchmarks/bench_race.py DIR IMAGES [TRIALS] [SCORE] [MODELS...]

Each trial draws IMAGES of DIR, class by class, ranks all models on them, and races the same models on the same images.
All outputs come from the cache (the first time, inference fills it); what counts is how many images a model would have
had to see. A winner counts as the same when it is the full run's first, or the full run does not tell it from its
first.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from leepfrog.execution.context import RunContext
from leepfrog.execution.outputs import infer
from leepfrog.images.find import find_images
from leepfrog.inference.device import available_threads
from leepfrog.inference.model_lookup import find_models
from leepfrog.ranking.certainty import tied
from leepfrog.ranking.combined import COMBINED, PARTS, combined
from leepfrog.ranking.racing import run_race
from leepfrog.scoring.registry import chosen_scores
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.subsample import drawn_in_proportion
from threadpoolctl import threadpool_limits

Terms = list[np.ndarray]
HELD: dict[str, list[np.ndarray]] = {}


def terms_of(models: list[int], positions: np.ndarray, labels: np.ndarray, by: str) -> tuple[Terms, np.ndarray]:
    """Each model's terms of the score on the images at these positions, and their classes."""
    classes = labels[positions]
    wanted = chosen_scores(PARTS if by == COMBINED else (by,))
    found = []
    for model in models:
        reads = {field: HELD[field][model][positions] for field in {each.reads for each in wanted}}
        sample = Sample.of(classes, **reads)
        found.append({each.name: each.of(sample) for each in wanted})
    if by == COMBINED:
        return [score.terms for score in combined(found, classes)], classes
    return [scores[by].terms for scores in found], classes


def trial(names: list[str], labels: np.ndarray, n_images: int, by: str, seed: int) -> tuple[bool, bool, float, int]:
    """Whether the winner is the same, or tied with it; passes of the full run by those of the race; models left."""
    drawn = drawn_in_proportion(labels, n_images, seed) if n_images < len(labels) else np.arange(len(labels))
    drawn = np.random.default_rng(seed).permutation(drawn)
    everyone = list(range(len(names)))
    with threadpool_limits(1):
        full, classes = terms_of(everyone, drawn, labels, by)
        left, found = run_race(names, labels[drawn], lambda alive, at: terms_of(alive, drawn[at], labels, by))
        own, _ = terms_of(left, drawn, labels, by)
    first = int(np.argmax([terms.mean() for terms in full]))
    winner = left[int(np.argmax([terms.mean() for terms in own]))]
    same = winner == first
    close = same or tied(full[first], full[winner], classes)
    return same, close, found.passes_of_full_run / found.passes, len(left)


def main(folder: str, n_images: int = 500, trials: int = 100, by: str = COMBINED, *wanted: str) -> None:
    images, models = find_images(folder), find_models(wanted)
    outputs = infer(images, models, RunContext())
    reads = {each.reads for each in chosen_scores(PARTS if by == COMBINED else (by,))}
    for field in reads:
        HELD[field] = [getattr(model, field)() for model in outputs]
    labels, names = outputs.hashed.labels, [model.name for model in models]
    arguments = ([names] * trials, [labels] * trials, [n_images] * trials, [by] * trials, range(trials))
    with ProcessPoolExecutor(available_threads()) as pool:
        found = list(pool.map(trial, *arguments))
    same, close = (sum(each[i] for each in found) for i in (0, 1))
    fewer = np.array([each[2] for each in found])
    left = np.array([each[3] for each in found])
    print(
        f"{by}, {len(models)} models, {n_images} of {len(labels)} images of {folder}, {trials} trials: "
        f"the same winner {same}, or one tied with it {close}; passes fewer by {np.median(fewer):.1f} "
        f"({fewer.min():.1f} to {fewer.max():.1f}); models left {np.median(left):.0f} ({left.min()} to {left.max()})"
    )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]), *sys.argv[4:])
