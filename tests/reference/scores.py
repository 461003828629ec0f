"""Scores as their papers write them: full matrices, no shared sums, no shortcuts."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import spearmanr

Floats = NDArray[np.float64]


def nce(probs: Floats, labels: list[int]) -> float:
    predicted = [int(np.argmax(row)) for row in probs]
    total = 0.0
    for y, z in set(zip(labels, predicted, strict=True)):
        both = sum(a == y and b == z for a, b in zip(labels, predicted, strict=True)) / len(labels)
        total += both * math.log(both / (predicted.count(z) / len(labels)))
    return total


def log_evidence(features: Floats, target: Floats, a: float, b: float) -> float:
    """Of one class, per image: the log density of targets under N(0, I / b + F F' / a), no fixed point, no SVD."""
    n = len(target)
    covariance = np.eye(n) / b + features @ features.T / a
    _, log_det = np.linalg.slogdet(covariance)
    return float(-0.5 * (target @ np.linalg.solve(covariance, target) + log_det + n * math.log(2 * math.pi)) / n)


def h_score(features: Floats, labels: Floats, shrinkage: float) -> float:
    centred = features - features.mean(axis=0)
    width = features.shape[1]
    means = np.array([centred[labels == y].mean(axis=0) for y in labels])
    covariance = centred.T @ centred / len(labels)
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / width * np.eye(width)
    between = means.T @ means / (len(labels) - 1)
    return float(np.trace(np.linalg.pinv(shrunk) @ ((1 - shrinkage) * between)))


def gbc(reduced: Floats, labels: Floats, diagonal: bool, floor: float) -> float:
    """On features that are reduced already, each covariance as a matrix."""
    width, total = reduced.shape[1], 0.0
    gaussians = []
    for y in np.unique(labels):
        own = reduced[labels == y]
        variances = np.maximum(own.var(axis=0), floor)
        gaussians.append((own.mean(axis=0), np.diag(variances if diagonal else np.full(width, variances.mean()))))
    for (mean_i, cov_i), (mean_j, cov_j) in itertools.permutations(gaussians, 2):
        both, apart = (cov_i + cov_j) / 2, mean_i - mean_j
        logs = [np.linalg.slogdet(c)[1] for c in (both, cov_i, cov_j)]
        total += math.exp(-(apart @ np.linalg.inv(both) @ apart / 8 + logs[0] / 2 - (logs[1] + logs[2]) / 4))
    return -total


def transrate(features: Floats, labels: Floats, epsilon: float) -> float:
    def rate(z: Floats) -> float:
        return float(np.linalg.slogdet(np.eye(z.shape[1]) + z.T @ z / (len(z) * epsilon))[1] / 2)

    centred = features - features.mean(axis=0)
    return rate(centred) - sum(np.mean(labels == y) * rate(centred[labels == y]) for y in np.unique(labels))


def parc(reduced: Floats, labels: Floats) -> float:
    first, second = np.triu_indices(len(labels), 1)
    one_hot = (labels[:, None] == np.unique(labels)).astype(float)
    # Rounded, for rounding would rank pairs that are equally unlike.
    of_labels = np.round(1 - np.corrcoef(one_hot), 9)[first, second]
    return float(100 * spearmanr((1 - np.corrcoef(reduced))[first, second], of_labels)[0])


def reduced(features: Floats, n_components: int) -> Floats:
    centred = features - features.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    return np.asarray((u * s)[:, :n_components])


def ridge_predictions(features: Floats, labels: Floats, strength: float) -> Floats:
    """Each image predicted by a ridge regression that was fitted without it; features standardised on all images."""
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    targets = np.where(labels[:, None] == np.unique(labels), 1.0, -1.0)
    design = np.column_stack([np.ones(len(x)), x])
    penalty = strength * np.diag(np.r_[0, np.ones(x.shape[1])])
    held_out = np.empty_like(targets)
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        normal = design[rest].T @ design[rest] + penalty
        held_out[i] = design[i] @ np.linalg.solve(normal, design[rest].T @ targets[rest])
    return held_out


def best_log_likelihood(predictions: Floats, labels: Floats) -> float:
    """Mean log softmax at the best temperature, searched over its logarithm."""
    own = np.arange(len(labels)), np.unique(labels, return_inverse=True)[1]
    found = minimize_scalar(
        lambda t: -log_softmax(math.exp(t) * predictions, axis=1)[own].mean(), bounds=(-12, 12), method="bounded",
        options={"xatol": 1e-10},
    )  # fmt: skip
    return float(-found.fun)


def sfda(features: Floats, labels: Floats) -> float:
    """Two discriminants from generalised eigenvectors of full matrices, the second on mixed features."""
    width, n_classes = features.shape[1], len(np.unique(labels))
    own = np.arange(len(labels)), labels

    def probabilities(x: Floats, shrinkage: float | None) -> tuple[Floats, float]:
        means = np.array([x[labels == y].mean(axis=0) for y in range(n_classes)])
        within = sum(np.mean(labels == y) * np.cov(x[labels == y].T, bias=True) for y in range(n_classes))
        if shrinkage is None:
            shrinkage = max(float(np.exp(-5 * np.linalg.eigvalsh(within)[-1])), 1e-10)
        shrunk = (1 - shrinkage) * within + shrinkage * np.trace(within) / width * np.eye(width)
        between = np.cov(means.T, bias=True)
        vectors = eigh(between, shrunk)[1]
        logits = x @ vectors @ vectors.T @ means.T
        logits -= np.diag(means @ vectors @ vectors.T @ means.T) / 2
        logits += np.log([np.mean(labels == y) for y in range(n_classes)])
        return np.exp(log_softmax(logits, axis=1)), shrinkage

    first, shrinkage = probabilities(features, None)
    sure = (np.exp(first) / np.exp(first).sum(axis=1, keepdims=True))[own][:, None]
    means = np.array([features[labels == y].mean(axis=0) for y in range(n_classes)])
    others = np.array([np.delete(means, y, axis=0).mean(axis=0) for y in range(n_classes)])
    second, _ = probabilities(sure * features + (1 - sure) * others[labels], shrinkage)
    return float(np.log(second[own]).mean())
