"""Extensions by name: modules of a leepfrog package, and entry points of other packages."""

from __future__ import annotations

import importlib
import pkgutil
from importlib import metadata
from typing import Generic, TypeVar

from leepfrog.arguments import check_name
from leepfrog.errors import MachineError, one_line

_Extension = TypeVar("_Extension")


class Plugins(Generic[_Extension]):
    """Extensions defined by a package's modules, under an attribute such as `DEVICE`, and by other packages.

    An extension has the name of its module or entry point. Listing names imports nothing. Lookups are cached.

    >>> Plugins("leepfrog.inference.devices", "DEVICE", "leepfrog.devices", object, "device").names()[:2]
    ('cpu', 'cuda')
    """

    def __init__(
        self, package: str, attribute: str, group: str, kind: type[_Extension], what: str, default: str = ""
    ) -> None:
        """Describe where to look for extensions.

        Args:
            package: package whose modules are extensions, except `base`.
            attribute: attribute of each module that contains its extension.
            group: entry-point group for extensions of other packages.
            kind: type that the object of an entry point must have.
            what: noun for an extension in error messages.
            default: name of the extension to list first.
        """
        self._package, self._attribute, self._group, self._kind, self._what = package, attribute, group, kind, what
        self._default = default
        self.forget()

    def forget(self) -> None:
        """Clear the cache, in case packages or modules have been added."""
        self._names: tuple[str, ...] = ()
        self._extensions: dict[str, _Extension] = {}

    def names(self) -> tuple[str, ...]:
        """Return all names, the default first, the others sorted."""
        if not self._names:
            others = {point.name for point in metadata.entry_points(group=self._group)}
            self._names = tuple(sorted({*self._modules(), *others}, key=lambda name: (name != self._default, name)))
        return self._names

    def named(self, name: str) -> _Extension:
        """Return an extension by name.

        Raises:
            UsageError: no extension has this name.
            MachineError: the extension comes from another package, which is broken.
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
        except Exception as error:  # code of another package may raise anything
            raise MachineError(f"{self._what} {name}: {point.value} cannot be imported: {one_line(error)}") from None
        if not isinstance(extension, self._kind) or getattr(extension, "name", name) != name:
            what = self._kind.__name__
            raise MachineError(f"{self._what} {name}: {point.value} is not a leepfrog {what} with this name")
        return extension

    def _modules(self) -> list[str]:
        path = importlib.import_module(self._package).__path__
        return [module.name for module in pkgutil.iter_modules(path) if module.name != "base"]
