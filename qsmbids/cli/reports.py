"""The page of every run: made when the run has ended, however it ended."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsmbids.cli.boilerplate import write_methods
from qsmbids.cli.console import end
from qsmbids.cli.spent import entry
from qsmbids.cli.summary import write_summary
from qsmbids.errors import InputError, QSMError

if TYPE_CHECKING:
    from qsmbids.reports.run.drawn import Drawn

__all__ = ["make_report", "make_reports", "remake_reports", "work_images"]

logger = logging.getLogger("qsmbids")


def make_report(
    result: dict[str, Any],
    out_dir: Path,
    work_dir: Path,
    n_threads: int,
    started: float | None = None,
    drawn: "Drawn | None" = None,
) -> tuple[int, str]:
    """Make the page of a run and note it, or why it could not be made, in its result.

    A report that fails changes nothing else: the maps are there, and the summary names it. What
    the page costs is noted where it is known when the call that made the run was ``started``
    [s since 1970].

    Returns
    -------
    level : int
        Of the log.
    text : str
        What to say of it.
    """
    from qsmbids.reports.run.page import write_report
    from qsmbids.workflows.cost import measured

    label = result["run"]
    try:
        with measured() as cost:
            images = work_images(work_dir, label)
            page = write_report(
                out_dir, result, extra_images=images, n_threads=n_threads, drawn=drawn
            )
    except Exception as error:  # whatever it is, the maps are not to suffer
        known = isinstance(error, QSMError)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        result["report_error"] = reason
        logger.debug("report", exc_info=True)
        return logging.ERROR, f"the report could not be made: {reason}"
    if started is not None and "steps" in result:
        result["steps"].append(entry("report", "figures and page", cost, started))
    result["report"] = page.relative_to(out_dir).as_posix()
    return logging.INFO, f"report: {page}"


def make_reports(
    results: Sequence[dict[str, Any]],
    out_dir: Path,
    work_dir: Path,
    n_threads: int,
    started: float | None = None,
) -> int:
    """Make the page of each run that has none of this call, and the methods text of all.

    Returns
    -------
    int
        How many results have no page, though they are of a run.
    """
    from qsmbids.io.runs import run_entities

    for result in results:
        if run_entities(result["run"]) is None:  # files that do not make a run have no page
            continue
        if not {"report", "report_error"} & set(result):
            level, text = make_report(result, out_dir, work_dir, n_threads, started)
            logger.log(level, "%s  %s", result["run"], text)
    try:
        write_methods(results, out_dir)
    except Exception as error:  # neither are the maps to suffer from this
        logger.error("the methods text could not be written: %s", error)
        logger.debug("methods", exc_info=True)
    return sum("report_error" in result for result in results)


def remake_reports(args: argparse.Namespace, out_dir: Path, work_dir: Path, n_threads: int) -> int:
    """Make the pages of runs that were processed before, and return the exit code.

    Raises
    ------
    InputError
        The output folder holds no such run.
    """
    from qsmbids.reports.run.record import find_results

    results = find_results(out_dir, args.participant_label, args.session_label)
    if not results:
        raise InputError(
            "holds no processed run", str(out_dir), "Run without --reports-only first."
        )
    for result in results:
        result.pop("report", None)
        result.pop("report_error", None)
    failed = make_reports(results, out_dir, work_dir, n_threads)
    summary = write_summary(out_dir, [r for r in results if r["status"] != "unknown"])
    made = sum("report" in r for r in results)
    text = f"{made} reports made, {failed} failed; summary: {summary}"
    return end("qsmbids", text, 1 if failed else 0)


def work_images(work_dir: Path, label: str) -> dict[str, Path]:
    """Return the last echo before and after unwrapping, as the steps left it."""
    from qsmbids.workflows.plan import workflow_name

    run = workflow_name(label)
    images = {}
    for key, pattern in (
        ("wrapped", "prepare_phase/phase_echo-*.nii"),
        ("unwrapped", "unwrap_phase/phase_echo-*.nii"),
    ):
        matches = list(work_dir.glob(f"qsmbids_*_wf/{run}/{pattern}"))
        if matches:
            newest = max(matches, key=lambda p: p.stat().st_mtime).parent
            echoes = [p for p in matches if p.parent == newest]
            images[key] = max(echoes, key=lambda p: (len(p.name), p.name))
    return images
