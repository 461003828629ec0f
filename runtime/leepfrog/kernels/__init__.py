"""Numba kernels. Kernels never validate arguments or read files; their callers never loop over samples."""
