"""Run the graph of all runs, and tell what became of each."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsmbids.cli.beside import imported_beside
from qsmbids.cli.console import raise_if_stopped
from qsmbids.config import Settings
from qsmbids.execution import Execution

if TYPE_CHECKING:
    from qsmbids.reports.run.drawn import Drawn
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
    drawn: "dict[str, Drawn]",
) -> list[dict[str, Any]]:
    """Run the graph of all plans and return one result per run.

    ``started`` is when the call began [s since 1970], for the account of its time. ``drawn`` is
    filled with what the pages of some runs need not draw again, by label.

    Raises
    ------
    KeyboardInterrupt
        It was stopped; what is known is in the summary.
    """
    if not plans:
        return []
    from qsmbids.cli.ahead import DrawnAhead
    from qsmbids.cli.progress import Progress
    from qsmbids.cli.spent import preparation, steps_of
    from qsmbids.cli.summary import write_summary
    from qsmbids.workflows.base import init_qsmbids_wf
    from qsmbids.workflows.cache import discard_damaged
    from qsmbids.workflows.execute import execute, read_crashes
    from qsmbids.workflows.plan import workflow_name

    workflow = init_qsmbids_wf(plans, settings, execution, bids_dir, out_dir, crash_dir)
    labels = {workflow_name(plan.run): plan.run.label for plan in plans}
    logger.info(
        "%d run(s), %d processors, %.1f GB, work directory %s",
        len(plans),
        execution.nprocs,
        execution.mem_gb,
        execution.work_dir,
    )
    for step in discard_damaged(workflow, execution.work_dir):
        logger.warning("WARNING: the result of step %s is damaged; it is computed again", step)
    error: BaseException | None
    before = preparation(started)
    # one processor has no time to spare meanwhile
    beside = execution.nprocs > 1 and not execution.plugin
    ahead = DrawnAhead(workflow, labels if beside else {}, out_dir, execution.work_dir)
    with (
        no_stray_files(execution.work_dir),
        imported_beside("qsmbids.reports.run.page", "matplotlib.figure"),
        Progress(labels, check=raise_if_stopped) as progress,
    ):
        try:
            error = execute(workflow, execution, _both(progress, ahead))
        except KeyboardInterrupt as stop:
            error = stop
    failures = {f.workflow: f for f in reversed(read_crashes(crash_dir, {}))}
    results = [_outcome(plan, workflow, failures, error, out_dir) for plan in plans]
    for plan, result in zip(plans, results, strict=True):
        name = workflow_name(plan.run)
        spent = steps_of(workflow, name, execution.work_dir, started)
        result["steps"] = [before, *spent]
    if isinstance(error, KeyboardInterrupt):
        write_summary(out_dir, results)
        raise error
    drawn |= ahead.finish()
    return results


def _both(first: Callable[[Any, str], None], second: Callable[[Any, str], None]) -> Any:
    """Return what tells the status of a node to two."""

    def tell(node: Any, status: str) -> None:
        first(node, status)
        second(node, status)

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

    name = workflow_name(plan.run)
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
