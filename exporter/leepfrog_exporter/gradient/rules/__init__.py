"""The rules, one module a family; importing this package registers them all."""

from leepfrog_exporter.gradient.rules import elementwise, layout, linear, pooling, reduction
from leepfrog_exporter.gradient.rules.registry import RULES, rule_of

__all__ = ["RULES", "elementwise", "layout", "linear", "pooling", "reduction", "rule_of"]
