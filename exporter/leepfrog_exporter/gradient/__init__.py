"""Reverse-mode differentiation over ONNX operators, written as ONNX operators: the probe models of TASK2VEC."""
