"""Shell completion for values of options and arguments.

The shell waits for it at every Tab, so slow imports are avoided and models are listed by file name alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from leepfrog_exporter.choices import POOLS, PRESETS

from leepfrog import paths
from leepfrog.costs.places import PLACES
from leepfrog.gate.choices import CRITERIA
from leepfrog.images.choices import CHANNEL_ORDERS, INTERPOLATIONS, RESIZE_MODES
from leepfrog.inference.choices import PRECISIONS, PROBE_SUFFIX
from leepfrog.inference.devices import DEVICES
from leepfrog.ranking.goal_names import GOAL_NAMES
from leepfrog.scoring.names import SCORE_NAMES
from leepfrog.task2vec.choices import DISTANCES, ESTIMATORS

# Characters that shells take literally. zsh evaluates completions, and a backslash can undo typer's escapes.
_PLAIN = re.compile(r"[\w.,@%+=/-]*")

Values = Callable[[], Iterable[str]]
Completer = Callable[[str], list[str]]


def one_of(values: Values | Iterable[str]) -> Completer:
    """Return a completer for a single value."""

    def offered(incomplete: str) -> list[str]:
        return _plain(value for value in _known(values) if value.startswith(incomplete))

    return offered


def some_of(values: Values | Iterable[str]) -> Completer:
    """Return a completer for comma-separated values; it does not offer values that are already given."""

    def offered(incomplete: str) -> list[str]:
        before, comma, typed = incomplete.rpartition(",")
        taken = before.split(",")
        fit = (value for value in _known(values) if value.startswith(typed) and value not in taken)
        return _plain(f"{before}{comma}{value}" for value in fit)

    return offered


def _plain(values: Iterable[str]) -> list[str]:
    """Return the values that are safe in a shell; names of model files may come from untrusted sources."""
    return [value for value in values if _PLAIN.fullmatch(value)]


def _known(values: Values | Iterable[str]) -> Iterable[str]:
    if not callable(values):
        return values
    try:
        return values()
    except Exception:  # completion must not print errors into the user's prompt
        return []


def models() -> list[str]:
    """Return the names of exported models."""
    return [path.stem for path in sorted(paths.models().glob("*.onnx")) if not path.name.endswith(PROBE_SUFFIX)]


def probes() -> list[str]:
    """Return the names of models with a probe."""
    return [path.name.removesuffix(PROBE_SUFFIX) for path in sorted(paths.models().glob(f"*{PROBE_SUFFIX}"))]


def zoo() -> list[str]:
    """Return the names of the zoo's entries."""
    from leepfrog_exporter.zoo import load

    return list(load())


def sources() -> list[str]:
    """Return what can be exported: the zoo's entries, and exported models, of which variants can be made."""
    return list(dict.fromkeys([*zoo(), *models()]))


complete_device = one_of(DEVICES.names)
complete_place = one_of(PLACES.names)
complete_models = some_of(models)
complete_model = one_of(models)
complete_probe = one_of(probes)
complete_zoo = one_of(zoo)
complete_source = one_of(sources)
complete_order = one_of(("combined", *SCORE_NAMES))
complete_goal = one_of(GOAL_NAMES)
complete_scores = some_of((*SCORE_NAMES, "all"))
complete_distance = one_of(DISTANCES)
complete_estimator = one_of(ESTIMATORS)
complete_precisions = some_of(PRECISIONS)
complete_preset = one_of(PRESETS)
complete_pools = one_of(POOLS)
complete_interpolation = one_of(INTERPOLATIONS)
complete_resize_mode = one_of(RESIZE_MODES)
complete_channel_order = one_of(CHANNEL_ORDERS)
complete_criteria = some_of(CRITERIA)
