"""From the total field to referenced susceptibility: the lower half of a run's graph."""

import math

from qsmbids.interfaces.background import RemoveBackgroundField
from qsmbids.interfaces.inversion import InvertDipoleField
from qsmbids.interfaces.masks import FillBackgroundMask, FindReliablePhase
from qsmbids.interfaces.oblique import RestoreSlab, StraightenSlab
from qsmbids.interfaces.reference import ReferenceChi

__all__ = ["add_chi"]


def add_chi(workflow, mask1, quality, combine, weigh, plan, settings, threads, node):  # type: ignore[no-untyped-def]
    """Add Masks 2 to 4, background removal, inversion and reference.

    Parameters
    ----------
    workflow : Workflow
        Graph of a run.
    mask1, quality, combine, weigh : Node
        The steps that make Mask 1, the phase quality, the total field and the data weights.
    plan : RunPlan
        The run.
    settings : Settings
        What decides the maps.
    threads : int
        Threads of a step.
    node : callable
        Makes a node with its memory estimate.

    Returns
    -------
    Node
        The step that has the local field and Mask 4 on the array of the images.
    """
    acquisition = plan.acquisition
    b0_direction = [float(b) for b in acquisition.b0_direction]
    rotate = settings.background_field.oblique == "rotate" and acquisition.tilt_degrees > 0.1
    masks, bfr, inv = settings.masks, settings.background_field, settings.dipole_inversion
    mask2 = node(
        FindReliablePhase(
            measure=masks.reliable_phase,
            quality_threshold=masks.quality_threshold,
            inverse_noise_factor=masks.inverse_noise_factor,
            residual_threshold=settings.total_field.relative_residual_threshold,
        ),
        "mask2",
    )
    mask3 = node(FillBackgroundMask(closing_mm=masks.closing_mm), "mask3")
    background = node(
        RemoveBackgroundField(
            variant=bfr.vsharp_variant,
            maximum_radius=bfr.maximum_radius,
            minimum_radius=bfr.minimum_radius,
            truncation=bfr.truncation,
            refinements=bfr.refinements,
            rim_outlier=bfr.rim_outlier,
            remove_residual_b1_field=bfr.remove_residual_b1_field,
            erode_before=bfr.erode_before,
            erode_after=bfr.erode_after,
            n_threads=threads,
        ),
        "remove_background_field",
        threads,
    )
    invert = node(
        InvertDipoleField(
            b0_direction=_nearest_axis(b0_direction) if rotate else b0_direction,
            centre_frequency=float(acquisition.centre_frequency_hz),
            echo_time=float(acquisition.echo_times[-1]),
            gradient_l1_penalty=inv.gradient_l1_penalty,
            gradient_consistency=inv.gradient_consistency,
            fidelity_consistency=inv.fidelity_consistency,
            tolerance_percent=inv.tolerance_percent,
            maximum_iterations=inv.maximum_iterations,
            solver=inv.solver,
            linear_start=inv.linear_start,
            regularisation_weight=inv.regularisation_weight,
            weak_harmonic=inv.weak_harmonic,
            harmonic_constraint=inv.harmonic_constraint,
            harmonic_consistency=inv.harmonic_consistency,
            holes=inv.holes,
            n_threads=threads,
        ),
        "invert_dipole_field",
        threads,
    )
    reference = node(
        ReferenceChi(method=settings.reference.region, region_name="brain (Mask 4)"),
        "reference_chi",
    )
    workflow.connect(
        [
            (quality, mask2, [("quality", "quality")]),
            (combine, mask2, [("noise", "noise")]),
            (weigh, mask2, [("residual", "residual")]),
            (mask1, mask2, [("mask", "mask")]),
            (mask1, mask3, [("mask", "mask1")]),
            (mask2, mask3, [("mask", "mask2")]),
        ]
    )
    maps, chi = background, invert
    if rotate:
        turn = node(
            StraightenSlab(b0_direction=b0_direction, n_threads=threads), "straighten_slab"
        )
        back = node(RestoreSlab(b0_direction=b0_direction, n_threads=threads), "restore_slab")
        workflow.connect(
            [
                (combine, turn, [("field", "field")]),
                (weigh, turn, [("weights", "weights")]),
                (mask2, turn, [("mask", "mask2")]),
                (mask3, turn, [("mask", "mask3")]),
                (turn, background, [(n, n) for n in ("field", "mask2", "mask3")]),
                (turn, invert, [("weights", "weights")]),
                (background, back, [(n, n) for n in ("local_field", "mask4_filled")]),
                (invert, back, [("chi", "chi")]),
                (combine, back, [("field", "field")]),
                (mask2, back, [("mask", "mask2")]),
                (mask3, back, [("mask", "mask3")]),
            ]
        )
        maps = chi = back
    else:
        workflow.connect(
            [
                (combine, background, [("field", "field")]),
                (mask2, background, [("mask", "mask2")]),
                (mask3, background, [("mask", "mask3")]),
                (weigh, invert, [("weights", "weights")]),
            ]
        )
    workflow.connect(
        [
            (
                background,
                invert,
                [
                    ("local_field", "local_field"),
                    ("mask4_filled", "mask"),
                    ("mask4", "mask_holes"),
                ],
            ),
            (chi, reference, [("chi", "chi")]),
            (maps, reference, [("mask4_filled", "mask"), ("mask4", "region")]),
        ]
    )
    return maps


def _nearest_axis(direction: list[float]) -> list[float]:
    """Return the array axis that is nearest to a direction, with its sign."""
    largest = max(direction, key=abs)
    return [math.copysign(1.0, d) if d == largest else 0.0 for d in direction]
