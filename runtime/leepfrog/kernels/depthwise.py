"""Squared weight gradients of depthwise convolutions.

The gradient of a filter's weight at an offset is a correlation: the output's gradient times the input at that offset,
summed over the image. The input is copied into zero-padded planes with rows of equal length, so that each offset
becomes a dot product of two long stretches of memory, which vectorises for any image width. With strides, there is one
plane per phase.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leepfrog.kernels.jit import kernel

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@kernel()
def mean_squared_gradients(
    seen: Floats,
    gradient: Floats,
    window: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    begin: tuple[int, int],
    out: NDArray[np.float32],
) -> None:
    """Compute the mean squared gradient over each filter's weights, per sample.

    Args:
        seen: input of the layer, [N, C, H, W].
        gradient: gradient of the layer's output, [N, O, P, Q], with O a multiple of C.
        window: height and width of the convolution kernel.
        strides: vertical and horizontal stride.
        dilations: vertical and horizontal dilation.
        begin: padding before the first row and column.
        out: result, [N, O], overwritten.
    """
    n_out, n_rows, n_columns = gradient.shape[1:]
    per_channel = n_out // seen.shape[1]
    # Rows and columns that a plane needs in addition to the output's, for the largest offset.
    extra_rows = (window[0] - 1) * dilations[0] // strides[0]
    extra_columns = (window[1] - 1) * dilations[1] // strides[1]
    width = n_columns + extra_columns
    length = n_rows * width
    planes = np.zeros((strides[0] * strides[1], (n_rows + extra_rows + 1) * width), np.float32)
    flat = np.zeros(length, np.float32)
    n_offsets = window[0] * window[1]
    # Nine offsets at a time (all of a 3 x 3 window); the last offset is repeated to fill the group.
    n_groups = (n_offsets + 8) // 9
    plane_of, start_of = np.empty(9 * n_groups, np.int64), np.empty(9 * n_groups, np.int64)
    for k in range(9 * n_groups):
        y, x = divmod(min(k, n_offsets - 1), window[1])
        y, x = y * dilations[0], x * dilations[1]
        plane_of[k] = y % strides[0] * strides[1] + x % strides[1]
        start_of[k] = y // strides[0] * width + x // strides[1]
    sums = np.empty(9 * n_groups, np.float32)
    for n in range(gradient.shape[0]):
        for o in range(n_out):
            if o % per_channel == 0:
                _to_planes(seen[n, o // per_channel], strides, begin, width, planes)
            for p in range(n_rows):
                flat[p * width : p * width + n_columns] = gradient[n, o, p]
            for k in range(0, 9 * n_groups, 9):
                _nine_dots(flat, planes, plane_of[k : k + 9], start_of[k : k + 9], sums[k : k + 9])
            total = 0.0
            for k in range(n_offsets):
                total += np.float64(sums[k]) ** 2
            out[n, o] = total / n_offsets


@kernel()
def _to_planes(image: Floats, strides: tuple[int, int], begin: tuple[int, int], width: int, planes: Floats) -> None:
    """Copy each phase (y % stride, x % stride) of the padded image into its plane; the padding stays zero."""
    height, image_width = image.shape
    n_rows = planes.shape[1] // width
    for phase_y in range(strides[0]):
        for phase_x in range(strides[1]):
            plane = planes[phase_y * strides[1] + phase_x]
            # Positions of the plane that are inside the image.
            first = max(0, -((phase_x - begin[1]) // strides[1]))
            last = min(width, (image_width - 1 + begin[1] - phase_x) // strides[1] + 1)
            x = first * strides[1] + phase_x - begin[1]
            for row in range(n_rows):
                y = row * strides[0] + phase_y - begin[0]
                if 0 <= y < height and first < last:
                    to = plane[row * width + first : row * width + last]
                    line = image[y, x:]
                    if strides[1] == 1:
                        for i in range(to.shape[0]):
                            to[i] = line[i]
                    elif strides[1] == 2:
                        for i in range(to.shape[0]):
                            to[i] = line[2 * i]
                    else:
                        for i in range(to.shape[0]):
                            to[i] = line[strides[1] * i]


@kernel()
def _nine_dots(g: Floats, planes: Floats, plane: Integers, start: Integers, sums: Floats) -> None:
    """Compute the dot products of g [L] with nine stretches of planes, in one pass with the sums in registers."""
    n = g.shape[0]
    a, b, c = planes[plane[0], start[0] :], planes[plane[1], start[1] :], planes[plane[2], start[2] :]
    d, e, f = planes[plane[3], start[3] :], planes[plane[4], start[4] :], planes[plane[5], start[5] :]
    p, q, r = planes[plane[6], start[6] :], planes[plane[7], start[7] :], planes[plane[8], start[8] :]
    zero = np.float32(0)
    to_a = to_b = to_c = to_d = to_e = to_f = to_p = to_q = to_r = zero
    for i in range(n):
        to_a += g[i] * a[i]
        to_b += g[i] * b[i]
        to_c += g[i] * c[i]
        to_d += g[i] * d[i]
        to_e += g[i] * e[i]
        to_f += g[i] * f[i]
        to_p += g[i] * p[i]
        to_q += g[i] * q[i]
        to_r += g[i] * r[i]
    sums[0], sums[1], sums[2] = to_a, to_b, to_c
    sums[3], sums[4], sums[5] = to_d, to_e, to_f
    sums[6], sums[7], sums[8] = to_p, to_q, to_r
