"""How every kernel is compiled: one decorator, so that the choices below are made once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from leepfrog.unconfigured import import_unconfigured

numba: Any = import_unconfigured("numba")

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
        _forgive_cache(compiled)
        return compiled  # type: ignore[no-any-return]

    return compile_lazily


def _forgive_cache(compiled: Any) -> None:
    """Let a kernel run although its machine code cannot be kept, or was kept and is damaged.

    Numba would raise from the first call: OSError where the disk is full, nearly anything where a file of its is cut
    short, which is then compiled anew. It has no public setting for that. Should its cache move, this does nothing and
    both are errors again.
    """
    cache = getattr(compiled, "_cache", None)
    save, load = getattr(cache, "save_overload", None), getattr(cache, "load_overload", None)
    if save is None or load is None:
        return

    def save_if_possible(*arguments: Any) -> None:
        with contextlib.suppress(Exception):
            save(*arguments)

    def load_if_sound(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:
            with contextlib.suppress(OSError):
                cache.flush()  # type: ignore[union-attr]  # the index, which says where the machine code lies
            return None

    cache.save_overload, cache.load_overload = save_if_possible, load_if_sound  # type: ignore[union-attr]
