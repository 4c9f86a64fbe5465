"""A process that makes the pages of ended runs while the steps of others go on.

Within the main process pages would hold up the steps: Python runs one thread at a time, and the
one that sends the steps to the workers would wait for the one that draws.
"""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Self

from qsmbids.cli.reports import make_report
from qsmbids.workflows.workers import kill_workers, start_polite_worker, worker_context

__all__ = ["PageProcess", "page_memory_gb"]


def page_memory_gb(n_voxels: int) -> float:
    """Return an upper estimate of the memory [GB] that a page is made in; measured, rounded up."""
    return 0.3 + 1.4e-7 * n_voxels


class PageProcess:
    """Makes one page at a time; begins with the first."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def make(
        self, result: dict[str, Any], out_dir: Path, work_dir: Path, started: float
    ) -> tuple[dict[str, Any], tuple[int, str]]:
        """Return the result as :func:`make_report` leaves it, and what that returns.

        Raises
        ------
        BrokenProcessPool, CancelledError
            The process was killed.
        RuntimeError
            The call was interrupted before.
        """
        if self._stopped:
            raise RuntimeError("the call was interrupted")
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1, mp_context=worker_context(), initializer=start_polite_worker
            )
        return self._pool.submit(_make, result, out_dir, work_dir, started).result()

    def kill(self) -> None:
        """End at once, together with the page under way."""
        self._stopped = True
        if self._pool is not None:
            kill_workers(self._pool)


def _make(
    result: dict[str, Any], out_dir: Path, work_dir: Path, started: float
) -> tuple[dict[str, Any], tuple[int, str]]:
    return result, make_report(result, out_dir, work_dir, 1, started)
