"""The methods text and its references in ``logs/``: after a call, or instead of one."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qsmbids.cli.console import end
from qsmbids.config import Settings
from qsmbids.errors import InputError

__all__ = ["boilerplate_only", "keep_acquisitions", "write_methods"]

logger = logging.getLogger("qsmbids")


def keep_acquisitions(plans: Sequence[Any], bids_dir: Path, out_dir: Path) -> None:
    """Leave beside the maps what the tables need of the raw sidecars of each run.

    Parameters
    ----------
    plans : sequence of RunPlan
    bids_dir, out_dir : Path
        Roots of the raw and of the output dataset.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    from qsmbids.reports.paper.acquisition_record import save_acquisition
    from qsmbids.workflows.outputs import raw_uri

    for plan in plans:
        run = plan.run
        sources = [raw_uri(path, bids_dir, out_dir) for path in run.images]
        save_acquisition(out_dir, run.entities, plan.acquisition, run.sidecars, sources)


def write_methods(results: Sequence[dict[str, Any]], out_dir: Path) -> None:
    """Write ``logs/CITATION.md``, ``.bib`` and ``.html`` for the finished runs of a call.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    from qsmbids.io.runs import run_entities
    from qsmbids.reports.paper.citations import write_citations
    from qsmbids.reports.paper.dataset_methods import described_runs, methods_of_runs
    from qsmbids.reports.run.record import read_run

    finished = [r for r in results if r["status"] in ("ok", "unknown") and run_entities(r["run"])]
    settings, runs, n_other = described_runs([read_run(out_dir, r) for r in finished])
    if not runs:  # a text of an earlier call stays
        return
    if n_other:
        logger.warning(
            "%d run(s) were made in other ways, which logs/CITATION.md does not tell",
            n_other,
        )
    write_citations(out_dir / "logs", methods_of_runs(settings, runs))


def boilerplate_only(
    args: argparse.Namespace, settings: Settings, roots: Sequence[Path], out_dir: Path
) -> int:
    """Print and write the methods text of what would be processed, and return the exit code.

    Parameters
    ----------
    args : Namespace
        Of the command line.
    settings : Settings
        In force.
    roots : sequence of Path
        Raw datasets.
    out_dir : Path
        Root of the output dataset; its ``logs`` get the text.
    """
    from qsmbids.cli.plan import make_plans
    from qsmbids.reports.paper.citations import write_citations
    from qsmbids.reports.paper.dataset_methods import DescribedRun, methods_of_runs

    try:
        plans, _ = make_plans(args, roots, settings)
    except InputError as error:  # the processing can be told without any image
        logger.warning("%s", error)
        plans = []
    runs = [DescribedRun(plan.acquisition, plan.run.sidecars) for plan in plans]
    text = methods_of_runs(settings, runs)
    print(text)
    written = write_citations(out_dir / "logs", text)
    return end("qsmbids", f"methods text of {len(runs)} run(s): {written[0]}, .bib, .html", 0)
