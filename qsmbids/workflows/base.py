"""The whole graph, one independent branch per run."""

import re
from collections.abc import Sequence
from pathlib import Path

import nipype.pipeline.engine as pe

from qsmbids import __version__
from qsmbids.config import Settings
from qsmbids.execution import Execution
from qsmbids.workflows.plan import RunPlan
from qsmbids.workflows.run import init_run_wf

__all__ = ["init_qsmbids_wf", "new_workflow"]


def init_qsmbids_wf(
    plans: Sequence[RunPlan],
    settings: Settings,
    execution: Execution,
    bids_dir: Path,
    out_dir: Path,
    crash_dir: Path,
) -> pe.Workflow:
    """Build the graph of all runs.

    Parameters
    ----------
    plans : sequence of RunPlan
        The runs; none depends on another, so that one that fails stops no other.
    settings : Settings
        What decides the maps.
    execution : Execution
        Work directory, resources, output level.
    bids_dir, out_dir : Path
        Roots of the input and output datasets.
    crash_dir : Path
        Where Nipype leaves the report of a failed step.

    Returns
    -------
    Workflow
        Named after the version, so that a new version never takes steps of an old one as done.
    """
    workflow = new_workflow("qsmbids", execution, crash_dir)
    workflow.add_nodes(
        [init_run_wf(plan, settings, execution, bids_dir, out_dir) for plan in plans]
    )
    return workflow


def new_workflow(name: str, execution: Execution, crash_dir: Path) -> pe.Workflow:
    """Return an empty graph that is named after the version and goes on after a failure."""
    version = re.sub(r"[^0-9a-zA-Z]", "_", __version__)
    workflow = pe.Workflow(name=f"{name}_{version}_wf", base_dir=str(execution.work_dir))
    workflow.config["execution"] = {
        "crashdump_dir": str(crash_dir),
        "crashfile_format": "txt",
        "stop_on_first_crash": str(execution.stop_on_first_crash).lower(),
        "check_version": "false",
        "create_report": "false",
        "hash_method": "timestamp",
        # kept, so that a higher output level later finds every step done
        "remove_unnecessary_outputs": "false",
        "poll_sleep_duration": "0.1",
        "local_hash_check": "true",
    }
    return workflow
