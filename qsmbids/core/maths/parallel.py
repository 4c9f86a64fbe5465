"""Threads for numba loops, granted explicitly by the caller."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
    """Give a function that runs a loop over all planes, a slab for each thread."""
    edges = np.linspace(0, n_planes, n_threads + 1).astype(int)
    slabs = list(pairwise(edges.tolist()))
    with ThreadPoolExecutor(n_threads) as pool:

        def run(loop: Callable[..., None], *args: object) -> None:
            jobs = [pool.submit(loop, start, stop, *args) for start, stop in slabs[1:]]
            loop(*slabs[0], *args)
            for job in jobs:
                job.result()

        yield run
