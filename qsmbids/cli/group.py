"""``qsmbids BIDS_DIR OUTPUT_DIR group``: tables and a page of what the participants left."""

import argparse
import logging

from qsmbids.cli.console import end
from qsmbids.cli.folders import checked_folders
from qsmbids.errors import InputError

__all__ = ["group"]

logger = logging.getLogger("qsmbids")


def group(args: argparse.Namespace) -> int:
    """Gather, write the tables and the page, and return the exit code.

    A failed or missing run is a line of the tables, not a failure of this command, so that it
    can follow the jobs of a cluster whatever became of them.

    Raises
    ------
    InputError
        The output folder holds nothing of any run.
    OutputError
        A file cannot be written.
    """
    from qsmbids.reports.group.page import write_group

    bids_dir, out_dir = checked_folders(args)
    study = None
    if out_dir.is_dir():
        from qsmbids.reports.group.gather import gather

        logger.info("gathering the runs of %s", out_dir)
        study = gather(out_dir, bids_dir, args.participant_label, args.session_label)
    if study is None or all(run.status == "missing" for run in study.runs):
        raise InputError(
            "holds no processed run",
            str(args.output_dir),
            "Process participants first: qsmbids BIDS_DIR OUTPUT_DIR participant.",
        )
    for text in study.unreadable:
        logger.warning("left out: %s", text)
    failed = [run for run in study.runs if run.status == "failed"]
    missing = sum(run.status == "missing" for run in study.runs)
    for run in failed:
        where = f" in step {run.step}" if run.step else ""
        logger.warning("%s failed%s: %s", run.label, where, run.message)
    counts = (
        f"{study.n_participants} participants, {len(study.runs)} runs; {len(failed)} failed,"
        f" {missing} missing"
    )
    if args.dry_run:
        return end("qsmbids", f"dry run: {counts}", 0)
    page = write_group(out_dir, study)
    return end("qsmbids", f"{counts}; group report: {page}", 0)
