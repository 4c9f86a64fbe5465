"""What a step costs: when it ran, for how long, on how many processors, and its memory."""

import contextlib
import ctypes
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nipype.pipeline.engine as pe

__all__ = [
    "COST_FILE",
    "Cost",
    "CostedNode",
    "cost_since",
    "give_back_memory",
    "measured",
    "read_cost",
]

#: In the folder of every step, written when it has ended.
COST_FILE = "cost.json"


@dataclass
class Cost:
    """Of a step, or of anything else that one process did."""

    began: float = 0.0
    """[s] since 1970."""
    seconds: float = 0.0
    """On the clock."""
    cpu_seconds: float = 0.0
    """Of all its threads, and of its children that have ended."""
    memory_gb: float = 0.0
    """Largest memory of the process meanwhile, with libraries that it shares with others."""


@contextlib.contextmanager
def measured() -> Iterator[Cost]:
    """Give the cost of a block, which is known when it ends, however it ends."""
    cost = Cost(began=round(time.time(), 3))
    _forget_peak()
    clock, processor = time.monotonic(), _processor_seconds()
    try:
        yield cost
    finally:
        cost.seconds = round(time.monotonic() - clock, 3)
        cost.cpu_seconds = round(_processor_seconds() - processor, 3)
        cost.memory_gb = round(_peak_gb(), 3)


def cost_since(began: float) -> Cost:
    """Return what this process has cost so far, all of it, for one that began at a time."""
    return Cost(
        began=began,
        seconds=round(time.time() - began, 3),
        cpu_seconds=round(_processor_seconds(), 3),
        memory_gb=round(_peak_gb(), 3),
    )


class CostedNode(pe.Node):
    """A node that leaves its cost in its folder, wherever it runs: here, in a worker or in a job.

    What it read and wrote, and Nipype's own bookkeeping of it, are counted.
    """

    #: Whether it keeps all its threads busy, see :class:`qsmbids.workflows.graph.Step`.
    wide = False
    _executed = False

    def run(self, updatehash: bool = False) -> Any:
        """Run the node; see Nipype."""
        self._executed = False
        cost = Cost()
        try:
            with measured() as cost:
                return super().run(updatehash=updatehash)
        finally:
            if self._executed:
                # a full disk has stopped the step already, or stops the next one
                with contextlib.suppress(OSError):
                    Path(self.output_dir(), COST_FILE).write_text(
                        json.dumps(asdict(cost)), "utf-8"
                    )

    def _run_interface(self, execute: bool = True, updatehash: bool = False) -> Any:
        self._executed = execute
        return super()._run_interface(execute=execute, updatehash=updatehash)


def give_back_memory() -> None:
    """Return to the system what the allocator keeps of freed memory (glibc; else nothing)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def read_cost(folder: Path) -> Cost | None:
    """Return what the step of a folder has cost, or None where it left nothing."""
    try:
        return Cost(**json.loads((folder / COST_FILE).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _processor_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _forget_peak() -> None:
    """Let the kernel begin a new maximum of the memory: a worker runs one step after another."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def _peak_gb() -> float:
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    # of all its life, in kilobytes but for macOS
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
