"""Turns zoo models and any ONNX classifier into leepfrog scoring models. Needs the `export` extra; scoring does not."""
