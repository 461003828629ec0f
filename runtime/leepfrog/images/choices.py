"""Names that the command line shows as well, in a module that is quick to import."""

from typing import Literal, get_args

ResizeMode = Literal["cover", "stretch", "letterbox"]
ChannelOrder = Literal["rgb", "bgr"]

RESIZE_MODES: tuple[ResizeMode, ...] = get_args(ResizeMode)
CHANNEL_ORDERS: tuple[ChannelOrder, ...] = get_args(ChannelOrder)

INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
"""Pillow's filters, in lower case."""
