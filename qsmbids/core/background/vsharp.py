r"""V-SHARP: remove the background field by spherical means of many radii.

Consensus section 5 and Table S2.2: spheres of 12 to 1 voxels, mask eroded by one voxel before
(by the caller), no polynomial afterwards.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from qsmbids.core.background.result import BackgroundResult, CroppedField
from qsmbids.core.background.smv import (
    TIE,
    distance_to_border,
    multiply_even,
    sphere_transform,
    sphere_unit,
)
from qsmbids.core.maths.arrays import EmptyMaskError, Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.cg import Operator
from qsmbids.core.maths.fft import irfft, rfft
from qsmbids.core.maths.robust import robust_std
from qsmbids.core.maths.smoothing import block_mask

__all__ = ["Blocks", "vsharp", "vsharp_blocks", "vsharp_radii"]


def vsharp(
    field: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    *,
    maximum_radius: int = 12,
    minimum_radius: int = 1,
    variant: str = "deconvolution",
    truncation: float = 0.05,
    refinements: int = 3,
    rim_outlier: float = 5.0,
    n_threads: int = 1,
) -> BackgroundResult:
    r"""Return local and background field by spherical means of many radii.

    Parameters
    ----------
    field : (X, Y, Z) ndarray
        Total field [Hz]; values outside the mask are ignored.
    mask : (X, Y, Z) ndarray of bool
        Filled mask, already eroded by one voxel (Mask 3).
    voxel_size : (3,) array_like
        [mm], along the array axes.
    maximum_radius, minimum_radius : int
        Largest and smallest sphere in voxels, or in mm for clearly anisotropic voxels
        (:func:`vsharp_radii`).
    variant : {"deconvolution", "sepia"}
        "sepia" reproduces the software of the consensus paper: cubes in place of spheres for
        the erosion, no deconvolution. Its local field is too small by about a fifth, and so is
        the susceptibility.
    truncation : float
        Deconvolution leaves out k-space samples where ``|1 - S|`` is smaller, 0 to 1.
    refinements : int
        Steps of the spatially variable deconvolution; 0 is plain V-SHARP.
    rim_outlier : float
        Field in the rim (less than ``maximum_radius`` from the border) beyond this many robust
        standard deviations comes from sources that the mask should not hold, such as bone, and
        is kept out of the deconvolution, which would spread it. ``inf`` turns this off and makes
        the result linear in the field.
    n_threads : int
        Threads of the transforms.

    Returns
    -------
    BackgroundResult
        Known where the smallest sphere fits into the mask (Mask 4). The refinements are a fixed
        number of steps and do not count as iterations.

    Raises
    ------
    EmptyMaskError
        The mask is empty, or no sphere fits into it.
    ValueError
        A shape, the voxel size, the variant or a radius is wrong, or the field is not finite in
        the mask.

    Notes
    -----
    A harmonic field equals its mean over any sphere, so that

    .. math:: (A f)(r) = f(r) - \frac{1}{N_R} \sum_{|r' - r| \le R(r)} f(r')

    with R(r) the largest sphere around r inside the mask, holds no background. What it has lost
    of the local field is put back first by :math:`P = F^{-1} (1 - S_{12})^{-1} F`, exact where
    the largest sphere fits, then, for the other radii, by a few preconditioned Richardson steps
    :math:`l \leftarrow l + P (A f - A l)`, each of which lowers the error where the spheres
    are small. Few steps are the regularisation: the rim holds little information.

    Twelve transforms for each use of A; about ten volumes of memory.

    References
    ----------
    Li W, Wu B, Liu C. Quantitative susceptibility mapping of human brain reflects spatial
    variation in tissue composition. NeuroImage 2011;55:1645. doi:10.1016/j.neuroimage.2010.11.088

    Schweser F, Deistung A, Lehr BW, Reichenbach JR. Quantitative imaging of intrinsic magnetic
    tissue properties using MRI signal phase. NeuroImage 2011;54:2789.
    doi:10.1016/j.neuroimage.2010.10.070

    Examples
    --------
    A linear background vanishes:

    >>> import numpy as np
    >>> field = np.indices((24, 24, 24))[0].astype(np.float32)
    >>> mask = np.zeros(field.shape, bool)
    >>> mask[4:20, 4:20, 4:20] = True
    >>> removed = vsharp(field, mask, (1, 1, 1), maximum_radius=5)
    >>> bool(removed.mask.sum() == 14**3), bool(abs(removed.local_field).max() < 1e-4)
    (True, True)
    """
    if variant not in ("deconvolution", "sepia"):
        raise ValueError(f"unknown V-SHARP variant {variant!r}")
    if not 0.0 < truncation < 1.0 or refinements < 0 or not rim_outlier > 0:
        raise ValueError("truncation must be in (0, 1), refinements >= 0 and rim_outlier > 0")
    radii, unit = vsharp_radii(voxel_size, maximum_radius, minimum_radius)
    # half a sphere of zeros on either side keeps the periodic copies one sphere apart
    x, y, z = (int(np.ceil(radii[0] / v / 2)) for v in unit)
    cropped = CroppedField.of(field, mask, (x, y, z))
    spheres = _spheres(cropped.mask, radii, unit, cube=variant == "sepia", n_threads=n_threads)

    local = spheres.apply(cropped.field)
    if variant == "deconvolution":
        deconvolve = _deconvolution(spheres, truncation)
        local = _refine(local, spheres, deconvolve, refinements, rim_outlier)
    return cropped.result(local, spheres.support)


def vsharp_radii(
    voxel_size: npt.ArrayLike, maximum_radius: int, minimum_radius: int
) -> tuple[list[float], Float64Array]:
    """Return the radii, largest first, and the voxel size in the unit of the radii.

    Near-isotropic voxels: radii in voxels as in Table S2.2, size (1, 1, 1). Others: radii in mm
    no smaller than the longest side, since a smaller sphere would hold voxels of one plane only.

    Raises
    ------
    ValueError
        The voxel size is not positive or the radii are not ordered.
    """
    unit = sphere_unit(voxel_size)
    if not 1 <= minimum_radius <= maximum_radius:
        raise ValueError(
            f"radii {maximum_radius} to {minimum_radius} must be in descending order, >= 1"
        )
    smallest = max(float(minimum_radius), unit.max())
    radii = [float(r) for r in range(maximum_radius, 0, -1) if r >= smallest]
    return radii or [smallest], unit


class Blocks(NamedTuple):
    """What V-SHARP needs on a coarser grid."""

    mask: Mask
    size: tuple[float, float, float]
    """Of a block [mm]."""
    largest: int
    """Radius in blocks, or in mm for clearly anisotropic ones (:func:`vsharp_radii`)."""
    smallest: int


def vsharp_blocks(
    mask: Mask,
    voxel_size: npt.ArrayLike,
    widths: list[int],
    maximum_radius: int,
    minimum_radius: int,
) -> Blocks:
    """Return mask and radii for blocks of so many voxels along every axis.

    A block is in the mask where half of it is, and spheres keep their size in mm, as nearly as
    whole blocks can; blocks of one voxel change nothing.

    Examples
    --------
    >>> ones = np.ones((4, 4, 4), dtype=bool)
    >>> vsharp_blocks(ones, (1, 1, 1), [2, 2, 2], 12, 1)[1:]
    ((2.0, 2.0, 2.0), 6, 1)
    """
    voxel = np.asarray(voxel_size, dtype=np.float64)
    size = voxel * widths
    # how many units of the blocks a unit of the voxels is
    unit, of_blocks = ((v / sphere_unit(v)).mean() for v in (voxel, size))
    largest, smallest = (
        max(1, round(float(r * unit / of_blocks))) for r in (maximum_radius, minimum_radius)
    )
    x, y, z = size.tolist()
    return Blocks(block_mask(mask, widths), (x, y, z), largest, smallest)


@dataclass(frozen=True)
class _Spheres:
    """The operator A: the field minus its mean over the largest sphere that fits."""

    shells: list[npt.NDArray[np.intp]]  # flat indices of the voxels that use each radius
    kernels: list[
        Float32Array
    ]  # transforms of the unit-sum spheres, non-negative frequencies only
    rim: Mask  # voxels that the largest sphere does not fit around
    support: Mask
    n_threads: int

    def apply(self, field: Float32Array) -> Float32Array:
        spectrum = rfft(field, self.n_threads)
        product = np.empty_like(spectrum)
        values, out = field.reshape(-1), np.zeros(field.size, dtype=np.float32)
        for shell, kernel in zip(self.shells, self.kernels, strict=True):
            multiply_even(spectrum, kernel, product, self.n_threads)
            mean = irfft(product, _shape(field), self.n_threads, overwrite=True)
            out[shell] = values[shell] - mean.reshape(-1)[shell]
        return out.reshape(field.shape)


def _spheres(
    mask: Mask, radii: list[float], unit: Float64Array, cube: bool, n_threads: int
) -> _Spheres:
    """Give every voxel the largest radius whose sphere (or cube) lies in the mask."""
    if cube:
        distance = ndi.distance_transform_cdt(mask, metric="chessboard")
    else:
        distance = distance_to_border(mask, unit, max(radii))
    shells, kernels = [], []
    upper = np.inf
    for radius in radii:
        limit = radius * (1.0 + TIE)
        shell = np.flatnonzero((distance > limit) & (distance <= upper))
        if shell.size:
            shells.append(shell)
            kernels.append(sphere_transform(mask.shape, radius, unit))
        upper = limit
    support = distance > radii[-1] * (1.0 + TIE)
    if not support.any():
        raise EmptyMaskError("the mask is too thin for the smallest sphere")
    rim = support & (distance <= radii[0] * (1.0 + TIE))
    return _Spheres(shells, kernels, rim, support, n_threads)


def _deconvolution(spheres: _Spheres, truncation: float) -> Operator:
    """Return P, the truncated inverse of the largest sphere's filter."""
    response = 1.0 - spheres.kernels[0]
    kept = np.abs(response) >= truncation
    inverse = np.where(kept, 1.0 / np.where(kept, response, 1.0), 0.0).astype(np.float32)

    def apply(volume: Float32Array) -> Float32Array:
        spectrum = multiply_even(
            rfft(volume, spheres.n_threads), inverse, n_threads=spheres.n_threads
        )
        out = irfft(spectrum, _shape(volume), spheres.n_threads, overwrite=True)
        return np.where(spheres.support, out, np.float32(0.0))

    return apply


def _refine(
    filtered: Float32Array,
    spheres: _Spheres,
    deconvolve: Operator,
    n_steps: int,
    rim_outlier: float,
) -> Float32Array:
    """Solve ``A l = filtered`` for the local field by a few preconditioned Richardson steps."""
    spread = robust_std(filtered[spheres.support])
    outlier = spheres.rim & (np.abs(filtered) > rim_outlier * spread)
    local = deconvolve(np.where(outlier, np.float32(0.0), filtered))
    for _ in range(n_steps):
        residual = filtered - spheres.apply(local)
        residual[outlier] = 0.0
        local += deconvolve(residual)
    if outlier.any():  # what was kept out gets one step without deconvolution
        residual = filtered - spheres.apply(local)
        local[outlier] += residual[outlier]
    return local


def _shape(volume: Float32Array) -> tuple[int, int, int]:
    x, y, z = volume.shape
    return x, y, z
