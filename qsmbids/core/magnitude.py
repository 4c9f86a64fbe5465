"""Combination of the echo magnitudes."""

import numpy as np
import numpy.typing as npt

__all__ = ["root_sum_of_squares"]


def root_sum_of_squares(magnitude: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return the root of the sum of squares over the echoes (recommendation 5.a).

    Parameters
    ----------
    magnitude : (E, X, Y, Z) ndarray
        Echo magnitudes, any unit.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        Same unit.

    Examples
    --------
    >>> import numpy as np
    >>> float(root_sum_of_squares(np.array([3.0, 4.0]).reshape(2, 1, 1, 1))[0, 0, 0])
    5.0
    """
    total = np.zeros(magnitude.shape[1:], dtype=np.float32)
    for echo in magnitude:
        total += np.square(echo, dtype=np.float32)
    return np.sqrt(total, out=total)
