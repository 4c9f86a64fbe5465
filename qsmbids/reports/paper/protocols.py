"""The sample protocols of the paper (S1.5) and the relaxation times that it names (2.1)."""

import math
from dataclasses import dataclass

__all__ = ["PROTOCOLS", "Protocol", "ernst_angle", "protocol_for", "relative_signal"]


@dataclass(frozen=True)
class Protocol:
    """What the paper suggests at one field strength.

    Attributes
    ----------
    b0_tesla : float
    repetition_time, first_echo, echo_spacing : float
        [s]; S1.5.
    n_echoes : int
    flip_angle : float
        [degrees]; S1.5.
    matrix : tuple of int
        Along anterior-posterior, left-right and head-foot; S1.5.
    voxel_size : float
        Edge of the isotropic voxel [mm]; S1.5.
    acceleration : float
        Parallel imaging factor; S1.5.
    t2star : float
        T2* of the putamen [s]; section 2.1 after Peters et al., Magn Reson Imaging 2007,
        25:748-753, doi:10.1016/j.mri.2007.02.014.
    t1 : float
        T1 of white matter and most deep nuclei [s]; section 2.1 after Rooney et al., Magn Reson
        Med 2007, 57:308-318.
    """

    b0_tesla: float
    repetition_time: float
    first_echo: float
    echo_spacing: float
    n_echoes: int
    flip_angle: float
    matrix: tuple[int, int, int]
    voxel_size: float
    acceleration: float
    t2star: float
    t1: float

    @property
    def last_echo(self) -> float:
        """Last echo time [s]."""
        return self.first_echo + (self.n_echoes - 1) * self.echo_spacing

    @property
    def field_of_view(self) -> tuple[float, ...]:
        """Extent along anterior-posterior, left-right and head-foot [mm]."""
        return tuple(n * self.voxel_size for n in self.matrix)


PROTOCOLS = (
    Protocol(1.5, 0.050, 0.005, 0.010, 5, 23.0, (176, 140, 114), 1.2, 2.0, 0.055, 0.650),
    Protocol(3.0, 0.033, 0.005, 0.006, 5, 15.0, (256, 176, 144), 1.0, 2.0, 0.030, 0.850),
    Protocol(7.0, 0.025, 0.004, 0.004, 5, 10.0, (296, 234, 190), 0.75, 3.0, 0.016, 1.220),
)

#: "3 T" is 2.89 T on some scanners; beyond this share the times of a protocol do not hold.
_SAME_FIELD = 0.1


def protocol_for(b0_tesla: float) -> Protocol | None:
    """Return the sample protocol for a field strength [T], None where the paper has none."""
    return next(
        (p for p in PROTOCOLS if abs(p.b0_tesla - b0_tesla) <= _SAME_FIELD * p.b0_tesla), None
    )


def ernst_angle(repetition_time: float, t1: float) -> float:
    """Return the Ernst angle [degrees] of section 2.1: cos(angle) = exp(-TR / T1).

    Parameters
    ----------
    repetition_time, t1 : float
        [s].
    """
    return math.degrees(math.acos(math.exp(-repetition_time / t1)))


def relative_signal(flip_angle: float, repetition_time: float, t1: float) -> float:
    """Return the spoiled steady-state signal as a share of that at the Ernst angle, 0 to 1.

    Parameters
    ----------
    flip_angle : float
        [degrees].
    repetition_time, t1 : float
        [s].
    """
    decay = math.exp(-repetition_time / t1)

    def signal(degrees: float) -> float:
        angle = math.radians(degrees)
        return math.sin(angle) / (1.0 - decay * math.cos(angle))

    return signal(flip_angle) / signal(ernst_angle(repetition_time, t1))
