"""Ventricular cerebrospinal fluid as a reference region (consensus section 8)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from qsmbids.core.masks.masking import erode
from qsmbids.core.maths.arrays import FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box

__all__ = ["CsfRegion", "find_csf"]


#: Choroid plexus and vessels in the ventricles are more paramagnetic than fluid by this [ppm].
_PLEXUS_PPM = 0.1
#: Signal below this share of its 99th percentile is no fluid but air or bone.
_DARK = 0.05


@dataclass(frozen=True)
class CsfRegion:
    """The fluid that was found, or why none was.

    Attributes
    ----------
    region : (X, Y, Z) ndarray of bool
        Voxels of fluid; empty if ``found`` is false.
    found : bool
        Whether the region may serve as a reference.
    volume_ml : float
        Its volume [ml], also of one that was refused.
    text : str
        What was found, or why it was refused.
    """

    region: Mask
    found: bool
    volume_ml: float
    text: str


def find_csf(
    r2star: FloatArray,
    magnitude: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    chi: FloatArray | None = None,
    *,
    r2star_threshold: float = 5.0,
    centre_radius_mm: float = 30.0,
    rim_mm: float = 10.0,
    n_components: int = 3,
    smallest_volume_ml: float = 0.5,
    largest_volume_ml: float = 150.0,
) -> CsfRegion:
    """Find the fluid of the ventricles from its slow transverse relaxation.

    Voxels of low R2* that touch a sphere around the centre of the brain are fluid of the
    ventricles; the same fluid in the sulci lies in the rim and is not connected to it there.

    Parameters
    ----------
    r2star : (X, Y, Z) ndarray
        [1/s]; 0 and values that are not finite are taken for unknown.
    magnitude : (X, Y, Z) ndarray
        Combined magnitude, any unit.
    mask : (X, Y, Z) ndarray of bool
        Support of the susceptibility map (Mask 4).
    voxel_size : (3,) array_like
        [mm].
    chi : (X, Y, Z) ndarray, optional
        Susceptibility [ppm]; with it, choroid plexus and vessels are left out.
    r2star_threshold : float
        Largest R2* of fluid [1/s].
    centre_radius_mm : float
        Radius [mm] of the sphere around the centre of mass of the mask.
    rim_mm : float
        Depth [mm] of the rim of the mask that is left out.
    n_components : int
        Largest pieces inside the sphere that count.
    smallest_volume_ml, largest_volume_ml : float
        A region outside these limits [ml] is no ventricle and is refused.

    Returns
    -------
    CsfRegion

    Raises
    ------
    ValueError
        Shapes differ or the mask is empty.

    Notes
    -----
    The outermost voxels of the region, which hold some tissue, are taken off where it is thick
    enough to leave half of the smallest volume.

    References
    ----------
    Liu Z, Spincemaille P, Yao Y, Zhang Y, Wang Y. MEDI+0: morphology enabled dipole inversion
    with automatic uniform cerebrospinal fluid zero reference. Magn Reson Med 2018;79:2795.
    doi:10.1002/mrm.26946
    """
    if not r2star.shape == magnitude.shape == mask.shape or mask.ndim != 3:
        raise ValueError("R2*, the magnitude and the mask must be the same 3-D volume")
    voxel = np.asarray(voxel_size, dtype=float)
    box = bounding_box(mask)
    inside = mask[box]
    ml_per_voxel = float(voxel.prod()) / 1000.0
    full = np.zeros(mask.shape, dtype=bool)

    deep = erode(inside, rim_mm, voxel) if rim_mm > 0 else inside
    rate, signal = r2star[box], magnitude[box]
    bright = signal > _DARK * float(np.percentile(signal[inside], 99))
    fluid = deep & bright & np.isfinite(rate) & (rate > 0) & (rate < r2star_threshold)

    centre = np.array(ndi.center_of_mass(inside)) * voxel
    axes = np.ogrid[tuple(slice(0, n) for n in inside.shape)]
    distance = sum((a * v - c) ** 2 for a, v, c in zip(axes, voxel, centre, strict=True))
    central = fluid & (distance <= centre_radius_mm**2)
    pieces, n_pieces = ndi.label(central)
    if n_pieces == 0:
        return CsfRegion(full, False, 0.0, "no voxel of the ventricles has an R2* of fluid")
    sizes = np.bincount(pieces.ravel())[1:]
    seeds = np.isin(pieces, 1 + np.argsort(-sizes, kind="stable")[:n_components])
    region = ndi.binary_propagation(seeds, mask=fluid)

    inner = erode(region, 1.0)
    if 2.0 * np.count_nonzero(inner) * ml_per_voxel >= smallest_volume_ml:
        region = inner
    if chi is not None and region.any():
        values = chi[box]
        region &= values <= float(np.median(values[region])) + _PLEXUS_PPM
    full[box] = region
    volume = np.count_nonzero(region) * ml_per_voxel
    text = f"{volume:.1f} ml of fluid with R2* below {r2star_threshold:g} 1/s"
    if volume < smallest_volume_ml:
        text += f", less than the {smallest_volume_ml:g} ml of a ventricle"
    elif volume > largest_volume_ml:
        text += f", more than the {largest_volume_ml:g} ml of ventricles"
    else:
        return CsfRegion(full, True, volume, text)
    return CsfRegion(np.zeros_like(full), False, volume, text)
