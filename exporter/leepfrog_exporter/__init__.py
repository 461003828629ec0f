"""Export zoo models and ONNX classifiers as leepfrog scoring models. Needs the `export` extra; scoring does not.

The public API is `leepfrog_exporter.export.export` with its `ExportOptions`; everything else may change.
"""
