r"""How much of the measured signal a mono-exponential decay at one frequency leaves unexplained.

Relative to echo 1, whose phase carries the transmit/receive offset, the model is

.. math:: \hat S_e = |S_1| e^{-R_2^* (TE_e - TE_1)} e^{2\pi i f (TE_e - TE_1)}, \qquad
          s_e = S_e e^{-i\phi_1}, \qquad
          rr = \frac{\sum_e |\hat S_e - s_e|^2}{\sum_e |s_e|^2}.
"""

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.field.echo_combination import checked_echo_times, flat_echoes
from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.parallel import planes
from qsmbids.units import TWO_PI

__all__ = ["relative_residual", "residual_weight"]


def relative_residual(
    phase: FloatArray,
    magnitude: FloatArray,
    echo_times: npt.ArrayLike,
    field: FloatArray,
    r2star: FloatArray,
    *,
    mask: Mask | None = None,
    n_threads: int = 1,
) -> Float32Array:
    """Return the relative residual of the one-frequency decay model.

    Parameters
    ----------
    phase : (E, X, Y, Z) ndarray
        Phase [rad], wrapped or not, before or after the offset removal (the same for all echoes:
        it cancels), after a bipolar correction.
    magnitude : (E, X, Y, Z) ndarray
        Magnitude, any scale.
    echo_times : (E,) array_like
        [s], increasing, two or more.
    field : (X, Y, Z) ndarray
        Total field [Hz].
    r2star : (X, Y, Z) ndarray
        [1/s].
    mask : (X, Y, Z) ndarray of bool, optional
        Where to compute; default everywhere.
    n_threads : int
        Threads of the voxel loop.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        0 (the model explains all) upwards; about 2 for random phase. 1 where there is no signal
        or no finite value, and 0 outside the mask.

    Raises
    ------
    ValueError
        Shapes or echo times do not fit, or there is one echo only, which is its own model.

    Notes
    -----
    With the angle a between model and signal, |S^ - s|^2 = (|S^| - |s|)^2 + 4 |S^||s| sin^2(a/2),
    so no complex image is built and nothing cancels. The noise of echo 1 enters all echoes.
    SEPIA gives voxels without a finite value the largest residual of the volume. They get 1 here,
    which does not depend on other voxels and has the same effect: a weight of zero.

    References
    ----------
    Chan KS, Marques JP. SEPIA - Susceptibility mapping pipeline tool for phase images.
    NeuroImage 2021;227:117611. doi:10.1016/j.neuroimage.2020.117611. Consensus Table S2.1.
    """
    times = checked_echo_times(echo_times, magnitude, at_least=2)
    shape = magnitude.shape[1:]
    if phase.shape != magnitude.shape or field.shape != shape or r2star.shape != shape:
        raise ValueError(
            f"phase {phase.shape}, magnitude {magnitude.shape}, field {field.shape} "
            f"and R2* {r2star.shape} do not fit"
        )
    if mask is None:
        mask = np.ones(shape, dtype=np.bool_)
    elif mask.shape != shape:
        raise ValueError(f"mask {mask.shape} and field {shape} differ in shape")
    residual = np.empty(field.size, dtype=np.float32)
    with planes(residual.size, n_threads) as run:
        run(
            _residual,
            flat_echoes(phase),
            flat_echoes(magnitude),
            times - times[0],
            flat_echoes(field[None])[0],
            flat_echoes(r2star[None])[0],
            np.require(mask, np.bool_, ["C", "W"]).reshape(-1),
            residual,
        )
    return residual.reshape(shape)


def residual_weight(residual: FloatArray, threshold: float = 0.3) -> Float32Array:
    """Return a weight that falls linearly from 1 at no residual to 0 at ``threshold``.

    Parameters
    ----------
    residual : (X, Y, Z) ndarray
        Of :func:`relative_residual`.
    threshold : float
        Residual from which a voxel has no weight; 0.3 is that of the consensus (Table S2.1).

    Returns
    -------
    (X, Y, Z) ndarray of float32
        0 to 1.

    Raises
    ------
    ValueError
        The threshold is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> residual_weight(np.array([[[0.0, 0.15, 0.3, 2.0]]])).round(3).tolist()
    [[[1.0, 0.5, 0.0, 0.0]]]
    """
    if not threshold > 0:
        raise ValueError(f"the residual threshold must be positive, not {threshold}")
    weight = np.maximum(0.0, (threshold - np.asarray(residual)) / threshold)
    return weight.astype(np.float32)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _residual(
    start: int,
    stop: int,
    phase: Float32Array,
    magnitude: Float32Array,
    elapsed: Float64Array,
    field: Float32Array,
    r2star: Float32Array,
    mask: Mask,
    residual: Float32Array,
) -> None:
    for i in range(start, stop):
        if not mask[i]:
            residual[i] = 0.0
            continue
        first = np.float64(magnitude[0, i])
        power = first * first
        misfit = 0.0  # echo 1 is its own model
        for e in range(1, elapsed.size):
            signal = np.float64(magnitude[e, i])
            model = first * np.exp(-elapsed[e] * r2star[i])
            turned = np.float64(phase[e, i]) - np.float64(phase[0, i])
            turns = elapsed[e] * field[i] - turned / TWO_PI
            half_sine = np.sin(np.pi * (turns - np.rint(turns)))
            misfit += (model - signal) ** 2 + 4 * model * signal * half_sine**2
            power += signal * signal
        value = misfit / power if power > 0 else 1.0
        residual[i] = value if np.isfinite(value) else 1.0
