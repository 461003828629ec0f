"""MODEL2VEC (Achille et al., ICCV 2019, section 4): models embedded among tasks, from known errors.

m_i = F_i + b_i, learned so that softmax over models of minus their distance from a task predicts which model is best on
it. Here in logarithms, log m_i = log F_i + b_i, for Fisher information is positive and spans many orders of magnitude;
F_i is the geometric mean of the library's tasks, for what the models were trained on is one data set for most of a zoo
and its embedding is rarely at hand. |b|^2 is penalised: tasks are few and filters many.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from leepfrog.errors import EmbeddingError
from leepfrog.inference.device import available_threads
from leepfrog.kernels.experts import add_slopes, products
from leepfrog.scoring.softmax import softmax

Floats = NDArray[np.float64]

# On 100 sub-tasks of four image sets and 8 models (bench_experts.py), with a tenth of the filters: regret with the data
# set left out was 4.2, 4.1, 3.1, 3.2 and 3.1 % at 0.3, 1, 3, 10 and 30; with a tenth of the tasks, 1.7 to 1.8 %.
PENALTY = 3.0
MAX_STEPS = 100
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Model2Vec:
    """Models among tasks.

    Attributes:
        vectors: [M, F], in the unit of the tasks that they were fitted to.
        sharpness: what distances are multiplied by before the softmax.
    """

    vectors: Floats
    sharpness: float

    def probs(self, tasks: Floats) -> Floats:
        """How likely each model is the best on each task, [T, M] of tasks [T, F]."""
        return softmax(-self.sharpness * distances_and_slopes(tasks, self.vectors)[0])


def fit_model2vec(tasks: Floats, errors: Floats, penalty: float = PENALTY) -> Model2Vec:
    """Learn where models lie among tasks.

    Args:
        tasks: embeddings [T, F].
        errors: of each model on each task [T, M], NaN where unknown; the best is among those that are known.
        penalty: of |b|^2 / F.

    Raises:
        EmbeddingError: fewer than two models, or a task on which no error is known.
    """
    n_tasks, n_models = errors.shape
    if n_models < 2 or np.isnan(errors).all(axis=1).any():
        raise EmbeddingError("MODEL2VEC needs errors of at least 2 models, and of at least one on every task")
    best = errors == np.nanmin(errors, axis=1, keepdims=True)
    targets = best / best.sum(axis=1, keepdims=True)
    live = (tasks > 0).any(axis=0)
    h = tasks[:, live].astype(np.float64)
    # A filter dead in some tasks counts as at the least that it is in any.
    logs = np.log(np.where(h > 0, h, np.min(np.where(h > 0, h, np.inf), axis=0)))
    base = np.exp(logs.mean(axis=0))
    n_filters = h.shape[1]

    def loss(parameters: Floats) -> tuple[float, Floats]:
        shifts, log_sharpness = parameters[:-1].reshape(n_models, n_filters), parameters[-1]
        sharpness = np.exp(log_sharpness)
        distances, slopes = distances_and_slopes(h, base * np.exp(shifts), want_slopes=targets, sharpness=sharpness)
        probs = softmax(-sharpness * distances)
        value = -(targets * np.log(np.maximum(probs, 1e-300))).sum() / n_tasks
        value += penalty * ((shifts**2).sum() / n_filters + (log_sharpness - START) ** 2 / 10)
        gradient = slopes / n_tasks + 2 * penalty * shifts / n_filters
        of_sharpness = sharpness * ((targets - probs) * distances).sum() / n_tasks
        of_sharpness += 2 * penalty * (log_sharpness - START) / 10
        return float(value), np.append(gradient.ravel(), of_sharpness)

    start = np.zeros(n_models * n_filters + 1)
    start[-1] = START
    # A shift's slope is of the order of 1 / F.
    options = {"maxiter": MAX_STEPS, "gtol": TOLERANCE / n_filters, "ftol": TOLERANCE}
    done = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    vectors = np.zeros((n_models, tasks.shape[1]))
    vectors[:, live] = base * np.exp(done.x[:-1].reshape(n_models, n_filters))
    return Model2Vec(vectors, float(np.exp(done.x[-1])))


# Distances differ by about a tenth.
START = float(np.log(10))


def distances_and_slopes(
    tasks: Floats, models: Floats, want_slopes: Floats | None = None, sharpness: float = 1.0
) -> tuple[Floats, Floats]:
    """The symmetric distance of each task from each model, [T, M].

    With targets [T, M] as `want_slopes`, also the gradient in log m [M, F] of the cross-entropy of the softmax of
    -sharpness * distance, summed over tasks.
    """
    tasks, models = np.ascontiguousarray(tasks, np.float64), np.ascontiguousarray(models, np.float64)
    shape = (len(models), len(tasks))
    of_r, of_q, mixed = np.empty(shape), np.empty(shape), np.empty(shape)
    slopes = np.zeros_like(models)
    with ThreadPoolExecutor(available_threads()) as pool:
        list(pool.map(lambda m: products(tasks, models[m], of_r[m], of_q[m], mixed[m]), range(len(models))))
        length = np.sqrt(of_r * of_q)
        distances = (1 - mixed / length).T
        if want_slopes is not None:
            # d cos / d log m = rq / sqrt(AB) ((r - q) + C (r / A - q / B)), for dr = -rq dlog m and dq = rq dlog m,
            # and d (-sum_i q_i log p_i) / d d_i = sharpness (q_i - p_i).
            pull = sharpness * (softmax(-sharpness * distances) - want_slopes).T / length
            on_r, on_q = 1 + mixed / of_r, 1 + mixed / of_q
            list(pool.map(
                lambda m: add_slopes(tasks, models[m], pull[m], on_r[m], on_q[m], slopes[m]), range(len(models))
            ))  # fmt: skip
    return distances, slopes
