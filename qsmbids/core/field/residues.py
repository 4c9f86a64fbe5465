"""Open-ended fringe lines: loops around which the wrapped steps of the phase do not cancel."""

import numba
import numpy as np

from qsmbids.core.maths.arrays import FloatArray, Mask
from qsmbids.core.phase.phase_checks import PhaseCheck, inside_mask, unknown
from qsmbids.units import TWO_PI

__all__ = ["count_residues"]


def count_residues(
    phase: FloatArray,
    mask: Mask,
    *,
    magnitude: FloatArray | None = None,
    limit: float = 2e-5,
) -> PhaseCheck:
    r"""Find open-ended fringe lines, the mark of coils combined with the wrong phase.

    Around every closed loop the wrapped steps of the phase of a field add up to zero; around
    the end of a fringe line to :math:`\pm 2\pi`. The loops are the outlines of squares of 5 x 5
    voxels, every second voxel, in the planes of all three orientations.

    Parameters
    ----------
    phase : (X, Y, Z) ndarray
        Wrapped phase [rad], best of the first echo.
    mask : (X, Y, Z) ndarray of bool
        Brain.
    magnitude : (X, Y, Z) ndarray, optional
        Loops through voxels below half of its median in the mask are left out.
    limit : float
        Suspicious above this fraction, if there are more than ten such loops; a single line
        through a head of 1 mm voxels makes 2e-4.

    Returns
    -------
    PhaseCheck
        ``value`` is the fraction of the loops that do not close.

    Raises
    ------
    ValueError
        Shapes differ.

    Notes
    -----
    Loops with any step beyond half of pi are left out: there the field may turn the phase faster
    than the voxels sample it, which makes residues without any fault. Loops of 2 x 2 voxels, all
    counted, find up to 3 % of residues in the last echo of a faultless head at 7 T, and 0.01 % for
    a single line; these find none, and the line.
    """
    phase, usable, _ = inside_mask(phase, mask, magnitude)
    n_open, n_loops = 0, 0
    for axis in range(3):  # that the loops turn about
        opened, loops = _open_loops(
            np.ascontiguousarray(np.moveaxis(phase, axis, 0)),
            np.ascontiguousarray(np.moveaxis(usable, axis, 0)),
        )
        n_open += opened
        n_loops += loops
    if n_loops < 100:
        return unknown("too little phase to look for open-ended fringe lines")
    fraction = n_open / n_loops
    finding = f"{n_open} of {n_loops} loops of well-sampled phase do not close"
    if fraction > limit and n_open > 10:
        return PhaseCheck(fraction, True, f"open-ended fringe lines: {finding}")
    return PhaseCheck(fraction, False, f"no open-ended fringe lines: {finding}")


@numba.njit(cache=True)
def _open_loops(phase, usable):  # type: ignore[no-untyped-def]
    """Count the loops about the first axis: those that do not close, and all."""
    n, ny, nz = phase.shape
    n_open, n_loops = 0, 0
    for x in range(n):
        for y in range(0, ny - 4, 2):
            for z in range(0, nz - 4, 2):
                y0, z0, dy, dz = y, z, 0, 1
                good = usable[x, y, z]
                winding = 0.0
                for k in range(16):
                    y1, z1 = y0 + dy, z0 + dz
                    if not (good and usable[x, y1, z1]):
                        good = False
                        break
                    step = phase[x, y1, z1] - phase[x, y0, z0]
                    step -= TWO_PI * np.rint(step / TWO_PI)
                    if abs(step) > 0.5 * np.pi:
                        good = False
                        break
                    winding += step
                    y0, z0 = y1, z1
                    if k % 4 == 3:  # a corner
                        dy, dz = dz, -dy
                if good:
                    n_loops += 1
                    n_open += abs(winding) > np.pi
    return n_open, n_loops
