"""Gradient rules, one module per operator family. Importing this package imports all modules, which register them."""

import importlib
import pkgutil

from leepfrog_exporter.gradient.rules.registry import RULES, rule_of

__all__ = ["RULES", "rule_of"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
