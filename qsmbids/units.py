"""Physical constants and unit conversions; the only module that holds them.

House units: s, Hz, ppm, rad, mm, tesla. Sign: phase grows as +2 pi f TE, so that a paramagnetic
source (chi > 0) has a positive field inside an infinite cylinder parallel to B0.
"""

import math

#: Proton gyromagnetic ratio over 2 pi [Hz/T] (CODATA 2018, shielding neglected).
GAMMA_BAR_HZ_PER_T = 42.577478518e6

TWO_PI = 2.0 * math.pi


def larmor_frequency(b0_tesla: float) -> float:
    """Return the proton Larmor frequency [Hz] at a field strength [T]."""
    return GAMMA_BAR_HZ_PER_T * b0_tesla


def radians_per_ppm(centre_frequency: float, echo_time: float) -> float:
    """Return the phase [rad] that 1 ppm of field builds up over ``echo_time`` [s].

    Consensus section 6.1: phase = ppm * 2 pi * f0 * TE * 1e-6.
    """
    return TWO_PI * centre_frequency * echo_time * 1e-6
