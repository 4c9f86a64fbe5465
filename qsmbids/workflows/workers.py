"""The processes in which steps run: forked from one that has everything imported."""

import atexit
import contextlib
import gc
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import qsmbids
from qsmbids.config import Settings
from qsmbids.execution import signals_handled
from qsmbids.io.compiling import FOLDER, QUEUES

__all__ = [
    "compile_beside",
    "kill_workers",
    "start_polite_worker",
    "start_worker",
    "worker_context",
]

#: Threads that wait for the next loop, or are started for a small matrix, take the time of others.
#: numba's third level of optimisation takes a sixth longer and makes no loop of the core faster.
#: Nipype asks the network for its latest version when it is imported, unless told not to.
_QUIET = {
    "OMP_WAIT_POLICY": "passive",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_OPT": "2",
    "NO_ET": "1",
    "NIPYPE_NO_ET": "1",
}


#: Of what is compiled while the steps at work leave a processor idle [niceness].
_PATIENT = 19
#: Of what is wanted before long, but after the steps.
_POLITE = 10


def worker_context() -> ForkServerContext:
    """Return the context of the workers, and begin with its imports.

    These take a second or two, in which the caller can do something else.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["qsmbids.workflows.preloaded"])
    # its imports look into the current folder first, where another qsmbids may lie
    folder = contextlib.chdir(Path(qsmbids.__file__).parents[1])
    # a terminal sends SIGINT to all processes of a call: the one that was called ends the others,
    # which inherit this and would show a traceback each
    deaf = signals_handled({signal.SIGINT: signal.SIG_IGN})
    with folder, deaf:
        forkserver.ensure_running()
    return context


def compile_beside(settings: Settings) -> None:
    """Begin as :func:`worker_context`, and with what compiles the loops of the later steps.

    That process ends with this one; see :mod:`qsmbids.workflows.compiling`.
    """
    folder = tempfile.mkdtemp(prefix="qsmbids-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[FOLDER] = folder  # before there are workers
    context = worker_context()

    def start() -> None:
        # without it the steps compile what they need, as they do with one processor
        with contextlib.suppress(Exception):
            for parts in QUEUES:
                context.Process(target=_compile, args=(settings, parts), daemon=True).start()

    # it is forked only after the imports
    threading.Thread(target=start, daemon=True).start()


def _leave_no_lock() -> None:
    """Let numba make no lock for its threads in a process that may be killed.

    For processes begun as these are, it makes a semaphore with a name. Of one that is left behind
    Python tells when all have ended, which is after the last line of an interrupted command.
    """
    multiprocessing.set_start_method("spawn", force=True)


def start_worker() -> None:
    """Prepare a process that may be killed, and that a terminal does not interrupt."""
    _leave_no_lock()
    # ignored until now, and by this process still, but not by a program that a step starts
    signal.signal(signal.SIGINT, lambda *_: None)


def start_polite_worker() -> None:
    """Prepare a process for what is wanted soon, but after the steps."""
    start_worker()
    os.nice(_POLITE)


def kill_workers(*pools: ProcessPoolExecutor) -> None:
    """Kill the processes of all pools at once, when the user interrupts."""
    managers: list[Any] = [pool._executor_manager_thread for pool in pools]
    for pool in pools:
        for process in list((pool._processes or {}).values()):
            with contextlib.suppress(OSError, ValueError):
                process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
    for manager in managers:
        if manager is not None:  # else it closes a pipe while the interpreter ends, which wakes it
            manager.join(timeout=5.0)


def _wait_for_idle() -> None:
    """Use what the steps leave of a processor, and give it back the moment that one wants it.

    A step begins some thousand short loops on two threads, and at the end of each it waits for the
    slower one: a process that is merely nice keeps a processor for some milliseconds every time.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):  # only Linux has it
        os.nice(_PATIENT)


def _compile(settings: Settings, parts: Sequence[str]) -> None:
    _leave_no_lock()
    gc.disable()  # a compiler allocates much, and there are the objects of all imports to look at
    from qsmbids.workflows.compiling import compile_ahead

    compile_ahead(settings, parts[:1])
    _wait_for_idle()
    compile_ahead(settings, parts[1:])
