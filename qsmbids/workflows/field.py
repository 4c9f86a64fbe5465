"""From the measured phase to the total field, or the fields that the user gives."""

from qsmbids.interfaces.field import CombineEchoes, FitField, UnwrapPhase
from qsmbids.interfaces.given import GivenField, GivenPhase, RatePhase
from qsmbids.interfaces.phase_correction import RemovePhaseOffset

__all__ = ["add_field", "given_inputs"]


def add_field(workflow, prepare, mask1, measured, plan, settings, node, threads):  # type: ignore[no-untyped-def]
    """Add the steps to the total field that are needed.

    Parameters
    ----------
    workflow : Workflow
        Graph of a run.
    prepare, mask1, measured : Node
        The steps that have the prepared phase and magnitude, Mask 1, and the phase as of a
        monopolar readout.
    plan : RunPlan
        The run; unwrapped phase or a field of the user is taken from it.
    settings : Settings
        What decides the maps.
    node : callable
        Makes a node with its memory estimate.
    threads : int
        Threads of a step.

    Returns
    -------
    quality, field, noise : Node
        The steps that have an output of that name; ``field`` is None where a local field was
        given and no total field with it.
    """
    echo_times = [float(t) for t in plan.acquisition.echo_times]
    if plan.given is not None:
        return _add_given(workflow, prepare, mask1, plan, settings, node, threads)
    fit = settings.total_field.echo_phase_combination == "nonlinear-fit"
    if len(echo_times) > 2 and fit:
        combine = node(
            FitField(echo_times=echo_times, n_threads=threads), "combine_echoes", threads
        )
        workflow.connect(measured, "phase", combine, "phase")
        _connect_image(workflow, prepare, mask1, combine)
        return combine, combine, combine
    unwrap = _add_romeo(workflow, prepare, mask1, measured, echo_times, settings, node, threads)
    combine = _add_average(workflow, prepare, mask1, unwrap, echo_times, settings, node, threads)
    return unwrap, combine, combine


def given_inputs(given):  # type: ignore[no-untyped-def]
    """Return the inputs of a step that takes a given image, less the image."""
    return {"scale": given.scale, "units": given.units, "said": list(given.said)}


def _add_given(workflow, prepare, mask1, plan, settings, node, threads):  # type: ignore[no-untyped-def]
    """Add what takes the place of the steps to the given image."""
    total = settings.total_field
    echo_times = [float(t) for t in plan.acquisition.echo_times]
    rate = node(
        RatePhase(
            echo_times=echo_times,
            weights=total.romeo_weights,
            weighting=total.echo_weighting,
            n_threads=threads,
        ),
        "rate_phase",
        threads,
    )
    workflow.connect(prepare, "phase", rate, "phase")
    _connect_image(workflow, prepare, mask1, rate)
    phase, field = plan.gives("unwrapped"), plan.gives("total")
    if phase is None and field is None:
        return rate, None, rate
    if phase is not None:
        files = [str(path) for path in phase.paths]
        take = node(GivenPhase(given=files, **given_inputs(phase)), "given_phase")
    else:
        take = node(GivenField(given=str(field.paths[0]), **given_inputs(field)), "given_field")
    workflow.connect(prepare, "combined_magnitude", take, "like")
    workflow.connect(mask1, "mask", take, "mask")
    if phase is None:
        return rate, take, rate
    combine = _add_average(workflow, prepare, mask1, take, echo_times, settings, node, threads)
    return rate, combine, combine


def _add_romeo(workflow, prepare, mask1, measured, echo_times, settings, node, threads):  # type: ignore[no-untyped-def]
    """Add removal of the offset and unwrapping; return the latter."""
    total = settings.total_field
    source = measured
    if len(echo_times) > 1 and total.phase_offset_correction != "none":
        source = node(
            RemovePhaseOffset(
                echo_times=echo_times,
                sigma_mm=total.phase_offset_smoothing_mm,
                refinements=total.phase_offset_refinements,
                n_threads=threads,
            ),
            "remove_phase_offset",
            threads,
        )
        workflow.connect(
            [
                (measured, source, [("phase", "phase")]),
                (prepare, source, [("magnitude", "magnitude")]),
                (mask1, source, [("mask", "mask")]),
            ]
        )
    unwrap = node(
        UnwrapPhase(echo_times=echo_times, weights=total.romeo_weights, n_threads=threads),
        "unwrap_phase",
        threads,
    )
    workflow.connect(
        [
            (source, unwrap, [("phase", "phase")]),
            (prepare, unwrap, [("magnitude", "magnitude"), ("phase", "measured")]),
            (mask1, unwrap, [("mask", "mask")]),
        ]
    )
    return unwrap


def _add_average(workflow, prepare, mask1, unwrapped, echo_times, settings, node, threads):  # type: ignore[no-untyped-def]
    """Add the average over the echoes."""
    weighting = settings.total_field.echo_weighting
    combine = node(
        CombineEchoes(echo_times=echo_times, weighting=weighting, n_threads=threads),
        "combine_echoes",
        threads,
    )
    workflow.connect(unwrapped, "phase", combine, "phase")
    _connect_image(workflow, prepare, mask1, combine)
    return combine


def _connect_image(workflow, prepare, mask1, step):  # type: ignore[no-untyped-def]
    """Give a step the magnitude and Mask 1."""
    workflow.connect(prepare, "magnitude", step, "magnitude")
    workflow.connect(mask1, "mask", step, "mask")
