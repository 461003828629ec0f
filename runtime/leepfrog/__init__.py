"""Which pre-trained model should I start from, for my images, on my device? leepfrog answers without training.

>>> import leepfrog
>>> sorted(leepfrog.__all__)[:3]
['Check', 'Embedding', 'ImageSet']

Names load what they need on first use: `import leepfrog` itself costs next to nothing, and nothing here imports torch.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

# Not imported from typing: `python -m leepfrog` would look for that in the current folder.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from leepfrog.errors import LeepfrogError
    from leepfrog.gate.check import Check, check
    from leepfrog.images.dataset import ImageSet
    from leepfrog.images.find import find_images
    from leepfrog.ranking.explain import explain
    from leepfrog.ranking.rank import rank
    from leepfrog.ranking.result import Ranking
    from leepfrog.scoring.leep import leep, leep_loo
    from leepfrog.scoring.score import Score
    from leepfrog.task2vec.distances import distances
    from leepfrog.task2vec.embed import embed
    from leepfrog.task2vec.embedding import Embedding
    from leepfrog.validation.tasks import study_tasks
    from leepfrog.validation.validate import validate

_HOMES = {
    "Check": "leepfrog.gate.check",
    "Embedding": "leepfrog.task2vec.embedding",
    "ImageSet": "leepfrog.images.dataset",
    "LeepfrogError": "leepfrog.errors",
    "Ranking": "leepfrog.ranking.result",
    "Score": "leepfrog.scoring.score",
    "check": "leepfrog.gate.check",
    "distances": "leepfrog.task2vec.distances",
    "embed": "leepfrog.task2vec.embed",
    "explain": "leepfrog.ranking.explain",
    "find_images": "leepfrog.images.find",
    "leep": "leepfrog.scoring.leep",
    "leep_loo": "leepfrog.scoring.leep",
    "rank": "leepfrog.ranking.rank",
    "study_tasks": "leepfrog.validation.tasks",
    "validate": "leepfrog.validation.validate",
}

__all__ = [
    "Check",
    "Embedding",
    "ImageSet",
    "LeepfrogError",
    "Ranking",
    "Score",
    "__version__",
    "check",
    "distances",
    "embed",
    "explain",
    "find_images",
    "leep",
    "leep_loo",
    "rank",
    "study_tasks",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'leepfrog' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
