"""``qsmbids BIDS_DIR OUTPUT_DIR participant|group``: from arguments to an exit code."""

import argparse
import atexit
import gc
import hashlib
import logging
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsmbids import __version__
from qsmbids.cli.beside import imported_beside
from qsmbids.cli.console import LogFile, end, guarded, log_to_console
from qsmbids.cli.dicom_out import check_dicom_out, lacking_sources, unnamed, write_dicom
from qsmbids.cli.folders import checked_folders
from qsmbids.cli.nibabel_alone import import_nibabel
from qsmbids.cli.parser import check_uncertainty, parse_args, settings_overrides
from qsmbids.cli.run_graph import no_stray_files, run_graph
from qsmbids.cli.sourcedata import Sourcedata, has_raw
from qsmbids.cli.validation import say_unread, validate
from qsmbids.cli.work_dir import clean_work_dir, prepare_work_dir, run_unless_held
from qsmbids.config import Settings, dump_toml, load_settings
from qsmbids.errors import ConfigError, InputError, OutputError
from qsmbids.execution import Execution, available_cpus, available_memory_gb, parse_memory_gb

if TYPE_CHECKING:
    from qsmbids.io.validate import ValidationResult
    from qsmbids.workflows.plan import RunPlan

__all__ = ["main"]

logger = logging.getLogger("qsmbids")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    gc.set_threshold(100_000, 20, 20)  # imports make much that stays, and no garbage
    args = parse_args(argv)
    log_to_console(args.verbose)
    if args.analysis_level == "group":
        from qsmbids.cli.group import group

        return guarded("qsmbids", lambda: group(args), "the same command starts again")
    return guarded("qsmbids", lambda: _participant(args), "the same command goes on where it was")


def _participant(args: argparse.Namespace) -> int:
    """Process every run that was asked for."""
    started = time.time()
    settings = load_settings(args.preset, args.config_file, settings_overrides(args))
    check_uncertainty(settings)
    bids_dir, out_dir = checked_folders(args)
    check_dicom_out(args, bids_dir, out_dir)
    if args.reports_only:
        from qsmbids.cli.reports import remake_reports

        work_dir = args.work_dir or _default_work_dir(bids_dir, out_dir)
        return remake_reports(args, out_dir, work_dir, _nprocs(args))
    logger.info("qsmbids %s, preset %s", __version__, args.preset)
    if not (args.dry_run or args.boilerplate_only or args.use_plugin) and _nprocs(args) > 1:
        from qsmbids.workflows.workers import compile_beside

        compile_beside(settings)  # begins with the imports of the workers
    import_nibabel()
    validated: list[ValidationResult] = []
    if has_raw(bids_dir) and not args.skip_bids_validation:
        # which takes a second; so do these imports
        names = ["bids", "qsmbids.io.coils", "qsmbids.cli.plan"]
        if not args.dry_run:
            names += ["qsmbids.cli.boilerplate", "qsmbids.workflows.base"]
        with imported_beside(*names):
            validated.append(validate(bids_dir, args.participant_label))
    sources = Sourcedata.find(args, bids_dir, out_dir)
    if not (validated or args.skip_bids_validation or sources.only):
        validated.append(validate(bids_dir, args.participant_label))
    invalid = sources.refuse_invalid(validated)
    if args.dry_run:
        return _dry_run(args, settings, sources, validated, invalid)
    if args.boilerplate_only:
        from qsmbids.cli.boilerplate import boilerplate_only

        return boilerplate_only(args, settings, sources.datasets(), out_dir)
    # these take seconds to import: only once the arguments are known to be sound
    from qsmbids.cli.boilerplate import keep_acquisitions
    from qsmbids.cli.plan import make_plans, parted

    execution: Execution | None = None
    unconverted = invalid
    if sources.pending:
        execution = _execution(args, bids_dir, out_dir)
        job = _Job.start(out_dir, settings, execution, args)
        unconverted = [*invalid, *_convert(args, sources, execution, job, validated)]
        _describe_outputs(out_dir, args)  # again: now there may be a converted dataset in it
        if unconverted and args.stop_on_first_crash:
            return _finish(unconverted, out_dir, execution, args, time.time() - started, True)
    logger.info("looking for runs in %s", bids_dir)
    with_result = [result["run"] for result in unconverted]
    plans, others = make_plans(args, sources.datasets(), settings, with_result, validated)
    refused, left_out = parted(others)
    say_unread(validated, [plan.run.label for plan in plans], refused)
    if execution is None:
        execution = _execution(args, bids_dir, out_dir)
        job = _Job.start(out_dir, settings, execution, args)
    sources.forget_failures(unconverted)
    failed = [*unconverted, *refused]
    keep_acquisitions(plans, bids_dir, out_dir)
    _announce(plans, left_out)
    results = failed + run_unless_held(
        plans,
        execution.work_dir,
        lambda free: run_graph(free, settings, execution, bids_dir, out_dir, job.folder, started),
    )
    for result in results:
        result["log"] = str(job.folder.relative_to(out_dir))
    unreported = _report(results, out_dir, execution, started)
    counts = unreported, len(left_out), write_dicom(args, results, bids_dir, out_dir)
    return _finish(results, out_dir, execution, args, time.time() - started, bool(plans), *counts)


def _announce(plans: "Sequence[RunPlan]", left_out: Sequence[dict[str, Any]]) -> None:
    """Log what was decided before the first step, and what is left out."""
    for plan in plans:
        for text in plan.acquisition.decisions:
            logger.info("%s  %s", plan.run.label, text)
        for text in (*plan.acquisition.warnings, *plan.warnings):
            logger.warning("%s  WARNING: %s", plan.run.label, text)
    for result in left_out:
        logger.warning("%s  WARNING: left out: %s", result["run"], result["message"])


def _report(
    results: list[dict[str, Any]], out_dir: Path, execution: Execution, started: float
) -> int:
    """Make the pages that there are not yet, and return how many could not be made."""
    from qsmbids.cli.reports import make_reports
    from qsmbids.cli.summary import write_status

    write_status(out_dir, results)  # what is known survives whatever happens to the reports
    return make_reports(results, out_dir, execution.work_dir, execution.nprocs, started)


def _dry_run(
    args: argparse.Namespace,
    settings: Settings,
    sources: Sourcedata,
    validated: "Sequence[ValidationResult]",
    invalid: Sequence[dict[str, Any]],
) -> int:
    """Print what would be done; nothing is written. The code is that which the call would have."""
    # nothing is left to close: a last look for garbage among all imports takes a tenth of a second
    atexit.register(gc.freeze)
    from qsmbids.cli.dry_run import print_dry_run
    from qsmbids.cli.plan import make_plans, parted

    logger.info("looking for runs in %s", sources.bids_dir)
    unconverted = sources.preview()
    with_result = [*sources.pending, *(result["run"] for result in invalid)]
    plans, others = make_plans(args, sources.datasets(), settings, with_result, validated)
    others = [*invalid, *unconverted, *others]
    refused, left_out = parted(others)
    say_unread(validated, [plan.run.label for plan in plans], refused)
    print_dry_run(plans, others, settings)
    n_convert = len(sources.pending) - len(unconverted)
    more = f", {n_convert} to convert first" if n_convert else ""
    text = f"dry run: {len(plans)} to process{more}, {len(refused)} cannot be"
    lacking = lacking_sources(args, sources.bids_dir, [plan.run.label for plan in plans])
    for label, why in lacking:
        logger.warning("%s  WARNING: not written as DICOM: %s", label, why)
    code = 1 if refused or lacking else 0
    if not plans and not n_convert:
        code = InputError.exit_code
    return end("qsmbids", text + _counted_left(len(left_out)), code)


def _convert(
    args: argparse.Namespace,
    sources: Sourcedata,
    execution: Execution,
    job: "_Job",
    validated: "list[ValidationResult]",
) -> list[dict[str, Any]]:
    """Make raw BIDS of what is none; return a result for each source that failed."""
    with no_stray_files(execution.work_dir):
        failed, changed = sources.convert(execution, job.folder)
        if sources.sources and (coils := sources.coils_of(changed)).pending:
            more, combined = coils.convert(execution, job.folder)
            failed, changed = failed + more, sorted({*changed, *combined})
    index = args.bids_database_dir and args.bids_database_dir / "layout_index.sqlite"
    if index and sources.bids_dir in changed and index.exists():
        logger.info("%s does not know the new images and is made again", index)
        index.unlink()
    if not args.skip_bids_validation:
        for root in changed:
            validated.append(validate(root, args.participant_label))
    return failed


def _execution(args: argparse.Namespace, bids_dir: Path, out_dir: Path) -> Execution:
    """Settle processors, memory, plugin and work directory."""
    nprocs = _nprocs(args)
    memory = parse_memory_gb(args.mem) if args.mem else 0.9 * available_memory_gb()
    plugin, plugin_args = _read_plugin(args.use_plugin) if args.use_plugin else ("", {})
    work_dir = args.work_dir.resolve() if args.work_dir else _default_work_dir(bids_dir, out_dir)
    prepare_work_dir(work_dir, ours_alone=args.work_dir is None)
    return Execution(
        work_dir=work_dir,
        nprocs=nprocs,
        omp_nthreads=args.omp_nthreads or min(nprocs, 8),
        mem_gb=memory,
        output_level=args.output_level,
        stop_on_first_crash=args.stop_on_first_crash,
        clean_work_dir=args.clean_workdir,
        plugin=plugin,
        plugin_args=plugin_args,
    )


def _nprocs(args: argparse.Namespace) -> int:
    """Return the processors that were asked for, or all that are granted."""
    return int(args.nprocs or available_cpus())


def _default_work_dir(bids_dir: Path, out_dir: Path) -> Path:
    """Return the same private folder for the same job, so that it can be resumed."""
    key = hashlib.sha256(f"{bids_dir}\0{out_dir}".encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"qsmbids-{os.getuid()}" / key


def _read_plugin(path: Path) -> tuple[str, dict[str, Any]]:
    """Read the name and arguments of a Nipype plugin."""
    import yaml

    try:
        plugin = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", str(path)) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"is not valid YAML: {error}", str(path)) from error
    if not isinstance(plugin, dict) or not isinstance(plugin.get("plugin"), str):
        raise ConfigError("names no plugin", str(path), "Write for example 'plugin: SLURM'.")
    unknown = set(plugin) - {"plugin", "plugin_args"}
    if unknown:
        raise ConfigError(f"unknown keys {sorted(unknown)}", str(path))
    return plugin["plugin"], dict(plugin.get("plugin_args") or {})


@dataclass(frozen=True)
class _Job:
    """The log folder of this call."""

    folder: Path

    @classmethod
    def start(
        cls, out_dir: Path, settings: Settings, execution: Execution, args: argparse.Namespace
    ) -> "_Job":
        """Make the output dataset and leave the resolved settings and a log in it."""
        from qsmbids.io.nifti import write_text

        _describe_outputs(out_dir, args)
        stamp = time.strftime("%Y%m%d-%H%M%S") + "-" + uuid.uuid4().hex[:8]
        folder = out_dir / "logs" / stamp
        record = {
            "version": __version__,
            "preset": args.preset,
            "command": _command(),
            "nprocs": execution.nprocs,
            "omp_nthreads": execution.omp_nthreads,
            "mem_gb": round(execution.mem_gb, 2),
            "work_dir": str(execution.work_dir),
            "output_level": execution.output_level,
        }
        write_text(
            folder / "qsmbids.toml", dump_toml({**settings.as_dict(), "execution": record}) + "\n"
        )
        try:
            handler = LogFile(folder / "qsmbids.log", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", str(folder)) from error
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        handler.setLevel(logging.DEBUG)
        logger.addHandler(handler)
        return cls(folder)


def _describe_outputs(out_dir: Path, args: argparse.Namespace) -> None:
    """Make the output folder a dataset, which names those it is derived from."""
    from qsmbids.io.output_dataset import init_dataset

    raw_dir = args.bids_dir.resolve()
    init_dataset(out_dir, version=__version__, raw_dir=raw_dir, command=_command())


def _command() -> str:
    return "qsmbids " + " ".join(unnamed(sys.argv[1:]))


def _finish(
    results: list[dict[str, Any]],
    out_dir: Path,
    execution: Execution,
    args: argparse.Namespace,
    seconds: float,
    any_planned: bool,
    unreported: int = 0,
    n_left_out: int = 0,
    n_not_dicom: int = 0,
) -> int:
    """Write the summary, say how it went, and return the exit code."""
    from qsmbids.cli.summary import write_summary

    failed = [r for r in results if r["status"] != "ok"]
    for result in failed:
        where = f" in step {result['step']}" if result.get("step") else ""
        logger.error("%s failed%s: %s", result["run"], where, result["message"])
        if result.get("crash_file"):
            logger.error("    details: %s", result["crash_file"])
    summary = write_summary(out_dir, results)
    ok = len(results) - len(failed)
    if execution.clean_work_dir:
        clean_work_dir(execution.work_dir, [r["run"] for r in results if r["status"] == "ok"])
    if not results or not any_planned:
        code = InputError.exit_code
    else:
        code = 1 if failed or n_not_dicom else 0
    minutes, rest = divmod(seconds, 60)
    pages = f" ({unreported} without a report)" if unreported else ""
    pages += f" ({n_not_dicom} not written as DICOM)" if n_not_dicom else ""
    took = f"{int(minutes)}:{rest:04.1f} min"
    return end(
        "qsmbids",
        f"{ok} ok, {len(failed)} failed{pages}{_counted_left(n_left_out)} in {took};"
        f" summary: {summary}",
        code,
    )


def _counted_left(number: int) -> str:
    """Say how many runs were left out."""
    return f", {number} left out" if number else ""
