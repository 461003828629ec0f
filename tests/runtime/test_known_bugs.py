"""Bugs of published implementations of these scores: each test is named after a bug and would fail with it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from leepfrog import scores
from leepfrog.images.dataset import ImageSet
from leepfrog.inference.model_lookup import find_models
from leepfrog.scoring.joint_mass import JointMass
from leepfrog.task2vec.embed import embed, find_probe
from leepfrog_exporter.gradient.probe import export_probe
from photos import photo_set
from reference import scores as reference
from scipy.linalg import eigh
from sklearn.covariance import ledoit_wolf


@pytest.mark.parametrize(("n", "width"), [(100, 2048), (200, 512)])
def test_bug_logme_drops_the_terms_of_directions_without_features(n: int, width: int) -> None:
    """With (D - k)/2 log a but without its counterpart in the determinant, scores grow with the number of features."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 10
    features = np.abs(rng.standard_normal((n, width)))
    score = scores.logme(features, labels)
    rank = score.diagnostics["rank"]
    assert rank == n
    # Most of the dropped term is (D - k) / 2N log a, and a is large if features are uninformative.
    assert abs(score.value) < 0.5
    wider = np.column_stack([features, np.zeros((n, width))])
    assert scores.logme(wider, labels).value == pytest.approx(score.value, abs=1e-9)


def test_bug_logme_carries_precisions_from_class_to_class() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 4
    features = rng.standard_normal((60, 10)) + rng.standard_normal((4, 10))[labels]
    orders = np.array([[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]])
    values = [scores.logme(features, order[labels]).value for order in orders]
    assert max(values) - min(values) < 1e-12


def test_bug_leep_is_nan_when_a_source_class_has_no_mass() -> None:
    probs = np.array([[0.7, 0.3, 0.0], [0.4, 0.6, 0.0]])
    for score in (scores.leep, scores.leep_loo):
        expected = score(probs[:, :2], [0, 1])
        result = score(probs, [0, 1])
        assert result.value == pytest.approx(expected.value, abs=1e-15)
        np.testing.assert_allclose(result.terms, expected.terms, atol=1e-12)


def test_bug_leep_without_the_logarithm_or_with_its_sign_flipped() -> None:
    probs = np.array([[0.7, 0.3], [0.4, 0.6]])
    likelihoods = [0.7 / 1.1 * 0.7 + 0.3 / 0.9 * 0.3, 0.4 / 1.1 * 0.4 + 0.6 / 0.9 * 0.6]
    assert scores.leep(probs, [0, 1]).value == pytest.approx(np.log(likelihoods).mean(), abs=1e-15)


def test_bug_n_leep_without_the_logarithm() -> None:
    """A mean of likelihoods would be between 0 and 1; random labels give about -log C."""
    rng = np.random.default_rng(0)
    assert scores.n_leep(rng.standard_normal((3000, 4)), np.arange(3000) % 3).value == pytest.approx(
        -math.log(3), abs=0.03
    )


def test_bug_joint_loses_duplicate_labels() -> None:
    """`joint[labels] += probs` counts only one image per class."""
    probs, labels = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]]), np.array([0, 0, 1])
    mass = JointMass.empty(2, 2)
    mass.add(probs, labels)
    np.testing.assert_allclose(mass.joint, [[1.6, 0.4], [0.2, 0.8]], rtol=1e-15)


def test_bug_nce_from_soft_probabilities() -> None:
    probs = np.array([[0.6, 0.4, 0], [0.6, 0.4, 0], [0.4, 0.6, 0]])
    assert scores.nce(probs, [0, 0, 1]).value == 0


def test_bug_nce_with_a_constant_in_every_cell() -> None:
    """1e-5 in each of 2 x 1,000 cells is 2 % of the mass, spread over empty cells."""
    probs = np.eye(1000)[[0, 1] * 50]
    assert scores.nce(probs, [0, 1] * 50).value == 0


def test_bug_h_score_of_an_elementwise_product() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    features = rng.standard_normal((400, 2)) @ np.array([[1, 0.99], [0, 0.1]]) + np.outer(labels, [0.5, -0.5])
    _, shrinkage = ledoit_wolf(features)
    score = scores.h_score(features, labels).value
    assert score == pytest.approx(reference.h_score(features, labels, shrinkage), rel=1e-9)
    centered = features - features.mean(axis=0)
    covariance = centered.T @ centered / 400
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 2 * np.eye(2)
    means = np.array([centered[labels == y].mean(axis=0) for y in labels])
    assert score > 1.5 * np.trace(np.linalg.inv(shrunk) * (means.T @ means) / 399) * (1 - shrinkage)


@pytest.mark.parametrize("width", [2, 60])
def test_bug_spherical_gbc_without_the_factor_of_the_dimensions(width: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 300)
    features = rng.standard_normal((600, width)) * np.where(labels, 2.0, 1.0)[:, None]
    # exp(-D_B) is (sqrt(v0 v1) / ((v0 + v1) / 2))^(D / 2), times two ordered pairs.
    assert scores.gbc(features, labels).value == pytest.approx(-2 * 0.8 ** (width / 2), rel=0.3)


def test_bug_gbc_by_determinants_that_underflow() -> None:
    """With variances of 1e-12 in 64 dimensions, the determinant underflows to 0; a sum of logarithms does not."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 300)
    features = rng.standard_normal((600, 64)) * np.where(labels, 2.0, 1.0)[:, None]
    for covariance in ("spherical", "diagonal"):
        expected = scores.gbc(features, labels, covariance).value
        assert scores.gbc(1e-6 * features, labels, covariance).value == pytest.approx(expected, rel=1e-6)


def test_bug_transrate_averages_classes_unweighted() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], [40, 4])
    features = rng.standard_normal((44, 8)) + 2 * labels[:, None]
    expected = reference.transrate(features, labels, 1e-4)
    assert scores.transrate(features, labels).value == pytest.approx(expected, rel=1e-9)
    centered = features - features.mean(axis=0)
    rates = [
        np.linalg.slogdet(np.eye(8) + z.T @ z / (len(z) * 1e-4))[1] / 2
        for z in (centered, centered[labels == 0], centered[labels == 1])
    ]
    assert abs(rates[0] - (rates[1] + rates[2]) / 2 - expected) > 0.5


def test_bug_eigh_of_a_matrix_that_is_not_symmetric() -> None:
    """`eigh(inv(S_w) S_b)` reads one triangle of a matrix that is not symmetric, and finds wrong directions."""
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 3
    features = 0.1 * (rng.standard_normal((60, 4)) + rng.standard_normal((3, 4))[labels]) * [1, 3, 0.3, 2]
    means = np.array([features[labels == y].mean(axis=0) for y in range(3)])
    apart = features - means[labels]
    within, between = apart.T @ apart / 60, np.cov(means.T)
    right = eigh(between, within)[1][:, -1]
    wrong = np.linalg.eigh(np.linalg.inv(within) @ between)[1][:, -1]
    assert abs(right @ wrong) / np.linalg.norm(right) / np.linalg.norm(wrong) < 0.99
    assert scores.sfda(features, labels).value == pytest.approx(reference.sfda(features, labels), rel=1e-6)


def test_bug_task2vec_squares_the_gradient_of_a_batch_s_mean_loss(tiny: Path) -> None:
    """The result would be too small by the batch size: a batch of 16 copies of each image would give 1/16."""
    images = photo_set(4, ("cat", "china"))
    copies = ImageSet(images.name, images.classes, [*images.images] * 16, np.tile(images.labels, 16))
    once, often = (embed(data, "made", estimator="exact", tolerance=0, l2=0.1) for data in (images, copies))
    np.testing.assert_allclose(often.vector, once.vector, rtol=1e-4)


def test_bug_task2vec_normalizes_by_the_batch_s_statistics(zoo_home: Path) -> None:
    """With batch norm in training mode, an image's gradients would depend on the other images of the batch."""
    export_probe(find_models(["mobilenet_v2"])[0], depth=2)
    session = onnxruntime.InferenceSession(str(find_probe("mobilenet_v2").path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    image = rng.standard_normal((2, 3, 224, 224)).astype(np.float32)
    sent = rng.standard_normal((2, 1280)).astype(np.float32)
    names = [entry.name for entry in session.get_inputs()]
    both = session.run(None, dict(zip(names, (image, sent), strict=True)))
    alone = session.run(None, dict(zip(names, (image[:1], sent[:1]), strict=True)))
    for together, single in zip(both, alone, strict=True):
        np.testing.assert_allclose(together[:1], single, rtol=1e-3, atol=1e-4 * np.abs(single).max())


def test_bug_task2vec_of_fewer_images_than_a_batch_is_nothing(tiny: Path) -> None:
    embedding = embed(photo_set(3, ("cat", "china")), "made", tolerance=0)
    assert embedding.made["n_images"] == 6
    assert embedding.vector.max() > 0
