"""The L-curve of MEDI: the weight is that of the data, its reciprocal the strength."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.l_curve import LCurve, l_curve, total_variation
from qsmbids.core.inversion.medi import medi
from qsmbids.core.maths.arrays import FloatArray, Mask
from qsmbids.units import TWO_PI

__all__ = ["DEFAULT_DATA_WEIGHTS", "medi_l_curve"]


#: Three decades about the value of Table S2.4 (2000), four to a decade.
DEFAULT_DATA_WEIGHTS = tuple(float(v) for v in np.geomspace(6e1, 6e4, 13))


def medi_l_curve(
    local_field: FloatArray,
    mask: Mask,
    weights: FloatArray,
    magnitude: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    echo_spacing: float,
    data_weights: npt.ArrayLike = DEFAULT_DATA_WEIGHTS,
    n_threads: int = 1,
    progress: Callable[[int, float], None] | None = None,
    **options: object,
) -> LCurve:
    """Return the L-curve of :func:`qsmbids.core.inversion.medi.medi`.

    Parameters
    ----------
    local_field, mask, weights, magnitude, voxel_size, b0_direction
        As for the inversion.
    echo_spacing : float
        [s]; the echo time if there is but one echo.
    data_weights : array_like
        Weights of the data.
    n_threads : int
        Threads.
    progress : callable, optional
        Called after each inversion with its number and strength.
    **options
        Other arguments of the inversion; ``centre_frequency`` at least.

    Returns
    -------
    LCurve
        Strengths are 1 / lambda of Table S2.4. Weighted misfit of the (filtered) field, its root
        mean square [Hz], and total variation [ppm], both where the map is known.

    Raises
    ------
    ValueError
        See :func:`qsmbids.core.inversion.medi.medi` and
        :func:`qsmbids.core.inversion.l_curve.find_corner`.

    Notes
    -----
    Every inversion starts from zero, as the map depends on the way to it.
    """
    per_hz = TWO_PI * echo_spacing

    def invert(strength: float) -> tuple[float, float]:
        result = medi(
            local_field, mask, weights, magnitude, voxel_size, b0_direction,
            data_weight=1.0 / strength, echo_spacing=echo_spacing, n_threads=n_threads,
            **options,  # type: ignore[arg-type]
        )  # fmt: skip
        return result.misfit / per_hz, total_variation(result.chi, result.mask)

    return l_curve(invert, 1.0 / np.asarray(data_weights, dtype=float), progress=progress)
