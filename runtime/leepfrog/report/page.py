"""Report of a ranking as one self-contained HTML file, without network access.

Its only script sorts tables; the content security policy admits no other.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leepfrog import __version__
from leepfrog.errors import MachineError, UsageError
from leepfrog.execution.outputs import Outputs
from leepfrog.files import printable
from leepfrog.ranking.combined import COMBINED
from leepfrog.ranking.explain import explain_outputs
from leepfrog.ranking.result import RankedModel, Ranking
from leepfrog.ranking.score_format import format_of
from leepfrog.ranking.sentences import (
    certainty_in_words,
    chance_level,
    doubts_in_words,
    places_in_words,
    race_outside,
    race_risked,
    race_saved,
    trade_offs_in_words,
    trust_in_words,
    verdict,
)
from leepfrog.ranking.table import drift_table, race_table
from leepfrog.report.confusion import Confusion, confusion_of
from leepfrog.report.explanations import ShownExplanation, shown_explanations
from leepfrog.report.front import NARROW, WIDE, front
from leepfrog.report.tables import cost_table, ranking_rows, score_table
from leepfrog.report.thumbnails import MOST_BYTES, SIDE

if TYPE_CHECKING:
    from jinja2 import Environment

ENDINGS = (".html", ".htm")

# The best model is explained, and this many of those tied with it.
MOST_TIED = 3
# Limits on what is shown: entries of a list or mapping of the receipt, and characters of a text.
MOST_ENTRIES, MOST_CHARACTERS = 200, 1000


def check_report_path(path: Path) -> None:
    """Reject a report that cannot be written, before any work.

    Raises:
        UsageError: the extension is not in ENDINGS.
        MachineError: Jinja2 is missing.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"--report {path}: unsupported extension; expected {' or '.join(ENDINGS)}")
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise MachineError("a report needs Jinja2: pip install jinja2") from None


def report_html(ranking: Ranking, outputs: Outputs) -> str:
    """Return the report of a ranking, with explanations of its best models.

    Args:
        ranking: the ranking.
        outputs: the outputs that it was computed from (see `leepfrog.ranking.rank.ranked_outputs`).

    Raises:
        LeepfrogError: see `leepfrog.explain`.
    """
    by_sha256 = {model_outputs.model.sha256: model_outputs for model_outputs in outputs}
    explanations = explain_outputs(outputs, [by_sha256[model.sha256] for model in models_to_explain(ranking)])
    best = by_sha256[(ranking.best or ranking[0]).sha256]
    return render(ranking, shown_explanations(explanations, outputs.hashed.image_set), confusion_of(best))


def models_to_explain(ranking: Ranking) -> list[RankedModel]:
    """Return the best model and the first of those tied with it, without models that lack source classes."""
    return [model for model in ranking.tied if model.n_source is not None][: 1 + MOST_TIED]


def render(ranking: Ranking, explained: Sequence[ShownExplanation] = (), confusion: Confusion | None = None) -> str:
    """Render a ranking as an HTML document.

    Args:
        ranking: the ranking to show.
        explained: explanations of the best models, best first.
        confusion: confusion of classes by the best model.
    """
    from markupsafe import Markup

    by, templates = ranking.ranked_by, _templates()
    script = templates.get_template("sort.js").render()
    return templates.get_template("page.html.j2").render(
        ranking=ranking,
        by=format_of(by),
        is_combined=by == COMBINED,
        first=ranking[0],
        chance=chance_level(ranking),
        verdict=verdict(ranking),
        remarks=[*trade_offs_in_words(ranking), *trust_in_words(ranking)],
        in_words=[line.removeprefix("= ") for line in certainty_in_words(ranking)],
        places=places_in_words(ranking),
        doubts=doubts_in_words(ranking),
        rows=ranking_rows(ranking),
        scores=score_table(ranking),
        costs=cost_table(ranking),
        limits=_limits(ranking),
        drifts=drift_table(ranking.drifts, by) if ranking.drifts else None,
        race=_race(ranking),
        pictures=[front(ranking, WIDE), front(ranking, NARROW)] if ranking.priced else [],
        explained=explained,
        confusion=confusion,
        script=Markup(script),  # noqa: S704  # a file of this package
        script_hash=_hash_of(script),
        receipt=_receipt(ranking),
        thumbnail_side=SIDE,
        thumbnail_kilobytes=MOST_BYTES // 1000,
        most_entries=MOST_ENTRIES,
        version=__version__,
    )


def _hash_of(script: str) -> str:
    """Return the hash by which a content security policy admits a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _templates() -> Environment:
    """Return the template environment, which escapes values and fails on undefined names."""
    import jinja2
    from markupsafe import Markup

    def safe(value: object) -> object:
        """Restrict untrusted text to one line of limited length, without bidirectional control characters."""
        if isinstance(value, str) and not isinstance(value, Markup):
            text = value if len(value) <= MOST_CHARACTERS else f"{value[:MOST_CHARACTERS]}…"
            return printable(text)
        return value

    def soft(name: str) -> Markup:
        """Return a name that may wrap at the ends of its words only."""
        return Markup("<wbr>").join(re.split(r"(?<=[_./-])(?=.)", str(safe(name))))

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("leepfrog.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=safe,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["soft"] = soft
    environment.tests["list"] = lambda value: isinstance(value, list | tuple)
    return environment


def _limits(ranking: Ranking) -> list[str]:
    """Return the limits of the budget in words."""
    budget = ranking.budget
    limits = (
        ("latency", budget.latency, 1e3, "ms"),
        ("size", budget.size, 1e-6, "MB"),
        ("memory", budget.memory, 1e-6, "MB"),
    )
    return [f"{name} {limit * scale:g} {unit}" for name, limit, scale, unit in limits if limit is not None]


def _race(ranking: Ranking) -> dict[str, Any] | None:
    race = ranking.race
    if race is None:
        return None
    return {
        "saved": race_saved(race),
        "table": race_table(race, ranking.ranked_by) if race.dropped else None,
        "risked": race_risked(race),
        "outside": race_outside(race),
    }


def _receipt(ranking: Ranking) -> dict[str, Any]:
    """Return the receipt of the ranking, with the license of each model."""
    receipt = ranking.receipt.as_dict()
    licenses = {model.name: model.license for model in ranking.models}
    for model in receipt["models"]:
        model["license"] = licenses.get(model["name"], "")
    return receipt
