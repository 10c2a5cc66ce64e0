"""The numeric build: libraries and processor, on which the last bits of a score depend beside its inputs."""

import hashlib
from functools import cache
from importlib.metadata import version

import llvmlite.binding
import numpy as np
from threadpoolctl import threadpool_info

_REVISION = 1
"""Raised when the code of this package changes what it computes in the last bit."""


@cache
def numeric_build() -> str:
    """Hash of the libraries and of the kind of processor: the same one gives the same bits."""
    np.dot(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32))
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    # SciPy has a BLAS of its own, which is loaded in some processes and not in others.
    ours = [pool for pool in pools if "numpy" in pool["filepath"]] or pools
    blas = sorted((pool["version"] or "", pool.get("architecture", "")) for pool in ours)
    libraries = [version(name) for name in ("numpy", "scipy", "numba", "llvmlite")]
    parts = (_REVISION, libraries, blas, llvmlite.binding.get_host_cpu_name())
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
