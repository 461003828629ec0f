"""How every kernel is compiled: one decorator, so that the choices below are made once."""

from __future__ import annotations

import contextlib
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
        _forgive_full_disk(compiled)
        return compiled  # type: ignore[no-any-return]

    return compile_lazily


def _forgive_full_disk(compiled: Any) -> None:
    """Let a kernel run although its machine code cannot be kept; Numba would raise OSError from the first call.

    Numba has no public setting for that. Should its cache move, this does nothing and a full disk is an error again.
    """
    cache = getattr(compiled, "_cache", None)
    save = getattr(cache, "save_overload", None)
    if save is None:
        return

    def save_if_possible(*arguments: Any) -> None:
        with contextlib.suppress(OSError):
            save(*arguments)

    cache.save_overload = save_if_possible  # type: ignore[union-attr]
