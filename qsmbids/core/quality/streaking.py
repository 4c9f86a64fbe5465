"""Streaks of the susceptibility map: energy near the cone where the dipole says nothing."""

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.dipole import dipole_kernel
from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.fft import crop, irfft, rfft

__all__ = ["streaking"]


#: |D| of the cone, and above which a frequency is well determined by the field.
_CONE, _DETERMINED = 0.08, 0.16
#: Spatial frequencies [cycles per voxel]: below, the shape of the brain decides; above, noise.
_LOWEST, _HIGHEST, _SHELLS = 0.08, 0.4, 8
_MARGIN = 8  # voxels of zeros, so that a streak does not come in at the other side


def streaking(
    chi: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    n_threads: int = 1,
) -> tuple[float, float]:
    r"""Return the share of the energy in the cone, and the height of the worst streaks.

    Errors of the field enter the map divided by D, so that they are largest where the dipole
    kernel :math:`D(k) = 1/3 - k_\parallel^2/k^2` is near zero: streaks at the magic angle.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        Susceptibility [ppm], any reference.
    mask : (X, Y, Z) ndarray of bool
        Where it is known.
    voxel_size : (3,) array_like
        [mm].
    b0_direction : (3,) array_like
        Unit vector along the array axes.
    n_threads : int
        Of the transforms.

    Returns
    -------
    cone_energy : float
        Power density with \|D\| < 0.08 over that with \|D\| > 0.16 at the same \|k\|, geometric
        mean over shells from 0.08 to 0.4 cycles per voxel. 1 for a map without preference,
        below 1 where a penalty damps the cone.
    amplitude : float
        99.9th percentile of the absolute map restricted to the cone [ppm]: the height of the
        worst streaks, which a few voxels can make and an average over k-space does not see.

    Raises
    ------
    ValueError
        The mask is empty or shapes differ.

    References
    ----------
    Table 1 of the QSM consensus paper (streaking artifacts).
    """
    if chi.shape != mask.shape or not mask.any():
        raise ValueError("the mask is empty or does not fit the map")
    box = bounding_box(mask)
    inside = crop(mask, box, (_MARGIN,) * 3)
    cut = crop(chi.astype(np.float32, copy=False), box, (_MARGIN,) * 3)
    cut = np.where(inside, cut - np.float32(np.median(cut[inside])), np.float32(0))
    shape = (cut.shape[0], cut.shape[1], cut.shape[2])
    spectrum = rfft(cut, n_threads)
    kernel = np.abs(dipole_kernel(shape, voxel_size, b0_direction))
    radius = _frequency(shape)
    used = (radius > _LOWEST) & (radius < _HIGHEST)
    power = np.square(np.abs(spectrum))
    shell = ((radius - _LOWEST) * (_SHELLS / (_HIGHEST - _LOWEST))).astype(np.int16)

    def density(where: Mask) -> Float64Array:
        total = np.bincount(shell[where], weights=power[where], minlength=_SHELLS)[:_SHELLS]
        count = np.bincount(shell[where], minlength=_SHELLS)[:_SHELLS]
        return np.asarray(total / np.maximum(count, 1))

    cone = used & (kernel < _CONE)
    in_cone, elsewhere = density(cone), density(used & (kernel > _DETERMINED))
    known = (in_cone > 0) & (elsewhere > 0)
    if not known.any():
        return float("nan"), float("nan")
    energy = float(np.exp(np.mean(np.log(in_cone[known] / elsewhere[known]))))
    spectrum *= cone
    streaks = np.abs(irfft(spectrum, shape, n_threads, overwrite=True)[inside])
    return energy, float(np.quantile(streaks, 0.999))


def _frequency(shape: tuple[int, int, int]) -> Float32Array:
    """Return |k| [cycles per voxel] on the half spectrum."""
    k = [np.fft.fftfreq(n).astype(np.float32) for n in shape]
    k[2] = np.abs(k[2][: shape[2] // 2 + 1])
    return np.sqrt(sum(a**2 for a in np.meshgrid(*k, indexing="ij", sparse=True)))  # type: ignore[no-any-return]
