"""Places that measure what models cost, one file each.

A place is a module beside this one that holds a `PLACE` (see `leepfrog.costs.places.base.Place`), or an entry point of
another package in the group `leepfrog.costs`. Its name is the module's or the entry point's name. Nothing here imports
NumPy: completion and help read the names.

>>> PLACES.names()[0]
'here'
"""

from __future__ import annotations

from leepfrog.costs.places.base import Place
from leepfrog.inference.choices import HERE
from leepfrog.plugins import Plugins

GROUP = "leepfrog.costs"
"""The entry points of other packages' places."""

PLACES = Plugins(__name__, "PLACE", GROUP, Place, "place", HERE)  # type: ignore[type-abstract]  # for isinstance
