"""Two-pass combination: reliable tissue from one inversion, strong sources from another (5.c)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["TwoPass", "merge_two_pass"]

FloatArray = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]


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

    chi: npt.NDArray[np.float32]
    from_filled: Mask
    offset: float


def merge_two_pass(
    chi_holes: FloatArray, chi_filled: FloatArray, mask_holes: Mask, mask_filled: Mask
) -> TwoPass:
    r"""Take each voxel from the inversion that knows it best.

    .. math:: \chi = \chi_A \text{ in } M_A, \quad
              \chi_B - \overline{(\chi_B - \chi_A)}_{M_A} \text{ elsewhere in } M_B

    Inversion A saw only voxels of reliable phase, so that no strong source streaks into the
    tissue around it; inversion B saw all, so that the source itself has a value.

    Parameters
    ----------
    chi_holes : (X, Y, Z) ndarray
        Inversion A [ppm], inside the mask with holes.
    chi_filled : (X, Y, Z) ndarray
        Inversion B [ppm], inside the mask without.
    mask_holes, mask_filled : (X, Y, Z) ndarray of bool
        Mask 4 with and without holes; the first lies in the second.

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
    if not chi_holes.shape == chi_filled.shape == mask_holes.shape == mask_filled.shape:
        raise ValueError("both maps and both masks must be the same volume")
    if not mask_holes.any() or (mask_holes & ~mask_filled).any():
        raise ValueError("the mask with holes must be part of the filled mask, and not empty")
    difference = chi_filled[mask_holes].astype(np.float64) - chi_holes[mask_holes]
    offset = float(difference.mean())
    from_filled = mask_filled & ~mask_holes
    chi = np.where(mask_holes, chi_holes, 0.0).astype(np.float32)
    chi[from_filled] = chi_filled[from_filled].astype(np.float64) - offset
    return TwoPass(chi, from_filled, offset)
