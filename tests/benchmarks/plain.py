"""Scores as typical scripts compute them in plain NumPy and scikit-learn; baselines for timings.

Further formulas are in tests/reference/scores.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from reference import scores as reference
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold, cross_val_score

Array = NDArray[np.floating]
Labels = NDArray[np.int64]


def leep(probs: Array, labels: Labels) -> float:
    """Compute LEEP by a loop over classes, a full matrix product, and a Python zip to pick the entries."""
    n_target = len(np.unique(labels))
    joint = np.zeros((n_target, probs.shape[1]))
    for y in range(n_target):
        joint[y] = (probs[labels == y] / len(probs)).sum(axis=0)
    conditional = (joint / joint.sum(axis=0, keepdims=True)).T
    expected = probs @ conditional
    return float(np.mean(np.log([row[y] for row, y in zip(expected, labels, strict=True)])))


def leep_loo(probs: Array, labels: Labels) -> float:
    """Compute leave-one-out LEEP by recomputing the sums for each left-out image."""
    logs = []
    for i in range(len(probs)):
        rest = np.arange(len(probs)) != i
        own = probs[rest & (labels == labels[i])].sum(axis=0, dtype=np.float64)
        logs.append(np.log((own / probs[rest].sum(axis=0, dtype=np.float64)) @ probs[i]))
    return float(np.mean(logs))


def logme(features: Array, labels: Labels, steps: int = 11) -> float:
    """Compute LogME by the fixed-point iteration of the paper, per class, with all D eigenvalues."""
    n, width = features.shape
    u, s, vt = np.linalg.svd(features, full_matrices=False)
    s = s**2
    total, classes = 0.0, np.unique(labels)
    for label in classes:
        y = (labels == label).astype(float)
        along = np.sqrt(s) * (u.T @ y)
        a = b = 1.0
        for _ in range(steps):
            m = vt.T @ (b * along / (a + b * s))
            gamma = (b * s / (a + b * s)).sum()
            error = ((features @ m - y) ** 2).sum()
            a, b = gamma / (m @ m), (n - gamma) / error
        total += width / 2 * np.log(a) + n / 2 * np.log(b / 2 / np.pi) - b / 2 * error - a / 2 * (m @ m)
        total -= np.log(a + b * s).sum() / 2
    return float(total / len(classes) / n)


def knn(features: Array, labels: Labels) -> float:
    """Compute leave-one-out 1-NN accuracy from distances to all images, one image at a time."""
    hits = 0
    for i, row in enumerate(features):
        distances = ((features - row) ** 2).sum(axis=1)
        distances[i] = np.inf
        hits += labels[distances.argmin()] == labels[i]
    return hits / len(features)


def ridge(features: Array, labels: Labels) -> float:
    """Compute the ridge score by refitting a head for each left-out image and each strength."""
    strengths = 10.0 ** np.arange(-3, 3.5, 0.5)
    predictions = [reference.ridge_predictions(features, labels, strength) for strength in strengths]
    return max(reference.best_log_likelihood(each, labels) for each in predictions)


def linear_probe(features: Array, labels: Labels) -> float:
    """Return the five-fold accuracy of scikit-learn's logistic regression with the default penalty."""
    x = features - features.mean(axis=0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(
        cross_val_score(LogisticRegression(max_iter=1000), x / np.sqrt((x**2).mean()), labels, cv=folds).mean()
    )


def n_leep(features: Array, labels: Labels) -> float:
    """Compute N-LEEP with scikit-learn's PCA and Gaussian mixture, followed by `leep`."""
    x = PCA(0.8, svd_solver="full").fit_transform(features)
    mixture = GaussianMixture(5 * len(np.unique(labels)), covariance_type="diag", random_state=0).fit(x)
    return leep(mixture.predict_proba(x), labels)
