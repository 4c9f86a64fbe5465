"""Which runs there are, and which can be processed."""

import argparse
import contextlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qsmbids.cli.inputs import collect_all
from qsmbids.cli.options import REFERENCES
from qsmbids.cli.segmentations import check_one_run_each, segmentations_of
from qsmbids.cli.validation import refuse_invalid
from qsmbids.config import Settings
from qsmbids.core.phase.phase_checks import PhaseCheck
from qsmbids.errors import ConfigError, InputError, NotFetchedError, QSMError
from qsmbids.execution import available_cpus, available_memory_gb, parse_memory_gb
from qsmbids.io.dataset_index import list_participants
from qsmbids.io.echo_order import in_order_of_echo_times
from qsmbids.io.masks import check_brightness, find_mask, read_mask
from qsmbids.io.metadata import Acquisition, read_acquisition
from qsmbids.io.near_misses import LABEL_RULE, odd_folders
from qsmbids.io.nifti import read_volume
from qsmbids.io.nifti_header import read_header
from qsmbids.io.phase_filter import TOO_EARLY, filter_evidence, filter_found, refusal
from qsmbids.io.preflight import check_head_size, check_run
from qsmbids.io.raw_phase import measure_filter_of, read_raw_phase
from qsmbids.io.runs import Run
from qsmbids.io.slices import is_echo_planar, slice_axis
from qsmbids.io.start_image import OPTIONS, StartImage, find_start
from qsmbids.io.validate import ValidationResult
from qsmbids.workflows.plan import RunPlan
from qsmbids.workflows.steps import run_memory_gb

__all__ = ["make_plans", "parted"]

logger = logging.getLogger("qsmbids")

#: The estimate is an upper one; beyond so many times what is granted, a run cannot succeed.
_TOO_MUCH = 2.0


def make_plans(
    args: argparse.Namespace,
    roots: Sequence[Path],
    settings: Settings,
    with_result: Collection[str] = (),
    validated: Sequence[ValidationResult] = (),
) -> tuple[list[RunPlan], list[dict[str, Any]]]:
    """Return the runs to process, and a result for each that is not.

    Parameters
    ----------
    args : Namespace
        Of the command line.
    roots : sequence of Path
        Raw datasets.
    settings : Settings
    with_result : collection of str
        Participants and sessions that have a result already; see
        :func:`qsmbids.cli.inputs.collect_all`.
    validated : sequence of ValidationResult
        What the BIDS validator said of the datasets: errors in the files of a run are its end.

    Returns
    -------
    plans : list of RunPlan
    others : list of dict
        With the status "failed" or, for what nobody may have asked for, "left out"; where nothing
        else was found, that is a failure, too.

    Raises
    ------
    InputError
        There is nothing at all to process.
    ConfigError
        An option does not fit what was found.
    """
    runs, problems = collect_all(args, roots, with_result)
    if not runs and not problems and not with_result:
        raise InputError(
            "no multi-echo gradient echo with magnitude and phase was found",
            str(roots[0]),
            "Expected sub-*/[ses-*/]anat/*_part-mag_MEGRE.nii.gz and *_part-phase_MEGRE.nii.gz"
            " (or T2starw for a single echo), or DICOM in sourcedata/sub-*/[ses-*/].",
        )
    _check_one_image_each(args, runs)
    check_one_run_each(args, runs)
    plans: list[RunPlan] = []
    _name_odd_folders(roots, args.participant_label)
    with_run = {f"sub-{run.subject}" for run in runs}
    named = {f"sub-{label}" for label in args.participant_label or ()}
    others = [
        _refused(_label(problem.where), problem.message, left_out=problem.left_out)
        for problem in problems
    ]
    for run in runs:
        if any(plan.run.label == run.label for plan in plans):
            logger.warning(
                "%s: left out, a MEGRE run of the same name is taken", run.images[0].name
            )
            continue
        try:
            refuse_invalid(run, validated)
            plan = _plan(run, args, settings)
            filtered = _filtered(plan, settings)
            if args.dry_run and not filtered:  # a run that is begun measures it itself
                numbers, check = _look_at_phase(plan, settings)
                plan = replace(plan, phase_numbers=numbers)
                filtered = _filtered(plan, settings, check)
            if filtered:
                others.append(_refused(run.label, filtered, left_out=True))
            else:
                plans.append(plan)
        except QSMError as error:
            absent = isinstance(error, NotFetchedError)
            others.append(_refused(run.label, str(error), left_out=absent))
    for result in others:
        asked_for = result["run"].split("_")[0] in named - with_run
        if result["status"] == "left out" and (asked_for or not (plans or with_result)):
            result["status"] = "failed"
    return plans, others


def _check_one_image_each(args: argparse.Namespace, runs: Sequence[Run]) -> None:
    """Refuse one mask or field for several runs."""
    for option, path in (("--mask", args.mask), *_starts(args)):
        if path is not None and path.is_file() and len(runs) > 1:
            what = option.removeprefix("--").replace("-", " ")
            raise ConfigError(
                f"one image cannot be the {what} of {len(runs)} runs",
                option,
                "Select one run, or give a BIDS derivative with one for each.",
            )


def _name_odd_folders(roots: Sequence[Path], participants: Collection[str] | None) -> None:
    """Tell which folders are not looked into, for their names are none of BIDS."""
    odd = [
        name
        for root in roots
        for name in odd_folders(root, participants or list_participants(root))
    ]
    if odd:
        more = f" and {len(odd) - 10} more" if len(odd) > 10 else ""
        logger.warning("WARNING: left out: %s%s; %s", ", ".join(odd[:10]), more, LABEL_RULE)


def parted(others: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the results that failed, and those that are left out."""
    left_out = [result for result in others if result["status"] == "left out"]
    return [result for result in others if result["status"] != "left out"], left_out


def _plan(run: Run, args: argparse.Namespace, settings: Settings) -> RunPlan:
    """Check one run before anything is computed."""
    run, echo_times = in_order_of_echo_times(run, args.echo_times)
    acquisition = read_acquisition(
        run,
        field_strength=args.field_strength,
        echo_times=echo_times,
        b0_direction=args.b0_dir,
    )
    warnings = tuple(check_run(run, acquisition))
    axis, said = slice_axis(run, acquisition, settings.phase.slices)
    if axis is not None:
        acquisition = replace(acquisition, decisions=(*acquisition.decisions, said))
        warnings += _outside_the_paper(run)
    if not args.use_plugin:  # whose machines are others
        _check_memory(run, acquisition, args)
    mask = region = None
    if args.mask is not None:
        mask = find_mask(args.mask.resolve(), run)
        _check_mask(mask, run)
    else:
        check_head_size(run, acquisition)
    if args.reference not in (None, *REFERENCES):
        region = find_mask(Path(args.reference).resolve(), run, "--reference")
        read_mask(region, read_header(run.images[0]), "mask of the reference region")
    start = _start(run, acquisition, args)
    return RunPlan(
        run,
        acquisition,
        warnings,
        mask,
        region,
        start,
        **segmentations_of(run, args),
        slice_axis=axis,
    )


def _outside_the_paper(run: Run) -> tuple[str, ...]:
    """Say what is left as it is in scans that the paper does not speak of."""
    if not is_echo_planar(run.sidecars):
        return ("2-D slices: outside the paper's scope, which is 3-D gradient echoes",)
    return (
        "echo planar images: outside the paper's scope, and their geometric distortion is left as"
        " it is, in the maps too",
    )


def _look_at_phase(plan: RunPlan, settings: Settings) -> tuple[str, PhaseCheck | None]:
    """Say how the numbers of the phase would be read, and whether they look filtered."""
    run, acquisition, n_threads = plan.run, plan.acquisition, available_cpus()
    if run.real:
        return "real and imaginary parts", TOO_EARLY
    try:
        raw = read_raw_phase(run, acquisition, n_threads=n_threads)
    except (QSMError, ValueError) as error:
        return f"cannot be read: {error}", None
    scale, check = raw.scale, None
    text = f"{scale.rule} ({scale.description})" + (f"; {scale.warning}" if scale.warning else "")
    if plan.start is None and not settings.phase.accept_filtered:
        with contextlib.suppress(QSMError, ValueError):  # without a head there is nothing to tell
            check = measure_filter_of(raw, run, acquisition, n_threads=n_threads)
    return text, check


def _filtered(plan: RunPlan, settings: Settings, check: PhaseCheck | None = None) -> str:
    """Return why the phase is of no use if the scanner filtered it: by header, or measured."""
    if plan.start is not None or settings.phase.accept_filtered:
        return ""
    evidence = filter_evidence(plan.run.sidecars[-1])
    text, certain = ("", False) if evidence is None else evidence
    if not certain and check is None:
        return ""
    because = filter_found(text, certain, check or TOO_EARLY)
    if not because:
        return ""
    what, fix = refusal(because)
    return str(InputError(what, (plan.run.phase or plan.run.imag)[-1].name, fix))


def _check_mask(mask: Path, run: Run) -> None:
    """Say now what is wrong with a given mask."""
    values = read_mask(mask, read_header(run.images[0]))
    if run.magnitude:
        check_brightness(values.inside, read_volume(run.magnitude[0]).array, mask)


def _starts(args: argparse.Namespace) -> list[tuple[str, Path | None]]:
    """Return the options by which a run starts from a derivative, with their values."""
    return [(o, getattr(args, o.removeprefix("--").replace("-", "_"))) for o in OPTIONS.values()]


def _start(run: Run, acquisition: Acquisition, args: argparse.Namespace) -> StartImage | None:
    """Return what takes the place of the first steps of a run."""
    for kind, (option, path) in zip(OPTIONS, _starts(args), strict=True):
        if path is not None:
            start = find_start(kind, path.resolve(), run, acquisition)
            out_dir = args.output_dir.resolve()
            if any(out_dir in p.parents for p in start.paths):
                raise ConfigError(
                    f"the {start.title} lies in the output folder and would be written over",
                    option,
                    "Write to another output folder.",
                )
            return start
    return None


def _check_memory(run: Run, acquisition: Acquisition, args: argparse.Namespace) -> None:
    """Refuse what cannot be in memory, before any of it is read: the header may be wrong."""
    need = run_memory_gb(acquisition.n_voxels, len(acquisition.echo_times))
    granted = parse_memory_gb(args.mem) if args.mem else available_memory_gb()
    if need > _TOO_MUCH * granted:
        matrix = " x ".join(str(n) for n in acquisition.matrix)
        raise InputError(
            f"{len(acquisition.echo_times)} echoes of {matrix} voxels need about {need:.0f} GB of"
            f" memory, and there are {granted:.1f}",
            str(run.images[0]),
            "Check the header of the image, or give more with --mem.",
        )


def _label(where: str) -> str:
    """Return the label that the run would have had."""
    return where.removesuffix("_MEGRE").removesuffix("_T2starw")


def _refused(run: str, message: str, *, left_out: bool = False) -> dict[str, Any]:
    return {
        "run": run,
        "status": "left out" if left_out else "failed",
        "step": "pre-flight",
        "message": message,
        "outputs": [],
    }
