"""Trials as arrays: the extractors of a set, their true accuracies, and the estimates of each candidate order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from leepfrog.ranking.goal_names import FEW_SHOT, HEAD
from leepfrog.scoring.score import Score
from leepfrog.scoring.scores.etran import WEIGHTS as ETRAN
from leepfrog.scoring.scores.ncti import WEIGHTS as NCTI
from leepfrog.scoring.uncertainty import standard_error
from leepfrog.validation.agreement import agreement
from studies.default_order.heads import PROBE
from studies.default_order.trials import drawn

ZOO, ZOOS = 8, 40

TRUTHS = {HEAD: "truth/head", FEW_SHOT: "truth/few", "finetune": "truth/finetune"}
"""Name of the true accuracy for each goal; if it has several columns, the first is used."""


@dataclasses.dataclass(frozen=True)
class Extractors:
    """Extractors of a set in one split of one size.

    Attributes:
        data: name of the set.
        family: family of sets that share images.
        n: number of training images.
        n_test: number of test images for true accuracies.
        seed: seed of the split.
        names: NETWORK@SIZE/CUT of each extractor.
        labels: class index of each training image.
        values: results of trials by name, one per extractor; NaN if missing.
    """

    data: str
    family: str
    n: int
    n_test: int
    seed: int
    names: list[str]
    labels: np.ndarray
    values: Mapping[str, np.ndarray]

    @property
    def networks(self) -> np.ndarray:
        """Network of each extractor; int8 variants count as the same network."""
        return np.array([name.partition("@")[0].removesuffix("-int8") for name in self.names])

    def truth(self, goal: str) -> np.ndarray:
        """Return the accuracies on held-out images for a goal."""
        values = self.values[TRUTHS[goal]]
        return values if values.ndim == 1 else values[:, 0]

    def scores(self, members: np.ndarray) -> list[dict[str, Score]]:
        """Return the scores, with terms per image, that expected accuracies are computed from."""

        def score(name: str, terms: np.ndarray, parts: Mapping[str, Score] | None = None) -> Score:
            exact = terms.astype(np.float64)
            return Score(name, float(exact.mean()), None, self.n, 0, 0, terms=exact, parts=parts or {})

        found = []
        for i in members:
            likelihood = score("likelihood", self.values[f"terms/{PROBE}"][i])
            by_name = {
                "linear_probe": score("linear_probe", self.values[f"correct/{PROBE}"][i], {"likelihood": likelihood})
            }
            for name in ("ridge", "logme", "knn", "few_shot"):
                by_name[name] = score(name, self.values[f"images/{name}"][i])
            found.append(by_name)
        return found


def load(folder: Path) -> Iterator[Extractors]:
    """Yield all trials of a study, with fine-tuning results if available."""
    groups: dict[tuple[str, int, int], dict[str, dict[str, np.ndarray]]] = {}
    for path in sorted((folder / "trials").glob("*.npz")):
        data, trunk, n, seed = path.stem.split("+")
        arrays = np.load(path)
        cuts: dict[str, dict[str, np.ndarray]] = {}
        for key in arrays.files:
            cut, _, what = key.partition("/")
            cuts.setdefault(cut, {})[what] = arrays[key]
        tuned = folder / "finetuned" / path.name
        if tuned.exists():
            cuts["features"]["truth/finetune"] = np.load(tuned)["accuracy"]
        for cut, values in cuts.items():
            groups.setdefault((data, int(n), int(seed)), {})[f"{trunk}/{cut}"] = values
    for (data, n, seed), found in groups.items():
        keys = sorted(set.union(*(set(values) for values in found.values())))
        # Values that only some extractors have, such as whole networks, are NaN for the others.
        everywhere = [key for key in keys if all(key in values for values in found.values())]
        of_some = [
            key
            for key in keys
            if key not in everywhere and not any(key in values and values[key].ndim for values in found.values())
        ]
        stacked = {key: np.stack([values[key] for values in found.values()]) for key in everywhere}
        stacked |= {key: np.array([values.get(key, np.nan) for values in found.values()], float) for key in of_some}
        about = np.load(folder / f"{data}.npz")
        labels = about["labels"]
        train, test = drawn(labels, n, seed)
        yield Extractors(data, str(about["family"]), n, len(test), seed, list(found), labels[train], stacked)


def zoos(among: np.ndarray, seed: int) -> list[np.ndarray]:
    """Return random zoos of ZOO extractors each, or one zoo of all if there are not more than ZOO."""
    rng = np.random.default_rng(seed)
    if len(among) <= ZOO:
        return [among]
    return [rng.permutation(among)[:ZOO] for _ in range(ZOOS)]


def outcome(estimate: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Return weighted tau, regret in points, and whether the choice is within one point of the best."""
    found = agreement(estimate.tolist(), truth.tolist())
    return found.weighted_tau or 0.0, found.regret, float(found.regret <= 1)


Candidate = Callable[[Extractors, np.ndarray], np.ndarray]
"""Function of a group and the positions of a zoo that returns an estimate per member."""


def candidates(group: Extractors) -> dict[str, Candidate]:
    """Return the candidate orders by name, except those fitted to other sets."""
    found: dict[str, Candidate] = {}
    keys = {key for key in group.values if _known(group, key)}
    for key in sorted(keys):
        kind, _, name = key.partition("/")
        if kind == "score" and name not in ("ncti", "etran"):
            found[name] = lambda group, members, key=key: group.values[key][members]
        if kind == "terms":
            found[f"likelihood, {name}"] = lambda group, members, key=key: group.values[key][members].mean(axis=1)
            found[f"held-out accuracy, {name}"] = lambda group, members, name=name: group.values[f"correct/{name}"][
                members
            ].mean(axis=1)
    for name, weights in (("ncti", NCTI), ("etran", ETRAN)):
        if f"part/{name}/certainty" in keys:
            found[name] = lambda group, members, name=name, weights=weights: _scaled(group, members, weights, name)
    found["combined (the old default)"] = _combined
    return found


def _known(group: Extractors, key: str) -> bool:
    """Check that all extractors have a value; only whole networks have scores of predictions."""
    return group.values[key].dtype.kind != "f" or not np.isnan(group.values[key]).any()


def _scaled(group: Extractors, members: np.ndarray, weights: Mapping[str, float], name: str) -> np.ndarray:
    total = np.zeros(len(members))
    for part, weight in weights.items():
        values = group.values[f"part/{name}/{part}"][members]
        width = np.ptp(values)
        total += weight * (values - values.min()) / width if width > 0 else 0.0
    return total


def _combined(group: Extractors, members: np.ndarray) -> np.ndarray:
    """Return the sum of ridge, logme and knn in units of their noise, as in `leepfrog.ranking.combined`."""
    total = np.zeros(len(members))
    for name in ("ridge", "logme", "knn"):
        terms = group.values[f"images/{name}"][members].astype(float)
        apart = terms - terms.mean(axis=0)
        noise = np.sqrt(np.mean([(standard_error(row, group.labels) or 0.0) ** 2 for row in apart]))
        total += apart.mean(axis=1) / noise if noise > 0 else 0.0
    return total
