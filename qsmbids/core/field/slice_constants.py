r"""A constant of every slice in a field, which nothing measured in the slice tells from the field.

A single echo of a 2-D scan holds a field :math:`f + c_k` with a constant of every slice k, from
the phase that each excitation starts with. Two echoes tell that phase exactly
(:mod:`qsmbids.core.phase.slice_offsets`), but not the field of breathing, which each slice was
taken at another moment of: some Hz, and another one from slice to slice. The background field
tells the constants, for it is that of sources outside the head in all slices at once: they are
fitted to what the field does within the slices alone, and what the slices then are apart from
that is :math:`c_k`.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from qsmbids.core.background.result import CroppedField
from qsmbids.core.inversion.dipole import dipole_kernel
from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.cg import conjugate_gradients
from qsmbids.core.maths.fft import irfft, rfft
from qsmbids.core.phantom.analytic_fields import checked_vector, unit_vector

__all__ = ["SliceConstants", "SliceJumps", "remove_slice_constants", "remove_slice_jumps"]

#: Change of the slope of the constants along the slices that a still head may have, of what its
#: field varies by.
STILL = 0.05
#: Change of their slope relative to their step from slice to slice. It is 1.7 for constants that
#: know nothing of each other, 0.1 to 0.6 for heads.
UNEVEN = 0.7


class SliceConstants(NamedTuple):
    """A field whose slices fit each other."""

    field: Float32Array
    """[Hz], as given outside the mask."""
    n_regions: int
    """Regions of the slices with a constant each: a slice may have several."""
    largest_change: float
    """Largest difference [Hz] of the constants of two neighbouring slices."""


class SliceJumps(NamedTuple):
    """A field without what jumps from slice to slice."""

    field: Float32Array
    """[Hz]; as given where nothing jumps."""
    spread: float
    """Standard deviation [Hz] over the slices of what jumps."""
    found: bool
    """Whether it is more than the susceptibility of the head does, and was taken off."""


def remove_slice_jumps(
    field: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    axis: int,
    *,
    smooth_mm: float = 10.0,
    n_threads: int = 1,
) -> SliceJumps:
    r"""Subtract from every slice the part of its constant that its neighbours do not share.

    For a field of several echoes, whose slow change along the slices is measured. Parameters and
    errors are those of :func:`remove_slice_constants`.

    Parameters
    ----------
    smooth_mm : float
        Standard deviation [mm] of the Gaussian along the slices that parts the constants: what is
        smoother stays in the field.

    Returns
    -------
    SliceJumps

    Notes
    -----
    The slope of the constants of a still head of 2 mm at 3 T changes from slice to slice by
    0.06 Hz (median), less than a hundredth of what the field varies by within the slices; where
    it is below ``STILL`` of that, or small beside the steps themselves (``UNEVEN``), the field is
    left as it is. Random constants with a standard
    deviation of 1.5 Hz made the error of the local field on that head 86 %; with them taken off
    it is 30.4 %, and 30.2 % where there never were any.
    """
    given = np.asarray(field, dtype=np.float32)
    aligned = remove_slice_constants(
        given, mask, voxel_size, b0_direction, axis, n_threads=n_threads
    ).field
    inside = np.moveaxis(np.asarray(mask, dtype=bool), axis, 0)
    size = inside.sum(axis=(1, 2)).astype(float)
    planes = zip(np.moveaxis(given - aligned, axis, 0), inside, strict=True)
    constants = np.array(
        [np.median(plane[known]) if known.any() else 0 for plane, known in planes]
    )
    sigma = max(2.0, smooth_mm / float(np.asarray(voxel_size, dtype=float)[axis]))
    shared = ndi.gaussian_filter1d(constants * size, sigma, mode="constant")
    shared /= np.maximum(ndi.gaussian_filter1d(size, sigma, mode="constant"), 1e-6)
    jumps = np.where(size > 0, constants - shared, 0.0)
    varies = float(np.median(np.abs(aligned[mask] - np.median(aligned[mask]))))
    steps, kinks = (_median_difference(constants[size > 0], n) for n in (1, 2))
    found = kinks > STILL * varies and kinks > UNEVEN * steps
    spread = float(np.sqrt(np.average(jumps**2, weights=size)))
    if found:
        shape = [1, 1, 1]
        shape[axis] = -1
        given = given - jumps.astype(np.float32).reshape(shape)
    return SliceJumps(given, spread, found)


def remove_slice_constants(
    field: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    axis: int,
    *,
    padding_mm: float = 20.0,
    iterations: int = 60,
    tolerance: float = 1e-3,
    n_threads: int = 1,
) -> SliceConstants:
    r"""Subtract from every slice the constant that the background of the others does not explain.

    Parameters
    ----------
    field : (X, Y, Z) ndarray
        Total field [Hz], unwrapped within every slice; between slices it may jump by anything.
    mask : (X, Y, Z) ndarray of bool
        Where the field is known.
    voxel_size : (3,) array_like
        [mm].
    b0_direction : (3,) array_like
        Direction of B0 along the array axes.
    axis : int
        Array axis across the slices.
    padding_mm : float
        Room for sources around the mask [mm].
    iterations, tolerance
        End of the conjugate gradients. More of them change little: on a head phantom of 2 mm
        the error of a constant was 0.39 Hz after 30 and 0.36 Hz after 60 and after 120.
    n_threads : int
        Threads of the transforms.

    Returns
    -------
    SliceConstants

    Raises
    ------
    EmptyMaskError
        The mask is empty.
    ValueError
        A shape, size or direction is wrong, or the field is not finite in the mask.

    Notes
    -----
    As projection onto dipole fields (PDF, :mod:`qsmbids.core.background.pdf`), with the mean of
    every region of every slice projected out of data and model alike:

    .. math:: \min_y \| (1 - P) (f - D s y) \|^2 , \qquad
              c_k = \operatorname{median}_k (f - D s y)

    with s = 1 outside the mask and 0 inside, and P the mean over regions that are connected within
    a slice. Regions have constants of their own because unwrapping knows no cycles between them.
    What is lost is the median of the local field over a slice. A constant and a gradient along the
    slices are harmonic and do not matter.

    References
    ----------
    Liu T, Khalidov I, de Rochefort L, et al. A novel background field removal method for MRI
    using projection onto dipole fields (PDF). NMR Biomed 2011;24:1129. doi:10.1002/nbm.1670

    Wei H, Zhang Y, Gibbs E, et al. Joint 2D and 3D phase processing for quantitative
    susceptibility mapping: application to 2D echo-planar imaging. NMR Biomed 2017;30:e3501.
    doi:10.1002/nbm.3501
    """
    voxel, b0 = checked_vector(voxel_size, "voxel size"), unit_vector(b0_direction)
    labels, n_regions = _regions(np.asarray(mask, dtype=bool), axis)
    whole = np.asarray(field, dtype=np.float32)
    x, y, z = (max(1, int(np.ceil(padding_mm / v))) for v in voxel)
    known = np.where(mask, whole, np.float32(0))
    level = _Means(labels, n_regions)
    # the cut-out comes less its plane, which must not be one of jumps
    cropped = CroppedField.of(level.remove(known), mask, (x, y, z))
    inside = _Means(cropped.crop(labels), n_regions)
    outside = np.where(cropped.mask, np.float32(0), np.float32(1))
    kernel = dipole_kernel(cropped.shape, voxel, b0)

    def dipole_field(sources: Float32Array) -> Float32Array:
        spectrum = rfft(sources, n_threads)
        spectrum *= kernel
        return irfft(spectrum, cropped.shape, n_threads, overwrite=True)

    def normal(sources: Float32Array) -> Float32Array:
        return outside * dipole_field(inside.remove(dipole_field(outside * sources)))

    data = inside.remove(cropped.field)
    found = conjugate_gradients(
        normal,
        outside * dipole_field(data),
        tolerance=tolerance,
        maximum_iterations=iterations,
    )
    unexplained = cropped.field - dipole_field(outside * found.x)
    constants = inside.medians(unexplained) + level.means(known)
    aligned = whole - constants.astype(np.float32)[labels]
    return SliceConstants(aligned, n_regions, _largest_change(constants, labels, axis))


class _Means:
    """Means and medians over regions that labels from 1 on name; label 0 is outside."""

    def __init__(self, labels: npt.NDArray[np.int32], n_regions: int) -> None:
        self.labels, self.n = labels, n_regions + 1
        self.counts = np.maximum(np.bincount(labels.ravel(), minlength=self.n), 1)

    def means(self, volume: Float32Array) -> Float64Array:
        sums = np.bincount(self.labels.ravel(), volume.ravel(), self.n)
        means = sums / self.counts
        means[0] = 0.0
        return means

    def remove(self, volume: Float32Array) -> Float32Array:
        """Subtract the mean of every region; zero outside."""
        out = volume - self.means(volume).astype(np.float32)[self.labels]
        out[self.labels == 0] = 0.0
        return out

    def medians(self, volume: Float32Array) -> Float64Array:
        out = np.zeros(self.n)
        if self.n > 1:
            out[1:] = ndi.median(volume, self.labels, np.arange(1, self.n))
        return np.nan_to_num(out)


def _median_difference(values: Float64Array, order: int) -> float:
    """Return the median of the absolute differences of an order, 0 where there are none."""
    differences = np.abs(np.diff(values, order))
    return float(np.median(differences)) if differences.size else 0.0


def _regions(mask: Mask, axis: int) -> tuple[npt.NDArray[np.int32], int]:
    """Label what is connected within every slice."""
    structure = ndi.generate_binary_structure(3, 1)
    across = [slice(None)] * 3
    for side in (0, 2):
        across[axis] = side  # type: ignore[call-overload]
        structure[tuple(across)] = False
    labels, n = ndi.label(mask, structure)
    return labels.astype(np.int32), int(n)


def _largest_change(constants: Float64Array, labels: npt.NDArray[np.int32], axis: int) -> float:
    """Return the largest difference of the constants of neighbouring slices, the mean of each."""
    planes = np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1)
    means = [constants[p[p > 0]].mean() for p in planes if (p > 0).any()]
    return float(np.abs(np.diff(means)).max()) if len(means) > 1 else 0.0
