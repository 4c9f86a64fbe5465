"""MEDI: morphology enabled dipole inversion (7.a, 7.b, Table S2.4)."""

from dataclasses import dataclass

import numpy as np

from qsmbids.methods.declaration import Answer, Clause, Method, setting
from qsmbids.methods.inversion.data import InversionData, Susceptibility

__all__ = ["METHOD", "Medi"]


@dataclass(frozen=True)
class Medi:
    """Settings of MEDI."""

    data_weight: float = setting(
        2000.0,
        "regularisation parameter lambda",
        doc="Weight of the data (lambda of Table S2.4).",
        minimum=1e-12,
        paper=2000.0,
    )
    data_weighting: str = setting(
        "snr",
        "data weighting",
        doc="Data term weighted by the inverse of the noise.",
        choices=("snr", "none"),
        paper="snr",
        words={"snr": "weighted by the inverse of its noise", "none": "without weights"},
    )
    edge_percentage: float = setting(
        90.0,
        "differences of the magnitude taken for edges",
        "%",
        "In percent of the voxels.",
        minimum=0.1,
        maximum=299.0,
        paper=90.0,
    )
    smv_radius_mm: float = setting(
        5.0,
        "spherical mean value filter of the data, radius",
        "mm",
        "0 for none; the paper says voxels, its software takes mm. The map is smaller by as much.",
        minimum=0.0,
        maximum=50.0,
        paper=5.0,
        paper_unit="voxels",
    )
    merit: bool = setting(
        True,
        "modal error reduction through iterative tuning (MERIT)",
        doc="Of the weights.",
        paper=True,
    )
    zero_reference: bool = setting(
        False,
        "automatic zero reference (MEDI+0)",
        doc="Make the fluid of the ventricles homogeneous.",
        paper=False,
    )
    fluid_weight: float = setting(
        100.0,
        "weight of the homogeneity of the fluid",
        doc="Of MEDI+0.",
        minimum=1e-12,
        when={"zero_reference": (True,)},
    )
    maximum_steps: int = setting(
        10, "maximum Gauss-Newton steps", doc="Upper limit.", minimum=1, maximum=1000
    )
    tolerance: float = setting(
        0.1,
        "relative change at the end",
        doc="At which the Gauss-Newton steps stop.",
        minimum=0.0,
        maximum=1.0,
    )
    padding: str = setting(
        "auto",
        "zero padding of the array",
        doc="auto works on the brain with room for the dipole around it; none on the image as it"
        " is, as in Table S2.4, so that what leaves it on one side comes in on the other.",
        choices=("auto", "none"),
        paper="none",
        paper_text="[0 0 0]",
    )
    preconditioner: bool = setting(
        True,
        "preconditioner of the conjugate gradients",
        doc="Scales voxels and frequencies in the steps that solve each Gauss-Newton step; off"
        " takes those of the paper's software, two to five times as many for the same misfit.",
        software=False,
    )


def _compute(data: InversionData, settings: Medi) -> Susceptibility:
    from qsmbids.core.inversion.medi import medi

    weights = data.weights
    if settings.data_weighting == "none":
        weights = np.where(weights > 0, np.float32(1), np.float32(0))
    fluid, missing = data.fluid, ""
    if settings.zero_reference and (fluid is None or not fluid.any()):
        fluid, missing = None, "MEDI+0 found no cerebrospinal fluid and is plain MEDI"
    result = medi(
        data.field,
        data.support,
        weights,
        data.magnitude,
        data.voxel_size,
        data.b0_direction,
        centre_frequency=data.centre_frequency,
        echo_spacing=data.echo_spacing,
        data_weight=settings.data_weight,
        edge_percentage=settings.edge_percentage,
        smv_radius_mm=settings.smv_radius_mm,
        merit=settings.merit,
        fluid=fluid,
        fluid_weight=settings.fluid_weight,
        maximum_steps=settings.maximum_steps,
        tolerance=settings.tolerance,
        margin=None if settings.padding == "none" else "auto",
        preconditioner=settings.preconditioner,
        n_threads=data.n_threads,
    )
    name = METHOD.titles[fluid is not None]
    kept = float(np.count_nonzero(result.mask) / max(1, int(data.support.sum())))
    end = f"after {result.n_steps} steps ({result.n_cg_steps} conjugate gradient steps)"
    return Susceptibility(
        result.chi,
        result.mask,
        title=name,
        decisions=(
            f"{name} {'converged' if result.converged else 'stopped'} {end}; the map covers"
            f" {100 * kept:.1f} % of its mask",
        ),
        warnings=(
            "" if result.converged else f"{name} did not converge, it stopped {end}",
            missing,
        ),
        parameters={"ZeroReference": fluid is not None, "EchoSpacing": data.echo_spacing},
        facts={
            "Steps": result.n_steps,
            "ConjugateGradientSteps": result.n_cg_steps,
            "EdgeThreshold": float(result.edge_threshold),
            "EdgesPerVoxel": float(result.edge_fraction),
            "Coverage": kept,
            "Converged": bool(result.converged),
        },
    )


METHOD = Method(
    name="medi",
    titles=("MEDI", "MEDI+0"),
    settings=Medi,
    doi="https://doi.org/10.1002/mrm.22816",
    answer=Answer("7.a", "dipole inversion", "pass", "Optimisation with an L1 norm, MEDI."),
    compute=_compute,
    loop="inversion.medi_kernels:multiply",
    table="S2.4",
    strength="data_weight",
    tune="tune it on a typical case (qsmbids-lcurve) and keep it for the study",
    sentences=(
        Clause(
            "Susceptibility was calculated by morphology enabled dipole inversion (MEDI)"
            " [@liu2011medi; @liu2013] with a regularisation parameter of {data_weight}, a"
            " nonlinear data term {data_weighting}, and the largest {edge_percentage} of the"
            " differences of the magnitude taken for edges, in {maximum_steps} Gauss-Newton steps"
            " at most, until the relative change was {tolerance}."
        ),
        Clause("This strength is the {dipole_inversion.regularisation_from}."),
        Clause(
            "The data were filtered by the deviation from spherical mean values ({smv_radius_mm}"
            " in radius).",
            {"run.medi_filter": True},
        ),
        Clause("The data were not filtered by spherical mean values.", {"run.medi_filter": False}),
        Clause(
            "The dipole was convolved on the array of the image, without zeros around it.",
            {"padding": "none"},
        ),
        Clause("The dipole was convolved on the brain with room around it.", {"padding": "auto"}),
        Clause("Its conjugate gradients were preconditioned.", {"preconditioner": True}),
        Clause("Its conjugate gradients were not preconditioned.", {"preconditioner": False}),
        Clause(
            "Data weights were reduced where the model did not fit (modal error reduction through"
            " iterative tuning, MERIT).",
            {"merit": True},
        ),
        Clause("Data weights were not tuned in between (MERIT off).", {"merit": False}),
        Clause(
            "The fluid of the ventricles was made homogeneous (MEDI+0) [@liu2018] with a weight"
            " of {fluid_weight}.",
            {"zero_reference": True},
        ),
        Clause("The fluid of the ventricles was not constrained.", {"zero_reference": False}),
    ),
)
