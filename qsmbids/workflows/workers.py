"""The processes in which steps run: forked from one that has everything imported."""

import contextlib
import multiprocessing
import os
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

import qsmbids

__all__ = ["worker_context"]

#: Threads that wait for the next loop, or are started for a small matrix, take the time of others.
#: Nipype asks the network for its latest version when it is imported, unless told not to.
_QUIET = {
    "OMP_WAIT_POLICY": "passive",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NO_ET": "1",
    "NIPYPE_NO_ET": "1",
}


def worker_context() -> ForkServerContext:
    """Return the context of the workers, and begin with its imports.

    These take a second or two, in which the caller can do something else.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["qsmbids.workflows.base"])
    # its imports look into the current folder first, where another qsmbids may lie
    with contextlib.chdir(Path(qsmbids.__file__).parents[1]):
        forkserver.ensure_running()
    return context
