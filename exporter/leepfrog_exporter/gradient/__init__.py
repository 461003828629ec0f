"""Reverse-mode differentiation of ONNX graphs, itself expressed in ONNX operators: the probe models of TASK2VEC."""
