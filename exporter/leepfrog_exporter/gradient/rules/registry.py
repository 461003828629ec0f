"""Registry of gradient rules: one vector-Jacobian product per operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leepfrog.errors import ModelError
from onnx import NodeProto

from leepfrog_exporter.gradient.tape import Tape
from leepfrog_exporter.graph.edit import describe

# Names of the gradients of a node's outputs or inputs, in order; None if there is no gradient.
Gradients = Sequence[str | None]
# Maps the gradients of a node's outputs (None for an unused output) to those of its inputs. Inputs without a gradient
# are None, or omitted at the end. A rule may consult `tape.needed` to save work. It raises ModelError for a node that
# it cannot differentiate.
Rule = Callable[[Tape, NodeProto, Gradients], Gradients]
# The same for operators of which only the first output is differentiated.
SimpleRule = Callable[[Tape, NodeProto, str], Gradients]

RULES: dict[str, Rule] = {}


def rule(*operators: str) -> Callable[[SimpleRule], SimpleRule]:
    """Register a rule for operators of which only the first output is differentiated."""

    def register(function: SimpleRule) -> SimpleRule:
        def by_outputs(tape: Tape, node: NodeProto, gradients: Gradients) -> Gradients:
            if gradients[0] is None or any(gradient is not None for gradient in gradients[1:]):
                raise ModelError(f"cannot differentiate {describe(node)}: only its first output is supported")
            return function(tape, node, gradients[0])

        for operator in operators:
            RULES[operator] = by_outputs
        return function

    return register


def rule_of_outputs(*operators: str) -> Callable[[Rule], Rule]:
    """Register a rule for operators with several outputs."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, function))
        return function

    return register


def rule_of(node: NodeProto) -> Rule:
    """Return the rule of a node's operator.

    Raises:
        ModelError: there is no rule.
    """
    if node.domain not in ("", "ai.onnx") or node.op_type not in RULES:
        raise ModelError(f"has no gradient rule for {describe(node)}")
    return RULES[node.op_type]
