"""Run the graph of all runs, and tell what became of each."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsmbids.cli.beside import imported_beside
from qsmbids.cli.console import raise_if_stopped
from qsmbids.cli.work_dir import clean_steps
from qsmbids.config import Settings
from qsmbids.execution import Execution

if TYPE_CHECKING:
    from qsmbids.cli.ahead import DrawnAhead
    from qsmbids.cli.page_process import PageProcess
    from qsmbids.workflows.execute import StepFailure
    from qsmbids.workflows.plan import RunPlan

__all__ = ["no_stray_files", "run_graph"]

logger = logging.getLogger("qsmbids")


def run_graph(
    plans: "Sequence[RunPlan]",
    settings: Settings,
    execution: Execution,
    bids_dir: Path,
    out_dir: Path,
    crash_dir: Path,
    started: float,
) -> list[dict[str, Any]]:
    """Run the graph of all plans and return one result per run.

    When a run has ended its page is made, its status written and, if that is wanted, its steps
    are removed, while others go on. ``started`` is when the call began [s since 1970], for the
    account of its time.

    Raises
    ------
    KeyboardInterrupt
        It was stopped; what is known is in the summary.
    """
    if not plans:
        return []
    from qsmbids.cli.ahead import DrawnAhead
    from qsmbids.cli.ended_runs import EndedRuns
    from qsmbids.cli.page_process import PageProcess
    from qsmbids.cli.progress import Progress
    from qsmbids.cli.summary import write_summary
    from qsmbids.workflows.base import init_qsmbids_wf
    from qsmbids.workflows.cache import discard_damaged
    from qsmbids.workflows.execute import execute
    from qsmbids.workflows.plan import workflow_name

    workflow = init_qsmbids_wf(plans, settings, execution, bids_dir, out_dir, crash_dir)
    labels = {workflow_name(plan.run.label): plan.run.label for plan in plans}
    logger.info(
        "%d run(s), %d processors, %.1f GB, work directory %s",
        len(plans),
        execution.nprocs,
        execution.mem_gb,
        execution.work_dir,
    )
    for step in discard_damaged(workflow, execution.work_dir):
        logger.warning("WARNING: the result of step %s is damaged; it is computed again", step)
    # one processor has no time to spare meanwhile
    shared = execution.nprocs > 1 and not execution.plugin
    beside = shared or bool(execution.plugin)
    last = dict(list(labels.items())[-1:])  # the pages of others are made beside the next run
    ahead = DrawnAhead(workflow, last if shared else {}, out_dir, execution.work_dir)
    outcomes = _Outcomes(plans, workflow, execution, out_dir, crash_dir, started)
    error: BaseException | None
    with (
        PageProcess() as pages,
        no_stray_files(execution.work_dir),
        imported_beside("qsmbids.reports.run.page", "matplotlib.figure"),
        Progress(labels, check=raise_if_stopped) as progress,
    ):

        def follow(name: str, is_last: bool) -> None:
            process = pages if beside and not is_last else None
            outcomes.follow(name, process, ahead, progress.tell)

        following = EndedRuns(workflow, labels, follow, beside=beside)
        told = _each(progress, ahead, following)
        try:
            error = execute(workflow, _less_a_page(execution, plans), told)
            following.finish()
        except KeyboardInterrupt as stop:
            error = stop
            pages.kill()
            following.stop()
    results = outcomes.results(error)
    if isinstance(error, KeyboardInterrupt):
        write_summary(out_dir, results)
        raise error
    return results


class _Outcomes:
    """What became of every run; see :func:`run_graph`."""

    def __init__(
        self,
        plans: "Sequence[RunPlan]",
        workflow: Any,
        execution: Execution,
        out_dir: Path,
        crash_dir: Path,
        started: float,
    ) -> None:
        from qsmbids.cli.spent import preparation
        from qsmbids.workflows.plan import workflow_name

        self._plans = {workflow_name(plan.run.label): plan for plan in plans}
        self._workflow, self._execution = workflow, execution
        self._out_dir, self._crash_dir = out_dir, crash_dir
        self._started, self._before = started, preparation(started)
        self._ended: dict[str, dict[str, Any]] = {}

    def follow(
        self,
        name: str,
        pages: "PageProcess | None",
        ahead: "DrawnAhead",
        tell: Callable[[int, str, str], None],
    ) -> None:
        """Make the page of a run that has ended, in this process or another; clean up."""
        from qsmbids.cli.reports import make_report
        from qsmbids.cli.summary import write_status

        result = self._result(name)
        if result["status"] != "ok" and "crash_file" not in result:
            return  # only the end of the call tells why
        label, folders = result["run"], (self._out_dir, self._execution.work_dir)
        if pages is None:
            drawn, n_threads = ahead.take(label), self._execution.nprocs
            said = make_report(result, *folders, n_threads, self._started, drawn)
        else:
            result, said = pages.make(result, *folders, self._started)
        level, text = said
        tell(level, label, text)
        self._ended[name] = result
        write_status(self._out_dir, [result])
        if self._execution.clean_work_dir and result["status"] == "ok":
            clean_steps(self._execution.work_dir, label)

    def results(self, error: BaseException | None) -> list[dict[str, Any]]:
        """Return one result per run, after a call that ended with this error."""
        return [self._ended.get(name) or self._result(name, error) for name in self._plans]

    def _result(self, name: str, error: BaseException | None = None) -> dict[str, Any]:
        from qsmbids.cli.spent import steps_of
        from qsmbids.workflows.execute import read_crashes

        failures = {f.workflow: f for f in reversed(read_crashes(self._crash_dir, {}))}
        result = _outcome(self._plans[name], self._workflow, failures, error, self._out_dir)
        spent = steps_of(self._workflow, name, self._execution.work_dir, self._started)
        log = str(self._crash_dir.relative_to(self._out_dir))
        return result | {"steps": [self._before, *spent], "log": log}


def _less_a_page(execution: Execution, plans: "Sequence[RunPlan]") -> Execution:
    """Leave memory for the page that is made beside the steps of the next run, at most half."""
    from qsmbids.cli.page_process import page_memory_gb

    if len(plans) == 1:
        return execution
    page = page_memory_gb(max(plan.acquisition.n_voxels for plan in plans))
    return replace(execution, mem_gb=max(execution.mem_gb - page, execution.mem_gb / 2))


def _each(*receivers: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
    """Return what tells the status of a node to each of these."""

    def tell(node: Any, status: str) -> None:
        for receiver in receivers:
            receiver(node, status)

    return tell


def _outcome(
    plan: "RunPlan",
    workflow: Any,
    failures: "Mapping[str, StepFailure]",
    error: BaseException | None,
    out_dir: Path,
) -> dict[str, Any]:
    """Return the result of one run: its outputs, and where and why it ended early."""
    from qsmbids.workflows.outputs import written
    from qsmbids.workflows.plan import workflow_name
    from qsmbids.workflows.steps import STEP_TITLES

    name = workflow_name(plan.run.label)
    outputs = written(workflow.get_node(name)).values()
    result: dict[str, Any] = {"run": plan.run.label, "status": "ok"}
    missing = [str(o.path) for o in outputs if not o.optional and not o.path.exists()]
    if isinstance(error, KeyboardInterrupt) and missing:
        result |= {"status": "interrupted", "step": "", "message": "stopped before its end"}
    elif name in failures:
        failure = failures[name]
        result |= {
            "status": "failed",
            "step": failure.node,
            "step_title": STEP_TITLES.get(failure.node, failure.node.replace("_", " ")),
            "message": failure.message,
            "crash_file": str(failure.crash_file),
        }
    elif missing:
        reason = str(error) if error is not None else "not all outputs were written"
        result |= {"status": "failed", "step": "", "message": reason.splitlines()[0]}
    result["outputs"] = [str(o.path.relative_to(out_dir)) for o in outputs if o.path.exists()]
    return result


@contextlib.contextmanager
def no_stray_files(folder: Path) -> Iterator[None]:
    """Run inside the work directory: whatever a plugin drops in the current folder ends there."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
