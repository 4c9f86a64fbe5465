"""Draw what the pages will show while the workers are busy with the longest step."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx

from qsmbids.workflows.plan import workflow_of

if TYPE_CHECKING:
    import nipype.pipeline.engine as pe

    from qsmbids.reports.run.drawn import Drawn

__all__ = ["DrawnAhead"]

logger = logging.getLogger("qsmbids")

#: The step that keeps the workers busy: no image that is written before it ends needs it.
_LONGEST = "invert_dipole_field"
#: The steps at work come first: they leave a processor idle again before the run ends [niceness].
_PATIENT = 10
#: A drawing that a busy machine has not let end so long [s] after the last step is made anew.
_LONGEST_WAIT = 5.0


class _TooLateError(Exception):
    """Nobody waits for what is drawn."""


class DrawnAhead:
    """Receives Nipype's status of every node; draws a run once its early images are written.

    Parameters
    ----------
    workflow : Workflow
        The graph of all runs.
    labels : dict
        Name of a run's graph to the label of the run, of those to draw; each takes up to 20 MB.
    out_dir, work_dir : Path
    """

    def __init__(
        self, workflow: "pe.Workflow", labels: dict[str, str], out_dir: Path, work_dir: Path
    ) -> None:
        self._labels, self._out_dir, self._work_dir = labels, out_dir, work_dir
        self._waiting = {name: _early(workflow.get_node(name)) for name in labels}
        self._threads: dict[str, threading.Thread] = {}
        self._imports: threading.Thread | None = None
        self._drawn: dict[str, Drawn] = {}
        self._late: set[str] = set()

    def __call__(self, node: Any, status: str) -> None:
        """Take the status of a node: start, end or exception."""
        run = workflow_of(node)
        if status != "end" or run not in self._waiting:
            return
        if self._imports is None:
            self._imports = threading.Thread(target=_import, daemon=True)
            self._imports.start()
        waiting = self._waiting[run]
        waiting.discard(node.name)
        if node.name == _LONGEST:
            del self._waiting[run]  # too late to gain anything
        elif not waiting:
            del self._waiting[run]
            label = self._labels[run]
            thread = threading.Thread(target=self._draw, args=(label,), daemon=True)
            self._threads[label] = thread
            thread.start()

    def _draw(self, label: str) -> None:
        _be_patient()
        from qsmbids.cli.reports import work_images
        from qsmbids.reports.run.page import draw_ahead
        from qsmbids.workflows.cost import give_back_memory

        try:
            drawn = draw_ahead(
                self._out_dir,
                label,
                work_images(self._work_dir, label),
                between=lambda: self._between(label, give_back_memory),
            )
        except _TooLateError:
            pass
        except Exception:
            logger.debug("drawn ahead", exc_info=True)
        else:
            if label not in self._late:
                self._drawn[label] = drawn

    def _between(self, label: str, give_back_memory: Callable[[], None]) -> None:
        if label in self._late:
            raise _TooLateError
        give_back_memory()

    def take(self, label: str) -> "Drawn | None":
        """Return what was drawn of a run that has ended, None where nothing was in time."""
        if thread := self._threads.get(label):
            thread.join(_LONGEST_WAIT)
        self._late.add(label)
        return self._drawn.pop(label, None)


def _be_patient() -> None:
    with contextlib.suppress(OSError):  # not every system has threads of their own niceness
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PATIENT)


def _import() -> None:
    """Load what draws while few images are there: it takes a second of a processor."""
    _be_patient()
    with contextlib.suppress(ImportError):  # who draws will say so
        import matplotlib.backends.backend_agg
        import matplotlib.backends.backend_svg  # noqa: F401

        import qsmbids.reports.run.page  # noqa: F401


def _early(run: "pe.Workflow") -> set[str]:
    """Return the steps that write what does not wait for the longest step."""
    graph = run._graph
    longest = next((node for node in graph.nodes if node.name == _LONGEST), None)
    late = set() if longest is None else nx.descendants(graph, longest)
    return {node.name for node in graph.nodes - late if node.name.startswith("save_")}
