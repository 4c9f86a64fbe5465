"""Run a graph, tell what happens, and find out what became of every run."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nipype.pipeline.engine as pe
from nipype.pipeline import plugins

from qsmbids.errors import ConfigError
from qsmbids.execution import Execution
from qsmbids.workflows.plugins import WORKER_KILLED, SturdyMultiProc
from qsmbids.workflows.run_order import LinearByRun
from qsmbids.workflows.slurm import SturdySlurm, SturdySlurmGraph
from qsmbids.workflows.slurm_jobs import JOB_ENDED

__all__ = ["StepFailure", "execute", "explain_crash", "read_crashes"]

StatusCallback = Callable[[Any, str], None]

#: What is used in place of plugins of the same name.
_STURDY = {"SLURM": SturdySlurm, "SLURMGraph": SturdySlurmGraph}


@dataclass(frozen=True)
class StepFailure:
    """One step that failed."""

    workflow: str
    node: str
    message: str
    crash_file: Path


def execute(
    workflow: pe.Workflow, execution: Execution, status_callback: StatusCallback
) -> Exception | None:
    """Run the graph with the plugin that fits, and return the error that Nipype raised.

    One processor runs step after step in this process; more run in a pool of workers, unless
    the user names another plugin.
    """
    for name in ("nipype.workflow", "nipype.interface", "nipype.utils"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if execution.plugin and not hasattr(plugins, f"{execution.plugin}Plugin"):
        known = sorted(n.removesuffix("Plugin") for n in dir(plugins) if n.endswith("Plugin"))
        problem = f"Nipype has no plugin {execution.plugin}"
        raise ConfigError(problem, "--use-plugin", f"Known: {', '.join(known)}.")
    plugin: Any
    arguments: dict[str, Any] = {"status_callback": status_callback}
    if execution.plugin:
        plugin, arguments = execution.plugin, {**execution.plugin_args, **arguments}
        if plugin == "MultiProc":  # OpenMP does not survive a fork
            arguments.setdefault("mp_context", "forkserver")
        if plugin in _STURDY:
            plugin = _STURDY[plugin](plugin_args=arguments)
        if isinstance(plugin, SturdySlurm):
            _write_from_here(workflow)
    elif execution.nprocs == 1:
        plugin = LinearByRun(plugin_args=arguments)
    else:
        arguments |= {
            "n_procs": execution.nprocs,
            "memory_gb": execution.mem_gb,
            "raise_insufficient": False,
        }
        plugin = SturdyMultiProc(plugin_args=arguments)
    try:
        if isinstance(plugin, str):
            workflow.run(plugin=plugin, plugin_args=arguments)
        else:
            workflow.run(plugin=plugin)
    except (KeyboardInterrupt, SystemExit):
        if not isinstance(plugin, str):
            plugin.stop_workers()
        raise
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - the crash files say which steps failed, and why
        if isinstance(plugin, SturdySlurm | SturdySlurmGraph):
            plugin.stop_workers()  # those that were not waited for
        return error
    return None


def _write_from_here(workflow: pe.Workflow) -> None:
    """Let this process write the outputs: a job for each would only start an interpreter."""
    for name in workflow.list_node_names():
        if name.split(".")[-1].startswith("save_"):
            workflow.get_node(name).run_without_submitting = True


def read_crashes(crash_dir: Path, before: Mapping[Path, float]) -> list[StepFailure]:
    """Return the failures whose reports are new since ``before`` (file to time)."""
    failures = []
    for path in sorted(crash_dir.glob("crash-*.txt")):
        if path in before:
            continue
        text = path.read_text("utf-8", errors="replace")
        match = re.search(r"^Node: (\S+)", text, re.MULTILINE)
        parts = match[1].split(".") if match else ["", "", "unknown"]
        failures.append(
            StepFailure(parts[-2] if len(parts) > 1 else "", parts[-1], explain_crash(text), path)
        )
    return failures


def explain_crash(text: str) -> str:
    r"""Return one line that a user understands from the traceback of a failed step.

    Examples
    --------
    >>> explain_crash("...\nqsmbids.errors.InputError: a.nii: is truncated. Copy it again.\n")
    'a.nii: is truncated. Copy it again.'
    """
    own = re.findall(r"qsmbids\.errors\.\w+: (.+)", text)
    if own:
        return own[-1].strip()
    if ended := re.findall(re.escape(JOB_ENDED) + "(.+)", text):
        return ended[-1].strip()
    if WORKER_KILLED in text or ("exceeded" in text and "memory" in text):
        return (
            "the step was killed, most probably for want of memory. Give more with --mem, or run"
            " fewer steps at a time with --nprocs 1"
        )
    if re.search(r"MemoryError|ArrayMemoryError|Unable to allocate", text):
        return "not enough memory. Give more with --mem, or run fewer at a time with --nprocs 1"
    if "No space left on device" in text:
        return "the disk is full. Free space in the output or work directory and run again"
    if "Read-only file system" in text or "Permission denied" in text:
        return "a folder cannot be written to: " + _last_line(text)
    return _last_line(text)


def _last_line(text: str) -> str:
    """Return the last line of a traceback that names an error."""
    lines = [s.strip() for s in text.splitlines() if re.match(r"\s*[\w.]+(Error|Exception)\b", s)]
    if lines:
        return lines[-1]
    filled = [s.strip() for s in text.splitlines() if s.strip()]
    return filled[-1] if filled else "no report"
