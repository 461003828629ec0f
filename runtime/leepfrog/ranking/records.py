"""Flat records of a ranking, one per model, for CSV files and data frames."""

from __future__ import annotations

from collections.abc import Sequence

from leepfrog.costs.cost import NUMBERS
from leepfrog.ranking.result import RankedModel, Ranking
from leepfrog.ranking.table import score_names

COSTS = tuple(name for name in (*NUMBERS, "doubtful", "place") if name not in ("n_runs", "reference"))


def records(ranking: Ranking) -> list[dict[str, object]]:
    """Return one record per model, best first; all records have the same keys.

    Costs are in seconds and bytes. Scores are in their own units, with standard errors and 90 % intervals; scores that
    a model does not have are None.
    """
    names = score_names(ranking)
    return [_record(model, names) for model in ranking.models]


def _record(model: RankedModel, names: Sequence[str]) -> dict[str, object]:
    scored: dict[str, object] = {}
    for name in names:
        score = model.scores.get(name)
        low, high = (score and score.interval) or (None, None)
        scored |= {name: score and score.value, f"{name}_standard_error": score and score.standard_error}
        scored |= {f"{name}_low": low, f"{name}_high": high}
    return {
        "rank": model.rank,
        "model": model.name,
        "expected_loss": model.expected_loss,
        **scored,
        "tied_with_best": model.tied_with_best,
        "group": model.group,
        "probability_best": model.probability_best,
        "n_source": model.n_source,
        "n_features": model.n_features,
        "n_parameters": model.n_parameters,
        "top1": model.top1,
        "size_bytes": model.size_bytes,
        "macs": model.macs,
        **{name: getattr(model.cost, name, None) for name in COSTS},
        "doubtful": " ".join(model.doubtful),
        "outside": " ".join(model.outside),
        "on_front": model.on_front,
        "precision": model.variant.precision if model.variant else "",
        "parent": model.variant.parent if model.variant else "",
        "sha256": model.sha256,
    }
