"""Preparation of the phase (paper sections 3 and 4, Supplementary S2 step 1)."""

from dataclasses import dataclass

from qsmbids.methods.declaration import Clause, setting

__all__ = ["DATA", "SENTENCES", "Phase"]


@dataclass(frozen=True)
class Phase:
    """Preparation of the phase (S2 step 1)."""

    sign: str = setting(
        "auto",
        "sign of the phase",
        doc="+1 where it grows with the field; auto goes by the manufacturer.",
        choices=("auto", "+1", "-1"),
        sidecar="PhaseSign.Setting",
    )
    slice_alternation: str = setting(
        "auto",
        "search for slices of opposite sign",
        doc="Whether every second slice may have the opposite sign, as from GE; found in the"
        " data.",
        choices=("auto", "off"),
        sidecar="SliceAlternation.Setting",
    )
    slices: str = setting(
        "auto",
        "treatment as slices of a 2D scan",
        doc="2d: every slice may have a phase of its own. auto goes by MRAcquisitionType, or,"
        " where the sidecars of a single echo lack it, by jumps of the phase.",
        choices=("auto", "2d", "3d"),
        sidecar="Slices.Setting",
    )
    accept_filtered: bool = setting(
        False,
        "phase filtered by the scanner is accepted",
        doc="Filtered phase, as of SWI, lacks most of the field: values are too small, and large"
        " structures hollow. It is refused unless this is true.",
        sidecar="PhaseFilter.Accepted",
    )


SENTENCES = (
    Clause(
        "The data were treated as a {slices} scan, whatever the sidecars say.",
        {"slices": ("2d", "3d")},
    ),
    Clause(
        "The phase was brought to radians and given the sign with which it grows with the field,"
        " after the manufacturer's convention (sign {run.phase_sign}).",
        {"sign": "auto", "run.sign_known": True},  # on record
        ("slices",),
    ),
    Clause(
        "The phase was brought to radians and given the sign with which it grows with the field,"
        " after the manufacturer's convention.",
        {"sign": "auto", "run.sign_known": False},
        ("slices",),
    ),
    Clause(
        "The phase was brought to radians with the sign {sign}.",
        {"run.sign_given": True},
        ("slices",),
    ),
    Clause("The opposite sign of every second slice was undone.", {"run.alternating": True}),
    Clause(
        "Every second slice was tested for the opposite sign, and none had it.",
        {"slice_alternation": "auto", "run.alternating": False},
    ),
    Clause(
        "Every second slice was tested for the opposite sign, which was undone where found.",
        {"slice_alternation": "auto", "run.alternating": None},
    ),
    Clause("Slices of opposite sign were not looked for.", {"slice_alternation": "off"}),
    Clause(
        "The phase had been high-pass filtered by the scanner, which takes most of the field away;"
        " it was accepted all the same, and the susceptibilities are too small.",
        {"accept_filtered": True, "run.filtered": True},
    ),
    Clause(
        "Phase that the scanner had filtered would be accepted.",
        {"accept_filtered": True, "run.filtered": (False, None)},
    ),
    Clause(
        "Of phase that the scanner saved with and without a filter, that without was used.",
        {"run.unfiltered_chosen": True},
        ("accept_filtered",),
    ),
    Clause(
        "Phase that the scanner has filtered is not accepted.",
        {"accept_filtered": False, "run.planned": True},
    ),
    Clause(
        "The phase was tested for a high-pass filter of the scanner and had none.",
        {"accept_filtered": False, "run.filtered": False, "run.unfiltered_chosen": False},
    ),
)

#: On what was mended in the data.
DATA = (
    Clause(
        "The images of {run.coils} receive coils were combined by MCPC-3D-S [@eckstein2018]: each"
        " was turned by its smoothed phase at echo time zero and weighted by its magnitude.",
        {"run.coils_combined": True},
    ),
    Clause(
        "{run.voxels_without_phase} voxels that hold no phase (not finite, fill values, dots of"
        " zero) were left out.",
        {"run.without_phase": True},
    ),
    Clause(
        "A phase that each slice had of its own, the same in all echoes, was found from the first"
        " two and removed.",
        {"run.slice_offsets": True},
    ),
    Clause(
        "The slices are those of a two-dimensional scan: unwrapping went through every slice"
        " before it followed an edge to another one.",
        {"run.slicewise": True},
    ),
    Clause(
        "The phase that every slice has of its own cannot be told from the field in a single echo:"
        " the background field was fitted to the field within the slices, as by PDF"
        " [@liu2011pdf], and the median of what was left was subtracted from every slice.",
        {"step.align_slices": True, "run.slice_jumps": None},
    ),
    Clause(
        "Constants of the slices that jump from one to the next, as the field of breathing does,"
        " were told by the background field within the slices and removed.",
        {"run.slice_jumps": True},
    ),
    Clause(
        "The slices were tested for a field that jumps from one to the next, as breathing makes"
        " it, and had none.",
        {"run.slice_jumps": False},
    ),
    Clause(
        "A constant phase that each echo had of its own was removed.",
        {"run.echo_constants": True},
    ),
    Clause(
        "Lengths of the settings were counted {run.length_scale} times, for the head is small.",
        {"run.small_head": True},
    ),
)
