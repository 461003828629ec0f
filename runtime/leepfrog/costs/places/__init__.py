"""Places where the costs of models are measured, one module each.

A place is a module of this package that defines `PLACE` (see `leepfrog.costs.places.base.Place`), or another package's
entry point in the group `leepfrog.costs`. Its name is that of the module or entry point. Do not import NumPy here:
shell completion and help read the names.

>>> PLACES.names()[0]
'here'
"""

from __future__ import annotations

from leepfrog.costs.places.base import Place
from leepfrog.inference.choices import HERE
from leepfrog.plugins import Plugins

GROUP = "leepfrog.costs"
"""Entry-point group for places of other packages."""

PLACES = Plugins(__name__, "PLACE", GROUP, Place, "place", HERE)  # type: ignore[type-abstract]  # used with isinstance
