"""Nipype's process pool, made to survive a worker that is killed, and to lose no time."""

import gc
import logging
import os
import threading
import traceback
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import networkx as nx
import numpy as np
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, run_node

from qsmbids.workflows.memory import give_back_memory, keep_memory
from qsmbids.workflows.run_order import StepsByRun
from qsmbids.workflows.workers import kill_workers, start_worker, worker_context

__all__ = ["WORKER_KILLED", "SturdyMultiProc"]

#: What the report of a step says whose worker vanished twice.
WORKER_KILLED = (
    "WorkerKilled: the process of this step was killed, most probably for want of memory"
)


#: Estimate of the memory of a step from which it matters what its worker keeps.
LARGE_GB = 0.5


def _start_worker(cwd: str) -> None:
    """Prepare a worker: no telemetry, no chatter; the parent tells what happens."""
    os.environ["NIPYPE_NO_ET"] = "1"
    start_worker()
    os.chdir(cwd)
    for name in ("nipype.workflow", "nipype.interface", "nipype.utils", "nipype"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _run_step(node: Any, updatehash: bool, taskid: int) -> dict[str, Any]:
    """Run a step in a worker."""
    large = node.mem_gb > LARGE_GB
    if large:
        keep_memory()
    try:
        return run_node(node, updatehash, taskid)  # type: ignore[no-any-return]
    finally:
        if large:
            give_back_memory()


class SturdyMultiProc(StepsByRun, MultiProcPlugin):
    """Runs steps in a pool of processes; a killed worker costs at most its own step.

    Nipype waits for ever when the kernel kills a worker. Here every step that was lost is run
    once more in a process of its own; if that is killed too, the step has failed.

    Steps of an earlier run come first, and no more runs are at work than can have a step each. Of
    the steps of a run the one that most others wait for comes first. A step counts for all its
    threads if it is a wide one, else for one; and one step of a single thread may run beside those
    that have all processors, for no step keeps its threads busy all the time.
    """

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        self._threads = self.processors
        self.processors += 1
        self._ahead: dict[Any, int] = {}
        self._news = threading.Event()
        self._submitted: dict[int, tuple[Any, bool]] = {}
        self._second_try: dict[int, ProcessPoolExecutor] = {}
        self._stopped = False
        self._context = worker_context()
        self.pool = self._new_pool(self._threads)

    def _new_pool(self, workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=workers,
            initializer=_start_worker,
            initargs=(self._cwd,),
            mp_context=self._context,
        )

    def run(self, graph: Any, config: Mapping[str, Any], updatehash: bool = False) -> None:
        """Run all steps of a graph; see Nipype."""
        for node in reversed(list(nx.topological_sort(graph))):
            self._ahead[node] = 1 + max(
                (self._ahead[n] for n in graph.successors(node)), default=0
            )
        execution = {**config["execution"], "poll_sleep_duration": 0}  # this class waits by itself
        # Nipype collects garbage before every step; what is there already is none
        gc.collect()
        gc.freeze()
        try:
            super().run(graph, {**config, "execution": execution}, updatehash=updatehash)
        finally:
            gc.unfreeze()

    def _send_procs_to_workers(self, updatehash: bool = False, graph: Any = None) -> None:
        super()._send_procs_to_workers(updatehash=updatehash, graph=graph)
        if self.pending_tasks:  # until one of them ends
            self._news.wait(1.0)
            self._news.clear()

    def _sort_jobs(self, jobids: Iterable[int], scheduler: str = "") -> list[int]:
        """Return what is ready of the first runs that are not finished, run by run."""
        ready = np.fromiter(jobids, int)
        at_work = self.proc_pending.nonzero()[0]
        jobs: list[int] = []
        for run in self.unfinished_runs()[: self.processors]:
            of_ready, of_work = self.runs[ready] == run, self.runs[at_work] == run
            jobs += self._in_run(ready[of_ready], at_work[of_work])
        return jobs

    def _in_run(self, ready: Iterable[int], at_work: Iterable[int]) -> list[int]:
        """Put one of the longest chain first, then what nothing waits for, then the rest.

        What nothing waits for are the files of the user, written in a moment, and the pages are
        drawn from them beside the longest steps.
        """
        ahead = {job: self._ahead[self.procs[job]] for job in ready}
        jobs = sorted(ahead, key=lambda job: (-ahead[job], -self.procs[job].n_procs, job))
        longest = max((self._ahead[self.procs[job]] for job in at_work), default=0)
        n_first = 0 if jobs and longest >= ahead[jobs[0]] else 1
        return jobs[:n_first] + sorted(jobs[n_first:], key=lambda job: ahead[job] > 1)

    def _prerun_check(self, graph: Any) -> None:
        for node in graph.nodes():
            # most steps have threads for short parts of them only
            wide = getattr(node, "wide", True)
            node.n_procs = min(node.n_procs, self._threads) if wide else 1
        super()._prerun_check(graph)

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        self._submitted[self._taskid] = node, updatehash
        try:
            self._start(self.pool, self._taskid)
        except BrokenProcessPool:
            self.pool = self._new_pool(self._threads)
            self._start(self.pool, self._taskid)
        return self._taskid

    def _start(self, pool: ProcessPoolExecutor, taskid: int) -> None:
        node, updatehash = self._submitted[taskid]
        future = pool.submit(_run_step, node, updatehash, taskid)
        self._task_obj[taskid] = future
        future.add_done_callback(lambda done: self._finished(taskid, done))

    def _finished(self, taskid: int, future: Future) -> None:
        try:
            result = future.result()
        except BrokenProcessPool:
            if taskid not in self._second_try and not self._stopped:
                pool = self._second_try[taskid] = self._new_pool(1)
                self._start(pool, taskid)
                return
            result = {"result": None, "traceback": [WORKER_KILLED], "taskid": taskid}
        except BaseException as error:  # noqa: BLE001 - any loss of a step must reach its report
            result = {
                "result": None,
                # with what came before: Nipype itself stumbles over the missing result of a step
                # whose folder is full, and that alone would say nothing
                "traceback": traceback.format_exception(error),
                "taskid": taskid,
            }
        if taskid in self._second_try:
            self._second_try[taskid].shutdown(wait=False)
        self._taskresult[taskid] = result
        self._news.set()

    def _clear_task(self, taskid: int) -> None:
        super()._clear_task(taskid)
        self._submitted.pop(taskid, None)

    def stop_workers(self) -> None:
        """Kill every worker at once, when the user interrupts."""
        self._stopped = True  # a step whose worker vanishes now is not tried again
        kill_workers(self.pool, *self._second_try.values())
