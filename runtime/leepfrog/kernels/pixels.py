"""Conversion of pixels to network inputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leepfrog.kernels.jit import kernel


@kernel()
def normalize_into(
    crops: NDArray[np.uint8], table: NDArray[np.float32], source: NDArray[np.int64], batch: NDArray[np.float32]
) -> None:
    """Set batch [n, 3, H, W] to table[c, crops[n, h, w, source[c]]].

    Shapes: crops [n, H, W, 3], table [3, 256], source [3].
    """
    for i in range(crops.shape[0]):
        for c in range(3):
            s = source[c]
            for h in range(crops.shape[1]):
                for w in range(crops.shape[2]):
                    batch[i, c, h, w] = table[c, crops[i, h, w, s]]
