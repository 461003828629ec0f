"""Inspection and editing of ONNX graphs."""
