"""The page of every run: made when the run has ended, however it ended."""

import argparse
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsmbids.cli.boilerplate import write_methods
from qsmbids.cli.console import end
from qsmbids.cli.spent import entry
from qsmbids.cli.summary import write_summary
from qsmbids.errors import InputError, QSMError

if TYPE_CHECKING:
    from qsmbids.reports.run.drawn import Drawn

__all__ = ["make_reports", "remake_reports", "work_images"]

logger = logging.getLogger("qsmbids")


def make_reports(
    results: Sequence[dict[str, Any]],
    out_dir: Path,
    work_dir: Path,
    n_threads: int,
    started: float | None = None,
    ahead: "Mapping[str, Drawn] | None" = None,
) -> int:
    """Make the page of each run and note it, or why it could not be made, in its result.

    The methods text of all of them comes into ``logs/``. What a page costs is noted where it is
    known when the call that made the run was ``started`` [s since 1970]. What was drawn ``ahead``
    is by label.

    A report that fails changes nothing else: the maps are there, and the summary names it.

    Returns
    -------
    int
        How many reports failed.
    """
    from qsmbids.io.runs import run_entities
    from qsmbids.reports.run.page import write_report
    from qsmbids.workflows.cost import measured

    failed = 0
    for result in results:
        if run_entities(result["run"]) is None:  # files that do not make a run have no page
            continue
        result.pop("report_error", None)
        try:
            with measured() as cost:
                page = write_report(
                    out_dir,
                    result,
                    extra_images=work_images(work_dir, result["run"]),
                    n_threads=n_threads,
                    drawn=(ahead or {}).get(result["run"]),
                )
        except Exception as error:  # whatever it is, the maps are not to suffer
            failed += 1
            reason = (
                str(error) if isinstance(error, QSMError) else f"{type(error).__name__}: {error}"
            )
            result["report_error"] = reason
            logger.error("%s  the report could not be made: %s", result["run"], reason)
            logger.debug("report", exc_info=True)
            continue
        if started is not None and "steps" in result:
            result["steps"].append(entry("report", "figures and page", cost, started))
        result["report"] = page.relative_to(out_dir).as_posix()
        logger.info("%s  report: %s", result["run"], page)
    try:
        write_methods(results, out_dir)
    except Exception as error:  # neither are the maps to suffer from this
        logger.error("the methods text could not be written: %s", error)
        logger.debug("methods", exc_info=True)
    return failed


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
    failed = make_reports(results, out_dir, work_dir, n_threads)
    summary = write_summary(out_dir, [r for r in results if r["status"] != "unknown"])
    made = sum("report" in r and "report_error" not in r for r in results)
    text = f"{made} reports made, {failed} failed; summary: {summary}"
    return end("qsmbids", text, 1 if failed else 0)


def work_images(work_dir: Path, label: str) -> dict[str, Path]:
    """Return the last echo before and after unwrapping, as the steps left it."""
    run = re.sub(r"[^0-9a-zA-Z]", "_", label) + "_wf"
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
