"""Extensions by name: modules of a package here, and entry points of other packages."""

from __future__ import annotations

import importlib
import pkgutil
from importlib import metadata
from typing import Generic, TypeVar

from leepfrog.arguments import check_name
from leepfrog.errors import MachineError, one_line

_Extension = TypeVar("_Extension")


class Plugins(Generic[_Extension]):
    """What the modules of a package hold under one name, such as every device's `DEVICE`, and what others add.

    A name is a module's or an entry point's. Nothing is imported to list names. What is found is remembered.

    >>> Plugins("leepfrog.inference.devices", "DEVICE", "leepfrog.devices", object, "device").names()[:2]
    ('cpu', 'cuda')
    """

    def __init__(
        self, package: str, attribute: str, group: str, kind: type[_Extension], what: str, default: str = ""
    ) -> None:
        """Look for extensions.

        Args:
            package: whose modules are extensions, but for `base`.
            attribute: what each of them holds.
            group: of other packages' entry points.
            kind: what an entry point has to give.
            what: an extension is called in messages.
            default: the name that stands first.
        """
        self._package, self._attribute, self._group, self._kind, self._what = package, attribute, group, kind, what
        self._default = default
        self.forget()

    def forget(self) -> None:
        """Look again, should packages or modules have been added."""
        self._names: tuple[str, ...] = ()
        self._extensions: dict[str, _Extension] = {}

    def names(self) -> tuple[str, ...]:
        """All names, the default first, the others sorted."""
        if not self._names:
            others = {point.name for point in metadata.entry_points(group=self._group)}
            self._names = tuple(sorted({*self._modules(), *others}, key=lambda name: (name != self._default, name)))
        return self._names

    def named(self, name: str) -> _Extension:
        """An extension by its name.

        Raises:
            UsageError: no extension has this name.
            MachineError: it comes from another package, which is broken.
        """
        if name not in self._extensions:
            check_name(self._what, name, self.names())
            self._extensions[name] = self._imported(name)
        return self._extensions[name]

    def _imported(self, name: str) -> _Extension:
        if name in self._modules():
            extension: _Extension = getattr(importlib.import_module(f"{self._package}.{name}"), self._attribute)
            return extension
        (point, *_) = metadata.entry_points(group=self._group, name=name)
        try:
            extension = point.load()
        except Exception as error:  # another package's
            raise MachineError(f"{self._what} {name}: {point.value} cannot be imported: {one_line(error)}") from None
        if not isinstance(extension, self._kind) or getattr(extension, "name", name) != name:
            what = self._kind.__name__
            raise MachineError(f"{self._what} {name}: {point.value} is not a leepfrog {what} of this name")
        return extension

    def _modules(self) -> list[str]:
        path = importlib.import_module(self._package).__path__
        return [module.name for module in pkgutil.iter_modules(path) if module.name != "base"]
