"""Background field removal and Mask 4 (6.a to 6.c, Table S2.2): what its methods share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qsmbids.methods import background
from qsmbids.methods.declaration import Clause, setting
from qsmbids.methods.registry import Registry, WithMethods, with_methods

__all__ = [
    "BACKGROUND",
    "OVERSAMPLING",
    "SENTENCES",
    "STRAIGHT_VOXELS",
    "BackgroundField",
    "left_to_inversion",
]

BACKGROUND = Registry.of(background, first="vsharp")

#: Voxels of the straight array of a rotated slab along each edge of one of the original. With
#: them and splines of fifth order the nuclei of a head of 1 mm, turned by 30 degrees and back,
#: keep 97.7 % of their contrast, as those of the straight head do (98.3 %); 96.0 % with as many
#: voxels as before, and 95.5 % with those and cubic splines.
OVERSAMPLING = 1.25
#: How many times as many voxels the steps in between work on.
STRAIGHT_VOXELS = OVERSAMPLING**3


@dataclass(frozen=True)
class _BackgroundField(WithMethods):
    """Background field removal (Table S2.2)."""

    method: str = BACKGROUND.setting(
        "background field removal",
        "Background removal (6.a); pdf keeps the cortex, lbv suits weak harmonic inversion",
        paper="vsharp",
        sidecar="BackgroundRemoval.Name",
        table="",
    )
    oblique: str = setting(
        "tilt-kernel",
        "treatment of an oblique slab",
        doc="Tilt the dipole kernel, or rotate the unwrapped field onto B0 before and the maps"
        " back after the inversion.",
        choices=("tilt-kernel", "rotate"),
        sidecar="Oblique.Method",
        otherwise=("tilt-kernel", "invert_dipole_field", "!straighten_slab"),
    )
    erode_before: int = setting(
        1, "erosion of Mask 3 before", "voxels", "By layers.", minimum=0, maximum=20, paper=1
    )
    unsure_rim: str = setting(
        "removed",
        "rim whose phase is too steep to be unwrapped",
        doc="Steps of more than 0.4 turns between neighbours, beside air: what they join to the"
        " border of the eroded Mask 3 or cut off is left out of background removal, which would"
        " spread whole turns, or kept, as in the paper.",
        choices=("removed", "kept"),
        software="kept",
        sidecar="UnsureRim.Setting",
        otherwise=("kept", "remove_background_field", "!find_unsure_rim"),
        unless="given_field",
    )
    erode_after: int = setting(
        0, "erosion of Mask 4 after", "voxels", "By layers.", minimum=0, maximum=20, paper=0
    )
    residual_removal: str = setting(
        "auto",
        "removal of a residual background",
        doc="on: a second pass, in which what is left after the first is projected onto dipole"
        " fields. For a single echo of 2-D slices it lowers the error of the local field from 143"
        " to 98 %; on others it changes little and takes 2 % of the local field. auto is on for"
        " such slices after V-SHARP.",
        choices=("auto", "on", "off"),
    )
    remove_residual_b1_field: bool = setting(
        False,
        "polynomial fit of a residual B1 field",
        doc="Afterwards; the paper: no.",
        paper=False,
    )


if TYPE_CHECKING:
    BackgroundField = _BackgroundField
else:
    BackgroundField = with_methods(_BackgroundField, BACKGROUND)


def left_to_inversion(background: BackgroundField, holes: str) -> bool:
    """Tell whether what background removal takes of the local field is left to the inversion.

    It needs the field as the removal alone has left it, and one pass: ``holes`` is the setting of
    the inversion.
    """
    alone = not (
        background.erode_after
        or background.remove_residual_b1_field
        or background.residual_removal == "on"
    )
    return (
        alone and holes != "two-pass" and BACKGROUND[background.method].leaves(background.chosen)
    )


SENTENCES = (
    Clause("Mask 3 was eroded by {erode_before}."),
    Clause(
        "Voxels that phase too steep to be unwrapped surely joined to its border, or cut off from"
        " the rest, were taken out of it.",
        {"unsure_rim": "removed", "step.find_unsure_rim": True},
    ),
    Clause(
        "Phase too steep to be unwrapped surely was not looked for.",
        {"unsure_rim": "kept", "step.given_field": False},
    ),
    *BACKGROUND.sentences("background_field"),
    Clause(
        "What was left of the background was projected onto dipole fields (PDF) [@liu2011pdf] in"
        " a second pass.",
        {"run.second_pass": True},
        ("residual_removal",),
    ),
    Clause(
        "Where the slices of a two-dimensional scan have a single echo, a second pass by PDF"
        " [@liu2011pdf] follows.",
        {"run.second_pass": None, "run.planned": True},
        ("residual_removal",),
    ),
    Clause("There was no second pass.", {"run.second_pass": False}, ("residual_removal",)),
    Clause("Mask 4 was not eroded further.", {"erode_after": 0}),
    Clause("Mask 4 was then eroded by {erode_after}.", {"run.eroded": True}),
    Clause(
        "A residual B1 field was fitted by a polynomial and removed.",
        {"remove_residual_b1_field": True},
    ),
    Clause("No polynomial was fitted afterwards.", {"remove_residual_b1_field": False}),
    Clause(
        "The slab was tilted to the main field, and the field was rotated onto it before and the"
        " maps back after the inversion.",
        {"oblique": "rotate", "run.tilted": True},
    ),
    Clause(
        "The slab was not tilted to the main field.", {"oblique": "rotate", "run.tilted": False}
    ),
    Clause(
        "The dipole kernel had the direction of the main field relative to the slab.",
        {"oblique": "tilt-kernel", "step.invert_dipole_field": True},
    ),
)
