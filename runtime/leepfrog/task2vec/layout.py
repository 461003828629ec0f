"""Where tasks lie among each other: clustered order, and places on a plane.

The order of the matrix is that of the leaves of average-linkage clustering, neighbours as near as the tree allows (Bar-
Joseph et al., 2001, by SciPy). The plane is metric scaling: classical scaling (Torgerson, 1952) as the start of SMACOF
(de Leeuw, 1977), which lessens stress sum (|x_i - x_j| - d_ij)^2 with each step.
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
# Optimal leaf ordering takes time cubic in the tasks: 1 s at 500.
MAX_ORDERED = 500
STEPS = 200


@dataclasses.dataclass(frozen=True)
class Layout:
    """Tasks in order and on a plane.

    Attributes:
        order: of the tasks in the clustered matrix, [T].
        clusters: of each task, from 0 in the order of the matrix, [T].
        places: on the plane, in units of distance, [T, 2].
        faithfulness: Pearson correlation of distances on the plane with those given; NaN for fewer than three tasks.
    """

    order: NDArray[np.int64]
    clusters: NDArray[np.int64]
    places: Floats
    faithfulness: float


def lay_out(distances: Floats) -> Layout:
    """Cluster tasks and place them on a plane.

    Args:
        distances: symmetric, with zeros on the diagonal, [T, T], T of at least 2.
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
    """The cut of the tree, into 2 to MAX_CLUSTERS, with the best mean silhouette; one cluster if no cut has a good one.

    A task's silhouette (Rousseeuw, 1987) is (b - a) / max(a, b), a its mean distance to the others of its cluster and b
    to those of the nearest other cluster; 0 for a cluster of its own.
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
    # Numbered as they come in the matrix.
    _, first_seen, members = np.unique(chosen[order], return_index=True, return_inverse=True)
    clusters = np.empty(len(order), np.int64)
    clusters[order] = np.argsort(np.argsort(first_seen))[members]
    return clusters


def _classical(distances: Floats) -> Floats:
    """The two leading principal coordinates of a matrix of distances, [T, 2]."""
    products = -0.5 * distances**2
    products -= products.mean(axis=0)
    products -= products.mean(axis=1, keepdims=True)
    n = len(products)
    values, vectors = eigh(products, subset_by_index=[n - 2, n - 1])
    places = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    # An eigenvector's sign is arbitrary: the entry largest in size is made positive.
    signs = np.sign(places[np.abs(places).argmax(axis=0), range(places.shape[1])])
    return np.asarray(places * np.where(signs == 0, 1, signs))


def _refined(places: Floats, distances: Floats) -> Floats:
    """SMACOF from a start: each step is the Guttman transform, X <- B(X) X / T."""
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
