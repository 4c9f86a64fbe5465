"""Two-pass inversion: strong sources from one inversion, the tissue from another (5.c).

The first sees everything. What it finds in strong sources and in voxels of unreliable phase is set
aside: its field is subtracted, and the second inversion gets no data from there. So the errors of
the data in and at a haemorrhage or calcification, which the first turns into streaks around it,
do not reach the tissue. Leaving the sources out of the second inversion without subtracting their
field would do the opposite: tissue at their rim would have to explain all of it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from qsmbids.core.inversion.dipole import dipole_field
from qsmbids.core.maths.arrays import EmptyMaskError, Float32Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box

__all__ = ["TissueField", "TwoPass", "merge_two_pass", "set_aside"]


#: Susceptibility [ppm] from the median of the brain that no healthy tissue but veins reaches.
STRONG_PPM = 0.3


@dataclass(frozen=True)
class TissueField:
    """What the second inversion gets.

    Attributes
    ----------
    local_field : (X, Y, Z) ndarray of float32
        [Hz] less the field of what was set aside; 0 where that is, and outside the filled mask.
    reliable : (X, Y, Z) ndarray of bool
        Voxels of the filled mask that were not set aside.
    """

    local_field: Float32Array
    reliable: Mask


def set_aside(
    local_field: FloatArray,
    chi_filled: FloatArray,
    mask_holes: Mask,
    mask_filled: Mask,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    centre_frequency: float,
    strong_ppm: float = STRONG_PPM,
    rim: int = 1,
    n_threads: int = 1,
) -> TissueField:
    """Subtract the field of strong sources and of voxels of unreliable phase.

    Parameters
    ----------
    local_field : (X, Y, Z) ndarray
        [Hz].
    chi_filled : (X, Y, Z) ndarray
        Inversion [ppm] of all voxels of the filled mask.
    mask_holes, mask_filled : (X, Y, Z) ndarray of bool
        Mask 4 with and without holes; the first lies in the second.
    voxel_size, b0_direction : (3,) array_like
        [mm]; unit vector along the array axes.
    centre_frequency : float
        Larmor frequency [Hz].
    strong_ppm : float
        Sources farther than this from the median of the mask are strong.
    rim : int
        Layers of voxels around holes that count as unreliable too: beside a source whose own
        phase is lost the phase varies within voxels.
    n_threads : int
        Threads of the transforms.

    Returns
    -------
    TissueField

    Raises
    ------
    EmptyMaskError
        Nothing of the mask is left.
    ValueError
        Shapes differ, or the mask with holes is empty or does not lie in the other.

    References
    ----------
    Sun H, Kate M, Gioia LC, Emery DJ, Butcher K, Wilman AH. Quantitative susceptibility mapping
    using a superposed dipole inversion method: application to intracranial hemorrhage. Magn Reson
    Med 2016;76:781. doi:10.1002/mrm.25919 (the strong source apart from the tissue).
    """
    _check_masks(local_field, chi_filled, mask_holes, mask_filled)
    anomaly = chi_filled - np.float32(np.median(chi_filled[mask_filled]))
    unknown = mask_filled & ~mask_holes
    if rim > 0 and unknown.any():
        unknown = ndi.binary_dilation(unknown, iterations=rim)
    unknown = (unknown | (np.abs(anomaly) > strong_ppm)) & mask_filled
    reliable = mask_filled & ~unknown
    if not reliable.any():
        raise EmptyMaskError("nothing of the mask is left beside strong sources")
    box = bounding_box(mask_filled)
    sources = np.where(unknown[box], anomaly[box], 0.0).astype(np.float32)
    theirs = dipole_field(sources, voxel_size, b0_direction, n_threads=n_threads)
    tissue = np.zeros(mask_filled.shape, dtype=np.float32)
    tissue[box] = local_field[box] - np.float32(1e-6 * centre_frequency) * theirs
    tissue[~reliable] = 0.0
    return TissueField(tissue, reliable)


@dataclass(frozen=True)
class TwoPass:
    """The merged map and the trail that it leaves.

    Attributes
    ----------
    chi : (X, Y, Z) ndarray of float32
        [ppm], 0 outside the filled mask.
    from_filled : (X, Y, Z) ndarray of bool
        Voxels whose value comes from the inversion without holes.
    offset : float
        Constant [ppm] that was subtracted from it: inversions fix chi up to a constant only.
    """

    chi: Float32Array
    from_filled: Mask
    offset: float


def merge_two_pass(
    chi_holes: FloatArray, chi_filled: FloatArray, mask_holes: Mask, mask_filled: Mask
) -> TwoPass:
    r"""Take each voxel from the inversion that knows it best.

    .. math:: \chi = \chi_A \text{ in } M_A, \quad
              \chi_B - \overline{(\chi_B - \chi_A)}_{M_A} \text{ elsewhere in } M_B

    Inversion A got no data from strong sources and unreliable phase, so that these do not streak
    into the tissue; inversion B saw all, so that the source itself has a value.

    Parameters
    ----------
    chi_holes : (X, Y, Z) ndarray
        Inversion A [ppm], of the tissue.
    chi_filled : (X, Y, Z) ndarray
        Inversion B [ppm], inside the mask without.
    mask_holes, mask_filled : (X, Y, Z) ndarray of bool
        Where inversion A counts, and all; the first lies in the second.

    Returns
    -------
    TwoPass

    Raises
    ------
    ValueError
        Shapes differ, the mask with holes is empty, or it does not lie in the other.

    References
    ----------
    Stewart AW, Robinson SD, O'Brien K, et al. QSMxT: robust masking and artifact reduction for
    quantitative susceptibility mapping. Magn Reson Med 2022;87:1289. doi:10.1002/mrm.29048
    """
    _check_masks(chi_holes, chi_filled, mask_holes, mask_filled)
    difference = chi_filled[mask_holes].astype(np.float64) - chi_holes[mask_holes]
    offset = float(difference.mean())
    from_filled = mask_filled & ~mask_holes
    chi = np.where(mask_holes, chi_holes, 0.0).astype(np.float32)
    chi[from_filled] = chi_filled[from_filled].astype(np.float64) - offset
    return TwoPass(chi, from_filled, offset)


def _check_masks(
    first: FloatArray, second: FloatArray, mask_holes: Mask, mask_filled: Mask
) -> None:
    if not first.shape == second.shape == mask_holes.shape == mask_filled.shape:
        raise ValueError("both maps and both masks must be the same volume")
    if not mask_holes.any() or (mask_holes & ~mask_filled).any():
        raise ValueError("the mask with holes must be part of the filled mask, and not empty")
