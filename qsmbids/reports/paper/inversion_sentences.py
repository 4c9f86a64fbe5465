"""Sentences of the methods text about the dipole inversion; see ``method_sentences``."""

from qsmbids.reports.paper.clause import Clause

__all__ = ["INVERSION"]

_C = Clause

_FANSI = {"dipole_inversion.method": "fansi"}
_HARMONIC = {**_FANSI, "dipole_inversion.weak_harmonic": True}
_NONLINEAR = {**_FANSI, "dipole_inversion.solver": "nonlinear"}
_TV, _TGV = {"dipole_inversion.constraint": "tv"}, {"dipole_inversion.constraint": "tgv"}
_MEDI = {"dipole_inversion.method": "medi"}
_ITERATIVE = {"dipole_inversion.method": ("fansi", "medi")}
_CLOSED = {"dipole_inversion.method": ("tkd", "l2")}
_MASK2 = {"masks.reliable_phase": ("romeo-quality", "inverse-noise", "relative-residual")}

INVERSION = (
    _C(
        "Susceptibility was calculated by FANSI [@milovic2018] with a {dipole_inversion.solver}"
        " data term, constrained by {dipole_inversion.constraint} (fidelity consistency weight"
        " {dipole_inversion.fidelity_consistency}), until an iteration changed it by less than"
        " {dipole_inversion.tolerance_percent}, for {dipole_inversion.maximum_iterations}"
        " iterations at most.",
        _FANSI,
    ),
    _C(
        "The gradient L1 penalty was {dipole_inversion.gradient_l1_penalty} and the gradient"
        " consistency weight {dipole_inversion.gradient_consistency}.",
        {**_FANSI, "dipole_inversion.regularisation": "fixed"},
    ),
    _C("This strength is the {dipole_inversion.regularisation_from}."),
    _C(
        "The gradient L1 penalty of each run was derived from the noise of its field, measured"
        " where the dipole kernel vanishes, and from the mean gradient of a short first inversion;"
        " the gradient consistency weight followed it, up to that of the consensus paper.",
        {**_FANSI, "dipole_inversion.regularisation": "adaptive"},
    ),
    _C(
        "The penalty came to {run.penalty} and the consistency weight to {run.consistency}.",
        {"dipole_inversion.regularisation": "adaptive", "run.penalty_known": True},
    ),
    _C(
        "The penalty had spatial weights ({dipole_inversion.regularisation_weight}).",
        {**_FANSI, **_TV},
    ),
    _C(
        "Second differences had {dipole_inversion.tgv_ratio} times the weight of first ones, and"
        " weak harmonic fields were not fitted.",
        {**_FANSI, **_TGV},
    ),
    _C(
        "The iterations started from a map of least squares without outliers [@black1996].",
        {**_NONLINEAR, "dipole_inversion.start": "least-squares", **_TV},
    ),
    _C(
        "The first ten iterations had a linear data term.",
        {**_NONLINEAR, "dipole_inversion.start": "least-squares", **_TGV},
    ),
    _C("The iterations started from zero.", {**_NONLINEAR, "dipole_inversion.start": "zero"}),
    _C(
        "Each iteration solved for susceptibility and weak harmonic field together.",
        {**_HARMONIC, "dipole_inversion.iterations": "joint"},
    ),
    _C(
        "Each iteration solved for susceptibility and weak harmonic field in turn.",
        {**_HARMONIC, "dipole_inversion.iterations": "alternating"},
    ),
    _C(
        "A weak harmonic field was fitted along [@milovic2019] (constraint weight"
        " {dipole_inversion.harmonic_constraint}, consistency weight"
        " {dipole_inversion.harmonic_consistency}).",
        _HARMONIC,
    ),
    _C(
        "Weak harmonic fields were not fitted.",
        {**_FANSI, "dipole_inversion.weak_harmonic": False},
    ),
    _C(
        "Susceptibility was calculated by morphology enabled dipole inversion (MEDI)"
        " [@liu2011medi; @liu2013] with a regularisation parameter of"
        " {dipole_inversion.medi_lambda}, a nonlinear data term"
        " {dipole_inversion.medi_data_weighting}, and the largest"
        " {dipole_inversion.medi_edge_percentage} of the differences of the magnitude taken for"
        " edges, in {dipole_inversion.medi_maximum_steps} Gauss-Newton steps at most, until the"
        " relative change was {dipole_inversion.medi_tolerance}.",
        _MEDI,
    ),
    _C(
        "The data were filtered by the deviation from spherical mean values"
        " ({dipole_inversion.medi_smv_radius_mm} in radius).",
        {**_MEDI, "run.medi_filter": True},
    ),
    _C(
        "The data were not filtered by spherical mean values.",
        {**_MEDI, "run.medi_filter": False},
    ),
    _C(
        "The dipole was convolved on the array of the image, without zeros around it.",
        {**_MEDI, "dipole_inversion.medi_padding": "none"},
    ),
    _C(
        "The dipole was convolved on the brain with room around it.",
        {**_MEDI, "dipole_inversion.medi_padding": "auto"},
    ),
    _C(
        "Its conjugate gradients were preconditioned.",
        {**_MEDI, "dipole_inversion.medi_preconditioner": True},
    ),
    _C(
        "Its conjugate gradients were not preconditioned.",
        {**_MEDI, "dipole_inversion.medi_preconditioner": False},
    ),
    _C(
        "Data weights were reduced where the model did not fit (modal error reduction through"
        " iterative tuning, MERIT).",
        {**_MEDI, "dipole_inversion.medi_merit": True},
    ),
    _C(
        "Data weights were not tuned in between (MERIT off).",
        {**_MEDI, "dipole_inversion.medi_merit": False},
    ),
    _C(
        "The fluid of the ventricles was made homogeneous (MEDI+0) [@liu2018] with a weight of"
        " {dipole_inversion.medi_fluid_lambda}.",
        {**_MEDI, "dipole_inversion.medi_zero_reference": True},
    ),
    _C(
        "The fluid of the ventricles was not constrained.",
        {**_MEDI, "dipole_inversion.medi_zero_reference": False},
    ),
    _C(
        "Susceptibility was calculated by thresholded k-space division (TKD) [@shmueli2009] with"
        " a threshold of {dipole_inversion.tkd_threshold}.",
        {"dipole_inversion.method": "tkd"},
    ),
    _C(
        "Susceptibility was calculated in closed form with L2 regularisation [@bilgic2014] of its"
        " gradient (weight {dipole_inversion.l2_lambda}).",
        {"dipole_inversion.method": "l2"},
    ),
    _C(
        "Data in holes of unreliable phase kept the weight of their noise.",
        {**_ITERATIVE, **_MASK2, "dipole_inversion.holes": "fill"},
    ),
    _C(
        "Data in holes of unreliable phase had no weight.",
        {**_ITERATIVE, **_MASK2, "dipole_inversion.holes": "weight"},
    ),
    _C(
        "Data in holes of unreliable phase were inverted as all others.",
        {**_CLOSED, **_MASK2, "dipole_inversion.holes": "fill"},
    ),
    _C(
        "Data in holes of unreliable phase counted as zero.",
        {**_CLOSED, **_MASK2, "dipole_inversion.holes": "weight"},
    ),
    _C("Of the weights, only those of zero counted, as data of zero.", _CLOSED),
    _C("", {"dipole_inversion.holes": ("fill", "weight"), "masks.reliable_phase": "none"}),
    _C(
        "Strong sources and holes of unreliable phase were taken from an inversion of all voxels,"
        " and the tissue from a second one without their data and their field [@stewart2022].",
        {"dipole_inversion.holes": "two-pass"},
    ),
    _C(
        "The map is zero outside the mask of the background field removal without holes.",
        {
            "step.remove_background_field": True,
            "step.invert_dipole_field": True,
            "run.medi_filter": False,
        },
    ),
    _C(
        "The map is zero outside the mask of the background field removal without holes, less the"
        " radius of the filter.",
        {**_MEDI, "step.remove_background_field": True, "run.medi_filter": True},
    ),
    _C(
        "The map is zero outside the region of the local field that was given.",
        {
            "step.given_local_field": True,
            "step.invert_dipole_field": True,
            "run.medi_filter": False,
        },
    ),
    _C(
        "The map is zero outside the region of the local field that was given, less the radius of"
        " the filter.",
        {**_MEDI, "step.given_local_field": True, "run.medi_filter": True},
    ),
)
