"""Where the time of a call went: one entry per step, for the summary and the page of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import nipype.pipeline.engine as pe

    from qsmbids.workflows.cost import Cost

__all__ = ["entry", "preparation", "steps_of"]


def preparation(since: float) -> dict[str, Any]:
    """Return the entry of all that a call has done before its first step."""
    from qsmbids.workflows.cost import cost_since

    return entry("prepare", "validation and look at the dataset", cost_since(since), since)


def steps_of(
    workflow: "pe.Workflow", run: str, work_dir: Path, since: float
) -> list[dict[str, Any]]:
    """Return what every step of a run has cost, in the order of their beginnings.

    Parameters
    ----------
    workflow : Workflow
        The graph of all runs.
    run : str
        Name of the graph of the run.
    work_dir : Path
    since : float
        When the call began [s since 1970]; a step that ran before was not run again.
    """
    from qsmbids.workflows.cost import read_cost
    from qsmbids.workflows.steps import STEP_TITLES

    found = []
    for name in workflow.get_node(run).list_node_names():
        cost = read_cost(work_dir / workflow.name / run / name)
        if cost is not None:
            words = name.replace("save_", "write_").replace("_", " ")
            found.append(entry(name, STEP_TITLES.get(name, words), cost, since))
    return sorted(found, key=lambda e: -1.0 if e["start"] is None else e["start"])


def entry(step: str, title: str, cost: "Cost", since: float) -> dict[str, Any]:
    """Return one entry; what was done before the call has no start in it."""
    start = round(cost.began - since, 3)
    return {
        "step": step,
        "title": title,
        "start": start if start >= 0 else None,
        "seconds": cost.seconds,
        "cpu_seconds": cost.cpu_seconds,
        "memory_gb": cost.memory_gb,
    }
