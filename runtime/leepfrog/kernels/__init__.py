"""Numba kernels. A kernel never validates and never reads files; its callers never loop over samples."""
