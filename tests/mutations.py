"""Damage to real files: what a bad disk, a cut download or an ill will does to their bytes."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

# Headers, where damage is most varied, get their share of it.
REACHES = (32, 128, 1024, None)
# What lengths, counts and sizes are at their worst.
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def damage(*others: bytes) -> Any:
    """A strategy of functions that damage a file, one to three times; pieces of `others` may come into it."""
    kinds = ("flip", "set", "cut", "drop", "repeat", "number", *(("splice",) if others else ()))

    def apply(steps: list[str], seed: int) -> Any:
        def to(content: bytes) -> bytes:
            chance = random.Random(seed)  # hypothesis's own would mostly choose the first of everything
            for step in steps:
                content = _step(content, step, chance, others)
            return content

        return to

    return st.builds(apply, st.lists(st.sampled_from(kinds), min_size=1, max_size=3), st.integers(0, 2**32))


def _step(content: bytes, kind: str, chance: random.Random, others: tuple[bytes, ...]) -> bytes:
    if not content:
        return content
    reach = chance.choice(REACHES)
    place = chance.randrange(min(reach or len(content), len(content)))
    length = chance.choice((1, 2, 4, 16, 200))
    damaged = bytearray(content)
    match kind:
        case "flip":
            damaged[place] ^= 1 << chance.randrange(8)
        case "set":
            damaged[place] = chance.randrange(256)
        case "cut":
            del damaged[place:]
        case "drop":
            del damaged[place : place + length]
        case "repeat":
            damaged[place:place] = damaged[place : place + length]
        case "number":
            value, width = chance.choice(NUMBERS), chance.choice((2, 4))
            raw = (value & (256**width - 1)).to_bytes(width, chance.choice(("little", "big")))
            damaged[place : place + width] = raw
        case "splice":
            other = chance.choice(others)
            start = chance.randrange(len(other))
            damaged[place : place + length] = other[start : start + length]
    return bytes(damaged)
