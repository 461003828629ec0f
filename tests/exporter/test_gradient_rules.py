"""Each gradient rule by itself, compared with float64 finite differences on shapes drawn by hypothesis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradient_checks import Case, all_different, between_kinks, check_rule, positive, seeds, shapes, sizes
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog.errors import ModelError
from leepfrog_exporter.gradient.rules import RULES, rule_of
from onnx import helper

ACTIVATIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "Relu": ("Relu", {}, {}),
    "LeakyRelu": ("LeakyRelu", {"alpha": 0.125}, {}),
    "LeakyRelu default": ("LeakyRelu", {}, {}),
    "Clip": ("Clip", {}, {"low": np.float64(0), "high": np.float64(3)}),
    "Clip to a range": ("Clip", {}, {"low": np.float64(-1), "high": np.float64(1)}),
    "Clip from below": ("Clip", {}, {"low": np.float64(-1.5)}),
    "HardSigmoid": ("HardSigmoid", {"alpha": 0.25, "beta": 0.5}, {}),
    "HardSwish": ("HardSwish", {}, {}),
    "Sigmoid": ("Sigmoid", {}, {}),
    "Tanh": ("Tanh", {}, {}),
    "Exp": ("Exp", {}, {}),
    "Neg": ("Neg", {}, {}),
    "Identity": ("Identity", {}, {}),
    "Dropout": ("Dropout", {}, {}),
    "Softplus": ("Softplus", {}, {}),
    "Erf": ("Erf", {}, {}),
    "Gelu": ("Gelu", {}, {}),
    "Gelu by tanh": ("Gelu", {"approximate": "tanh"}, {}),
    "Pow 2": ("Pow", {}, {"exponent": np.float64(2)}),
    "Pow 3": ("Pow", {}, {"exponent": np.array([3.0])}),
    "PRelu": ("PRelu", {}, {"slope": np.array([0.25])}),
    "Softmax": ("Softmax", {}, {}),
    "Softmax over an axis": ("Softmax", {"axis": 1}, {}),
    "LogSoftmax": ("LogSoftmax", {}, {}),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@settings(max_examples=10)
@given(shape=shapes, seed=seeds)
def test_activations(name: str, shape: tuple[int, ...], seed: int) -> None:
    operator, given_, constants = ACTIVATIONS[name]
    check_rule(Case(operator, {"x": shape}, constants, attributes=given_, values=between_kinks), seed)


@settings(max_examples=10)
@given(shape=shapes, seed=seeds)
def test_square_root(shape: tuple[int, ...], seed: int) -> None:
    check_rule(Case("Sqrt", {"x": shape}, values=positive), seed)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Sum"])
@settings(max_examples=15)
@given(shape=st.lists(sizes, min_size=2, max_size=3), data=st.data(), seed=seeds)
def test_arithmetic_broadcasts(operator: str, shape: list[int], data: st.DataObject, seed: int) -> None:
    """Two variable operands, or one constant with fewer axes; axes of length 1 are broadcast."""
    first = tuple(1 if data.draw(st.booleans()) else n for n in shape)
    second = tuple(1 if data.draw(st.booleans()) else n for n in shape)
    check_rule(Case(operator, {"a": first, "b": second}, values=positive), seed)
    constant = np.random.default_rng(seed).uniform(0.5, 2, second[data.draw(st.integers(0, len(second))) :])
    check_rule(Case(operator, {"a": first}, {"b": constant}, values=positive), seed)
    check_rule(Case(operator, {"a": first}, {"b": constant}, ("b", "a"), values=positive), seed)


def test_a_value_used_twice_by_one_node() -> None:
    rng = np.random.default_rng(0)
    check_rule(Case("Mul", {"a": (3,), "b": (3,)}, values=lambda _, shape: rng.standard_normal(shape)), 0)


windows = st.fixed_dictionaries(
    {
        "size": st.tuples(st.integers(5, 8), st.integers(5, 8)),
        "kernel": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "strides": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "dilations": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "pads": st.tuples(*[st.integers(0, 2)] * 4),
    }
)


@settings(max_examples=60)
@given(window=windows, groups=st.integers(1, 3), per_group=st.tuples(sizes, sizes), seed=seeds)
def test_conv(window: dict[str, tuple[int, ...]], groups: int, per_group: tuple[int, int], seed: int) -> None:
    """Dense, grouped and depthwise convolutions with strides, dilations and uneven padding."""
    n_in, n_out = groups * per_group[0], groups * per_group[1]
    weights = np.random.default_rng(seed).standard_normal((n_out, per_group[0], *window["kernel"]))
    settings_ = {name: window[name] for name in ("strides", "dilations", "pads")}
    check_rule(
        Case(
            "Conv", {"x": (n_in, *window["size"])}, {"w": weights, "b": np.ones(n_out)},
            attributes={**settings_, "group": groups},
        ),
        seed,
    )  # fmt: skip


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@settings(max_examples=10)
@given(window=windows, seed=seeds)
def test_conv_that_pads_by_itself(auto_pad: str, window: dict[str, tuple[int, ...]], seed: int) -> None:
    weights = np.random.default_rng(seed).standard_normal((2, 3, *window["kernel"]))
    given_ = {"strides": window["strides"], "auto_pad": auto_pad}
    check_rule(Case("Conv", {"x": (3, *window["size"])}, {"w": weights}, attributes=given_), seed)


@settings(max_examples=10)
@given(length=st.integers(4, 9), stride=st.integers(1, 3), seed=seeds)
def test_conv_in_one_dimension(length: int, stride: int, seed: int) -> None:
    weights = np.random.default_rng(seed).standard_normal((2, 3, 3))
    check_rule(Case("Conv", {"x": (3, length)}, {"w": weights}, attributes={"strides": [stride], "pads": [1, 1]}), seed)


@settings(max_examples=20)
@given(window=windows, seed=seeds, include=st.booleans(), ceil=st.booleans())
def test_average_pool(window: dict[str, tuple[int, ...]], seed: int, include: bool, ceil: bool) -> None:
    kernel = tuple(max(2, k) for k in window["kernel"])
    pads = [min(p, 1) for p in window["pads"]]
    given_ = {"kernel_shape": kernel, "strides": window["strides"], "pads": pads}
    case = Case(
        "AveragePool", {"x": (2, *window["size"])},
        attributes={**given_, "count_include_pad": int(include), "ceil_mode": int(ceil)},
    )  # fmt: skip
    check_rule(case, seed)


@settings(max_examples=20)
@given(window=windows, seed=seeds)
def test_max_pool(window: dict[str, tuple[int, ...]], seed: int) -> None:
    kernel = tuple(max(2, k) for k in window["kernel"])
    given_ = {"kernel_shape": kernel, "strides": window["strides"], "pads": [min(p, 1) for p in window["pads"]]}
    check_rule(Case("MaxPool", {"x": (2, *window["size"])}, attributes=given_, values=all_different), seed)


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "GlobalMaxPool"])
@settings(max_examples=10)
@given(channels=sizes, size=st.tuples(sizes, sizes), seed=seeds)
def test_global_pools(operator: str, channels: int, size: tuple[int, int], seed: int) -> None:
    check_rule(Case(operator, {"x": (channels, *size)}, values=all_different), seed)


@settings(max_examples=15)
@given(n_in=sizes, n_out=sizes, turned=st.booleans(), alpha=st.sampled_from([1.0, 0.5]), seed=seeds)
def test_gemm(n_in: int, n_out: int, turned: bool, alpha: float, seed: int) -> None:
    weights = np.random.default_rng(seed).standard_normal((n_out, n_in) if turned else (n_in, n_out))
    given_ = {"transB": int(turned), "alpha": alpha}
    check_rule(Case("Gemm", {"x": (n_in,)}, {"w": weights, "b": np.ones(n_out)}, attributes=given_), seed)


@settings(max_examples=20)
@given(sizes_=st.tuples(sizes, sizes, sizes), stack=st.lists(sizes, max_size=2), seed=seeds)
def test_matmul(sizes_: tuple[int, int, int], stack: list[int], seed: int) -> None:
    m, k, n = sizes_
    rng = np.random.default_rng(seed)
    check_rule(Case("MatMul", {"a": (*stack, m, k), "b": (*stack, k, n)}), seed)
    check_rule(Case("MatMul", {"a": (*stack, m, k)}, {"w": rng.standard_normal((k, n))}), seed)
    check_rule(Case("MatMul", {"b": (*stack, k, n)}, {"w": rng.standard_normal((m, k))}, ("w", "b")), seed)
    if stack:
        check_rule(Case("MatMul", {"a": (*stack, m, k), "b": (*[1] * len(stack), k, n)}), seed)


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceSum"])
@settings(max_examples=15)
@given(shape=st.lists(sizes, min_size=2, max_size=3).map(tuple), data=st.data(), keep=st.booleans(), seed=seeds)
def test_reductions(operator: str, shape: tuple[int, ...], data: st.DataObject, keep: bool, seed: int) -> None:
    axes = data.draw(st.lists(st.integers(1, len(shape)), min_size=1, unique=True))
    axes = [axis - len(shape) - 1 if data.draw(st.booleans()) else axis for axis in axes]
    check_rule(Case(operator, {"x": shape}, {"axes": np.array(axes)}, attributes={"keepdims": int(keep)}), seed)


@settings(max_examples=10)
@given(channels=sizes, size=st.lists(sizes, max_size=2), seed=seeds)
def test_batch_normalization(channels: int, size: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    constants = {name: rng.uniform(0.5, 2, channels) for name in ("scale", "bias", "mean", "variance")}
    check_rule(Case("BatchNormalization", {"x": (channels, *size)}, constants, attributes={"epsilon": 1e-3}), seed)


@settings(max_examples=10)
@given(shape=st.lists(st.integers(2, 4), min_size=2, max_size=3).map(tuple), last=st.booleans(), seed=seeds)
def test_layer_normalization(shape: tuple[int, ...], last: bool, seed: int) -> None:
    axis = -1 if last else len(shape) - 1
    scale = np.random.default_rng(seed).uniform(0.5, 2, shape[axis if last else axis - 1 :])
    check_rule(
        Case("LayerNormalization", {"x": shape}, {"scale": scale}, attributes={"axis": axis, "epsilon": 1e-3}), seed
    )


@settings(max_examples=15)
@given(shape=st.lists(st.integers(1, 4), min_size=2, max_size=3).map(tuple), seed=seeds, data=st.data())
def test_layout(shape: tuple[int, ...], seed: int, data: st.DataObject) -> None:
    whole = int(np.prod(shape))
    check_rule(Case("Reshape", {"x": shape}, {"shape": np.array([-1, whole])}), seed)
    check_rule(Case("Reshape", {"x": shape}, {"shape": np.array([0, whole])}), seed)
    check_rule(Case("Flatten", {"x": shape}), seed)
    check_rule(Case("Unsqueeze", {"x": shape}, {"axes": np.array([1, -1])}), seed)
    check_rule(Case("Squeeze", {"x": (*shape, 1)}, {"axes": np.array([-1])}), seed)
    order = data.draw(st.permutations(range(len(shape) + 1)))
    check_rule(Case("Transpose", {"x": shape}, attributes={"perm": order}), seed)
    check_rule(Case("Transpose", {"x": shape}), seed)
    check_rule(Case("Expand", {"x": (1, *shape)}, {"to": np.array([3, *shape])}), seed)
    check_rule(Case("Concat", {"a": shape, "b": (shape[0] + 2, *shape[1:])}, attributes={"axis": 1}), seed)


@settings(max_examples=15)
@given(parts=st.lists(sizes, min_size=1, max_size=3), width=sizes, seed=seeds)
def test_split(parts: list[int], width: int, seed: int) -> None:
    case = Case(
        "Split", {"x": (width, sum(parts))}, {"parts": np.array(parts)},
        attributes={"axis": -1}, n_outputs=len(parts),
    )  # fmt: skip
    check_rule(case, seed)


@settings(max_examples=40)
@given(length=st.integers(1, 9), start=st.integers(-9, 9), end=st.integers(-9, 9), step=st.integers(1, 3), seed=seeds)
def test_slice(length: int, start: int, end: int, step: int, seed: int) -> None:
    if len(range(*slice(start, end, step).indices(length))) == 0:
        return
    given_ = {"s": np.array([start, 0]), "e": np.array([end, 2]), "a": np.array([2, 1]), "t": np.array([step, 1])}
    check_rule(Case("Slice", {"x": (3, length)}, given_), seed)


@settings(max_examples=20)
@given(length=sizes, data=st.data(), seed=seeds)
def test_gather(length: int, data: st.DataObject, seed: int) -> None:
    indices = data.draw(st.lists(st.integers(-length, length - 1), min_size=1, max_size=5))
    check_rule(Case("Gather", {"x": (3, length, 2)}, {"i": np.array(indices)}, attributes={"axis": 2}), seed)
    check_rule(Case("Gather", {"x": (3, length)}, {"i": np.array(indices[0])}, attributes={"axis": -1}), seed)
    check_rule(Case("Gather", {"x": (3, length)}, {"i": np.array([indices, indices])}, attributes={"axis": 2}), seed)
    check_rule(Case("Gather", {"x": ()}, {"i": np.array([indices, indices]) % 2}), seed)


@settings(max_examples=20)
@given(amounts=st.tuples(*[st.integers(0, 2)] * 4), by_axes=st.booleans(), seed=seeds)
def test_pad(amounts: tuple[int, ...], by_axes: bool, seed: int) -> None:
    if by_axes:
        constants = {"p": np.array(amounts), "v": np.float64(0.5), "a": np.array([2, -1])}
    else:
        constants = {"p": np.array([0, 0, *amounts[:2], 0, 0, *amounts[2:]]), "v": np.float64(0.5)}
    check_rule(Case("Pad", {"x": (2, 4, 5)}, constants), seed)


def test_every_rule_is_checked_here() -> None:
    """Either in this file, or as `Case("Operator", ...)` in another test file."""
    ours, others = (
        Path(__file__).read_text(),
        "".join(path.read_text() for path in Path(__file__).parent.glob("test_*")),
    )
    assert [name for name in RULES if f'"{name}"' not in ours and f'Case("{name}"' not in others] == []


@pytest.mark.parametrize(
    ("case", "message"),
    {
        "no rule": (Case("Frobnicate", {"x": (3,)}), "has no gradient rule for Frobnicate"),
        "backwards": (
            Case("Slice", {"x": (3,)}, {n: np.array([v]) for n, v in (("s", 2), ("e", -9), ("a", 1), ("t", -1))}),
            "negative steps are not supported",
        ),
        "reflected": (
            Case("Pad", {"x": (3,)}, {"p": np.array([0, 1, 0, 1])}, attributes={"mode": "reflect"}),
            "only constant padding is supported",
        ),
        "along the batch": (
            Case("ReduceMean", {"x": (3,)}, {"axes": np.array([0])}), "reduces the batch axis",
        ),
        "a vector": (Case("MatMul", {"x": (3,)}, {"w": np.ones(3)}), "vector operands are not supported"),
    }.values(),
)  # fmt: skip
def test_what_has_no_gradient_is_named(case: Case, message: str) -> None:
    if case.operator == "Frobnicate":
        with pytest.raises(ModelError, match=message):
            rule_of(helper.make_node("Frobnicate", ["x"], ["y"], name="n"))
        return
    with pytest.raises(ModelError, match=message):
        check_rule(case, 0)
