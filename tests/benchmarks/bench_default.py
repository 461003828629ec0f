"""Which fixed score, or combination of scores, foretells retrained and few-shot heads best, over sets and sizes.

    PYTHONPATH=tests python tests/benchmarks/bench_default.py STUDY.npz FOLDER...     # any labelled image folders
    PYTHONPATH=tests python tests/benchmarks/bench_default.py STUDY.npz               # what an earlier run found

Models are those that are exported. Each folder is looked at with 100, 300 and 1,000 training images (as far as it has
them), in SPLITS random splits each.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
from leepfrog.execution.context import RunContext
from leepfrog.ranking.baselines import BASELINES, ModelFacts
from leepfrog.ranking.combined import COMBINED, combined
from leepfrog.scoring.registry import SCORES
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.score import Score
from leepfrog.validation.agreement import agreement
from leepfrog.validation.holdout import labelled_outputs, split
from leepfrog.validation.transfer_accuracy import few_shot_accuracy, retrained_head

SIZES = (100, 300, 1000)
SPLITS = 5
EPISODES = 50
TOGETHER = ("ridge", "logme", "parc", "knn", "n_leep", "leep_loo_t", "linear_probe")


def study(folder: Path) -> dict[str, np.ndarray]:
    """By "FOLDER/SIZE": scores [split, score, model] and truths [split, truth, model]."""
    material = labelled_outputs(folder, [], RunContext())
    files = material.files
    described = [
        ModelFacts(model.widths[0], model.model.metadata.n_parameters, model.model.metadata.top1)
        for model in material.outputs
    ]
    known = [[np.nan if (v := baseline(d)) is None else v for d in described] for baseline in BASELINES.values()]
    found = {}
    samples = [material.samples(model) for model in material.outputs]
    for size in SIZES:
        if size > len(material.labels) / 2 and size != SIZES[0] and size / 3 > len(material.labels) / 2:
            continue
        scores = np.empty((SPLITS, len(SCORES) + 1 + len(known), len(files)))
        truths = np.empty((SPLITS, 3, len(files)))
        scored: list[list[dict[str, Score]]] = [[] for _ in range(SPLITS)]
        for s, (m, (probs, features)) in itertools.product(range(SPLITS), enumerate(samples)):
            train, test = split(material.labels, size, s)
            fit, held = features.part(train), features.part(test)
            sample = Sample(probs.part(train), fit)
            scored[s].append({name: score.of(sample) for name, score in SCORES.items()})
            scores[s, : len(SCORES), m] = [score.value for score in scored[s][-1].values()]
            truths[s, 0, m] = retrained_head(fit, held.features, held.labels, seed=s).accuracy
            truths[s, 1:, m] = few_shot_accuracy(fit, held.features, held.labels, 5, EPISODES, s)
        for s in range(SPLITS):
            together = combined(scored[s], material.labels[split(material.labels, size, s)[0]])
            scores[s, len(SCORES)] = [score.value for score in together]
        scores[:, len(SCORES) + 1 :] = known
        found[f"{folder.name}/{size}/scores"], found[f"{folder.name}/{size}/truths"] = scores, truths
        print(folder, size, len(train), "training images", flush=True)
    return found


def report(found: dict[str, np.ndarray]) -> None:
    names = [*SCORES, COMBINED, *BASELINES]
    keys = [key.removesuffix("/scores") for key in found if key.endswith("/scores")]
    ways = [(name,) for name in names]
    ways += [way for n in (2, 3, 4) for way in itertools.combinations(TOGETHER, n)]
    rows = []
    for way in ways:
        row = []
        for key in keys:
            scores, truth = found[f"{key}/scores"], found[f"{key}/truths"].mean(axis=0)
            for split_scores in scores:
                own = split_scores[[names.index(name) for name in way]]
                if len(way) > 1:
                    own = (own - own.mean(axis=1, keepdims=True)) / own.std(axis=1, keepdims=True)
                mean = [None if np.isnan(v) else float(v) for v in own.mean(axis=0)]
                for t in range(3):
                    a = agreement(mean, truth[t].tolist())
                    row.append((a.pearson or 0, a.kendall or 0, a.weighted_tau or 0, a.regret))
        table = np.array(row).reshape(len(keys), SPLITS, 3, 4).mean(axis=1)
        rows.append((way, table))
    rows.sort(key=lambda row: -row[1][:, 0, 2].mean())
    print(
        f"{'':38s} retrained head: pearson kendall weighted regret | prototype: weighted regret | mahalanobis | by size"
    )
    sizes = np.array([int(key.split("/")[1]) for key in keys])
    for way, table in rows[:40] + [row for row in rows[40:] if len(row[0]) == 1]:
        head, prototype, mahalanobis = table.mean(axis=0)
        by_size = " ".join(f"{table[sizes == size, 0, 2].mean():.2f}" for size in sorted(set(sizes)))
        by_set = " ".join(
            f"{np.mean([table[i, 0, 2] for i, key in enumerate(keys) if key.startswith(name + '/')]):.2f}"
            for name in sorted({key.split("/")[0] for key in keys})
        )
        print(
            f"{'+'.join(way):38s} {head[0]:.3f} {head[1]:.3f} {head[2]:.3f} {head[3]:.2f} | {prototype[2]:.3f} "
            f"{prototype[3]:.2f} | {mahalanobis[2]:.3f} {mahalanobis[3]:.2f} | {by_size} | {by_set}"
        )


if __name__ == "__main__":
    store, *folders = map(Path, sys.argv[1:])
    if folders:
        np.savez(store, **{key: value for folder in folders for key, value in study(folder).items()})
    report(dict(np.load(store)))
