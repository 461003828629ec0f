"""One vector-Jacobian product an operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leepfrog.errors import ModelError
from onnx import NodeProto

from leepfrog_exporter.gradient.tape import Tape
from leepfrog_exporter.graph.edit import describe

# The names of the gradients of a node's outputs or inputs, in their order; None where there is none.
Gradients = Sequence[str | None]
# From the gradients of a node's outputs (None where nothing depends on one) to those of its inputs; None, or a list cut
# short, for inputs that get none. A rule need not look at `tape.needed` unless it saves work. What it cannot
# differentiate is a ModelError.
Rule = Callable[[Tape, NodeProto, Gradients], Gradients]
# The same for operators with one output that counts.
SimpleRule = Callable[[Tape, NodeProto, str], Gradients]

RULES: dict[str, Rule] = {}


def rule(*operators: str) -> Callable[[SimpleRule], SimpleRule]:
    """Register the rule of operators with one output that counts."""

    def register(function: SimpleRule) -> SimpleRule:
        def by_outputs(tape: Tape, node: NodeProto, gradients: Gradients) -> Gradients:
            if gradients[0] is None or any(gradient is not None for gradient in gradients[1:]):
                raise ModelError(f"cannot differentiate {describe(node)} through its second output")
            return function(tape, node, gradients[0])

        for operator in operators:
            RULES[operator] = by_outputs
        return function

    return register


def rule_of_outputs(*operators: str) -> Callable[[Rule], Rule]:
    """Register the rule of operators with several outputs."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, function))
        return function

    return register


def rule_of(node: NodeProto) -> Rule:
    """The rule of a node's operator.

    Raises:
        ModelError: there is none.
    """
    if node.domain not in ("", "ai.onnx") or node.op_type not in RULES:
        raise ModelError(f"has no gradient rule for {describe(node)}")
    return RULES[node.op_type]
