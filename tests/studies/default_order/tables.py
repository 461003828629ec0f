"""Which of the candidates orders extractors as their truths do, in zoos drawn at random."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from leepfrog.validation.agreement import agreement
from studies.default_order.expectation import expectation, posterior
from studies.default_order.trials import drawn

ZOO, ZOOS = 8, 40


@dataclasses.dataclass(frozen=True)
class Extractors:
    """A set's extractors in one split of one size.

    Attributes:
        data: the set's name.
        n: images looked at.
        seed: of the split.
        names: NETWORK@SIZE/CUT.
        labels: of the images looked at.
        values: what trials found, by name, one an extractor; what some lack is absent.
    """

    data: str
    n: int
    seed: int
    names: list[str]
    labels: np.ndarray
    values: Mapping[str, np.ndarray]


def load(folder: Path) -> Iterator[Extractors]:
    """All trials."""
    groups: dict[tuple[str, int, int], dict[str, dict[str, np.ndarray]]] = {}
    for path in sorted(folder.glob("*.npz")):
        data, trunk, n, seed = path.stem.split("+")
        arrays = np.load(path)
        cuts: dict[str, dict[str, np.ndarray]] = {}
        for key in arrays.files:
            cut, _, what = key.partition("/")
            cuts.setdefault(cut, {})[what] = arrays[key]
        for cut in sorted(cuts):
            groups.setdefault((data, int(n), int(seed)), {})[f"{trunk}/{cut}"] = cuts[cut]
    for (data, n, seed), found in groups.items():
        keys = set.intersection(*(set(values) for values in found.values()))
        stacked = {key: np.stack([values[key] for values in found.values()]) for key in sorted(keys)}
        labels = np.load(folder.parent / f"{data}.npz")["labels"]
        yield Extractors(data, n, seed, list(found), labels[drawn(labels, n, seed)[0]], stacked)


def zoos(count: int, seed: int) -> np.ndarray:
    """Members of random zoos, [ZOOS, ZOO]."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(count)[:ZOO] for _ in range(ZOOS)])


def outcome(estimate: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Weighted tau, regret in points, and whether the choice is within a point of the best."""
    found = agreement(estimate.tolist(), truth.tolist())
    return found.weighted_tau or 0.0, found.regret, float(found.regret <= 1)


Candidate = Callable[[Extractors, np.ndarray], np.ndarray]
"""An estimate of each of a zoo's members."""


def candidates(groups: list[Extractors]) -> dict[str, Candidate]:
    """What may decide the order, by name."""
    found: dict[str, Candidate] = {}
    keys = set.intersection(*(set(group.values) for group in groups))
    for key in sorted(keys):
        kind, _, name = key.partition("/")
        if kind == "score":
            found[name] = lambda group, members, key=key: group.values[key][members]
        if kind == "terms":
            found[f"likelihood, {name}"] = lambda group, members, key=key: group.values[key][members].mean(axis=1)
            found[f"accuracy, {name}"] = lambda group, members, name=name: group.values[f"correct/{name}"][
                members
            ].mean(axis=1)
            found[f"expected, {name}"] = lambda group, members, name=name: expected(group, members, name)
    found["expected, best view"] = expected_best
    return found


def expected(group: Extractors, members: np.ndarray, head: str) -> np.ndarray:
    """The posterior mean of the accuracy, by the predictions of one head."""
    correct, terms = (group.values[f"{kind}/{head}"][members] for kind in ("correct", "terms"))
    return posterior(correct.astype(float), terms.astype(float), group.labels)[0]


def expected_best(group: Extractors, members: np.ndarray) -> np.ndarray:
    """The same, each extractor by the head that predicts its images best."""
    heads = [key.partition("/")[2] for key in group.values if key.startswith("terms/")]
    means = np.stack([group.values[f"terms/{head}"][members].mean(axis=1) for head in heads])
    best = means.argmax(axis=0)
    at = range(len(members))
    correct = np.stack([group.values[f"correct/{heads[best[i]]}"][members[i]] for i in at])
    terms = np.stack([group.values[f"terms/{heads[best[i]]}"][members[i]] for i in at])
    return posterior(correct.astype(float), terms.astype(float), group.labels)[0]


def judged(groups: list[Extractors], candidate: Candidate, column: int = 0) -> dict[tuple[str, int], np.ndarray]:
    """Means over splits and zoos, by set and size, of `outcome` by a column of the truth."""
    found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for group in groups:
        for members in zoos(len(group.names), group.seed):
            true = group.values["truth/head"][members][:, column]
            found.setdefault((group.data, group.n), []).append(outcome(candidate(group, members), true))
    return {key: np.mean(rows, axis=0) for key, rows in found.items()}


def coverage(groups: list[Extractors], head: str) -> dict[int, np.ndarray]:
    """By size: how often the interval holds the truth, of all and of the chosen; points promised to be lost, and lost.

    The truth is of a finite number of images; its own noise widens the interval that has to hold it.
    """
    found: dict[int, list[tuple[float, float, float, float]]] = {}
    for group in groups:
        for members in zoos(len(group.names), group.seed)[:10]:
            true = group.values["truth/head"][members][:, 0]
            correct, terms = (group.values[f"{kind}/{head}"][members] for kind in ("correct", "terms"))
            shown = expectation(list(correct), list(terms.astype(float)), group.labels)
            inside = (shown.interval[:, 0] <= true) & (true <= shown.interval[:, 1])
            first = int(shown.accuracy.argmax())
            lost = 100 * (true.max() - true[first])
            found.setdefault(group.n, []).append((inside.mean(), inside[first], 100 * shown.loss[first], lost))
    return {n: np.mean(rows, axis=0) for n, rows in sorted(found.items())}
