"""Every setting in words: its unit, when it applies, the paper's value and its sidecar key.

A setting without a row here is reported under its own name, whenever its section is; a new
method needs a row only where its parameters are not for every choice of the section.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PARAMETERS", "Parameter", "parameter"]


@dataclass(frozen=True)
class Parameter:
    """One setting.

    Attributes
    ----------
    section, name : str
        As in :class:`qsmbids.config.Settings`.
    label, unit : str
        In words.
    when : dict
        Name of another setting of the section, and the values with which this one is used.
    echoes : int
        Fewest echoes with which the setting has a part.
    paper : str, bool, int, float or None
        Value of Tables S2.1 to S2.4 and of step 1; None where they have none.
    record : str
        Dotted path in the sidecar of a map; "" where it has none.
    """

    section: str
    name: str
    label: str
    unit: str = ""
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    echoes: int = 1
    paper: Any = None
    record: str = ""

    @property
    def key(self) -> str:
        """Section and name with a dot between them."""
        return f"{self.section}.{self.name}"


def parameter(key: str, label: str, unit: str = "", **kwargs: Any) -> Parameter:
    """Return the row of ``section.name``; its sidecar key follows from the name if not given."""
    section, name = key.split(".")
    kwargs.setdefault("record", _record_path(section, name))
    return Parameter(section, name, label, unit, **kwargs)


def _record_path(section: str, name: str) -> str:
    """Return where the sidecar has a setting by the rule: CamelCase below the step's name."""
    step = {"background_field": "BackgroundRemoval", "dipole_inversion": "DipoleInversion"}
    camel = "".join(word.capitalize() for word in name.split("_"))
    return f"{step[section]}.Parameters.{camel}" if section in step else ""


_WEIGHTED = {"echo_phase_combination": ("romeo-weighted-average",)}
_OFFSET = {**_WEIGHTED, "phase_offset_correction": ("mcpc-3d-s",)}
_VSHARP = {"method": ("vsharp",)}
_DECONVOLUTION = {**_VSHARP, "vsharp_variant": ("deconvolution",)}
_PDF, _LBV = {"method": ("pdf",)}, {"method": ("lbv",)}
_RESHARP, _ISMV = {"method": ("resharp",)}, {"method": ("ismv",)}
_FANSI, _MEDI = {"method": ("fansi",)}, {"method": ("medi",)}
_FIXED = {**_FANSI, "regularisation": ("fixed",)}
_TV, _TGV = {**_FANSI, "constraint": ("tv",)}, {**_FANSI, "constraint": ("tgv",)}
_HARMONIC = {**_TV, "weak_harmonic": (True,)}
_REFERENCED = {"region": ("brain-mask", "csf", "region")}
_BET = {"brain_extraction": ("auto", "fsl", "builtin")}

#: Rows in the order of the pipeline.
PARAMETERS = (
    parameter("phase.sign", "sign of the phase"),
    parameter("phase.slice_alternation", "search for slices of opposite sign"),
    parameter("masks.brain_extraction", "brain extraction for Mask 1"),
    parameter(
        "masks.brain_extraction_image", "magnitude for Mask 1", when=_BET, paper="first-echo"
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
    parameter("total_field.bipolar_correction", "correction of a bipolar readout", echoes=3),
    parameter(
        "total_field.echo_phase_combination", "echo combination", paper="romeo-weighted-average"
    ),
    parameter(
        "total_field.phase_offset_correction",
        "phase offset correction",
        when=_WEIGHTED,
        paper="mcpc-3d-s",
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
        paper=0,
        record="PhaseOffsetCorrection.Refinements",
    ),
    parameter(
        "total_field.romeo_weights",
        "ROMEO edge weights",
        when=_WEIGHTED,
        record="Unwrapping.Weights",
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
    parameter("masks.reliable_phase", "measure for Mask 2", record="ReliablePhase.Measure"),
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
    ),
    parameter(
        "masks.closing_mm",
        "closing before the holes of Mask 3 are filled",
        "mm",
        record="ClosingMm",
    ),
    parameter("background_field.oblique", "treatment of an oblique slab", record=""),
    parameter("background_field.erode_before", "erosion of Mask 3 before", "voxels", paper=1),
    parameter("background_field.method", "background field removal", paper="vsharp", record=""),
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
    parameter("dipole_inversion.method", "dipole inversion", paper="fansi", record=""),
    parameter("dipole_inversion.solver", "data term", when=_FANSI, paper="nonlinear"),
    parameter("dipole_inversion.constraint", "constraint", when=_FANSI, paper="tv"),
    parameter("dipole_inversion.tgv_ratio", "weight of second over first differences", when=_TGV),
    parameter(
        "dipole_inversion.regularisation",
        "choice of the gradient L1 penalty",
        when=_FANSI,
        paper="fixed",
    ),
    parameter(
        "dipole_inversion.gradient_l1_penalty", "gradient L1 penalty", when=_FIXED, paper=5e-4
    ),
    parameter(
        "dipole_inversion.gradient_consistency",
        "gradient consistency weight",
        when=_FIXED,
        paper=0.05,
    ),
    parameter(
        "dipole_inversion.fidelity_consistency",
        "fidelity consistency weight",
        when=_FANSI,
        paper=1.0,
    ),
    parameter(
        "dipole_inversion.regularisation_weight",
        "spatial weights of the penalty",
        when=_TV,
        paper="vector-signed",
    ),
    parameter("dipole_inversion.weak_harmonic", "weak harmonic field", when=_TV, paper=True),
    parameter(
        "dipole_inversion.harmonic_constraint",
        "harmonic constraint weight",
        when=_HARMONIC,
        paper=150.0,
    ),
    parameter(
        "dipole_inversion.harmonic_consistency",
        "harmonic consistency weight",
        when=_HARMONIC,
        paper=3.0,
    ),
    parameter(
        "dipole_inversion.iterations",
        "iterations for susceptibility and weak harmonic field",
        when=_HARMONIC,
        paper="alternating",
    ),
    parameter(
        "dipole_inversion.start",
        "start of the iterations",
        when={**_FANSI, "solver": ("nonlinear",)},
        paper="zero",
    ),
    parameter("dipole_inversion.tolerance_percent", "tolerance", "%", when=_FANSI, paper=0.1),
    parameter("dipole_inversion.maximum_iterations", "maximum iterations", when=_FANSI, paper=400),
    parameter(
        "dipole_inversion.medi_lambda", "regularisation parameter lambda", when=_MEDI, paper=2000.0
    ),
    parameter("dipole_inversion.medi_data_weighting", "data weighting", when=_MEDI, paper="snr"),
    parameter(
        "dipole_inversion.medi_edge_percentage",
        "differences of the magnitude taken for edges",
        "%",
        when=_MEDI,
        paper=90.0,
    ),
    parameter(
        "dipole_inversion.medi_smv_radius_mm",
        "spherical mean value filter of the data, radius",
        "mm",
        when=_MEDI,
        paper=5.0,
    ),
    parameter(
        "dipole_inversion.medi_merit",
        "modal error reduction through iterative tuning (MERIT)",
        when=_MEDI,
        paper=True,
    ),
    parameter(
        "dipole_inversion.medi_zero_reference",
        "automatic zero reference (MEDI+0)",
        when=_MEDI,
        paper=False,
    ),
    parameter(
        "dipole_inversion.medi_fluid_lambda",
        "weight of the homogeneity of the fluid",
        when={**_MEDI, "medi_zero_reference": (True,)},
    ),
    parameter("dipole_inversion.medi_maximum_steps", "maximum Gauss-Newton steps", when=_MEDI),
    parameter("dipole_inversion.medi_tolerance", "relative change at the end", when=_MEDI),
    parameter(
        "dipole_inversion.tkd_threshold",
        "smallest dipole kernel value inverted",
        when={"method": ("tkd",)},
    ),
    parameter("dipole_inversion.l2_lambda", "weight of the gradient", when={"method": ("l2",)}),
    parameter("dipole_inversion.holes", "holes of Mask 2 inside Mask 4"),
    parameter("reference.region", "reference region", paper="brain-mask"),
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
    parameter("relaxometry.method", "R2* fit", echoes=2),
    parameter("swi.enabled", "susceptibility-weighted images"),
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
