"""Threads for numba loops, granted explicitly by the caller."""

from collections.abc import Iterator
from contextlib import contextmanager

import numba

__all__ = ["numba_threads"]


@contextmanager
def numba_threads(n_threads: int) -> Iterator[None]:
    """Run numba's parallel loops inside the block on at most ``n_threads`` threads."""
    before = numba.get_num_threads()
    numba.set_num_threads(max(1, min(int(n_threads), numba.config.NUMBA_NUM_THREADS)))
    try:
        yield
    finally:
        numba.set_num_threads(before)
