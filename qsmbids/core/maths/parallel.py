"""Threads for numba loops, granted explicitly by the caller."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise

import numba
import numpy as np

__all__ = ["Run", "numba_threads", "planes"]

#: Runs a loop over all planes of a volume with the other arguments that it is given.
Run = Callable[..., None]


@contextmanager
def numba_threads(n_threads: int) -> Iterator[None]:
    """Run numba's parallel loops inside the block on at most ``n_threads`` threads."""
    before = numba.get_num_threads()
    numba.set_num_threads(max(1, min(int(n_threads), numba.config.NUMBA_NUM_THREADS)))
    try:
        yield
    finally:
        numba.set_num_threads(before)


@contextmanager
def planes(n_planes: int, n_threads: int) -> Iterator[Run]:
    """Give a function that runs a loop over all planes, a slab for each thread.

    The threads stay for the next loops: to start one takes as long as a short loop. A loop that
    is called from such a thread runs on that alone.
    """
    n_slabs = 1 if getattr(_here, "busy", False) else n_threads
    edges = np.linspace(0, n_planes, n_slabs + 1).astype(int)
    slabs = list(pairwise(edges.tolist()))
    pool = _threads(n_slabs - 1, threading.get_native_id()) if n_slabs > 1 else None

    def run(loop: Callable[..., None], *args: object) -> None:
        jobs = [] if pool is None else [pool.submit(loop, *slab, *args) for slab in slabs[1:]]
        loop(*slabs[0], *args)
        for job in jobs:
            job.result()

    yield run


_here = threading.local()


def _mark_busy() -> None:
    _here.busy = True


@lru_cache(maxsize=4)
def _threads(number: int, caller: int) -> ThreadPoolExecutor:
    """Return so many threads for a thread that waits for them.

    By the number that the system gave the caller: a fork has none of the threads of its parent.
    """
    return ThreadPoolExecutor(number, initializer=_mark_busy)
