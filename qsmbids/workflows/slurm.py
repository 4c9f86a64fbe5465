"""Nipype's two Slurm plugins, made to ask for what a step needs and to notice what happens.

The originals ask Slurm once per job and poll, request no memory, take the result of an earlier
attempt for that of a job that died, and leave the jobs behind when they are stopped; the graph
plugin returns before anything has run.
"""

import re
import sys
import time
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from nipype.pipeline.engine.utils import load_resultfile
from nipype.pipeline.plugins.base import PluginBase
from nipype.pipeline.plugins.tools import create_pyscript, report_crash
from nipype.utils.filemanip import loadpkl

from qsmbids.errors import ConfigError
from qsmbids.workflows.plan import workflow_of
from qsmbids.workflows.run_order import StepsByRun, steps_by_run
from qsmbids.workflows.slurm_jobs import (
    JOB_ENDED,
    Job,
    SlurmBusyError,
    SlurmJobs,
    SlurmRefusedError,
    why_ended,
)

__all__ = ["SturdySlurm", "SturdySlurmGraph"]

#: A result may reach this machine's view of a shared disk later than the news of the job's end.
_RESULT_S = 15.0
#: How long a job may be turned away before its step has failed.
_PATIENCE_S = 1800.0

_KNOWN = {"sbatch_args", "template", "max_jobs", "poll_seconds", "status_callback"}


def _jobs(plugin_args: Mapping[str, Any]) -> SlurmJobs:
    """Return an empty set of jobs with the user's arguments."""
    if unknown := sorted(set(plugin_args) - _KNOWN):
        known = ", ".join(sorted(_KNOWN - {"status_callback"}))
        raise ConfigError(f"unknown plugin_args {unknown}", "--use-plugin", f"Known: {known}.")
    try:
        poll = float(plugin_args.get("poll_seconds", 1.0))
    except (TypeError, ValueError) as error:
        raise ConfigError("must be a number", "poll_seconds in --use-plugin") from error
    return SlurmJobs(str(plugin_args.get("sbatch_args") or ""), poll)


def _script(node: Any, updatehash: bool, template: str, store_exception: bool) -> Path:
    """Write what a job runs, and return the file."""
    program = Path(create_pyscript(node, updatehash=updatehash, store_exception=store_exception))
    script = program.with_suffix(".sh")
    script.write_text(f'{template.rstrip()}\nexec "{sys.executable}" "{program}"\n', "utf-8")
    return script


def _template(plugin_args: Mapping[str, Any]) -> str:
    """Return the beginning of every job script: the user's text or file."""
    given = str(plugin_args.get("template") or "#!/bin/bash")
    if "\n" not in given and not given.startswith("#!") and Path(given).is_file():
        return Path(given).read_text("utf-8")
    return given


def _job_name(node: Any) -> str:
    """Return step and run, free of what a shell or ``squeue`` would stumble over."""
    return re.sub(r"[^\w.-]", "_", f"{node.name}.{workflow_of(node)}")


class SturdySlurm(StepsByRun):
    """Every step one job, submitted as soon as what it needs is done, those of earlier runs first.

    Parameters
    ----------
    plugin_args : dict
        ``sbatch_args`` (str) wins over the memory and processors that are asked for by
        themselves; ``max_jobs`` (int) at a time; ``template`` is the beginning of each script;
        ``poll_seconds`` is the least time between two questions to Slurm.
    """

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        self._jobs = _jobs(self.plugin_args)
        self._template = _template(self.plugin_args)
        self._submitted: dict[int, tuple[Any, Path, tuple[int, int] | None]] = {}
        self._refused: dict[int, str] = {}
        self._ended: dict[int, float] = {}
        self._turned_away = 0.0

    def _submit_job(self, node: Any, updatehash: bool = False) -> int | None:
        script = _script(node, updatehash, self._template, True)
        before = _stamp(_result_file(node))
        try:
            number = self._jobs.submit(script, _job_name(node), node.mem_gb, node.n_procs)
        except SlurmBusyError as error:
            self._turned_away = self._turned_away or time.monotonic()
            if time.monotonic() - self._turned_away < _PATIENCE_S:
                time.sleep(2)
                return None  # is offered again
            return self._refuse(str(error))
        except SlurmRefusedError as error:
            return self._refuse(str(error))
        self._turned_away = 0.0
        self._submitted[number] = node, script, before
        return number

    def _refuse(self, said: str) -> int:
        number = -1 - len(self._refused)
        self._refused[number] = f"{JOB_ENDED}Slurm refused the job: {said}\n"
        return number

    def _get_result(self, taskid: int) -> dict[str, Any] | None:
        if taskid in self._refused:
            return {"result": None, "traceback": [self._refused[taskid]]}
        self._jobs.refresh()
        job = self._jobs.jobs[taskid]
        if job.active:
            return None
        node, script, before = self._submitted[taskid]
        found = _result_file(node)
        # what lay there before is the result of an earlier attempt, not of this job
        fresh = _stamp(found) not in (None, before)
        crash = script.with_name(script.stem.replace("pyscript_", "crashdump_") + ".pklz")
        if not (fresh or crash.exists()):
            ended = self._ended.setdefault(taskid, time.monotonic())
            patience = _RESULT_S if job.state in ("COMPLETED", "") else 1.0
            if time.monotonic() - ended < patience:
                return None
            return {"result": None, "traceback": [why_ended(job)]}
        if not fresh:
            return dict(loadpkl(str(crash)))
        if job.state not in ("COMPLETED", "FAILED", ""):  # killed while it wrote
            return {"result": None, "traceback": [why_ended(job)]}
        try:
            result = load_resultfile(str(found))
        except Exception:  # noqa: BLE001 - half of a pickle raises anything
            return {"result": None, "traceback": [why_ended(job)]}
        if isinstance(result, dict):
            found.rename(found.with_name("crashstore.pklz"))
            return {"result": result["result"], "traceback": result["traceback"]}
        return {"result": result, "traceback": None}

    def _clear_task(self, taskid: int) -> None:
        self._jobs.forget(taskid)
        self._submitted.pop(taskid, None)
        self._ended.pop(taskid, None)

    def stop_workers(self) -> None:
        """Cancel every job that still waits or runs."""
        self._jobs.cancel()


class SturdySlurmGraph(PluginBase):
    """All steps submitted at once, run by run, with their order left to Slurm.

    Parameters
    ----------
    plugin_args : dict
        As for :class:`SturdySlurm`, without ``max_jobs``.
    """

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        self._jobs = _jobs(self.plugin_args)
        self._template = _template(self.plugin_args)

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Submit what is not done yet, and wait for the last job."""
        numbers: dict[Any, int] = {}
        finished: set[Any] = set()
        failed: dict[Any, str] = {}
        for node in chain.from_iterable(steps_by_run(graph)):
            needed = list(graph.predecessors(node))
            if any(other in failed for other in needed):
                failed[node] = ""  # its own failure is no news
            elif finished.issuperset(needed) and _is_done(node):
                finished.add(node)
                self._tell(node, "end")
            else:
                after = [numbers[other] for other in needed if other in numbers]
                try:
                    numbers[node] = self._submit(node, updatehash, after)
                except SlurmRefusedError as error:
                    failed[node] = f"{JOB_ENDED}Slurm refused the job: {error}\n"
                    self._fail(node, failed[node])
        waiting = dict(numbers)
        states = dict.fromkeys(waiting, "PENDING")
        while waiting:
            time.sleep(0.2)
            if not self._jobs.refresh():
                continue
            for node in list(waiting):  # in the order of the graph: causes before consequences
                job = self._jobs.jobs[numbers[node]]
                if job.state == "RUNNING" != states[node]:
                    self._tell(node, "start")
                states[node] = job.state
                if job.active:
                    continue
                del waiting[node]
                if job.state == "COMPLETED" or (not job.state and _is_done(node)):
                    finished.add(node)
                    self._tell(node, "end")
                    continue
                said = self._why_failed(graph, node, job, failed)
                failed[node] = said
                if said:
                    self._fail(node, said)
        causes = [said for said in failed.values() if said]
        if causes:
            raise RuntimeError(causes[0])

    def _submit(self, node: Any, updatehash: bool, after: list[int]) -> int:
        script = _script(node, updatehash, self._template, False)
        began = time.monotonic()
        while True:
            try:
                return self._jobs.submit(script, _job_name(node), node.mem_gb, node.n_procs, after)
            except SlurmBusyError as error:
                if time.monotonic() - began > _PATIENCE_S:
                    raise SlurmRefusedError(str(error)) from error
                time.sleep(2)

    def _why_failed(self, graph: Any, node: Any, job: Job, failed: Mapping[Any, str]) -> str:
        """Return why a job ended, "" for one that never began since another failed."""
        if any(other in failed for other in graph.predecessors(node)):
            return ""
        return why_ended(job)

    def _fail(self, node: Any, said: str) -> None:
        """Leave a report, unless the job has left a better one."""
        self._tell(node, "exception")
        folder = Path(node.config["execution"]["crashdump_dir"])
        for report in folder.glob(f"crash-*-{node.name}-*.txt"):
            if f"Node: {node.fullname}\n" in report.read_text("utf-8", errors="replace"):
                return
        report_crash(node, traceback=[said])

    def _tell(self, node: Any, status: str) -> None:
        if self._status_callback:
            self._status_callback(node, status)

    def stop_workers(self) -> None:
        """Cancel every job that still waits or runs."""
        self._jobs.cancel()


def _result_file(node: Any) -> Path:
    return Path(node.output_dir()) / f"result_{node.name}.pklz"


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is written anew; None where there is none."""
    try:
        # a listing makes a network disk look again
        status = {entry.name: entry for entry in path.parent.iterdir()}[path.name].stat()
    except (OSError, KeyError):
        return None
    return status.st_mtime_ns, status.st_ino


def _is_done(node: Any) -> bool:
    """Tell whether the result of a step is there and belongs to its inputs."""
    if node.overwrite:
        return False
    try:
        cached, updated = node.is_cached()
    except Exception:  # noqa: BLE001 - the inputs of a step that has never run cannot be read
        return False
    return bool(cached and updated)
