"""What a step costs: when it ran, for how long, on how many processors, and its memory."""

import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nipype.pipeline.engine as pe

__all__ = ["CostedNode", "read_cost"]

_FILE = "cost.json"


class CostedNode(pe.Node):
    """A node that leaves its cost in its folder, wherever it runs: here, in a worker or in a job.

    What it read and wrote, and Nipype's own bookkeeping of it, are counted.
    """

    _executed = False

    def run(self, updatehash: bool = False) -> Any:
        """Run the node; see Nipype."""
        self._executed = False
        _forget_peak()
        began, processor, clock = time.time(), _processor_seconds(), time.monotonic()
        try:
            return super().run(updatehash=updatehash)
        finally:
            if self._executed:
                cost = {
                    "began": round(began, 3),
                    "seconds": round(time.monotonic() - clock, 3),
                    "cpu_seconds": round(_processor_seconds() - processor, 3),
                    "memory_gb": round(_peak_gb(), 3),
                }
                # a full disk has stopped the step already, or stops the next one
                with contextlib.suppress(OSError):
                    Path(self.output_dir(), _FILE).write_text(json.dumps(cost), "utf-8")

    def _run_interface(self, execute: bool = True, updatehash: bool = False) -> Any:
        self._executed = execute
        return super()._run_interface(execute=execute, updatehash=updatehash)


def read_cost(folder: Path) -> dict[str, float] | None:
    """Return what the step of a folder has cost, or None where it left nothing.

    Returns
    -------
    dict
        ``began`` [seconds since 1970], ``seconds``, ``cpu_seconds`` with all threads and children,
        and the largest ``memory_gb`` of its process.
    """
    try:
        cost = json.loads((folder / _FILE).read_text("utf-8"))
        return {key: float(cost[key]) for key in ("began", "seconds", "cpu_seconds", "memory_gb")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _processor_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _forget_peak() -> None:
    """Let the kernel begin a new maximum of the memory: a worker runs one step after another."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def _peak_gb() -> float:
    for line in _status():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e9
    # in kilobytes, but for macOS
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _status() -> Iterator[str]:
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        yield from file
