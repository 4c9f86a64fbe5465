"""Threads that share the planes of a volume."""

import multiprocessing
import threading

import numpy as np
import pytest

from qsmbids.core.maths.parallel import planes


def _visited(n_planes, n_threads):
    seen, names = np.zeros(n_planes, int), set()

    def loop(start, stop, step):
        seen[start:stop] += step
        names.add(threading.get_ident())

    with planes(n_planes, n_threads) as run:
        run(loop, 1)
        run(loop, 10)
    return seen, names


@pytest.mark.parametrize(("n_planes", "n_threads"), [(7, 1), (7, 3), (2, 5)])
def test_every_plane_is_done_once_by_every_loop(n_planes, n_threads):
    seen, names = _visited(n_planes, n_threads)
    assert (seen == 11).all()
    assert len(names) <= n_threads


def test_threads_are_not_started_anew():
    _visited(6, 2)
    before = set(threading.enumerate())  # some of other tests may end meanwhile
    for _ in range(5):
        _visited(6, 2)
    assert set(threading.enumerate()) <= before


def test_a_loop_within_a_loop_does_not_wait_for_itself():
    done = []

    def outer(start, stop):
        done.extend(_visited(4, 2)[0].tolist() for _ in range(start, stop))

    with planes(4, 2) as run:
        run(outer)
    assert done == [[11] * 4] * 4


def test_what_fails_in_a_thread_is_raised():
    def loop(start, stop):
        if start:
            raise ValueError("odd")

    with planes(4, 2) as run, pytest.raises(ValueError, match="odd"):
        run(loop)


def _in_a_fork(queue):
    queue.put(_visited(6, 2)[0].tolist())


def test_a_fork_has_threads_of_its_own():
    _visited(6, 2)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_in_a_fork, args=(queue,))
    process.start()
    assert queue.get(timeout=30) == [11] * 6
    process.join()
