"""The settings of the dipole inversion in words; see ``parameters``."""

from qsmbids.reports.paper.parameter import parameter

__all__ = ["INVERSION_PARAMETERS"]

_FANSI, _MEDI = {"method": ("fansi",)}, {"method": ("medi",)}
_ITERATIVE = {"method": ("fansi", "medi")}
_FIXED = {**_FANSI, "regularisation": ("fixed",)}
_TV, _TGV = {**_FANSI, "constraint": ("tv",)}, {**_FANSI, "constraint": ("tgv",)}
_HARMONIC = {**_TV, "weak_harmonic": (True,)}

INVERSION_PARAMETERS = (
    parameter(
        "dipole_inversion.method",
        "dipole inversion",
        record="DipoleInversion.Name",
        names={
            "FANSI": "fansi",
            "MEDI": "medi",
            "MEDI+0": "medi",
            "TKD": "tkd",
            "closed-form L2": "l2",
        },
    ),
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
        "dipole_inversion.regularisation_from",
        "origin of the strength of the regularisation",
        when=_ITERATIVE,
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
        paper=("vector-absolute", "vector-signed"),
        paper_text="vector field",
        software="vector-signed",
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
        software="alternating",
        record="DipoleInversion.Parameters.Scheme",
    ),
    parameter(
        "dipole_inversion.start",
        "start of the iterations",
        when={**_FANSI, "solver": ("nonlinear",)},
        software="zero",
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
        paper_unit="voxels",
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
        "dipole_inversion.medi_padding",
        "zero padding of the array",
        when=_MEDI,
        paper="none",
        paper_text="[0 0 0]",
    ),
    parameter(
        "dipole_inversion.medi_preconditioner",
        "preconditioner of the conjugate gradients",
        when=_MEDI,
        software=False,
    ),
    parameter(
        "dipole_inversion.tkd_threshold",
        "smallest dipole kernel value inverted",
        when={"method": ("tkd",)},
    ),
    parameter("dipole_inversion.l2_lambda", "weight of the gradient", when={"method": ("l2",)}),
    parameter("dipole_inversion.holes", "holes of Mask 2 inside Mask 4"),
)
