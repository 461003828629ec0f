"""Names that the command line shows as well, in a module that is quick to import."""

from typing import Any

_BYTE = 1 / 255

PRESETS: dict[str, dict[str, Any]] = {
    # torchvision and most of timm
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    # TensorFlow and Keras MobileNets, Inception, EfficientNet-Lite: (x - 127.5) / 127.5
    "inception": {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
    # pixels as 0..1
    "unit": {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
    # pixels as 0..255, for graphs that scale by themselves
    "raw": {"mean": (0.0, 0.0, 0.0), "std": (_BYTE, _BYTE, _BYTE)},
    # Caffe models: blue, green, red, less the mean pixel, 0..255
    "caffe": {
        "mean": (104 / 255, 117 / 255, 123 / 255),
        "std": (_BYTE, _BYTE, _BYTE),
        "channel_order": "bgr",
    },
}
"""Preprocessing by convention (see `leepfrog_exporter.presets`): fields of a PreprocessSpec."""
