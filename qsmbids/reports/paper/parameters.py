"""Every setting in words: its unit, when it applies, the paper's value and its sidecar key.

A setting without a row here is reported under its own name, whenever its section is; a new
method needs a row only where its parameters are not for every choice of the section.

Of a run that was made, the sidecars say which settings had a part in it and what they were: a row
whose key no step has recorded is no part of its report.
"""

from qsmbids.reports.paper.inversion_parameters import INVERSION_PARAMETERS
from qsmbids.reports.paper.parameter import Parameter, fixed, parameter

__all__ = ["PARAMETERS", "Parameter", "parameter"]

_WEIGHTED = {"echo_phase_combination": ("romeo-weighted-average",)}
_OFFSET = {**_WEIGHTED, "phase_offset_correction": ("mcpc-3d-s",)}
_VSHARP = {"method": ("vsharp",)}
_DECONVOLUTION = {**_VSHARP, "vsharp_variant": ("deconvolution",)}
_PDF, _LBV = {"method": ("pdf",)}, {"method": ("lbv",)}
_RESHARP, _ISMV = {"method": ("resharp",)}, {"method": ("ismv",)}
_REFERENCED = {"region": ("brain-mask", "csf", "region")}
_BET = {"brain_extraction": ("auto", "fsl", "builtin")}

#: Rows in the order of the pipeline.
PARAMETERS = (
    parameter("phase.sign", "sign of the phase", record="PhaseSign.Setting"),
    parameter(
        "phase.slice_alternation",
        "search for slices of opposite sign",
        record="SliceAlternation.Setting",
    ),
    parameter(
        "masks.brain_extraction",
        "brain extraction for Mask 1",
        record="BrainExtraction.Name",
        names={"FSL BET": "fsl", "built-in BET": "builtin"},
    ),
    parameter(
        "masks.brain_extraction_image",
        "magnitude for Mask 1",
        when=_BET,
        paper="first-echo",
        record="BrainExtraction.Parameters.image",
    ),
    parameter(
        "masks.fractional_intensity",
        "BET fractional intensity",
        when=_BET,
        paper=0.5,
        record="BrainExtraction.Parameters.fractional_intensity",
    ),
    parameter(
        "masks.threshold_gradient",
        "BET threshold gradient",
        when=_BET,
        paper=0.0,
        record="BrainExtraction.Parameters.threshold_gradient",
    ),
    parameter(
        "total_field.bipolar_correction",
        "correction of a bipolar readout",
        echoes=3,
        record="ReadoutCorrection.Setting",
    ),
    parameter(
        "total_field.echo_phase_combination",
        "echo combination",
        echoes=2,
        paper="romeo-weighted-average",
        record="EchoCombination.Name",
        names={
            "weighted echo averaging": "romeo-weighted-average",
            "nonlinear complex fit": "nonlinear-fit",
        },
        unless="given_phase",
    ),
    parameter(
        "total_field.phase_offset_correction",
        "phase offset correction",
        when=_WEIGHTED,
        paper="mcpc-3d-s",
        record="PhaseOffsetCorrection.Name",
        names={"MCPC-3D-S": "mcpc-3d-s"},
        otherwise=("none", "unwrap_phase", "!remove_phase_offset"),
    ),
    parameter(
        "total_field.phase_offset_smoothing_mm",
        "Gaussian smoothing of the phase offset, sigma",
        "mm",
        when=_OFFSET,
        record="PhaseOffsetCorrection.SmoothingMm",
    ),
    parameter(
        "total_field.phase_offset_refinements",
        "refinements of the smoothed phase offset",
        when=_OFFSET,
        software=0,
        record="PhaseOffsetCorrection.Refinements",
    ),
    parameter(
        "total_field.romeo_weights",
        "ROMEO edge weights",
        when=_WEIGHTED,
        record="Unwrapping.Weights",
    ),
    fixed("total_field.template_echo", "ROMEO template echo", "Unwrapping.TemplateEcho"),
    fixed(
        "total_field.fit_romeo_weights", "ROMEO edge weights, of the fit", "Unwrapping.FitWeights"
    ),
    fixed(
        "total_field.quality_romeo_weights",
        "ROMEO edge weights, of the phase quality",
        "PhaseQuality.Weights",
    ),
    fixed(
        "total_field.noise_weighting",
        "weights of the echoes in the noise of the field",
        "FieldNoiseWeighting",
    ),
    parameter(
        "total_field.echo_weighting",
        "weights of the echoes",
        echoes=2,
        when=_WEIGHTED,
        record="EchoCombination.Weighting",
    ),
    parameter(
        "total_field.relative_residual_threshold",
        "relative residual from which a voxel has no weight",
        echoes=3,
        paper=0.3,
        record="DataWeights.RelativeResidualThreshold",
    ),
    parameter(
        "masks.reliable_phase",
        "measure for Mask 2",
        paper="none",
        table="S2.1",
        record="ReliablePhase.Measure",
    ),
    parameter(
        "masks.quality_threshold",
        "lowest phase quality in Mask 2",
        when={"reliable_phase": ("romeo-quality",)},
        record="ReliablePhase.Threshold",
    ),
    parameter(
        "masks.inverse_noise_factor",
        "lowest inverse noise in Mask 2, in means over the image",
        when={"reliable_phase": ("inverse-noise",)},
        record="ReliablePhase.Threshold",
    ),
    parameter(
        "masks.closing_mm",
        "closing before the holes of Mask 3 are filled",
        "mm",
        record="ClosingMm",
    ),
    parameter(
        "background_field.oblique",
        "treatment of an oblique slab",
        record="Oblique.Method",
        otherwise=("tilt-kernel", "invert_dipole_field", "!straighten_slab"),
    ),
    parameter("background_field.erode_before", "erosion of Mask 3 before", "voxels", paper=1),
    parameter(
        "background_field.method",
        "background field removal",
        paper="vsharp",
        record="BackgroundRemoval.Name",
        names={
            "V-SHARP": "vsharp",
            "PDF": "pdf",
            "LBV": "lbv",
            "RESHARP": "resharp",
            "iSMV": "ismv",
        },
    ),
    parameter(
        "background_field.vsharp_variant",
        "V-SHARP variant",
        when=_VSHARP,
        paper="sepia",
        record="BackgroundRemoval.Parameters.Variant",
    ),
    parameter(
        "background_field.maximum_radius", "largest sphere", "voxels", when=_VSHARP, paper=12
    ),
    parameter(
        "background_field.minimum_radius", "smallest sphere", "voxels", when=_VSHARP, paper=1
    ),
    parameter(
        "background_field.truncation", "truncation of the deconvolution", when=_DECONVOLUTION
    ),
    parameter("background_field.refinements", "deconvolution refinements", when=_DECONVOLUTION),
    parameter(
        "background_field.rim_outlier",
        "limit of outliers at the rim",
        "robust standard deviations",
        when=_DECONVOLUTION,
    ),
    parameter(
        "background_field.pdf_padding_mm", "room for sources around the mask", "mm", when=_PDF
    ),
    parameter(
        "background_field.pdf_tissue",
        "size of sources inside the mask to those outside",
        when=_PDF,
    ),
    parameter("background_field.pdf_tolerance", "PDF tolerance", when=_PDF),
    parameter("background_field.pdf_maximum_iterations", "PDF maximum iterations", when=_PDF),
    parameter(
        "background_field.lbv_peel", "layers taken off the mask for LBV", "voxels", when=_LBV
    ),
    parameter("background_field.lbv_tolerance", "LBV tolerance", when=_LBV),
    parameter("background_field.resharp_radius", "RESHARP sphere", "voxels", when=_RESHARP),
    parameter("background_field.resharp_alpha", "RESHARP Tikhonov weight", when=_RESHARP),
    parameter("background_field.resharp_tolerance", "RESHARP tolerance", when=_RESHARP),
    parameter("background_field.ismv_radius", "iSMV sphere", "voxels", when=_ISMV),
    parameter("background_field.ismv_tolerance", "iSMV tolerance", when=_ISMV),
    parameter("background_field.erode_after", "erosion of Mask 4 after", "voxels", paper=0),
    parameter(
        "background_field.remove_residual_b1_field",
        "polynomial fit of a residual B1 field",
        paper=False,
        record="BackgroundRemoval.Parameters.RemoveResidualB1Field",
    ),
    *INVERSION_PARAMETERS,
    parameter(
        "reference.region",
        "reference region",
        paper="brain-mask",
        table="S2.3, S2.4",
        record="MainReference",
        names={"wholebrain": "brain-mask", "csf": "csf", "region": "region", "none": "none"},
    ),
    *(
        parameter(f"reference.{name}", label, unit, when=_REFERENCED, echoes=3, record=record)
        for name, label, unit, record in (
            ("csf_r2star_threshold", "largest R2* of fluid", "1/s", "CsfRegion.R2StarThreshold"),
            (
                "csf_centre_radius_mm",
                "sphere around the centre that ventricles reach into, radius",
                "mm",
                "CsfRegion.CentreRadiusMm",
            ),
            (
                "csf_smallest_volume_ml",
                "smallest volume of fluid",
                "ml",
                "CsfRegion.SmallestVolumeMl",
            ),
            (
                "csf_largest_volume_ml",
                "largest volume of fluid",
                "ml",
                "CsfRegion.LargestVolumeMl",
            ),
        )
    ),
    parameter("relaxometry.method", "R2* fit", echoes=2, record="R2StarFit.Setting"),
    parameter(
        "swi.enabled",
        "susceptibility-weighted images",
        record="SusceptibilityWeighting.DarkFor",
        names={"paramagnetic sources": True},
    ),
    *(
        parameter(f"swi.{name}", label, unit, when={"enabled": (True,)})
        for name, label, unit in (
            ("high_pass_mm", "Gaussian of the high-pass filter of the field, sigma", "mm"),
            ("phase_strength", "strength of the phase mask", ""),
            ("chi_limit_ppm", "susceptibility at which the mask is zero", "ppm"),
            ("chi_power", "power of the susceptibility mask", ""),
            ("bias_mm", "Gaussian of the receive bias, sigma", "mm"),
            ("projection_mm", "slab of the minimum intensity projection", "mm"),
        )
    ),
)
