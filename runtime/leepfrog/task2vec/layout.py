"""Layout of tasks by their distances: a clustered order and positions in the plane.

The order is that of the leaves of an average-linkage clustering, arranged by SciPy so that neighbours are as close as
the tree allows (Bar-Joseph et al., 2001). Positions are computed by metric multidimensional scaling: classical scaling
(Torgerson, 1952) initializes SMACOF (de Leeuw, 1977), which reduces the stress sum (|x_i - x_j| - d_ij)^2 in each step.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage, optimal_leaf_ordering
from scipy.linalg import eigh
from scipy.spatial.distance import pdist, squareform

Floats = NDArray[np.float64]

MAX_CLUSTERS = 8
# Optimal leaf ordering takes time cubic in the number of tasks: 1 s for 500.
MAX_ORDERED = 500
STEPS = 200


@dataclasses.dataclass(frozen=True)
class Layout:
    """Order, clusters and positions of tasks.

    Attributes:
        order: indices of the tasks in the order of the clustered matrix, [T].
        clusters: cluster of each task, numbered from 0 in the order of the matrix, [T].
        places: positions in the plane, in units of distance, [T, 2].
        faithfulness: Pearson correlation of distances in the plane with the given distances; NaN for fewer than three
            tasks or if either distances are all equal.
    """

    order: NDArray[np.int64]
    clusters: NDArray[np.int64]
    places: Floats
    faithfulness: float


def lay_out(distances: Floats) -> Layout:
    """Cluster tasks and place them in a plane.

    Args:
        distances: symmetric matrix with a zero diagonal, [T, T], for at least two tasks.
    """
    flat = squareform(distances, checks=False)
    tree = linkage(flat, "average")
    if len(distances) <= MAX_ORDERED:
        tree = optimal_leaf_ordering(tree, flat)
    order = leaves_list(tree).astype(np.int64)
    places = _refined(_classical(distances), distances)
    drawn = pdist(places)
    varied = len(flat) > 1 and np.ptp(flat) > 0 and np.ptp(drawn) > 0
    faithfulness = float(np.corrcoef(drawn, flat)[0, 1]) if varied else float("nan")
    return Layout(order, _clusters(tree, order, distances), places, faithfulness)


def _clusters(tree: Floats, order: NDArray[np.int64], distances: Floats) -> NDArray[np.int64]:
    """Cut the tree into 2 to MAX_CLUSTERS clusters to maximize the mean silhouette; one cluster if none is positive.

    A task's silhouette (Rousseeuw, 1987) is (b - a) / max(a, b), where a is its mean distance to the other tasks in its
    cluster and b is its mean distance to the tasks in the nearest other cluster; it is 0 for a task that is alone in
    its cluster.
    """
    best, chosen = 0.0, np.zeros(len(order), np.int64)
    for n_clusters in range(2, min(MAX_CLUSTERS, len(order) - 1) + 1):
        members = np.unique(fcluster(tree, n_clusters, "maxclust"), return_inverse=True)[1]
        sizes = np.bincount(members)
        if len(sizes) < 2:
            continue
        totals = distances @ np.eye(len(sizes))[members]
        alone = sizes[members] == 1
        within = totals[np.arange(len(order)), members] / np.maximum(sizes[members] - 1, 1)
        others = totals / sizes
        others[np.arange(len(order)), members] = np.inf
        nearest = others.min(axis=1)
        widest = np.maximum(within, nearest)
        silhouettes = np.divide(nearest - within, widest, out=np.zeros_like(within), where=(widest > 0) & ~alone)
        if silhouettes.mean() > best:
            best, chosen = float(silhouettes.mean()), members
    # Number the clusters in the order of the matrix.
    _, first_seen, members = np.unique(chosen[order], return_index=True, return_inverse=True)
    clusters = np.empty(len(order), np.int64)
    clusters[order] = np.argsort(np.argsort(first_seen))[members]
    return clusters


def _classical(distances: Floats) -> Floats:
    """Compute the two leading principal coordinates of a distance matrix, [T, 2]."""
    products = -0.5 * distances**2
    products -= products.mean(axis=0)
    products -= products.mean(axis=1, keepdims=True)
    n = len(products)
    values, vectors = eigh(products, subset_by_index=[n - 2, n - 1])
    places = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    # The sign of an eigenvector is arbitrary, so its entry of largest magnitude is made positive.
    signs = np.sign(places[np.abs(places).argmax(axis=0), range(places.shape[1])])
    return np.asarray(places * np.where(signs == 0, 1, signs))


def _refined(places: Floats, distances: Floats) -> Floats:
    """Refine positions by SMACOF, in which each step is the Guttman transform, X <- B(X) X / T."""
    n = len(places)
    last = np.inf
    for _ in range(STEPS):
        drawn = squareform(pdist(places))
        stress = float(((drawn - distances) ** 2).sum())
        if last - stress <= 1e-5 * stress:
            break
        last = stress
        ratios = np.divide(distances, drawn, out=np.zeros_like(drawn), where=drawn > 0)
        places = (ratios.sum(axis=1)[:, None] * places - ratios @ places) / n
    return places
