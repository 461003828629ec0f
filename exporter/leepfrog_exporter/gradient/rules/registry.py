"""One vector-Jacobian product an operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leepfrog.errors import ModelError
from onnx import NodeProto

from leepfrog_exporter.gradient.tape import Tape
from leepfrog_exporter.graph.edit import describe

# From the gradients of a node's outputs (None where nothing depends on one) to those of its inputs, in the same order;
# None, or a list cut short, for inputs that get none. A rule need not look at `tape.needed` unless it saves work.
# What it cannot differentiate is a ModelError.
Rule = Callable[[Tape, NodeProto, Sequence[str | None]], Sequence[str | None]]
# The same for operators with one output that counts.
SimpleRule = Callable[[Tape, NodeProto, str], Sequence[str | None]]

RULES: dict[str, Rule] = {}


def rule(*operators: str) -> Callable[[SimpleRule], SimpleRule]:
    """Register the rule of operators with one output that counts."""

    def register(function: SimpleRule) -> SimpleRule:
        def by_outputs(tape: Tape, node: NodeProto, gradients: Sequence[str | None]) -> Sequence[str | None]:
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
    found = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if found is None:
        raise ModelError(f"has no gradient rule for {describe(node)}")
    return found
