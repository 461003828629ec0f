"""Expert selection from a library of tasks, cross-validated on sub-tasks of real data sets.

Run: PYTHONPATH=tests python tests/benchmarks/bench_experts.py PROBE TASKS LIBRARY FOLDER...

PROBE is a model with a probe; every exported model is a candidate. From each folder of images, TASKS random sub-tasks
(2 to 10 classes of 8 to 40 images) are embedded and added to LIBRARY with the error of each model: two-fold
cross-validation of softmax regression on its features. Tasks that the library already contains are reused. Every
selection method is then evaluated on held-out tasks, and again with all tasks of the same data set held out, so that
the library contains no closely related task.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import leepfrog
import numpy as np
from leepfrog.execution.context import RunContext
from leepfrog.execution.outputs import infer
from leepfrog.images.find import find_images
from leepfrog.inference.model_lookup import find_models
from leepfrog.scoring.scores.leep_loo import leep_loo
from leepfrog.task2vec.embed import find_probe
from leepfrog.task2vec.experts import cross_validate
from leepfrog.task2vec.head import fit_head
from leepfrog.task2vec.library import Library, table_of
from paired import machine
from subtasks import random_subtasks

N_CLASSES, N_IMAGES = (2, 10), (8, 40)


def main(probe: str, n_tasks: int, library: Path, folders: list[str]) -> None:
    models = find_models([])
    known = find_probe(probe)
    tasks = Library(library)
    leeps: dict[str, list[float]] = {}
    for folder in folders:
        images = find_images(folder)
        for number, task in enumerate(random_subtasks(images, n_tasks, n_classes=N_CLASSES, n_images=N_IMAGES)):
            name = f"{Path(folder).name} {number}"
            outputs = infer(task, models, RunContext(strict=True))
            leeps[name] = [leep_loo(model.probs(), task.labels).value for model in outputs]
            if (name, models[0].name) in tasks.errors():
                continue
            errors = {
                model.model.name: held_out_error(model.features(), task.labels, zlib.crc32(name.encode()))
                for model in outputs
            }
            tasks.add(leepfrog.embed(task, known, name=name), errors)
            print(f"{name}: {len(task)} images, {len(task.classes)} classes", file=sys.stderr, flush=True)

    whole = tasks.tasks()
    names, errors = table_of(tasks.errors(), whole.names)
    columns = [names.index(model.name) for model in models]
    scores, top1 = np.full(errors.shape, -np.inf), np.full(errors.shape, -np.inf)
    for t, name in enumerate(whole.names):
        scores[t, columns] = leeps[name]
        top1[t, columns] = [model.metadata.top1 or -np.inf for model in models]
    others = {"leave-one-out LEEP": scores, "ImageNet top-1": top1}
    groups = np.unique([name.rsplit(" ", 1)[0] for name in whole.names], return_inverse=True)[1]
    n_filters = [layer.n_filters for layer in whole.layers]
    print(f"{len(whole.names)} tasks, {len(names)} models; {machine()}")
    for what, left_out in (("task", None), ("data set", groups)):
        print(f"\nwith the {what} held out of the library:")
        print("| selection method | relative error | regret, % | best model chosen |\n|---|---:|---:|---:|")
        for row in cross_validate(whole.vectors.astype(float), errors, n_filters, others, left_out):
            print(
                f"| {row.name} | +{100 * row.relative_error:.1f} % | {100 * row.regret:.2f} | {100 * row.hits:.0f} % |"
            )


def held_out_error(features: np.ndarray, labels: np.ndarray, seed: int) -> float:
    rng = np.random.default_rng(seed)
    half = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        half[own[::2]] = True
    wrong = 0
    for side in (half, ~half):
        head = fit_head(features[side], labels[side])
        wrong += int((head.probs(features[~side]).argmax(axis=1) != labels[~side]).sum())
    return wrong / len(labels)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
