"""The sections of the settings: every parameter by its name in the paper, with its default.

A parameter of Tables S2.1 to S2.4 has the table's value as its default and the table's unit. A
field that departs from the table says why.
"""

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "BackgroundField",
    "DipoleInversion",
    "Masks",
    "Phase",
    "Reference",
    "Relaxometry",
    "Swi",
    "TotalField",
]


def _opt(
    default: Any,
    doc: str,
    *,
    choices: tuple[str, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """Declare a setting with its explanation and its limits."""
    limits = {"doc": doc, "choices": choices, "minimum": minimum, "maximum": maximum}
    return field(default=default, metadata=limits)


@dataclass(frozen=True)
class Phase:
    """Preparation of the phase (paper sections 3 and 4, Supplementary S2 step 1)."""

    sign: str = _opt(
        "auto",
        "Sign of the phase; +1 where it grows with the field.",
        choices=("auto", "+1", "-1"),
    )
    slice_alternation: str = _opt(
        "auto",
        "Whether every second slice may have the opposite sign, as from GE; found in the data.",
        choices=("auto", "off"),
    )


@dataclass(frozen=True)
class Masks:
    """Masks 1 to 3 (paper section 5, Figure 5)."""

    brain_extraction: str = _opt(
        "auto",
        "Program for Mask 1: FSL's bet where it is installed, else the built-in one.",
        choices=("auto", "fsl", "builtin"),
    )
    brain_extraction_image: str = _opt(
        "first-echo", "Magnitude given to BET (5.a).", choices=("first-echo", "combined")
    )
    fractional_intensity: float = _opt(0.5, "BET -f (S2 step 1).", minimum=0.01, maximum=0.99)
    threshold_gradient: float = _opt(0.0, "BET -g (S2 step 1).", minimum=-1.0, maximum=1.0)
    reliable_phase: str = _opt(
        "romeo-quality",
        "Measure that Mask 2 thresholds (5.a).",
        choices=("romeo-quality", "inverse-noise", "relative-residual", "none"),
    )
    quality_threshold: float = _opt(
        0.3, "Lowest ROMEO quality (0..1) in Mask 2.", minimum=0.0, maximum=1.0
    )
    inverse_noise_factor: float = _opt(
        1.0, "Threshold of Mask 2 in means of the inverse noise over the image.", minimum=0.0
    )
    closing_mm: float = _opt(
        2.0, "Closing radius [mm] before holes are filled for Mask 3.", minimum=0.0, maximum=20.0
    )


@dataclass(frozen=True)
class TotalField:
    """Total field estimation and echo combination (Table S2.1)."""

    echo_phase_combination: str = _opt(
        "romeo-weighted-average",
        "Template unwrapping and weighted averaging, or a complex fit then unwrapped (4.c).",
        choices=("romeo-weighted-average", "nonlinear-fit"),
    )
    bipolar_correction: str = _opt(
        "auto",
        "Removal of the phase between readout directions, where the echoes show one (S2 step 1);"
        " auto is linear for four or more echoes, mcpc-3d-s for three.",
        choices=("auto", "linear", "mcpc-3d-s", "off"),
    )
    phase_offset_correction: str = _opt(
        "mcpc-3d-s", "Removal of the phase at TE = 0.", choices=("mcpc-3d-s", "none")
    )
    phase_offset_smoothing_mm: float = _opt(
        7.0, "Gaussian sigma [mm] of the phase offset.", minimum=0.0, maximum=50.0
    )
    phase_offset_refinements: int = _opt(
        8,
        "How often what the smoothing missed is fitted by local planes and added; 0 as in"
        " the paper's software, which leaves 0.9 Hz of error on a head phantom, where 8 leave"
        " 0.02 Hz.",
        minimum=0,
        maximum=50,
    )
    romeo_weights: str = _opt(
        "romeo3",
        "Edge weights of ROMEO; its command line uses romeo3 with a magnitude.",
        choices=("romeo2", "romeo3", "romeo4", "romeo6"),
    )
    echo_weighting: str = _opt(
        "phase_snr",
        "Weights of the echoes in the average.",
        choices=("phase_snr", "phase_var", "average", "tes", "mag"),
    )
    relative_residual_threshold: float = _opt(
        0.3, "Residual above which a voxel loses its weight.", minimum=0.0, maximum=10.0
    )


@dataclass(frozen=True)
class BackgroundField:
    """Background field removal (Table S2.2)."""

    method: str = _opt(
        "vsharp",
        "Background removal (6.a). pdf keeps the cortex; lbv suits weak harmonic inversion.",
        choices=("vsharp", "pdf", "lbv", "resharp", "ismv"),
    )
    vsharp_variant: str = _opt(
        "deconvolution",
        "sepia reproduces the paper's software, which leaves out the deconvolution and so"
        " loses about a fifth of the field.",
        choices=("deconvolution", "sepia"),
    )
    maximum_radius: int = _opt(12, "Largest sphere [voxels].", minimum=1, maximum=60)
    minimum_radius: int = _opt(1, "Smallest sphere [voxels].", minimum=1, maximum=60)
    truncation: float = _opt(
        0.05, "Smallest kernel value that the deconvolution inverts.", minimum=0.0, maximum=0.5
    )
    refinements: int = _opt(
        3,
        "Steps that deconvolve every voxel's own radius; 0 is plain V-SHARP, with a slope of 0.92"
        " on a head phantom instead of 0.94.",
        minimum=0,
        maximum=50,
    )
    rim_outlier: float = _opt(
        5.0,
        "Field of rim voxels beyond so many robust deviations is not deconvolved: it comes from"
        " bone in the mask and would spread.",
        minimum=1e-3,
    )
    pdf_padding_mm: float = _opt(
        20.0, "Room for sources around the mask [mm].", minimum=0.0, maximum=200.0
    )
    pdf_tissue: float = _opt(
        0.0,
        "Size of sources inside the mask relative to those outside; 0 is PDF, 0.03 keeps more of"
        " the field of the outer tissue.",
        minimum=0.0,
        maximum=1.0,
    )
    pdf_tolerance: float = _opt(2e-3, "Relative residual.", minimum=1e-9, maximum=1.0)
    pdf_maximum_iterations: int = _opt(30, "Upper limit.", minimum=1, maximum=10000)
    lbv_peel: int = _opt(1, "Layers taken off the mask first [voxels].", minimum=0, maximum=20)
    lbv_tolerance: float = _opt(1e-4, "Relative residual.", minimum=1e-9, maximum=1.0)
    resharp_radius: float = _opt(4.0, "Sphere [voxels].", minimum=1.0, maximum=60.0)
    resharp_alpha: float = _opt(1e-4, "Tikhonov weight of the local field.", minimum=1e-12)
    resharp_tolerance: float = _opt(1e-4, "Relative residual.", minimum=1e-9, maximum=1.0)
    ismv_radius: float = _opt(4.0, "Sphere [voxels].", minimum=1.0, maximum=60.0)
    ismv_tolerance: float = _opt(1e-3, "Relative change.", minimum=1e-9, maximum=1.0)
    remove_residual_b1_field: bool = _opt(False, "Polynomial fit afterwards; the paper: no.")
    oblique: str = _opt(
        "tilt-kernel",
        "For a slab tilted against B0: tilt the dipole kernel, or rotate the unwrapped field onto"
        " B0 before and the maps back after the inversion.",
        choices=("tilt-kernel", "rotate"),
    )
    erode_before: int = _opt(1, "Erosion of Mask 3 before [voxels].", minimum=0, maximum=20)
    erode_after: int = _opt(0, "Erosion of Mask 4 after [voxels].", minimum=0, maximum=20)


@dataclass(frozen=True)
class DipoleInversion:
    """Dipole field inversion (Table S2.3)."""

    method: str = _opt(
        "fansi",
        "Inversion (7.b); tkd and l2 are for quick looks.",
        choices=("fansi", "medi", "tkd", "l2"),
    )
    tolerance_percent: float = _opt(
        0.1, "Stops when an iteration changes chi by less [%].", minimum=0.0, maximum=100.0
    )
    maximum_iterations: int = _opt(400, "Upper limit.", minimum=1, maximum=100000)
    regularisation: str = _opt(
        "fixed",
        "fixed takes the penalty below; adaptive derives it from the noise measured in the field,"
        " and the gradient consistency with it.",
        choices=("fixed", "adaptive"),
    )
    regularisation_from: str = _opt(
        "",
        "Where the strength below comes from, for the record; --adaptive-from and qsmbids-lcurve"
        " fill it in.",
    )
    gradient_l1_penalty: float = _opt(
        5e-4, "alpha1, in units of radians at the last echo.", minimum=0.0
    )
    gradient_consistency: float = _opt(0.05, "mu1.", minimum=1e-12)
    fidelity_consistency: float = _opt(1.0, "mu2.", minimum=1e-12)
    solver: str = _opt("nonlinear", "Data term.", choices=("nonlinear", "linear"))
    constraint: str = _opt(
        "tv",
        "Total variation, or total generalised variation, which keeps slopes but has no weak"
        " harmonic field.",
        choices=("tv", "tgv"),
    )
    tgv_ratio: float = _opt(
        2.0, "Weight of second over first differences in TGV.", minimum=1e-3, maximum=1e3
    )
    start: str = _opt(
        "least-squares",
        "Start of a nonlinear data term: a map of least squares without outliers (TGV: ten linear"
        " iterations), or zero as in the paper's software, from which a strong source, such as a"
        " calcification, can lock in at a wrong turn of the phase.",
        choices=("least-squares", "zero"),
    )
    iterations: str = _opt(
        "joint",
        "Solve for susceptibility and weak harmonic field together, or in turn as the paper's"
        " software does, which at the same tolerance stops further from the minimum.",
        choices=("joint", "alternating"),
    )
    regularisation_weight: str = _opt(
        "vector-absolute",
        "Vector field weights of the penalty; vector-signed is what FANSI v3 computes, where"
        " every second edge is taken for none.",
        choices=("vector-absolute", "vector-signed", "none"),
    )
    weak_harmonic: bool = _opt(True, "Also fit a weak harmonic rest of the background.")
    harmonic_constraint: float = _opt(150.0, "beta.", minimum=0.0)
    harmonic_consistency: float = _opt(3.0, "muh.", minimum=1e-12)
    medi_lambda: float = _opt(2000.0, "Weight of the data (Table S2.4).", minimum=1e-12)
    medi_data_weighting: str = _opt(
        "snr", "Data term weighted by the inverse of the noise.", choices=("snr", "none")
    )
    medi_edge_percentage: float = _opt(
        90.0,
        "Differences of the magnitude that are taken for edges, in percent of the voxels.",
        minimum=0.1,
        maximum=299.0,
    )
    medi_smv_radius_mm: float = _opt(
        5.0,
        "Spherical mean value filter of the data, 0 for none; the paper says voxels, its software"
        " takes mm. The map is smaller by as much.",
        minimum=0.0,
        maximum=50.0,
    )
    medi_merit: bool = _opt(True, "Error reduction through iterative tuning of the weights.")
    medi_zero_reference: bool = _opt(
        False, "Make the fluid of the ventricles homogeneous (MEDI+0)."
    )
    medi_fluid_lambda: float = _opt(100.0, "Weight of that.", minimum=0.0)
    medi_maximum_steps: int = _opt(10, "Gauss-Newton steps.", minimum=1, maximum=1000)
    medi_tolerance: float = _opt(
        0.1, "Relative change at which they stop.", minimum=0.0, maximum=1.0
    )
    medi_padding: str = _opt(
        "auto",
        "auto works on the brain with room for the dipole around it; none on the image as it is,"
        " as in Table S2.4, so that what leaves it on one side comes in on the other.",
        choices=("auto", "none"),
    )
    medi_preconditioner: bool = _opt(
        True,
        "Scale the steps that solve each Gauss-Newton step; off takes those of the paper's"
        " software, which stop further from the solution.",
    )
    tkd_threshold: float = _opt(
        0.2, "Smallest dipole kernel value that is inverted.", minimum=1e-3, maximum=0.66
    )
    l2_lambda: float = _opt(1e-2, "Weight of the gradient.", minimum=1e-12)
    holes: str = _opt(
        "fill",
        "Holes of Mask 2 inside Mask 4: fill leaves their data the weight that noise and residual"
        " give it, as in S2; weight gives them none; two-pass inverts once more without"
        " holes, strong sources and their field, and merges (5.c).",
        choices=("fill", "weight", "two-pass"),
    )


@dataclass(frozen=True)
class Reference:
    """Referencing (paper section 8)."""

    region: str = _opt(
        "brain-mask",
        "Region whose mean is zero in the main map (Table S2.3); maps for the other regions that"
        " there are come beside it, except with none.",
        choices=("brain-mask", "csf", "region", "none"),
    )
    csf_r2star_threshold: float = _opt(
        5.0, "Largest R2* of fluid [1/s].", minimum=0.1, maximum=100.0
    )
    csf_centre_radius_mm: float = _opt(
        30.0, "Ventricles touch a sphere of this radius [mm].", minimum=1.0, maximum=100.0
    )
    csf_smallest_volume_ml: float = _opt(0.5, "Less is no ventricle [ml].", minimum=0.0)
    csf_largest_volume_ml: float = _opt(150.0, "More is no ventricle [ml].", minimum=0.0)


@dataclass(frozen=True)
class Relaxometry:
    """R2*, T2* and S0 maps."""

    method: str = _opt(
        "auto",
        "auto takes ARLO for three or more evenly spaced echoes, else a log-linear fit.",
        choices=("auto", "arlo", "loglinear"),
    )


@dataclass(frozen=True)
class Swi:
    """Susceptibility-weighted images; the paper has none."""

    enabled: bool = _opt(False, "Make them; they cost a few seconds.")
    high_pass_mm: float = _opt(
        4.0, "Gaussian within the slice whose mean the field is freed of [mm].", minimum=0.1
    )
    phase_strength: float = _opt(4.0, "Darkness of a positive field.", minimum=0.01)
    chi_limit_ppm: float = _opt(1.0, "Susceptibility that is black [ppm].", minimum=0.01)
    chi_power: float = _opt(4.0, "Power of its linear ramp from 0.", minimum=0.01)
    bias_mm: float = _opt(16.0, "Gaussian of the receive bias [mm].", minimum=1.0)
    projection_mm: float = _opt(10.0, "Slab of the minimum projection [mm].", minimum=0.01)
