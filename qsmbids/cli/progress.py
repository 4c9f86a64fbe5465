"""Tells which run is at which step: a live line for a person, plain lines for a log."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from qsmbids.workflows.convert import CONVERSION_TITLES
from qsmbids.workflows.plan import workflow_of
from qsmbids.workflows.steps import STEP_TITLES

__all__ = ["Progress"]

_TITLES = CONVERSION_TITLES | STEP_TITLES

logger = logging.getLogger("qsmbids")


class Progress:
    """Receives Nipype's status of every node and reports the steps of the paper.

    Parameters
    ----------
    labels : dict
        Name of a run's graph to the label of the run.
    stream : text file
        Where the live line goes when it is a terminal.
    check : callable
        Called at every change of status; what it raises ends the run.

    Notes
    -----
    What a step decided is logged when it ends, with a warning where it warned.
    """

    def __init__(
        self,
        labels: dict[str, str],
        stream: TextIO | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._labels = labels
        self._check = check
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._running: dict[tuple[str, str], float] = {}
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._redraw, daemon=True)
        self._width = max((len(v) for v in labels.values()), default=0)

    def __enter__(self) -> "Progress":
        if self._live:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._live:
            self._thread.join()
            self._clear()

    def __call__(self, node: Any, status: str) -> None:
        """Take the status of a node: start, end or exception."""
        self._check()
        run = workflow_of(node)
        label = self._labels.get(run, run)
        step = node.name
        title = _TITLES.get(step, step.replace("_", " "))
        with self._lock:
            if status == "start":
                self._running[label, step] = time.monotonic()
                if not self._live and step in _TITLES:
                    self._say(logging.INFO, label, f"{title} ...")
                return
            began = self._running.pop((label, step), None)
            took = time.monotonic() - began if began is not None else 0.0
            if status == "exception":
                self._say(logging.ERROR, label, f"{title}: FAILED after {took:.1f} s")
                return
            if step not in _TITLES:
                self._say(logging.DEBUG, label, f"{title}: {took:.1f} s")
                return
            self._say(logging.INFO, label, f"{title}: done in {took:.1f} s")
            self._tell_decisions(node, label)

    def tell(self, level: int, label: str, text: str) -> None:
        """Log a line about a run."""
        with self._lock:
            self._say(level, label, text)

    def _tell_decisions(self, node: Any, label: str) -> None:
        """Log what the finished step decided."""
        try:
            record = node.result.outputs.record
        except Exception:  # noqa: BLE001 - a result that cannot be read must not stop the runs
            return
        if not isinstance(record, dict):
            return
        for line in record.get("decisions", []):
            self._say(logging.INFO, label, f"    {line}")
        for line in record.get("warnings", []):
            self._say(logging.WARNING, label, f"    WARNING: {line}")

    def _say(self, level: int, label: str, text: str) -> None:
        if self._live:
            self._clear()
        logger.log(level, "%s  %s", label.ljust(self._width), text)

    def _clear(self) -> None:
        self._stream.write("\r\x1b[K")
        self._stream.flush()

    def _redraw(self) -> None:
        while not self._stop.wait(0.5):
            now = time.monotonic()
            with self._lock:
                parts = [
                    f"{label}: {_TITLES[step]} {now - began:.0f} s"
                    for (label, step), began in self._running.items()
                    if step in _TITLES
                ]
                minutes, seconds = divmod(int(now - self._started), 60)
                doing = ", ".join(parts) or "writing"
                line = f"[{minutes:02d}:{seconds:02d}] {doing}"
                self._stream.write("\r\x1b[K" + line[:110])
                self._stream.flush()
