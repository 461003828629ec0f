"""How every kernel is compiled: one decorator, so that the choices below are made once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])

# What sums need to be vectorised, and nothing that would let the compiler assume there is no NaN or infinity.
# Not "arcp" either: a division by a subnormal mass is finite where its reciprocal overflows.
REASSOCIATE = {"reassoc", "contract", "nsz"}


def kernel(*, exact_order: bool = False) -> Callable[[F], F]:
    """Compile with Numba, releasing the GIL, dividing as NumPy does, and keeping the machine code on disk.

    Args:
        exact_order: keep every addition where it stands; needed by error-free transformations, which
            reassociation would simplify away.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False if exact_order else REASSOCIATE}

    def compile_lazily(function: F) -> F:
        try:
            compiled = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # no folder for Numba's cache can be written: compile anew in each process
            compiled = numba.njit(**options)(function)
        return compiled  # type: ignore[no-any-return]

    return compile_lazily
