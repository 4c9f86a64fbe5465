"""What a dry run prints: what was found in every run, and what would be done to it."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from qsmbids.config import Settings
from qsmbids.core.masks.mask_values import count_parts
from qsmbids.core.phase.phase_sign import phase_sign
from qsmbids.io.masks import read_mask
from qsmbids.io.nifti_header import read_header
from qsmbids.io.start_image import StartImage
from qsmbids.workflows.pipeline import outline_of, use_fsl
from qsmbids.workflows.plan import RunPlan
from qsmbids.workflows.steps import STEP_TITLES, run_memory_gb

__all__ = ["print_dry_run"]


def print_dry_run(
    plans: Sequence[RunPlan],
    others: Sequence[dict[str, Any]],
    settings: Settings,
) -> None:
    """Print what was found in every run and what would be done."""
    for plan in plans:
        steps = outline_of(plan, settings).names
        print("\n".join(_describe(plan, settings, steps)) + "\n")
    for result in others:
        what = "left out" if result["status"] == "left out" else "cannot be processed"
        print(f"{result['run']}\n  {what}: {result['message']}\n")


def _describe(plan: RunPlan, settings: Settings, steps: Collection[str]) -> list[str]:
    acq, run = plan.acquisition, plan.run
    rows = {
        "echoes": f"{len(acq.echo_times)}: "
        + ", ".join(f"{1e3 * t:.2f}" for t in acq.echo_times)
        + " ms",
        "field strength": f"{acq.b0_tesla:g} T",
        "centre frequency": f"{acq.centre_frequency_hz / 1e6:.4f} MHz"
        f" ({acq.centre_frequency_source})",
        "B0 direction": " ".join(f"{b:+.4f}" for b in acq.b0_direction)
        + f" along the voxel axes, tilt {acq.tilt_degrees:.1f} degrees",
        "voxel size": " x ".join(f"{v:.3g}" for v in acq.voxel_size) + " mm",
        "matrix": " x ".join(str(n) for n in acq.matrix),
        "manufacturer": acq.manufacturer or "not given",
        "phase numbers": plan.phase_numbers,
        "phase sign": _sign_rule(plan, settings),
        "memory": f"about {run_memory_gb(acq.n_voxels, len(acq.echo_times)):.1f} GB",
        "Mask 1": _mask_rule(plan, settings),
        **({} if plan.start is None else {f"given {plan.start.kind}": _start_rule(plan.start)}),
        **({"segmentations": _segmentation_rule(plan)} if plan.segmentations else {}),
        **({"lesions": plan.lesions.image.name} if plan.lesions else {}),
        "steps": " > ".join(title for step, title in STEP_TITLES.items() if step in steps),
    }
    lines = [run.label, *(f"  {name:<17} {text}" for name, text in rows.items())]
    lines += [f"  note              {text}" for text in acq.decisions]
    lines += [f"  WARNING           {text}" for text in (*acq.warnings, *plan.warnings)]
    return lines


def _sign_rule(plan: RunPlan, settings: Settings) -> str:
    choice = phase_sign(settings.phase.sign, plan.acquisition.manufacturer)
    return f"{choice.sign:+d} ({choice.reason})" + (
        f"; {choice.warning}" if choice.warning else ""
    )


def _start_rule(start: StartImage) -> str:
    beside = ["total field beside it, for the weights"] if start.total else []
    return "; ".join((*start.notes, *beside))


def _segmentation_rule(plan: RunPlan) -> str:
    """Say which regions would be measured, and how they come to the run."""
    way = {"MEGRE": "on its grid", "T1w": f"registered with {plan.t1w.name if plan.t1w else ''}"}
    if plan.t1w_transform:
        way["T1w"] = f"by {Path(plan.t1w_transform).name}"
    return "; ".join(
        f"{s.label} ({s.image.name}, {way[s.space]}, names: {s.table or 'none'})"
        for s in plan.segmentations
    )


def _mask_rule(plan: RunPlan, settings: Settings) -> str:
    if plan.mask is not None:
        values = read_mask(plan.mask, read_header(plan.run.images[0]))
        n_parts, n_holes = count_parts(values.inside)
        more = f"; {values.warning}" if values.warning else ""
        return f"given: {plan.mask}, {values.text}, parts: {n_parts}, holes: {n_holes}{more}"
    return "FSL bet" if use_fsl(settings) else "built-in BET"
