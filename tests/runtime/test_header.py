"""Reading the header of an ONNX file without onnx: the result is that of onnx, or a ModelError."""

from __future__ import annotations

import json

import models_made as made
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from leepfrog.errors import ModelError
from leepfrog.inference.header import Header, read_header
from leepfrog.inference.metadata import FORMAT_VERSION, PREFIX, ModelMetadata
from onnx import helper

REAL = made.scoring().SerializeToString()


def read(content: bytes) -> Header:
    return read_header(memoryview(content))


@given(
    ir=st.integers(1, 2**31),
    opsets=st.dictionaries(st.text(max_size=20), st.integers(1, 2**40), max_size=5),
    props=st.dictionaries(st.text(max_size=30), st.text(max_size=200), max_size=8),
)
@example(ir=8, opsets={"": 17}, props={"é": "日本\n\0", "": ""})
def test_equal_to_onnx(ir: int, opsets: dict[str, int], props: dict[str, str]) -> None:
    model = made.classifier(ir=8).model
    model.ir_version = ir
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in opsets.items())
    helper.set_model_props(model, props)
    model.doc_string, model.producer_name, model.model_version = "doc", "x", 7
    assert read(model.SerializeToString()) == Header(ir, opsets, props)


def answer(content: bytes) -> Header | None:
    """Return the header, or None after a ModelError; any other exception fails the test."""
    try:
        return read(content)
    except ModelError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return None


@given(st.binary(max_size=400))
def test_random_bytes(content: bytes) -> None:
    answer(content)


@given(st.integers(0, len(REAL) - 1), st.binary(min_size=1, max_size=12))
def test_changed_bytes(position: int, written: bytes) -> None:
    answer(REAL[:position] + written + REAL[position + len(written) :])


@given(st.integers(0, len(REAL) - 1))
def test_cut_short(length: int) -> None:
    """The metadata is at the end of the file, so a truncated file has fewer entries."""
    header = answer(REAL[:length])
    assert header is None or len(header.metadata) < len(read(REAL).metadata) or header.opsets != read(REAL).opsets


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"empty file \(0 bytes\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a Git LFS pointer.*git lfs pull"),
        (b"\x08\x08", "not an ONNX model, or cut short"),  # a version without a graph
        (b"\x3a\x00", "not an ONNX model, or cut short"),  # a graph without a version
        (b"\x08" + b"\xff" * 11, "not an ONNX model, or cut short"),  # an unterminated number
        (b"\x08\x08\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "not an ONNX model, or cut short"),
        (b"\x08\x08\x3a\x00\x72\x04\x0a\x02\xff\xfe", "not an ONNX model, or cut short"),  # a key that is not UTF-8
        (b"\x0b\x0c", "not an ONNX model, or cut short"),  # groups, which protobuf has deprecated
    ],
)
def test_not_onnx(content: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=f"^{message}"):
        read(content)


# Metadata with values that ModelMetadata does not expect.
FIELDS = st.sampled_from(["name", "source", "preprocess", "labels", "license", "n_parameters", "top1", "parity"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(FIELDS, JSON, min_size=1, max_size=3))
def test_foreign_metadata(values: dict[str, object]) -> None:
    props = read(REAL).metadata
    props |= {PREFIX + key: json.dumps(value) for key, value in values.items()}
    try:
        metadata = ModelMetadata.from_props(props)
    except ModelError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert ModelMetadata.from_props(metadata.to_props()).to_props() == metadata.to_props()


@given(st.text(max_size=200))
@example("[" * 100_000)
@example("9" * 5000)
def test_metadata_of_any_text(text: str) -> None:
    for key in ("name", "preprocess", "format_version"):
        try:
            ModelMetadata.from_props({**read(REAL).metadata, PREFIX + key: text})
        except ModelError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_metadata_versions() -> None:
    props = read(REAL).metadata
    with pytest.raises(ModelError, match="not a scoring model yet"):
        ModelMetadata.from_props({})
    with pytest.raises(
        ModelError, match=f"has format 9, this leepfrog reads {FORMAT_VERSION}; export it again or upgrade"
    ):
        ModelMetadata.from_props({**props, f"{PREFIX}format_version": "9"})
    assert ModelMetadata.from_props({**props, f"{PREFIX}added_later": "1"}) == ModelMetadata.from_props(props)
    with pytest.raises(ModelError, match=r"metadata is incomplete: .*source"):
        ModelMetadata.from_props({key: text for key, text in props.items() if key != f"{PREFIX}source"})
    with pytest.raises(ModelError, match=r"metadata is incomplete: .*preprocess"):
        ModelMetadata.from_props({key: text for key, text in props.items() if key != f"{PREFIX}preprocess"})


def test_metadata_of_impossible_values() -> None:
    props = read(REAL).metadata
    for value in ("NaN", "Infinity", "-Infinity"):
        with pytest.raises(ModelError, match=f"metadata is not JSON: it contains {value}"):
            ModelMetadata.from_props({**props, f"{PREFIX}top1": value})
