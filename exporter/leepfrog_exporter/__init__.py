"""Turns zoo models and any ONNX classifier into leepfrog scoring models. Needs the `export` extra; scoring does not.

Other programs use `leepfrog_exporter.export.export`, with its `ExportOptions`; the rest may change.
"""
