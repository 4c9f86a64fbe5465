"""One run after another: the order of the steps in a graph of many runs.

Nipype takes the first step of every run, then the second of every run. In a study of a hundred
participants no map would be there before the last hour, a job that ends before its time would
leave none, and the work directory would hold the steps of all of them.
"""

from collections.abc import Sequence
from typing import Any

import networkx as nx
import numpy as np
from nipype.pipeline.plugins import LinearPlugin
from nipype.pipeline.plugins.base import DistributedPluginBase

from qsmbids.workflows.plan import workflow_of

__all__ = ["LinearByRun", "StepsByRun", "steps_by_run"]


def steps_by_run(graph: nx.DiGraph) -> list[list[Any]]:
    """Return the steps of each run, causes before consequences; no run depends on another."""
    runs: dict[str, list[Any]] = {}
    for node in nx.topological_sort(graph):
        runs.setdefault(workflow_of(node), []).append(node)
    return list(runs.values())


class LinearByRun(LinearPlugin):  # type: ignore[misc]
    """Runs step after step in this process, one run after another."""

    _status_callback: Any

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        self._begun: set[Any] = set()
        self._tell = self._status_callback
        self._status_callback = self._tell_of_begun

    def _tell_of_begun(self, node: Any, status: str) -> None:
        """Pass on what happens; Nipype tells the end also of steps that a failure has left out."""
        if status == "start":
            self._begun.add(node)
        if self._tell and node in self._begun:
            self._tell(node, status)

    def run(self, graph: nx.DiGraph, config: Any, updatehash: bool = False) -> None:
        """Run all steps; raises what the first step raised that failed."""
        errors = []
        for steps in steps_by_run(graph):
            try:
                super().run(graph.subgraph(steps), config, updatehash)
            except Exception as error:  # noqa: BLE001 - no run is to stop another
                errors.append(error)
                if config["execution"]["stop_on_first_crash"] == "true":
                    break
        if errors:
            raise errors[0]

    def stop_workers(self) -> None:
        """Do nothing: there are none."""


class StepsByRun(DistributedPluginBase):  # type: ignore[misc]
    """Numbers the steps run by run, for plugins that offer those that are ready by number.

    Attributes
    ----------
    runs : ndarray of int, shape (n_steps,)
        Number of the run of each step.
    """

    runs: np.ndarray
    procs: Any
    depidx: Any
    refidx: Any
    proc_done: np.ndarray
    proc_pending: np.ndarray

    def _generate_dependency_list(self, graph: nx.DiGraph) -> None:
        super()._generate_dependency_list(graph)
        numbers = {node: number for number, node in enumerate(self.procs)}
        runs: Sequence[Sequence[Any]] = steps_by_run(graph)
        order = [numbers[node] for run in runs for node in run]
        self.procs = [self.procs[number] for number in order]
        self.depidx = self.depidx[order][:, order]
        self.refidx = self.refidx[order][:, order]
        self.runs = np.repeat(np.arange(len(runs)), [len(run) for run in runs])

    def unfinished_runs(self) -> np.ndarray:
        """Return the numbers of the runs that have a step to go or at work."""
        return np.unique(self.runs[~self.proc_done | self.proc_pending])
