"""The graph of one run: its steps as Nipype nodes, and what writes their results."""

from importlib import import_module
from pathlib import Path

import nipype.pipeline.engine as pe

from qsmbids.config import Settings
from qsmbids.execution import Execution
from qsmbids.workflows.graph import RunContext
from qsmbids.workflows.nodes import RunGraph
from qsmbids.workflows.outputs import add_outputs
from qsmbids.workflows.pipeline import add_steps, b0_direction
from qsmbids.workflows.plan import RunPlan, workflow_name
from qsmbids.workflows.steps import INTERFACES

__all__ = ["init_run_wf"]

# with this module, not with the first step: it is imported ahead of its use, by the process that
# the workers are forked from and while the BIDS validator runs
for _module in INTERFACES:
    import_module(_module)


def init_run_wf(
    plan: RunPlan, settings: Settings, execution: Execution, bids_dir: Path, out_dir: Path
) -> pe.Workflow:
    """Build the graph of one run.

    Parameters
    ----------
    plan : RunPlan
        The run, its acquisition parameters and optional images of the user.
    settings : Settings
        What decides the maps.
    execution : Execution
        Threads of a step and what is written.
    bids_dir, out_dir : Path
        Roots of the input and output datasets.

    Returns
    -------
    Workflow
        Nodes named as in ``workflows.steps``, and one ``save_<map>`` per output.
    """
    context = RunContext(plan, settings, b0_direction(plan), execution.omp_nthreads)
    graph = RunGraph(context, workflow=pe.Workflow(name=workflow_name(plan.run.label)))
    add_steps(graph)
    add_outputs(graph, out_dir, bids_dir, execution.output_level)
    return graph.workflow
