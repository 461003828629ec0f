"""Lines that `export` and `zoo pull` print about the files they wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from leepfrog.files import printable

if TYPE_CHECKING:
    from leepfrog.inference.model import ModelFile
    from leepfrog.task2vec.probe import ProbeFile


def described_variant(model: ModelFile) -> str:
    """Return one line on a variant, and one per recipe if several were tried."""
    measured, made = model.metadata.parity, model.metadata.variant
    assert made is not None
    kind = "synthetic images" if measured.get("synthetic") else "images"
    line = f"{printable(model.path)}  {model.size / 1e6:.1f} MB"
    if measured.keys() >= _COMPARED:  # variants made by other programs may lack the comparison
        parent, same = printable(made.parent), _first_class(measured, " of ")
        line += f", same top class as {parent} on {same}" if same else f", compared with {parent} on "
        line += f"{measured['n_inputs']} {kind}, feature cosine {measured['features_cosine']:.4f}"
    tried = [
        f"    {trial['recipe']}: {_first_class(trial, ', ')}{trial['features_cosine']:.4f}"
        for trial in made.tried
        if {*trial, "n_inputs"} >= _COMPARED
    ]
    return "\n".join([f"{line} ({printable(made.recipe)})", *(tried if len(tried) > 1 else [])])


_COMPARED = {"features_cosine", "n_inputs"}


def _first_class(measured: Mapping[str, Any], after: str) -> str:
    """Return how often the top source class is the same, or "" if there are no source classes."""
    return f"{measured['top1_agreement']:.0%}{after}" if "top1_agreement" in measured else ""


def described_probe(probe: ProbeFile) -> str:
    """Return one line on a probe."""
    made = probe.metadata
    left_out = f", without the first {made.skipped}" if made.skipped else ""
    return (
        f"{printable(probe.path)}  {probe.size / 1e6:.1f} MB, {made.n_filters} filters of {len(made.layers)} layers"
        f"{left_out}"
    )


def described(model: ModelFile) -> str:
    """Return lines on an exported model: its difference from the source, its classes and its features."""
    parity = model.metadata.parity
    reference, head = (printable(str(parity.get(key, ""))) for key in ("reference", "head"))
    difference, allowed, n_source, n_features = (
        value if isinstance(value := parity.get(key), int | float) else 0
        for key in ("max_difference", "tolerance", "n_source", "n_features")
    )
    line = (
        f"{printable(model.path)}  {model.size / 1e6:.1f} MB, differs from {reference} by {difference:.1e} "
        f"(allowed {allowed:.1e})"
    )
    if not n_features:
        return line
    classes = f"{n_source:,} classes" if n_source else "no probabilities over source classes"
    return f"{line}\n    {classes}, {n_features:,} features from {head or 'its output'}"
