"""Choices of preprocessing options, in a module that is cheap for the command line to import."""

from typing import Literal, get_args

ResizeMode = Literal["cover", "stretch", "letterbox"]
ChannelOrder = Literal["rgb", "bgr"]

RESIZE_MODES: tuple[ResizeMode, ...] = get_args(ResizeMode)
CHANNEL_ORDERS: tuple[ChannelOrder, ...] = get_args(ChannelOrder)

INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
"""Names of Pillow's resampling filters, in lower case."""
