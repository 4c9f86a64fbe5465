"""Susceptibility-weighted images; the paper has none."""

from dataclasses import dataclass

from qsmbids.methods.declaration import Clause, setting

__all__ = ["SENTENCES", "Swi"]

_ENABLED = {"enabled": (True,)}


@dataclass(frozen=True)
class Swi:
    """Susceptibility-weighted images; the paper has none."""

    enabled: bool = setting(
        False,
        "susceptibility-weighted images",
        doc="Make them; they cost a few seconds.",
        sidecar="SusceptibilityWeighting.DarkFor",
        names={"paramagnetic sources": True},
    )
    high_pass_mm: float = setting(
        4.0,
        "Gaussian of the high-pass filter of the field, sigma",
        "mm",
        "Within the slice; the field is freed of its mean.",
        minimum=0.1,
        when=_ENABLED,
    )
    phase_strength: float = setting(
        4.0,
        "strength of the phase mask",
        doc="Darkness of a positive field.",
        minimum=0.01,
        when=_ENABLED,
    )
    chi_limit_ppm: float = setting(
        1.0,
        "susceptibility at which the mask is zero",
        "ppm",
        "It is black there.",
        minimum=0.01,
        when=_ENABLED,
    )
    chi_power: float = setting(
        4.0,
        "power of the susceptibility mask",
        doc="Of its linear ramp from 0.",
        minimum=0.01,
        when=_ENABLED,
    )
    bias_mm: float = setting(
        16.0,
        "Gaussian of the receive bias, sigma",
        "mm",
        "Of the magnitude.",
        minimum=1.0,
        when=_ENABLED,
    )
    projection_mm: float = setting(
        10.0,
        "slab of the minimum intensity projection",
        "mm",
        "Thickness.",
        minimum=0.01,
        when=_ENABLED,
    )


SENTENCES = (
    Clause(
        "Susceptibility-weighted images [@eckstein2021] were made from the magnitude without its"
        " receive bias (Gaussian with a sigma of {bias_mm}) and the total field, high-pass"
        " filtered by a Gaussian with a sigma of {high_pass_mm} (strength {phase_strength});"
        " susceptibility map-weighted images [@gho2014] were made from that magnitude and a mask"
        " that falls from one at zero to zero at {chi_limit_ppm}, to the power of {chi_power}."
        " Both are dark for paramagnetic sources. Minimum intensity projections were taken over"
        " slabs of {projection_mm}.",
        _ENABLED,
    ),
    Clause("", {"enabled": False}),  # nobody publishes what was not made
)
