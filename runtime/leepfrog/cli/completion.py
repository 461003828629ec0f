"""What a shell's Tab offers as the values of options and arguments.

A shell waits for this at every Tab: nothing is imported that takes time; models are known by their file names alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from leepfrog_exporter.choices import PRESETS

from leepfrog import paths
from leepfrog.costs.places import PLACES
from leepfrog.gate.choices import CRITERIA
from leepfrog.images.choices import CHANNEL_ORDERS, INTERPOLATIONS, RESIZE_MODES
from leepfrog.inference.choices import PRECISIONS, PROBE_SUFFIX
from leepfrog.inference.devices import DEVICES
from leepfrog.ranking.goal_names import GOAL_NAMES
from leepfrog.scoring.names import SCORE_NAMES
from leepfrog.task2vec.choices import DISTANCES, ESTIMATORS

# What a shell takes as it is. zsh evaluates what it is offered, and typer's escapes can be undone by a backslash.
_PLAIN = re.compile(r"[\w.,@%+=/-]*")

Values = Callable[[], Iterable[str]]
Completer = Callable[[str], list[str]]


def one_of(values: Values | Iterable[str]) -> Completer:
    """Offers the values that begin with what is typed."""

    def offered(incomplete: str) -> list[str]:
        return _plain(value for value in _known(values) if value.startswith(incomplete))

    return offered


def some_of(values: Values | Iterable[str]) -> Completer:
    """Offers the values that may follow the last comma of what is typed, less those before it."""

    def offered(incomplete: str) -> list[str]:
        before, comma, typed = incomplete.rpartition(",")
        taken = before.split(",")
        fit = (value for value in _known(values) if value.startswith(typed) and value not in taken)
        return _plain(f"{before}{comma}{value}" for value in fit)

    return offered


def _plain(values: Iterable[str]) -> list[str]:
    """Those that a shell cannot misunderstand: a model's file may be named by a stranger."""
    return [value for value in values if _PLAIN.fullmatch(value)]


def _known(values: Values | Iterable[str]) -> Iterable[str]:
    if not callable(values):
        return values
    try:
        return values()
    except Exception:  # whatever is wrong, a shell is no place to say so
        return []


def models() -> list[str]:
    """Names of exported models."""
    return [path.stem for path in sorted(paths.models().glob("*.onnx")) if not path.name.endswith(PROBE_SUFFIX)]


def probes() -> list[str]:
    """Names of models with a probe."""
    return [path.name.removesuffix(PROBE_SUFFIX) for path in sorted(paths.models().glob(f"*{PROBE_SUFFIX}"))]


def zoo() -> list[str]:
    """Names of the zoo's entries."""
    from leepfrog_exporter.zoo import load

    return list(load())


def sources() -> list[str]:
    """What can be exported: the zoo's entries, and exported models for variants of them."""
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
complete_interpolation = one_of(INTERPOLATIONS)
complete_resize_mode = one_of(RESIZE_MODES)
complete_channel_order = one_of(CHANNEL_ORDERS)
complete_criteria = some_of(CRITERIA)
