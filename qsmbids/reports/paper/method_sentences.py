"""Sentences of the methods text: one line for each choice of each step.

A clause is used where all its conditions hold. ``{section.name}`` is the value of a setting with
its unit, ``{run.name}`` a fact of the run. Settings of the sections of a paragraph that no
sentence of it names are listed at its end, so that a setting without a clause is still reported.
"""

from dataclasses import dataclass

from qsmbids.reports.paper.clause import Clause
from qsmbids.reports.paper.inversion_sentences import INVERSION
from qsmbids.reports.paper.phase_sentences import DATA, MASK1, PHASE, READOUT

__all__ = ["PARAGRAPHS", "SPEAKS_OF", "WORDS", "Paragraph"]

#: Values in other words than in the settings.
WORDS = {
    "dipole_inversion.constraint": {
        "tv": "total variation",
        "tgv": "total generalised variation [@bredies2010; @langkammer2015]",
    },
    "dipole_inversion.medi_data_weighting": {
        "snr": "weighted by the inverse of its noise",
        "none": "without weights",
    },
}

#: Settings that a condition on a fact of the run speaks of.
SPEAKS_OF = {
    "run.sign_given": "phase.sign",
    "run.mask1": "masks.brain_extraction",
    "step.correct_readout": "total_field.bipolar_correction",
    "step.remove_phase_offset": "total_field.phase_offset_correction",
    "step.unwrap_phase": "total_field.echo_phase_combination",
    "run.alternating": "phase.slice_alternation",
    "run.readout": "total_field.bipolar_correction",
    "run.r2star": "relaxometry.method",
    "run.medi_filter": "dipole_inversion.medi_smv_radius_mm",
}


@dataclass(frozen=True)
class Paragraph:
    """Sentences of some steps; ``sections`` are those whose settings must all be named by it."""

    sections: tuple[str, ...]
    clauses: tuple[Clause, ...]


_C = Clause

_UNWRAPPED = {"step.unwrap_phase": True}

_TOTAL_FIELD = (
    _C(
        "The phase at echo time zero was estimated by MCPC-3D-S [@eckstein2018] (Gaussian"
        " smoothing with a sigma of {total_field.phase_offset_smoothing_mm},"
        " {total_field.phase_offset_refinements} refinements by local linear regression) and"
        " subtracted.",
        {"step.remove_phase_offset": True},
    ),
    _C(
        "The phase at echo time zero was not removed.",
        {**_UNWRAPPED, "step.remove_phase_offset": False},
    ),
    _C(
        "The phase was unwrapped by template unwrapping with ROMEO [@dymerska2021] (weights"
        " {total_field.romeo_weights}), and the echoes were averaged to the total field (weights"
        " {total_field.echo_weighting}).",
        {**_UNWRAPPED, "run.several": True},
    ),
    _C("The template was echo {total_field.template_echo}.", _UNWRAPPED),
    _C(
        "The phase of the single echo was unwrapped by ROMEO [@dymerska2021] (weights"
        " {total_field.romeo_weights}) and divided by its echo time to give the total field.",
        {**_UNWRAPPED, "run.several": False},
    ),
    _C(
        "The total field and the phase at echo time zero were fitted to the complex signal of all"
        " echoes [@liu2013], and the field was then unwrapped by ROMEO [@dymerska2021].",
        {"total_field.echo_phase_combination": "nonlinear-fit"},
    ),
    _C("The weights of the unwrapping were {total_field.fit_romeo_weights}."),
)

_GIVEN_FIELD = (
    _C(
        "Unwrapped phase that the investigators gave was used, and its echoes were averaged to"
        " the total field (weights {total_field.echo_weighting}).",
        {"step.given_phase": True, "step.given_local_field": False},
    ),
    _C(
        "A total field that the investigators gave was used.",
        {"step.given_field": True, "step.given_local_field": False},
    ),
    _C(
        "A local field that the investigators gave was used, so that no background field was"
        " removed; the total field that came with it had a part in the weights only.",
        {"run.given_total_with_local": True},
    ),
    _C(
        "A local field that the investigators gave was used, so that no background field was"
        " removed.",
        {"step.given_local_field": True, "run.given_total_with_local": False},
    ),
)

_WEIGHTS = (
    _C(
        "The weights of the data were the inverse of the noise of the field, shifted and scaled to"
        " a median of one, with outliers softened, and multiplied by a factor that falls linearly"
        " with the relative residual of the signal model, to zero at"
        " {total_field.relative_residual_threshold} [@chan2021].",
        {"run.residual": True},
    ),
    _C(
        "The weights of the data were the inverse of the noise of the field, shifted and scaled to"
        " a median of one, with outliers softened [@chan2021].",
        {"step.weight_data": True, "run.residual": False},
    ),
    _C(
        "That noise was taken from the magnitude, for echoes averaged with the weights"
        " {total_field.noise_weighting}.",
        {"step.weight_data": True},
    ),
)

_MASKS = (
    _C(
        "Voxels with a ROMEO phase quality of {masks.quality_threshold} or more were taken for"
        " reliable (Mask 2).",
        {"masks.reliable_phase": "romeo-quality"},
    ),
    _C(
        "The phase quality had the weights {total_field.quality_romeo_weights}.",
        {"masks.reliable_phase": "romeo-quality"},
    ),
    _C(
        "",
        {"masks.reliable_phase": ("inverse-noise", "relative-residual", "none")},
        ("total_field.quality_romeo_weights",),
    ),
    _C(
        "Voxels with an inverse noise of at least {masks.inverse_noise_factor} times its mean over"
        " the image were taken for reliable (Mask 2).",
        {"masks.reliable_phase": "inverse-noise"},
    ),
    _C(
        "Voxels below the threshold of the relative residual were taken for reliable (Mask 2).",
        {"masks.reliable_phase": "relative-residual"},
    ),
    _C(
        "All voxels were taken for reliable: there was no Mask 2.",
        {"masks.reliable_phase": "none"},
    ),
    _C(
        "Mask 1 without the unreliable voxels was closed with a radius of {masks.closing_mm}, and"
        " its holes were filled (Mask 3).",
        {"masks.reliable_phase": ("romeo-quality", "inverse-noise", "relative-residual")},
    ),
    _C(
        "Mask 1 was closed with a radius of {masks.closing_mm}, and its holes were filled"
        " (Mask 3).",
        {"masks.reliable_phase": "none"},
    ),
)

_VSHARP = {"background_field.method": "vsharp"}

_BACKGROUND = (
    _C("Mask 3 was eroded by {background_field.erode_before}."),
    _C(
        "Background fields were removed by V-SHARP [@wu2012; @li2011] with spherical mean value"
        " filters from {background_field.maximum_radius} to {background_field.minimum_radius} in"
        " radius, with deconvolution (truncation {background_field.truncation},"
        " {background_field.refinements} refinements, outliers at the rim beyond"
        " {background_field.rim_outlier} left out).",
        {**_VSHARP, "background_field.vsharp_variant": "deconvolution"},
    ),
    _C(
        "Background fields were removed by V-SHARP [@wu2012; @li2011] as SEPIA [@chan2021]"
        " implements it, with spherical mean value filters from {background_field.maximum_radius}"
        " to {background_field.minimum_radius} in radius and without deconvolution.",
        {**_VSHARP, "background_field.vsharp_variant": "sepia"},
    ),
    _C(
        "Background fields were removed by projection onto dipole fields (PDF) [@liu2011pdf] with"
        " {background_field.pdf_padding_mm} of room for sources around the mask, in"
        " {background_field.pdf_maximum_iterations} iterations of conjugate gradients at most and"
        " to a relative residual of {background_field.pdf_tolerance}.",
        {"background_field.method": "pdf"},
    ),
    _C(
        "Sources inside the mask were allowed for, with {background_field.pdf_tissue} times the"
        " size of those outside.",
        {"run.pdf_tissue": True, "background_field.method": "pdf"},
    ),
    _C(
        "All sources were taken to lie outside the mask.",
        {"background_field.pdf_tissue": 0, "background_field.method": "pdf"},
    ),
    _C(
        "Background fields were removed by solving the Laplacian boundary value problem (LBV)"
        " [@zhou2014] to a relative residual of {background_field.lbv_tolerance}, with the"
        " outermost {background_field.lbv_peel} of the mask taken off first.",
        {"background_field.method": "lbv"},
    ),
    _C(
        "Background fields were removed by RESHARP [@sun2014] with spheres of"
        " {background_field.resharp_radius} in radius, a Tikhonov weight of"
        " {background_field.resharp_alpha} and a relative residual of"
        " {background_field.resharp_tolerance}.",
        {"background_field.method": "resharp"},
    ),
    _C(
        "Background fields were removed by iterated spherical mean values (iSMV) [@wen2014] with"
        " spheres of {background_field.ismv_radius} in radius, until the relative change was"
        " {background_field.ismv_tolerance}.",
        {"background_field.method": "ismv"},
    ),
    _C(
        "The smallest filter had a radius of {run.smallest_sphere}, the longest side of a voxel.",
        {**_VSHARP, "run.smallest_sphere_larger": True},
    ),
    _C("Mask 4 was not eroded further.", {"background_field.erode_after": 0}),
    _C("Mask 4 was then eroded by {background_field.erode_after}.", {"run.eroded": True}),
    _C(
        "A residual B1 field was fitted by a polynomial and removed.",
        {"background_field.remove_residual_b1_field": True},
    ),
    _C(
        "No polynomial was fitted afterwards.",
        {"background_field.remove_residual_b1_field": False},
    ),
    _C(
        "The slab was tilted to the main field, and the field was rotated onto it before and the"
        " maps back after the inversion.",
        {"background_field.oblique": "rotate", "run.tilted": True},
    ),
    _C(
        "The slab was not tilted to the main field.",
        {"background_field.oblique": "rotate", "run.tilted": False},
    ),
    _C(
        "The dipole kernel had the direction of the main field relative to the slab.",
        {"background_field.oblique": "tilt-kernel", "step.invert_dipole_field": True},
    ),
)

_REFERENCE = (
    _C(
        "Susceptibility values are in parts per million (ppm) and referenced to the mean over the"
        " brain (Mask 4).",
        {"reference.region": "brain-mask"},
    ),
    _C(
        "Susceptibility values are in parts per million (ppm) and referenced to the mean over the"
        " cerebrospinal fluid.",
        {"reference.region": "csf"},
    ),
    _C(
        "Susceptibility values are in parts per million (ppm) and referenced to the mean over a"
        " region that was given.",
        {"reference.region": "region"},
    ),
    _C(
        "Cerebrospinal fluid of the ventricles was taken to be the voxels with R2* below"
        " {reference.csf_r2star_threshold} that reach into a sphere of radius"
        " {reference.csf_centre_radius_mm} around the centre of the brain [@liu2018],"
        " provided that their volume lay between {reference.csf_smallest_volume_ml} and"
        " {reference.csf_largest_volume_ml}.",
        {"step.find_csf": True},
    ),
    _C("No such fluid was found.", {"step.find_csf": True, "run.csf_found": False}),
    _C(
        "Susceptibility values are in parts per million (ppm), as the inversion gave them, without"
        " a reference.",
        {"reference.region": "none"},
    ),
    _C(
        "R2* was mapped by ARLO [@pei2015] for three or more evenly spaced echoes, else by a"
        " log-linear fit.",
        {"relaxometry.method": "auto", "run.planned": True},
    ),
    _C("R2* was mapped by ARLO [@pei2015].", {"run.r2star": "arlo"}),
    _C("R2* was mapped by a log-linear fit.", {"run.r2star": "loglinear"}),
    _C(
        "R2* was mapped by ARLO [@pei2015].",
        {"relaxometry.method": "arlo", "run.planned": True},
    ),
    _C(
        "R2* was mapped by a log-linear fit.",
        {"relaxometry.method": "loglinear", "run.planned": True},
    ),
)

_SWI = (
    _C(
        "Susceptibility-weighted images [@eckstein2021] were made from the magnitude without its"
        " receive bias (Gaussian with a sigma of {swi.bias_mm}) and the total field, high-pass"
        " filtered by a Gaussian with a sigma of {swi.high_pass_mm} (strength"
        " {swi.phase_strength}); susceptibility map-weighted images [@gho2014] were made from that"
        " magnitude and a mask that falls from one at zero to zero at {swi.chi_limit_ppm}, to the"
        " power of {swi.chi_power}. Both are dark for paramagnetic sources. Minimum intensity"
        " projections were taken over slabs of {swi.projection_mm}.",
        {"swi.enabled": True},
    ),
    _C("", {"swi.enabled": False}),  # nobody publishes what was not made
)

#: The text from the phase to the maps.
PARAGRAPHS = (
    Paragraph(
        ("phase", "total_field"),
        (*PHASE, *MASK1, *READOUT, *DATA, *_TOTAL_FIELD, *_GIVEN_FIELD, *_WEIGHTS),
    ),
    Paragraph(("masks",), _MASKS),
    Paragraph(("background_field",), _BACKGROUND),
    Paragraph(("dipole_inversion",), INVERSION),
    Paragraph(("reference", "relaxometry", "swi"), (*_REFERENCE, *_SWI)),
)
