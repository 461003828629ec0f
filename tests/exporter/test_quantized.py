"""Files on integers: onnxruntime's static QOperator format and its dynamic quantization."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import leepfrog
import models_made as made
import numpy as np
import onnx
import pytest
from leepfrog.inference.load import load
from leepfrog.inference.model import ModelFile, Session
from leepfrog_exporter.export import export
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static
from photos import photo_set


class Calibrating(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self) -> None:
        self.left: Iterator[np.ndarray] = iter(made.images(6))

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.left, None)
        return None if image is None else {"pixels": image[None]}


def quantized(network: made.Made, kind: str, folder: Path) -> Path:
    plain, path = network.save(folder / "plain.onnx"), folder / f"{kind}.onnx"
    if kind == "dynamic":
        quantize_dynamic(plain, path)
    else:
        quantize_static(plain, path, Calibrating(), quant_format=QuantFormat.QOperator)
    return path


def exported(path: Path, folder: Path) -> ModelFile:
    labels = folder / "labels.txt"
    labels.write_text("\n".join("abcde"))
    return export(f"onnx:{path}", made.options(labels=labels))


@pytest.mark.parametrize("tail", [(), ("Softmax",)], ids=["logits", "softmax"])
@pytest.mark.parametrize("head", made.HEADS)
@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_integer_networks(kind: str, head: str, tail: tuple[str, ...], home: Path, tmp_path: Path) -> None:
    network = made.classifier(head, tail=tail)
    path = quantized(network, kind, tmp_path)
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert operators & {"QGemm", "QLinearMatMul", "QLinearConv", "MatMulInteger", "ConvInteger"}
    assert not operators & {"Gemm", "MatMul", "Conv"}
    file, images = exported(path, tmp_path), made.images(4)
    probs, features = Session(file, "cpu", 1).run(images)
    expected = network.expected(images)
    np.testing.assert_allclose(probs, expected[0], atol=0.02)
    np.testing.assert_allclose(features, expected[1], atol=0.02)
    # Exactly what the file computes for each image by itself, except that its probabilities are rounded to 8 bits.
    own = np.concatenate([load(path.read_bytes()).run(None, {"pixels": image[None]})[0] for image in images])
    own = own if tail else np.exp(own) / np.exp(own).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probs, own, atol=1 / 256 if tail else 1e-5)


def test_dynamic_ranges_are_those_of_single_images(home: Path, tmp_path: Path) -> None:
    """An image of high contrast in the batch does not make the others coarser."""
    file = exported(quantized(made.classifier(), "dynamic", tmp_path), tmp_path)
    images = made.images(4)
    images[1] *= 50
    session = Session(file, "cpu", 1)
    _, together = session.run(images)
    alone = np.concatenate([session.run(image[None])[1] for image in images])
    np.testing.assert_array_equal(together, alone)
    assert {model.n_inferred for model in leepfrog.rank(photo_set(3), [file.path]).models} == {9}
