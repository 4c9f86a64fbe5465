"""The graph of one run: the steps of the paper's Supplementary S2 in their order."""

import shutil
from pathlib import Path

import nipype.pipeline.engine as pe

from qsmbids.config import Settings
from qsmbids.execution import Execution
from qsmbids.interfaces.checks import CheckPhase
from qsmbids.interfaces.field import MapR2Star, WeightData
from qsmbids.interfaces.masks import ConformMask, ExtractBrain
from qsmbids.interfaces.phase_correction import CorrectReadout
from qsmbids.interfaces.prepare_phase import PreparePhase
from qsmbids.workflows.chi import Upstream, add_chi
from qsmbids.workflows.field import add_field
from qsmbids.workflows.outputs import add_outputs
from qsmbids.workflows.plan import RunPlan, workflow_name
from qsmbids.workflows.quality import add_quality
from qsmbids.workflows.references import add_references
from qsmbids.workflows.resources import step_memory_gb
from qsmbids.workflows.rois import add_rois
from qsmbids.workflows.swi import add_swi

__all__ = ["STEP_TITLES", "init_run_wf", "use_fsl"]

#: Node name to what a person reads, in the order of the pipeline.
STEP_TITLES = {
    "prepare_phase": "phase to radians",
    "bet": "brain extraction (FSL)",
    "mask1": "Mask 1, brain",
    "map_r2star": "R2* map",
    "check_phase": "phase checks",
    "correct_readout": "readout direction",
    "remove_phase_offset": "phase offset (MCPC-3D-S)",
    "unwrap_phase": "unwrapping (ROMEO)",
    "rate_phase": "phase quality",
    "given_phase": "given unwrapped phase",
    "given_field": "given total field",
    "combine_echoes": "echo combination",
    "weight_data": "data weights",
    "mask2": "Mask 2, reliable phase",
    "mask3": "Mask 3, holes filled",
    "find_fluid": "fluid for MEDI+0",
    "given_local_field": "given local field",
    "straighten_slab": "rotation onto B0",
    "remove_background_field": "background field",
    "invert_dipole_field": "dipole inversion",
    "restore_slab": "rotation back",
    "set_aside_strong_sources": "strong sources set aside",
    "invert_tissue_field": "dipole inversion of the tissue",
    "merge_two_pass": "merge of two passes",
    "find_csf": "CSF region",
    "given_region": "given reference region",
    "reference_chi": "reference",
    "reference_chi_csf": "reference (CSF)",
    "reference_chi_region": "reference (given region)",
    "describe_references": "reference regions",
    "check_sign": "sign check",
    "weight_by_phase": "susceptibility-weighted image",
    "weight_by_chi": "susceptibility map-weighted image",
    "register_t1w": "registration of the T1w image",
    "bring_segmentation": "segmentation",
    "measure_rois": "regions of interest",
    "measure_quality": "quality measures",
}


def init_run_wf(
    plan: RunPlan, settings: Settings, execution: Execution, bids_dir: Path, out_dir: Path
) -> pe.Workflow:
    """Build the graph of one run.

    Parameters
    ----------
    plan : RunPlan
        The run, its acquisition parameters and optional images of the user.
    settings : Settings
        What decides the maps.
    execution : Execution
        Threads of a step and what is written.
    bids_dir, out_dir : Path
        Roots of the input and output datasets.

    Returns
    -------
    Workflow
        Nodes named as in :data:`STEP_TITLES`, and one ``save_<map>`` per output.

    Notes
    -----
    With the nonlinear fit, ``combine_echoes`` takes the place of offset removal, unwrapping and
    averaging. A ``given_`` step takes that of all steps that lead to the image that was given.
    With one echo there is no offset to remove and no R2* map to make; with two the signal model
    cannot be tested, so no relative residual is taken.
    """
    run, acquisition = plan.run, plan.acquisition
    n_echoes = len(acquisition.echo_times)
    echo_times = [float(t) for t in acquisition.echo_times]
    threads = execution.omp_nthreads
    workflow = pe.Workflow(name=workflow_name(run))

    def node(interface: object, name: str, n_procs: int = 1, finer: float = 1.0) -> pe.Node:
        return pe.Node(
            interface,
            name=name,
            n_procs=n_procs,
            mem_gb=step_memory_gb(name, round(finer * acquisition.n_voxels), n_echoes),
        )

    prepare = node(
        PreparePhase(
            **{
                part: [str(path) for path in getattr(run, part)]
                for part in ("magnitude", "phase", "real", "imag")
                if getattr(run, part)
            },
            echo_times=echo_times[:2],
            slice_alternation=settings.phase.slice_alternation,
            phase_units=acquisition.phase_units or "",
            image_type=_words(acquisition.extra.get("ImageType")),
            sign=settings.phase.sign,
            manufacturer=acquisition.manufacturer or "",
            n_threads=threads,
        ),
        "prepare_phase",
        threads,
    )
    mask1 = _add_mask1(workflow, prepare, plan, settings, threads, node)

    check = node(CheckPhase(echo_times=echo_times), "check_phase")
    workflow.connect(
        [
            (prepare, check, [("phase", "phase"), ("magnitude", "magnitude")]),
            (mask1, check, [("mask", "mask")]),
        ]
    )
    total = settings.total_field
    measured = prepare
    # without a total field, none of the steps that remain looks at the phase of all echoes
    all_echoes = plan.given is None or plan.given.kind != "local" or plan.gives("total")
    if n_echoes > 2 and total.bipolar_correction != "off" and all_echoes:
        measured = node(
            CorrectReadout(
                echo_times=echo_times,
                echo_numbers=list(run.echoes),
                method=total.bipolar_correction,
                n_threads=threads,
            ),
            "correct_readout",
            threads,
        )
        workflow.connect(
            [
                (prepare, measured, [("phase", "phase"), ("magnitude", "magnitude")]),
                (mask1, measured, [("mask", "mask")]),
            ]
        )
    quality, field, noise = add_field(
        workflow, prepare, mask1, measured, plan, settings, node, threads
    )
    weigh = node(
        WeightData(
            echo_times=echo_times, threshold=total.relative_residual_threshold, n_threads=threads
        ),
        "weight_data",
        threads,
    )
    workflow.connect(
        [
            (measured, weigh, [("phase", "phase")]),
            (prepare, weigh, [("magnitude", "magnitude")]),
            (mask1, weigh, [("mask", "mask")]),
            (noise, weigh, [("noise", "noise")]),
        ]
    )
    if field is not None:
        workflow.connect(field, "field", weigh, "field")
    relax = None
    if n_echoes > 1:
        relax = node(
            MapR2Star(
                echo_times=echo_times, method=settings.relaxometry.method, n_threads=threads
            ),
            "map_r2star",
            threads,
        )
        workflow.connect(
            [
                (prepare, relax, [("magnitude", "magnitude")]),
                (mask1, relax, [("mask", "mask")]),
            ]
        )
        if n_echoes > 2 and field is not None:
            workflow.connect(relax, "r2star", weigh, "r2star")

    upstream = Upstream(prepare, mask1, quality, field, noise, weigh, relax)
    maps = add_chi(workflow, upstream, plan, settings, threads, node)
    add_references(workflow, maps, prepare, relax, plan, settings, n_echoes, node)
    add_swi(workflow, upstream, maps, plan, settings, threads, node)
    add_rois(workflow, maps, prepare, mask1, plan, node)
    add_quality(workflow, upstream, maps, plan, threads, node)
    add_outputs(workflow, plan, out_dir, bids_dir, execution.output_level)
    return workflow


def _add_mask1(workflow, prepare, plan, settings, threads, node):  # type: ignore[no-untyped-def]
    """Add Mask 1: the user's, FSL's, or the built-in BET's."""
    masks = settings.masks
    first_echo = masks.brain_extraction_image == "first-echo"

    if plan.mask is not None:
        mask1 = node(ConformMask(mask=str(plan.mask), origin=f"given: {plan.mask.name}"), "mask1")
        workflow.connect(prepare, "combined_magnitude", mask1, "like")
        return mask1
    if use_fsl(settings):
        from nipype.interfaces import fsl

        bet = node(
            fsl.BET(
                frac=masks.fractional_intensity,
                vertical_gradient=masks.threshold_gradient,
                mask=True,
                output_type="NIFTI_GZ",
            ),
            "bet",
        )
        parameters = {
            "fractional_intensity": masks.fractional_intensity,
            "threshold_gradient": masks.threshold_gradient,
            "image": masks.brain_extraction_image,
        }
        mask1 = node(ConformMask(origin="FSL BET", drawn=False, parameters=parameters), "mask1")
        workflow.connect(bet, "mask_file", mask1, "mask")
        workflow.connect(prepare, "combined_magnitude", mask1, "like")
        target = bet, "in_file"
    else:
        mask1 = node(
            ExtractBrain(
                fractional_intensity=masks.fractional_intensity,
                threshold_gradient=masks.threshold_gradient,
                image=masks.brain_extraction_image,
                n_threads=threads,
            ),
            "mask1",
            threads,
        )
        target = mask1, "magnitude"
    if first_echo:
        workflow.connect([(prepare, target[0], [(("magnitude", _first), target[1])])])
    else:
        workflow.connect(prepare, "combined_magnitude", *target)
    return mask1


def use_fsl(settings: Settings) -> bool:
    """Return whether FSL's bet makes Mask 1."""
    wanted = settings.masks.brain_extraction
    return wanted == "fsl" or (wanted == "auto" and shutil.which("bet") is not None)


def _words(image_type: object) -> list[str]:
    """Return ImageType as a list of words, whatever the sidecar holds."""
    return [str(word) for word in image_type] if isinstance(image_type, list) else []


def _first(files: list[str]) -> str:
    """Take the first echo (a connection function)."""
    return files[0]
