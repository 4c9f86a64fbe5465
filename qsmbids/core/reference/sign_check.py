"""Whether veins and iron-rich nuclei are paramagnetic in the map, as they must be."""

from typing import NamedTuple

import numpy as np
import scipy.ndimage

from qsmbids.core.masks.masking import erode
from qsmbids.core.maths.arrays import FloatArray, LabelArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.robust import robust_std

__all__ = ["SignCheck", "check_sign"]

_SMALLEST_CLUSTER = 3  # voxels; smaller ones are noise
_VOTE_SPREADS = 1.5  # of the map, that a median must differ to have a vote
_LEAST_SHARE = 0.25  # of the clusters, by which one sign must outvote the other
_LEAST_SIGNIFICANCE = 1.6  # standard deviations of the balance of votes of random sign


class SignCheck(NamedTuple):
    """Whether the susceptibility map has the wrong sign."""

    inverted: bool | None
    """None if it cannot be told."""
    mean_high_r2star: float
    """Mean chi [ppm] where R2* is highest, relative to the median of the map; NaN if unknown."""
    text: str
    """What was found, in one sentence."""


def check_sign(
    chi: FloatArray,
    r2star: FloatArray,
    mask: Mask,
    *,
    nuclei: LabelArray | None = None,
    quantile: float = 0.995,
    rim_voxels: int = 5,
) -> SignCheck:
    r"""Tell from the maps whether the sign of the phase was right.

    Iron and deoxyhaemoglobin raise both R2* and chi, so the clusters of highest R2* must be
    positive. Each cluster has one vote, the sign of its median: one large calcification (high
    R2*, negative chi) does not outvote nuclei and veins, as it would in a mean over the voxels. A
    median well within the spread of the map has no vote.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        Susceptibility [ppm], any reference.
    r2star : (X, Y, Z) ndarray
        [1/s].
    mask : (X, Y, Z) ndarray of bool
        Where chi is known.
    nuclei : (X, Y, Z) ndarray of int, optional
        Labels of iron-rich nuclei, 0 elsewhere; each has a vote, beside the clusters outside them.
    quantile : float
        Of R2* in the mask without its rim; voxels above it count.
    rim_voxels : int
        Rim left out, where R2* is high because of the air nearby. A mask too small for it loses
        less.

    Returns
    -------
    SignCheck
        ``inverted`` is None with too few clusters, or where they contradict each other.

    Raises
    ------
    ValueError
        Shapes differ or the quantile is not between 0 and 1.
    """
    if chi.shape != mask.shape or r2star.shape != mask.shape or mask.ndim != 3:
        raise ValueError(f"chi {chi.shape}, R2* {r2star.shape} and mask {mask.shape} differ")
    if not 0 < quantile < 1:
        raise ValueError(f"the quantile must lie between 0 and 1, not {quantile}")
    usable = np.asarray(mask, dtype=bool) & np.isfinite(chi) & np.isfinite(r2star)
    if not usable.any():
        return _unknown("the maps are empty")
    box = bounding_box(usable)
    chi, r2star, usable = chi[box], r2star[box], usable[box]
    known = (
        np.zeros(chi.shape, dtype=np.int32) if nuclei is None else np.where(usable, nuclei[box], 0)
    )
    inner = _without_rim(usable, rim_voxels)
    rates = r2star[inner]
    threshold = float(np.quantile(rates, quantile))
    if not threshold > np.median(rates) and not known.any():
        return _unknown("R2* has no contrast")
    high = inner & (r2star > threshold)
    labels, n_labels = scipy.ndimage.label(high & (known == 0), np.ones((3, 3, 3)))
    labels = np.where(known > 0, known + n_labels, labels)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = np.flatnonzero(sizes >= _SMALLEST_CLUSTER)
    if kept.size == 0:
        return _unknown("no vein or nucleus stands out in R2*")

    centre = float(np.median(chi[inner]))
    spread = robust_std(chi[inner] - centre)
    mean = float((chi[high].astype(np.float64) - centre).mean()) if high.any() else float("nan")
    voting = labels > 0
    relative = chi[voting].astype(np.float64) - centre
    medians = scipy.ndimage.median(relative, labels[voting], kept)
    votes = np.where(np.abs(medians) > _VOTE_SPREADS * spread, np.sign(medians), 0.0)
    balance = float(votes.sum())
    chance = _LEAST_SIGNIFICANCE * float(np.sqrt(np.count_nonzero(votes)))
    positive, negative = np.count_nonzero(votes > 0), np.count_nonzero(votes < 0)
    of = "clusters of high R2*"
    if known.any():
        of = f"iron-rich nuclei and {of}"
    counts = f"of {kept.size} {of}, {positive} are paramagnetic and {negative} diamagnetic"
    if balance == 0 or abs(balance) < max(_LEAST_SHARE * kept.size, chance):
        return SignCheck(None, mean, f"the sign cannot be told: {counts}")
    if balance > 0:
        return SignCheck(
            False, mean, f"veins and iron are paramagnetic, as they must be: {counts}"
        )
    return SignCheck(True, mean, f"the sign of the phase may be inverted: {counts}")


def _without_rim(mask: Mask, voxels: int) -> Mask:
    """Erode by ``voxels``, or as far as at least a fifth of the mask remains."""
    for rim in range(voxels, 0, -1):
        inner = erode(mask, rim)
        if np.count_nonzero(inner) >= 0.2 * np.count_nonzero(mask):
            return inner
    return mask


def _unknown(reason: str) -> SignCheck:
    return SignCheck(None, float("nan"), f"the sign cannot be told: {reason}")
