"""Standard deviations that a few far values do not change, from median absolute deviations."""

import numpy as np

from qsmbids.core.maths.arrays import FloatArray

__all__ = ["MAD_TO_STD", "NORMAL_MAD", "robust_std"]

#: Median of the absolute value of a standard normal variable.
NORMAL_MAD = 0.6744897501960817
#: Standard deviation of a normal distribution in median absolute deviations, rounded as usual.
MAD_TO_STD = 1.4826


def robust_std(deviations: FloatArray) -> float:
    """Return the standard deviation that most of some deviations have, were they normal.

    Parameters
    ----------
    deviations : ndarray of float
        Of any unit, from their centre; at least one.

    Returns
    -------
    float
        1.4826 times the median of their absolute values, in their unit.

    Examples
    --------
    >>> robust_std(np.array([-1.0, 1.0, -1.0, 1.0, 1000.0]))
    1.4826
    """
    return MAD_TO_STD * float(np.median(np.abs(deviations)))
