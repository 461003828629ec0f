"""Check that the address-space limit (`ulimit -v`) leaves room for the libraries that commands load.

If it does not, OpenBLAS hangs or ends the process while being imported, which Python cannot catch. So the limit is
checked first.
"""

from __future__ import annotations

import mmap
import os

# Measured address space of onnxruntime, NumPy, SciPy and Numba, and of each core's thread stacks and buffers.
LIBRARIES, PER_CORE = 896 << 20, 256 << 20
# The most threads that OpenBLAS starts.
MOST_CORES = 64


def shortage() -> str | None:
    """Return why the libraries do not fit, or None if they do or the system has no such limit."""
    if os.name != "posix":
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    if text.isdecimal():
        cores = min(cores, max(int(text), 1))
    needed = LIBRARIES + PER_CORE * min(cores, MOST_CORES)
    try:
        # This reserves address space only: private pages that are never touched use no memory.
        mmap.mmap(-1, needed, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON, prot=mmap.PROT_READ).close()
    except (OSError, ValueError):
        return (
            f"out of memory: leepfrog needs {needed >> 20:,} MiB of address space on {cores} core(s), more than this "
            "process may use; raise the limit (ulimit -v) or use fewer cores (taskset, OPENBLAS_NUM_THREADS)"
        )
    return None
