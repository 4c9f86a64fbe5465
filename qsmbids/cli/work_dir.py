"""The work directory: private, used by one process at a time, and cleaned of our own only."""

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from qsmbids.errors import ConfigError

__all__ = ["clean_steps", "clean_work_dir", "prepare_work_dir", "run_unless_held"]

_FIX = "Give another with --work-dir."


def prepare_work_dir(work_dir: Path, *, ours_alone: bool) -> None:
    """Make the work directory, readable by its owner alone.

    What lies in it is unpickled, that is executed. The default one is in a temporary folder that
    everybody can write to, so that another user could have made it before us.

    Parameters
    ----------
    work_dir : Path
        Made with its parents; one that exists is left as it is.
    ours_alone : bool
        It is the default one: refuse it, and the folder it is in, where these are links, belong
        to somebody else or are open to others.

    Raises
    ------
    ConfigError
        It cannot be made or written to, or may not be trusted.
    """
    try:
        if ours_alone:
            _make_private(work_dir.parent)
            _make_private(work_dir)
        work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"cannot be made ({error.strerror})", str(work_dir), _FIX) from error
    if not os.access(work_dir, os.W_OK | os.X_OK):
        raise ConfigError("the work directory may not be written to", str(work_dir), _FIX)


def run_unless_held(
    plans: Sequence[Any], work_dir: Path, run: Callable[[Sequence[Any]], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Call ``run`` with the plans that no other process runs in the same work directory.

    Returns
    -------
    list of dict
        One result per plan; those that another process holds have failed.
    """
    if not plans:
        return []
    from qsmbids.workflows.cache import hold_runs
    from qsmbids.workflows.plan import workflow_name

    names = [workflow_name(plan.run.label) for plan in plans]
    with hold_runs(names, work_dir) as busy:
        refused = [
            {
                "run": plan.run.label,
                "status": "failed",
                "step": "",
                "message": f"is being processed by {busy[name]} in the work directory {work_dir}."
                " Wait until it has ended, or give another with --work-dir",
                "outputs": [],
            }
            for plan, name in zip(plans, names, strict=True)
            if name in busy
        ]
        free = [p for p, name in zip(plans, names, strict=True) if name not in busy]
        return refused + run(free)


def clean_steps(work_dir: Path, label: str) -> None:
    """Remove the steps of this run, and nothing else that lies in the work directory.

    Other jobs may be at work in it, and a user may have named a folder that holds more.
    """
    from qsmbids.workflows.plan import workflow_name

    name = workflow_name(label)
    for folder in work_dir.glob(f"qsmbids_*_wf/{name}"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in work_dir.glob("qsmbids_convert_*_wf/*_convert_wf"):
        if name.startswith(folder.name.removesuffix("convert_wf")):
            shutil.rmtree(folder, ignore_errors=True)


def clean_work_dir(work_dir: Path, labels: Iterable[str]) -> None:
    """Remove the steps of these runs, their locks, and the folders that are empty then."""
    from qsmbids.workflows.plan import workflow_name

    for label in labels:
        clean_steps(work_dir, label)
        (work_dir / f"{workflow_name(label)}.lock").unlink(missing_ok=True)
    for folder in (*work_dir.glob("qsmbids_*_wf"), work_dir):
        with contextlib.suppress(OSError):  # not empty: of another job
            folder.rmdir()


def _make_private(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ConfigError("is not a folder of our own, somebody else made it", str(folder), _FIX)
    if status.st_mode & 0o077:  # ours, but made by an older version or another program
        folder.chmod(0o700)
