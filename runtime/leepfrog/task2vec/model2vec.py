"""MODEL2VEC (Achille et al., ICCV 2019, section 4): embed models in the space of tasks, based on known errors.

The embedding m_i = F_i + b_i is learned so that the softmax over models of the negative distances to a task predicts
which model is best on it. This implementation works with logarithms, log m_i = log F_i + b_i, because Fisher
information is positive and spans many orders of magnitude. F_i is the geometric mean of the library's tasks: most
models of a zoo are trained on the same data set, and its embedding is rarely available. |b|^2 is penalised because
there are few tasks and many filters.
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
# set held out was 4.2, 4.1, 3.1, 3.2 and 3.1 % at 0.3, 1, 3, 10 and 30; with a tenth of the tasks held out, 1.7 to
# 1.8 %.
PENALTY = 3.0
MAX_STEPS = 100
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Model2Vec:
    """Models embedded in the space of tasks.

    Attributes:
        vectors: embeddings of the models, [M, F], in the unit of the tasks used for fitting.
        sharpness: factor that distances are multiplied by before the softmax.
    """

    vectors: Floats
    sharpness: float

    def probs(self, tasks: Floats) -> Floats:
        """Compute the probability that each model is the best on each task, [T, M], for tasks [T, F]."""
        return softmax(-self.sharpness * distances_and_slopes(tasks, self.vectors)[0])


def fit_model2vec(tasks: Floats, errors: Floats, penalty: float = PENALTY) -> Model2Vec:
    """Learn embeddings of models from their errors on tasks.

    Args:
        tasks: embeddings of the tasks, [T, F].
        errors: errors of each model on each task, [T, M], NaN where unknown; the best model of a task is chosen from
            the known errors.
        penalty: weight of |b|^2 / F.

    Raises:
        EmbeddingError: there are fewer than two models, or a task without known errors.
    """
    n_tasks, n_models = errors.shape
    if n_models < 2 or np.isnan(errors).all(axis=1).any():
        raise EmbeddingError("MODEL2VEC needs at least 2 models, and at least one known error on every task")
    best = errors == np.nanmin(errors, axis=1, keepdims=True)
    targets = best / best.sum(axis=1, keepdims=True)
    live = (tasks > 0).any(axis=0)
    h = tasks[:, live].astype(np.float64)
    # Replace zeros by the filter's smallest positive value in any task, so that logarithms are finite.
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
    # The gradient of a shift is of the order of 1 / F.
    options = {"maxiter": MAX_STEPS, "gtol": TOLERANCE / n_filters, "ftol": TOLERANCE}
    done = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    vectors = np.zeros((n_models, tasks.shape[1]))
    vectors[:, live] = base * np.exp(done.x[:-1].reshape(n_models, n_filters))
    return Model2Vec(vectors, float(np.exp(done.x[-1])))


# Initial log sharpness: distances differ by about 0.1.
START = float(np.log(10))


def distances_and_slopes(
    tasks: Floats, models: Floats, want_slopes: Floats | None = None, sharpness: float = 1.0
) -> tuple[Floats, Floats]:
    """Compute the symmetric distance of each task from each model, [T, M], and optionally a gradient, [M, F].

    If `want_slopes` contains target probabilities [T, M], the second result is the gradient with respect to log m of
    the cross-entropy of the softmax of -sharpness * distance, summed over tasks; otherwise it is zero.
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
            # d cos / d log m = rq / sqrt(AB) ((r - q) + C (r / A - q / B)), as dr = -rq dlog m and dq = rq dlog m,
            # and d (-sum_i q_i log p_i) / d d_i = sharpness (q_i - p_i).
            pull = sharpness * (softmax(-sharpness * distances) - want_slopes).T / length
            on_r, on_q = 1 + mixed / of_r, 1 + mixed / of_q
            list(pool.map(
                lambda m: add_slopes(tasks, models[m], pull[m], on_r[m], on_q[m], slopes[m]), range(len(models))
            ))  # fmt: skip
    return distances, slopes
