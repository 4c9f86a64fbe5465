"""What follows the end of a run while others go on: its page, its status, its work directory."""

import logging
import queue
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import networkx as nx

from qsmbids.workflows.plan import workflow_of

if TYPE_CHECKING:
    import nipype.pipeline.engine as pe

__all__ = ["EndedRuns"]

logger = logging.getLogger("qsmbids")

#: How long what is under way may take [s] when the call is interrupted: files are written in it.
_PATIENCE = 10.0


class EndedRuns:
    """Receives Nipype's status of every node; follows a run that has nothing left to do.

    Parameters
    ----------
    workflow : Workflow
        The graph of all runs.
    names : iterable of str
        Of the graphs of the runs.
    follow : callable
        Called once with the name of each run that has ended, and whether it is the last. What it
        raises is for the debugging log: the end of the call looks at every run again.
    beside : bool
        In a thread, one after another, beside the steps of other runs; else, and for the last
        run, at once.
    """

    def __init__(
        self,
        workflow: "pe.Workflow",
        names: Iterable[str],
        follow: Callable[[str, bool], None],
        *,
        beside: bool,
    ) -> None:
        self._graphs = {name: workflow.get_node(name)._graph for name in names}
        self._left = {name: {n.name for n in graph} for name, graph in self._graphs.items()}
        self._follow = follow
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._failed: list[str] = []
        self._thread = threading.Thread(target=self._follow_all, daemon=True) if beside else None
        self._stopped = False
        if self._thread:
            self._thread.start()

    def __call__(self, node: Any, status: str) -> None:
        """Take the status of a node: start, end or exception."""
        self._pass_failed()
        run = workflow_of(node)
        left = self._left.get(run)
        if status == "start" or not left:
            return
        left.discard(node.name)
        if status == "exception":
            left -= self._after(run, node.name)
            if not left:
                self._failed.append(run)  # Nipype writes why after it has told us
        elif not left:
            self._pass(run)

    def _pass_failed(self) -> None:
        while self._failed:
            self._pass(self._failed.pop())

    def _pass(self, run: str) -> None:
        last = not any(self._left.values())
        if self._thread and not last:
            self._ended.put(run)
        else:
            self._follow_safely(run, last)

    def _after(self, run: str, step: str) -> set[str]:
        """Return the steps that cannot run when this one has failed."""
        graph = self._graphs[run]
        failed = next(node for node in graph if node.name == step)
        return {node.name for node in nx.descendants(graph, failed)}

    def finish(self) -> None:
        """Wait until all that has ended is followed."""
        self._pass_failed()
        self._ended.put("")
        if self._thread:
            self._thread.join()

    def stop(self) -> None:
        """Begin nothing any more, and wait for what is under way."""
        self._stopped = True
        self._ended.put("")
        if self._thread:
            self._thread.join(_PATIENCE)

    def _follow_all(self) -> None:
        while (run := self._ended.get()) and not self._stopped:
            self._follow_safely(run, False)

    def _follow_safely(self, run: str, last: bool) -> None:
        try:
            self._follow(run, last)
        except Exception:
            logger.debug("after the end of %s", run, exc_info=True)
