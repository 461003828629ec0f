"""The decorator that compiles all kernels, so that compiler options are chosen in one place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from leepfrog.unconfigured import import_unconfigured

numba: Any = import_unconfigured("numba")

F = TypeVar("F", bound=Callable[..., Any])

# Flags needed to vectorise sums; none of them lets the compiler assume that there is no NaN or infinity.
# "arcp" is also excluded: division by a subnormal mass can be finite even if its reciprocal overflows.
REASSOCIATE = {"reassoc", "contract", "nsz"}


def kernel(*, exact_order: bool = False) -> Callable[[F], F]:
    """Compile with Numba, releasing the GIL, dividing as NumPy does, and caching the machine code on disk.

    Args:
        exact_order: keep the order of all additions, for error-free transformations, which reassociation would
            simplify away.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False if exact_order else REASSOCIATE}

    def compile_lazily(function: F) -> F:
        try:
            compiled = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # no writable folder for Numba's cache: compile again in each process
            compiled = numba.njit(**options)(function)
        _forgive_cache(compiled)
        return compiled  # type: ignore[no-any-return]

    return compile_lazily


def _forgive_cache(compiled: Any) -> None:
    """Let a kernel run even if its machine code cannot be cached, or the cached code is damaged.

    Numba would raise from the first call: OSError if the disk is full, or almost any error if a cache file is
    truncated. Damaged kernels are compiled again instead. Numba has no public setting for this. If its `_cache`
    attribute changes, this function does nothing, and both cases are errors again.
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
                cache.flush()  # type: ignore[union-attr]  # the index of the cached machine code
            return None

    cache.save_overload, cache.load_overload = save_if_possible, load_if_sound  # type: ignore[union-attr]
