"""leepfrog validate: accuracies compared with scikit-learn heads, agreement statistics, and command-line output."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from pathlib import Path

import leepfrog
import numpy as np
import pytest
from commands import Here
from leepfrog.errors import DataSetError, UsageError
from leepfrog.scoring.sample import FeatureSample
from leepfrog.validation.agreement import agreement, chance_spread, mean_agreement, within_groups
from leepfrog.validation.holdout import split
from leepfrog.validation.transfer_accuracy import few_shot_accuracy, retrained_head
from photos import folder_of_pieces
from rankings import FAST
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression


@pytest.fixture(scope="module")
def halves() -> tuple[FeatureSample, np.ndarray, np.ndarray]:
    features, labels = load_digits(return_X_y=True)
    train, test = split(labels, 300, 0)
    return FeatureSample.of(labels[train], features[train]), features[test], labels[test]


def test_retrained_head_is_as_good_as_the_best_penalty(halves: tuple[FeatureSample, np.ndarray, np.ndarray]) -> None:
    train, features, labels = halves
    result = retrained_head(train, features, labels)
    mean, scale = train.features.mean(axis=0), np.sqrt(train.features.var(axis=0).mean())
    x, test_x = (train.features - mean) / scale, (features - mean) / scale
    head = LogisticRegression(C=1 / result.penalty, tol=1e-8, max_iter=10_000).fit(x, train.labels)
    assert result.accuracy == pytest.approx(head.score(test_x, labels), abs=2 / len(labels))
    by_penalty = [
        LogisticRegression(C=c, max_iter=5000).fit(x, train.labels).score(test_x, labels) for c in (1e-3, 0.1, 10)
    ]
    assert result.accuracy > max(by_penalty) - 0.02


def test_few_shots_are_nearest_means(halves: tuple[FeatureSample, np.ndarray, np.ndarray]) -> None:
    """With all images as shots, an episode is a single classifier by distance to the class means."""
    train, features, labels = halves
    prototype, mahalanobis = few_shot_accuracy(train, features, labels, 1000, 2)
    centered = (
        train.features - np.array([train.features[train.labels == y].mean(axis=0) for y in range(10)])[train.labels]
    )
    covariance = centered.T @ centered / len(train)
    covariance = 0.5 * covariance + 0.5 * np.trace(covariance) / 64 * np.eye(64)
    means = np.array([train.features[train.labels == y].mean(axis=0) for y in range(10)])
    apart = features[:, None] - means
    assert prototype == pytest.approx(np.mean((apart**2).sum(axis=2).argmin(axis=1) == labels), abs=1.5 / len(labels))
    nearest = np.einsum("qcd,de,qce->qc", apart, np.linalg.inv(covariance), apart).argmin(axis=1)
    assert mahalanobis == pytest.approx(np.mean(nearest == labels), abs=1.5 / len(labels))
    few = few_shot_accuracy(train, features, labels, 2, 20, seed=3)
    assert few == few_shot_accuracy(train, features, labels, 2, 20, seed=3)
    assert few[0] < prototype
    once = few_shot_accuracy(train, features, labels, 1, 20)
    assert once[0] == pytest.approx(once[1])  # one image per class gives no covariance estimate


def test_splits_are_stratified_and_disjoint() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [4, 10, 40, 300]))
    train, test = split(labels, 100, 1)
    assert sorted([*train, *test]) == list(range(354))
    assert np.bincount(labels[train]).tolist() == [2, 3, 11, 85]
    assert len(split(labels, 10_000, 1)[0]) == 177


def test_agreement_by_hand() -> None:
    truth = [0.9, 0.8, 0.7, 0.5]
    perfect = agreement([4.0, 3.0, 2.0, 1.0], truth)
    assert (perfect.kendall, perfect.weighted_tau, perfect.regret, perfect.rel_at_k) == pytest.approx((1, 1, 0, 1))
    assert perfect.pearson == pytest.approx(np.corrcoef([4, 3, 2, 1], truth)[0, 1])
    wrong = agreement([1.0, 2.0, 3.0, 4.0], truth)
    assert wrong.kendall == pytest.approx(-1)
    assert wrong.regret == pytest.approx(40)
    assert wrong.rel_at_k == pytest.approx(0.8 / 0.9)
    # An error at the top has more weight than one at the bottom.
    top, bottom = agreement([3.0, 4.0, 2.0, 1.0], truth), agreement([4.0, 3.0, 1.0, 2.0], truth)
    assert top.weighted_tau < bottom.weighted_tau
    assert top.kendall == bottom.kendall
    blind = agreement([1.0] * 4, truth)
    assert (blind.pearson, blind.kendall, blind.weighted_tau) == (None, None, None)
    assert blind.regret == pytest.approx(100 * (0.9 - np.mean(truth)))
    partly = agreement([None, 3.0, 2.0, None], truth)
    assert partly.n == 2
    assert partly.regret == pytest.approx(10)
    assert agreement([None] * 4, truth).n == 0
    both = mean_agreement([perfect, blind])
    assert both.kendall == pytest.approx(1)
    assert both.regret == pytest.approx(blind.regret / 2)


@pytest.mark.full
def test_what_chance_gives() -> None:
    rng, truth = np.random.default_rng(1), np.linspace(0.5, 0.9, 9).tolist()
    taus = [agreement(rng.permutation(9).tolist(), truth).weighted_tau for _ in range(3000)]
    assert chance_spread(9) == pytest.approx(np.std(taus), rel=0.05)


def test_within_groups_sees_only_what_the_groups_do_not() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(300) % 5
    x, y = groups + 0.1 * rng.standard_normal(300), groups + 0.1 * rng.standard_normal(300)
    assert np.corrcoef(x, y)[0, 1] > 0.95
    assert abs(within_groups(x, y, groups)) < 0.2
    assert within_groups(x, 2 * x, groups) == pytest.approx(1)
    assert within_groups(groups.astype(float), y, groups) is None


def test_validate_real_models(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=12)
    (folder / "cat" / "bad.jpg").write_bytes(b"no image")
    validation = leepfrog.validate(folder, FAST, splits=2, shots=2)
    assert {model.name for model in validation.models} == set(FAST)
    assert validation.n_train + validation.n_test == 36
    assert "could not be used" in " ".join(validation.notes)
    for model in validation.models:
        assert all(0.3 < accuracy <= 1 for accuracy in model.accuracy.values())
    for agreements in validation.agreements.values():
        assert {"ridge", "leep", "n_leep", "top1", "parameters", "static"} <= set(agreements)
    known = {"mobilenet_v2": 71.9, "efficientnet_lite0": 75.1}
    assert {model.name: round(model.scores["top1"], 1) for model in validation.models} == known
    json.dumps(validation.as_dict(), allow_nan=False)
    again = leepfrog.validate(folder, FAST, splits=2, shots=2)
    assert dataclasses.replace(again, receipt=validation.receipt) == validation
    assert again.receipt.data == validation.receipt.data
    with pytest.raises(UsageError, match="at least 2"):
        leepfrog.validate(folder, FAST[:1])
    for path in sorted(path for path in (folder / "cat").glob("*.jpg") if path.name != "bad.jpg")[3:]:
        path.unlink()
    with pytest.raises(DataSetError, match="'cat' has 3 usable"):
        leepfrog.validate(folder, FAST)


@pytest.mark.full
def test_the_command_line(two_home: Path, here: Here) -> None:
    folder_of_pieces(here.folder / "photos", count=8)
    run = functools.partial(here.call, "validate", "photos")
    both = run("-m", ",".join(FAST), "-s", "leep,ridge", "--splits", "1")
    both.check(0, "for a retrained head", "with only 2 models")
    lines = run("-m", ",".join(FAST), "-s", "leep,ridge", "--splits", "1", "--format", "csv").out.splitlines()
    assert len(lines) == 1 + 3 * 5
    tasks = run("-m", FAST[0], "--tasks", "6", "--plot", "tasks.svg", "--format", "json")
    tasks.check(0)
    study = tasks.json
    assert len(study["tasks"]) == 6
    assert set(study["correlations"]) == {"leep", "leep_loo", "-log(classes)"}
    for task in study["tasks"]:
        assert task["scores"]["-log(classes)"] == pytest.approx(-math.log(len(task["classes"])))
    assert "minus log of the number of classes" in (here.folder / "tasks.svg").read_text()
    for arguments, message in (
        (("--plot", "x.svg"), "--plot requires --tasks"),
        (("--tasks", "5", "-m", FAST[0], "--plot", "x.gif"), ".html, .png, .svg"),
        (("--tasks", "5", "-m", ",".join(FAST)), "a single model"),
    ):
        run(*arguments).check(2, message)
