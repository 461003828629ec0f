"""Names that the command line also shows, in a module that is cheap to import."""

from typing import Any

MEAN, CLS = "mean", "cls"
POOLS = (MEAN, CLS)
"""Ways in which tokens [N, T, D] become features [N, D]: their average, or the first one, the class token."""

_BYTE = 1 / 255

PRESETS: dict[str, dict[str, Any]] = {
    # torchvision and most of timm
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    # TensorFlow and Keras MobileNets, Inception, EfficientNet-Lite: (x - 127.5) / 127.5
    "inception": {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
    # pixels as 0..1
    "unit": {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
    # pixels as 0..255, for graphs that do their own scaling
    "raw": {"mean": (0.0, 0.0, 0.0), "std": (_BYTE, _BYTE, _BYTE)},
    # Caffe models: BGR, 0..255, minus the mean pixel
    "caffe": {
        "mean": (104 / 255, 117 / 255, 123 / 255),
        "std": (_BYTE, _BYTE, _BYTE),
        "channel_order": "bgr",
    },
}
"""Preprocessing presets by name (see `leepfrog_exporter.presets`): each maps PreprocessSpec fields to values."""
