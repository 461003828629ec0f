"""Savings and errors of racing, compared with full runs on the same images.

Run: PYTHONPATH=tests python tests/benchmarks/bench_race.py DIR IMAGES [TRIALS] [SCORE] [MODELS...]

Each trial draws IMAGES images of DIR, stratified by class, ranks all models on them, and races the same models on the
same images. All outputs come from the cache (filled by inference in the first run); the cost of a race is its number of
forward passes. Two counts are reported: winners that are the first of the full run, and winners that are statistically
tied with it.
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
from leepfrog.ranking.certainty import certainty_of
from leepfrog.ranking.decision import Decision, Rule
from leepfrog.ranking.goal_names import GOAL_NAMES, HEAD
from leepfrog.ranking.racing import Standing, run_race
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.subsample import drawn_in_proportion
from threadpoolctl import threadpool_limits

HELD: dict[str, list[np.ndarray]] = {}


def decided(models: list[int], positions: np.ndarray, labels: np.ndarray, rule: Rule) -> tuple[Decision, np.ndarray]:
    """Return the decision on the order of models on the images at these positions, and the labels of the images."""
    classes = labels[positions]
    found = []
    for model in models:
        reads = {field: HELD[field][model][positions] for field in {each.reads for each in rule.reads}}
        sample = Sample.of(classes, **reads)
        found.append({each.name: each.of(sample) for each in rule.reads})
    return rule.decide(found, classes), classes


def trial(names: list[str], labels: np.ndarray, n_images: int, rule: Rule, seed: int) -> tuple[bool, bool, float, int]:
    """Run one trial.

    Returns:
        Whether the winner is the first of the full run, whether it is tied with the first, the ratio of passes of the
        full run to those of the race, and the number of models left.
    """
    drawn = drawn_in_proportion(labels, n_images, seed) if n_images < len(labels) else np.arange(len(labels))
    drawn = np.random.default_rng(seed).permutation(drawn)
    with threadpool_limits(1):
        full, classes = decided(list(range(len(names))), drawn, labels, rule)
        left, found = run_race(
            names, labels[drawn], lambda alive, at: Standing.of(*decided(alive, drawn[at], labels, rule))
        )
        own, _ = decided(left, drawn, labels, rule)
    order = certainty_of(names, full, classes)
    winner = left[int(np.argmax([score.value for score in own.deciding]))]
    place = order.order.index(winner)
    return place == 0, order.groups[place] == 1, found.passes_of_full_run / found.passes, len(left)


def main(folder: str, n_images: int = 500, trials: int = 100, by: str = HEAD, *wanted: str) -> None:
    rule = Rule(by) if by in GOAL_NAMES else Rule(HEAD, by)
    images, models = find_images(folder), find_models(wanted)
    outputs = infer(images, models, RunContext())
    for field in {each.reads for each in rule.reads}:
        HELD[field] = [getattr(model, field)() for model in outputs]
    labels, names = outputs.hashed.labels, [model.name for model in models]
    arguments = ([names] * trials, [labels] * trials, [n_images] * trials, [rule] * trials, range(trials))
    with ProcessPoolExecutor(available_threads()) as pool:
        found = list(pool.map(trial, *arguments))
    same, close = (sum(each[i] for each in found) for i in (0, 1))
    fewer = np.array([each[2] for each in found])
    left = np.array([each[3] for each in found])
    print(
        f"{by}, {len(models)} models, {n_images} of {len(labels)} images of {folder}, {trials} trials: "
        f"same winner {same}, winner tied with the first {close}; passes fewer by a factor of {np.median(fewer):.1f} "
        f"({fewer.min():.1f} to {fewer.max():.1f}); models left {np.median(left):.0f} ({left.min()} to {left.max()})"
    )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]), *sys.argv[4:])
