"""How a run is executed: processors, memory and folders, taken from what was really granted.

And who heeds the signals that are to end it.
"""

import contextlib
import os
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsmbids.errors import ConfigError

__all__ = [
    "OUTPUT_LEVELS",
    "Execution",
    "available_cpus",
    "available_memory_gb",
    "parse_memory_gb",
    "signals_handled",
]

#: What is written, from little to everything.
OUTPUT_LEVELS = ("minimal", "standard", "full", "debug")

_CGROUP = Path("/sys/fs/cgroup")

#: Processors granted to this process by batch systems.
_CPU_VARIABLES = ("SLURM_CPUS_PER_TASK", "PBS_NCPUS", "NCPUS", "NSLOTS", "LSB_DJOB_NUMPROC")


@dataclass(frozen=True)
class Execution:
    """Where and with what a run is executed; nothing here changes the maps."""

    work_dir: Path
    nprocs: int = 1
    omp_nthreads: int = 1
    mem_gb: float = 4.0
    output_level: str = "standard"
    stop_on_first_crash: bool = False
    clean_work_dir: bool = False
    plugin: str = ""
    plugin_args: Mapping[str, Any] = field(default_factory=dict)


def available_cpus(environ: Mapping[str, str] = os.environ, cgroup: Path = _CGROUP) -> int:
    """Return the processors that this process may use.

    The least of the affinity mask, the control group's quota and the batch system's grant.
    """
    limits = [float(_affinity())]
    limits += [float(environ[v]) for v in _CPU_VARIABLES if environ.get(v, "").isdigit()]
    for folder in _own_groups(cgroup):
        quota = _read(folder / "cpu.max").split()
        if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit():
            limits.append(int(quota[0]) / int(quota[1]))
    for folder in (cgroup / "cpu", cgroup / "cpu,cpuacct"):
        quota_us, period_us = (
            _read(folder / "cpu.cfs_quota_us"),
            _read(folder / "cpu.cfs_period_us"),
        )
        if quota_us.isdigit() and period_us.isdigit():
            limits.append(int(quota_us) / int(period_us))
    return max(1, int(min(limits)))


def available_memory_gb(environ: Mapping[str, str] = os.environ, cgroup: Path = _CGROUP) -> float:
    """Return the memory [GB] that this process may use: machine, control group or batch system."""
    limits = [_machine_memory_gb()]
    if environ.get("SLURM_MEM_PER_NODE", "").isdigit():
        limits.append(int(environ["SLURM_MEM_PER_NODE"]) / 1024)
    elif environ.get("SLURM_MEM_PER_CPU", "").isdigit():
        cpus = int(environ.get("SLURM_CPUS_PER_TASK", "1") or 1)
        limits.append(int(environ["SLURM_MEM_PER_CPU"]) * cpus / 1024)
    names = [f / "memory.max" for f in _own_groups(cgroup)]
    for path in [*names, cgroup / "memory" / "memory.limit_in_bytes"]:
        text = _read(path)
        if text.isdigit():  # an absurdly large number means no limit
            limits.append(int(text) / 1e9)
    return min(limits)


def parse_memory_gb(text: str) -> float:
    """Read ``--mem``: megabytes, or a number with K, M, G or T.

    Raises
    ------
    ConfigError
        Not a positive size.

    Examples
    --------
    >>> parse_memory_gb("8G"), parse_memory_gb("500")
    (8.0, 0.5)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise ConfigError(
            f"'{text}' is not a memory size", "--mem", "Write for example 8G or 8000."
        )
    scale = {"K": 1e-6, "M": 1e-3, "": 1e-3, "G": 1.0, "T": 1e3}[match[2].upper()]
    return float(match[1]) * scale


@contextlib.contextmanager
def signals_handled(handlers: Mapping[int, Any]) -> Iterator[None]:
    """Handle signals by these inside the block; outside of the main thread nothing changes."""
    try:
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: not set by Python


def _affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _own_groups(cgroup: Path) -> list[Path]:
    """Return the version 2 control groups of this process, from its own up to the root."""
    own = ""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        if line.startswith("0::"):
            own = line[3:].strip("/")
    path = cgroup / own
    groups = [path, *path.parents]
    return [g for g in groups if g == cgroup or cgroup in g.parents]


def _machine_memory_gb() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError, AttributeError):
        return 8.0


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
