"""Whether a limit on the address space (`ulimit -v`) leaves room for the libraries that commands load.

Where it does not, OpenBLAS waits for memory forever or ends the process while it is imported, and Python cannot catch
that. So it is checked first.
"""

from __future__ import annotations

import mmap
import os

# Measured: onnxruntime, NumPy, SciPy and Numba, and what each core adds in stacks and buffers of threads.
LIBRARIES, PER_CORE = 896 << 20, 256 << 20
# OpenBLAS starts no more threads.
MOST_CORES = 64


def shortage() -> str | None:
    """Why the libraries do not fit; None where they do, or where the system has no such limit."""
    if os.name != "posix":
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    if text.isdecimal():
        cores = min(cores, max(int(text), 1))
    needed = LIBRARIES + PER_CORE * min(cores, MOST_CORES)
    try:
        # Address space alone: private pages that are never touched need no memory.
        mmap.mmap(-1, needed, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON, prot=mmap.PROT_READ).close()
    except (OSError, ValueError):
        return (
            f"out of memory: this process may not take {needed >> 20:,} MiB of address space, which leepfrog needs on "
            f"{cores} core(s); raise the limit (ulimit -v), or give it fewer cores (taskset, OPENBLAS_NUM_THREADS)"
        )
    return None
