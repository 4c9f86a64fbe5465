"""What an earlier call left in the work directory: used where whole, and by one at a time."""

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import nipype.pipeline.engine as pe
from nipype.pipeline.engine.utils import load_resultfile

from qsmbids.workflows.cost import COST_FILE

__all__ = ["discard_damaged", "hold_runs"]

logger = logging.getLogger("qsmbids")


def discard_damaged(workflow: pe.Workflow, base: Path) -> list[str]:
    """Remove the folders of steps whose results are damaged, so that these are computed again.

    Nipype takes a step for done when its result file exists; one that is cut short or whose
    files were changed since would fail, or be used, at every later call.

    Parameters
    ----------
    workflow : Workflow
        The graph of all runs.
    base : Path
        Work directory.

    Returns
    -------
    list of str
        Full names of the steps, without the name of the graph.
    """
    damaged = []
    for name in workflow.list_node_names():
        folder = base.joinpath(workflow.name, *name.split("."))
        result = folder / f"result_{folder.name}.pklz"
        if not result.exists():
            continue
        state = _state(result, folder)
        if state != "whole":
            shutil.rmtree(folder, ignore_errors=True)
        if state == "failed":
            logger.info("step %s failed before; it is tried again", name)
        elif state == "damaged":
            damaged.append(name)
    return damaged


def _state(result: Path, folder: Path) -> str:
    """Tell whether a result can be loaded, and its files are there as the step wrote them.

    A step that failed leaves a result without outputs.
    """
    try:
        outputs = load_resultfile(result).outputs
        if outputs is None:
            return "failed"
        written = result.stat().st_mtime_ns
        # what was written after the result was not written by the step, but by nipype and us
        theirs = ("_", "result_", COST_FILE)
        files = [path for path in folder.iterdir() if not path.name.startswith(theirs)]
        if any(path.stat().st_mtime_ns > written for path in files):
            return "damaged"
    except Exception:  # noqa: BLE001 - whatever gzip, pickle and traits make of a damaged file
        return "damaged"
    return "whole"


@contextlib.contextmanager
def hold_runs(names: Sequence[str], base: Path) -> Iterator[dict[str, str]]:
    """Keep other processes away from the steps of these runs.

    Parameters
    ----------
    names : sequence of str
        Names of the graphs of the runs.
    base : Path
        Work directory.

    Yields
    ------
    dict
        Runs that another process holds, and who that is.

    Notes
    -----
    The kernel lets go of the locks when the process ends, however it ends. On a file system
    without locks nothing is held.
    """
    busy: dict[str, str] = {}
    with contextlib.ExitStack() as held:
        # a job that ended meanwhile may have taken the empty folder away
        base.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in names:
            file = (base / f"{name}.lock").open("a+")
            held.callback(file.close)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EACCES):
                    file.seek(0)
                    busy[name] = file.read(200).strip() or "another process"
                continue
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
        yield busy
