"""Scores as defined in their papers: full matrices, no shared sums, no shortcuts."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

Floats = NDArray[np.float64]


def nce(probs: Floats, labels: list[int]) -> float:
    predicted = [int(np.argmax(row)) for row in probs]
    total = 0.0
    for y, z in set(zip(labels, predicted, strict=True)):
        both = sum(a == y and b == z for a, b in zip(labels, predicted, strict=True)) / len(labels)
        total += both * math.log(both / (predicted.count(z) / len(labels)))
    return total


def log_evidence(features: Floats, target: Floats, a: float, b: float) -> float:
    """Return the log density per image of the targets of one class under N(0, I / b + F F' / a)."""
    n = len(target)
    covariance = np.eye(n) / b + features @ features.T / a
    _, log_det = np.linalg.slogdet(covariance)
    return float(-0.5 * (target @ np.linalg.solve(covariance, target) + log_det + n * math.log(2 * math.pi)) / n)


def h_score(features: Floats, labels: Floats, shrinkage: float) -> float:
    centered = features - features.mean(axis=0)
    width = features.shape[1]
    means = np.array([centered[labels == y].mean(axis=0) for y in labels])
    covariance = centered.T @ centered / len(labels)
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / width * np.eye(width)
    between = means.T @ means / (len(labels) - 1)
    return float(np.trace(np.linalg.pinv(shrunk) @ ((1 - shrinkage) * between)))


def gbc(reduced: Floats, labels: Floats, diagonal: bool, floor: float) -> float:
    """Compute GBC of reduced features, with each covariance as a full matrix."""
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

    centered = features - features.mean(axis=0)
    return rate(centered) - sum(np.mean(labels == y) * rate(centered[labels == y]) for y in np.unique(labels))


def parc(reduced: Floats, labels: Floats) -> float:
    first, second = np.triu_indices(len(labels), 1)
    one_hot = (labels[:, None] == np.unique(labels)).astype(float)
    # Rounded, because rounding errors would otherwise break ties between pairs.
    of_labels = np.round(1 - np.corrcoef(one_hot), 9)[first, second]
    return float(100 * spearmanr((1 - np.corrcoef(reduced))[first, second], of_labels)[0])


def reduced(features: Floats, n_components: int) -> Floats:
    centered = features - features.mean(axis=0)
    u, s, _ = np.linalg.svd(centered, full_matrices=False)
    return np.asarray((u * s)[:, :n_components])


def ridge_predictions(features: Floats, labels: Floats, strength: float) -> Floats:
    """Predict each image by a ridge regression fitted without it; features are standardized on all images."""
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
    """Return the mean log softmax at the best temperature, found by a search over its logarithm."""
    own = np.arange(len(labels)), np.unique(labels, return_inverse=True)[1]
    found = minimize_scalar(
        lambda t: -log_softmax(math.exp(t) * predictions, axis=1)[own].mean(), bounds=(-12, 12), method="bounded",
        options={"xatol": 1e-10},
    )  # fmt: skip
    return float(-found.fun)


def discriminant(x: Floats, labels: Floats, shrinkage: float | None = None) -> tuple[Floats, float]:
    """Return probabilities and shrinkage of SFDA's discriminant, by generalised eigenvectors of full matrices."""
    n_classes = len(np.unique(labels))
    means = np.array([x[labels == y].mean(axis=0) for y in range(n_classes)])
    within = sum(np.mean(labels == y) * np.cov(x[labels == y].T, bias=True) for y in range(n_classes))
    if shrinkage is None:
        shrinkage = max(float(np.exp(-5 * np.linalg.eigvalsh(within)[-1])), 1e-10)
    shrunk = (1 - shrinkage) * within + shrinkage * np.trace(within) / x.shape[1] * np.eye(x.shape[1])
    between = np.cov(means.T, bias=True)
    vectors = eigh(between, shrunk)[1]
    logits = x @ vectors @ vectors.T @ means.T
    logits -= np.diag(means @ vectors @ vectors.T @ means.T) / 2
    logits += np.log([np.mean(labels == y) for y in range(n_classes)])
    return np.exp(log_softmax(logits, axis=1)), shrinkage


def sfda(features: Floats, labels: Floats) -> float:
    """Compute SFDA by two discriminants, the second on mixed features."""
    own, n_classes = (np.arange(len(labels)), labels), len(np.unique(labels))
    first, shrinkage = discriminant(features, labels)
    sure = (np.exp(first) / np.exp(first).sum(axis=1, keepdims=True))[own][:, None]
    means = np.array([features[labels == y].mean(axis=0) for y in range(n_classes)])
    others = np.array([np.delete(means, y, axis=0).mean(axis=0) for y in range(n_classes)])
    second, _ = discriminant(sure * features + (1 - sure) * others[labels], labels, shrinkage)
    return float(np.log(second[own]).mean())


def etran(features: Floats, labels: Floats) -> dict[str, float]:
    """Return the two parts of ETran."""
    certainty = discriminant(features, labels)[0][np.arange(len(labels)), labels].mean()
    return {"energy": float(logsumexp(features, axis=1).mean()), "certainty": float(certainty)}


def ncti(features: Floats, labels: Floats) -> dict[str, float]:
    """Return the three parts of NCTI, by scikit-learn's PCA and discriminant analysis."""
    pca = PCA(min(64, len(features) - 1, features.shape[1]), svd_solver="full").fit(features)
    shrinkage = max(float(np.exp(-pca.explained_variance_[:32].sum())), 1e-10)
    x = pca.transform(features)
    analysis = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage).fit(x, labels)
    projected, probs = analysis.transform(x), analysis.predict_proba(x)
    of_classes = [np.linalg.norm(probs[labels == y], "nuc") for y in np.unique(labels)]
    return {
        "spread": float(np.linalg.norm(projected - projected.mean(axis=0), "nuc")),
        "certainty": float(probs[np.arange(len(labels)), labels].mean()),
        "collapse": math.log(sum(of_classes)),
    }


def ped(features: Floats, labels: Floats) -> float:
    """Push every pair of classes apart, step by step, and compute SFDA of the result."""
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-3)
    x, first, classes = (features - mean) / deviation, 0.0, np.unique(labels)
    for _ in range(6):
        means = {y: x[labels == y].mean(axis=0) for y in classes}
        reach = {y: 0.6 * math.sqrt(x[labels == y].var(axis=0).sum()) for y in classes}
        push = {y: np.zeros(x.shape[1]) for y in classes}
        for y, other in itertools.permutations(classes, 2):
            away = means[y] - means[other]
            force = max(reach[y] + reach[other] - float(np.linalg.norm(away)), 0.0)
            push[y] += away / np.linalg.norm(away) * min(0.5 * 0.1**2 * force, force)
        distance = sum(float(np.abs(push[y]).sum()) for y in classes)
        first = first or distance
        if not first or distance / first <= 0.5:
            break
        x = x + np.array([push[y] for y in labels])
    return sfda(x * deviation + mean, labels)


def few_shot(features: Floats, labels: Floats, drawn: list[list[Floats]]) -> float:
    """Return the accuracy of nearest class means, for class means of the images drawn in each episode."""
    right: list[list[bool]] = [[] for _ in labels]
    for episode in drawn:
        means = [features[rows].mean(axis=0) for rows in episode]
        for i in set(range(len(labels))) - {int(row) for rows in episode for row in rows}:
            distances = [float(np.linalg.norm(features[i] - m)) for m in means]
            right[i].append(int(np.argmin(distances)) == labels[i])
    return float(np.mean([np.mean(of_image) if of_image else 0.0 for of_image in right]))
