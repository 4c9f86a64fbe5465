"""Every step of the pipeline as functions on arrays: no files, no BIDS, no logging.

The folders bear the names of the steps of the consensus paper's Figure 5. What a pipeline calls
is here too, and is imported when it is first asked for:

>>> from qsmbids import core
>>> core.make_phantom((48, 56, 40), (4, 4, 4)).mask.shape
(48, 56, 40)

House units are s, Hz, ppm, rad, mm and tesla.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qsmbids.core.background.ismv import ismv as ismv
    from qsmbids.core.background.lbv import lbv as lbv
    from qsmbids.core.background.pdf import pdf as pdf
    from qsmbids.core.background.resharp import resharp as resharp
    from qsmbids.core.background.result import BackgroundResult as BackgroundResult
    from qsmbids.core.background.result import EmptyMaskError as EmptyMaskError
    from qsmbids.core.background.vsharp import vsharp as vsharp
    from qsmbids.core.field.echo_combination import field_noise as field_noise
    from qsmbids.core.field.echo_combination import weighted_echo_average as weighted_echo_average
    from qsmbids.core.field.nonlinear_fit import field_from_fit as field_from_fit
    from qsmbids.core.field.nonlinear_fit import nonlinear_fit as nonlinear_fit
    from qsmbids.core.field.relative_residual import relative_residual as relative_residual
    from qsmbids.core.field.relative_residual import residual_weight as residual_weight
    from qsmbids.core.field.relaxometry import r2star_map as r2star_map
    from qsmbids.core.field.romeo import unwrap_echoes as unwrap_echoes
    from qsmbids.core.field.romeo_weights import quality_map as quality_map
    from qsmbids.core.field.weights import sepia_weights as sepia_weights
    from qsmbids.core.inversion.adaptive_weight import adaptive_weight as adaptive_weight
    from qsmbids.core.inversion.b0_direction import (
        b0_direction_from_affine as b0_direction_from_affine,
    )
    from qsmbids.core.inversion.dipole import dipole_field as dipole_field
    from qsmbids.core.inversion.fansi import fansi as fansi
    from qsmbids.core.inversion.l2 import closed_form_l2 as closed_form_l2
    from qsmbids.core.inversion.medi import medi as medi
    from qsmbids.core.inversion.rts import rts as rts
    from qsmbids.core.inversion.tgv import tgv as tgv
    from qsmbids.core.inversion.tikhonov import iterative_tikhonov as iterative_tikhonov
    from qsmbids.core.inversion.tkd import tkd as tkd
    from qsmbids.core.masks.bet import bet as bet
    from qsmbids.core.masks.masking import background_mask as background_mask
    from qsmbids.core.masks.masking import erode as erode
    from qsmbids.core.masks.masking import mask_with_holes as mask_with_holes
    from qsmbids.core.masks.masking import reliable_phase_mask as reliable_phase_mask
    from qsmbids.core.phantom.head import make_phantom as make_phantom
    from qsmbids.core.phantom.head import multi_echo_signal as multi_echo_signal
    from qsmbids.core.phantom.head import simulate_field as simulate_field
    from qsmbids.core.phase.bipolar import correct_bipolar as correct_bipolar
    from qsmbids.core.phase.magnitude import root_sum_of_squares as root_sum_of_squares
    from qsmbids.core.phase.offset import mcpc3ds as mcpc3ds
    from qsmbids.core.phase.phase_scale import to_radians as to_radians
    from qsmbids.core.quality.measures import measure_quality as measure_quality
    from qsmbids.core.reference.csf import find_csf as find_csf
    from qsmbids.core.reference.reference import apply_reference as apply_reference
    from qsmbids.core.reference.reference import reference_value as reference_value

#: Where each name lives, in the order of the steps. (Type checkers read the imports above.)
_HOMES = {
    "to_radians": "phase.phase_scale",
    "root_sum_of_squares": "phase.magnitude",
    "correct_bipolar": "phase.bipolar",
    "mcpc3ds": "phase.offset",
    "unwrap_echoes": "field.romeo",
    "quality_map": "field.romeo_weights",
    "weighted_echo_average": "field.echo_combination",
    "field_noise": "field.echo_combination",
    "nonlinear_fit": "field.nonlinear_fit",
    "field_from_fit": "field.nonlinear_fit",
    "relative_residual": "field.relative_residual",
    "residual_weight": "field.relative_residual",
    "sepia_weights": "field.weights",
    "r2star_map": "field.relaxometry",
    "bet": "masks.bet",
    "reliable_phase_mask": "masks.masking",
    "background_mask": "masks.masking",
    "mask_with_holes": "masks.masking",
    "erode": "masks.masking",
    "vsharp": "background.vsharp",
    "pdf": "background.pdf",
    "lbv": "background.lbv",
    "resharp": "background.resharp",
    "ismv": "background.ismv",
    "BackgroundResult": "background.result",
    "EmptyMaskError": "background.result",
    "b0_direction_from_affine": "inversion.b0_direction",
    "dipole_field": "inversion.dipole",
    "fansi": "inversion.fansi",
    "adaptive_weight": "inversion.adaptive_weight",
    "tgv": "inversion.tgv",
    "medi": "inversion.medi",
    "iterative_tikhonov": "inversion.tikhonov",
    "rts": "inversion.rts",
    "tkd": "inversion.tkd",
    "closed_form_l2": "inversion.l2",
    "reference_value": "reference.reference",
    "apply_reference": "reference.reference",
    "find_csf": "reference.csf",
    "measure_quality": "quality.measures",
    "make_phantom": "phantom.head",
    "simulate_field": "phantom.head",
    "multi_echo_signal": "phantom.head",
}

__all__ = list(_HOMES)


if not TYPE_CHECKING:  # which would take any name for one of ours

    def __getattr__(name: str) -> object:
        """Import a name from its home when it is first used."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        thing = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = thing
        return thing


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
