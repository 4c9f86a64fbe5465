"""What the numbers of a given mask mean: inside and outside, fractions, labels or an image.

Masks come as 0 and 1, as 0 and 255, as probabilities, resampled, as segmentations and as the
brain itself with everything else set to zero.
"""

from typing import NamedTuple

import numpy as np
import scipy  # whose ndimage is imported where it is used: 0.2 s that a dry run does without

from qsmbids.core.maths.arrays import FloatArray, Mask

__all__ = ["MaskReading", "count_parts", "read_mask_values"]

#: Of the voxels that are not zero, so many are near the largest value of a mask of fractions.
_PLATEAU_SHARE = 0.06
_PLATEAU = 0.9
#: What 1 may have become in whole numbers; segmentations have other largest labels.
_FULL_SCALES = (100, 255, 1000, 10000, 32767, 65535)
#: More different whole numbers than these are no labels that could be listed.
_MOST_LABELS = 40
#: The brain itself is a mask only where at least so much of the image was set to zero.
_LEAST_ZEROS = 0.02


class MaskReading(NamedTuple):
    """What is inside, and how that was decided."""

    inside: Mask
    kind: str  #: "two values", "fractions", "labels" or "image"
    threshold: float  #: values above it are inside; 0 where all that are not zero are
    text: str  #: the decision in words
    warning: str = ""


def read_mask_values(values: FloatArray) -> MaskReading:
    """Decide which voxels a given mask takes for inside.

    Parameters
    ----------
    values : (X, Y, Z) ndarray
        As stored, with slope and intercept applied.

    Returns
    -------
    MaskReading

    Raises
    ------
    ValueError
        The values leave no voxel, or do not tell inside from outside; the message continues "the
        mask ...".

    Examples
    --------
    >>> read_mask_values(np.array([[[0.0, 0.4, 0.6, 1.0]]])).text
    'fractions, inside where above 0.5'
    >>> read_mask_values(np.array([[[0, 255]]])).text
    'inside where 255'
    """
    finite = np.isfinite(values)
    if not finite.any():
        raise ValueError("has no finite value")
    n_broken = int(values.size - np.count_nonzero(finite))
    values = np.where(finite, values, 0)
    note = f"{n_broken} voxels that are NaN or infinite are outside" if n_broken else ""
    reading = _decide(values)
    warning = "; ".join(text for text in (reading.warning, note) if text)
    return reading._replace(warning=warning)


def count_parts(mask: Mask) -> tuple[int, int]:
    """Return the number of parts, joined by faces, and of holes that they enclose."""
    _, n_parts = scipy.ndimage.label(mask)
    outside = np.pad(~mask, 1, constant_values=True)
    _, n_background = scipy.ndimage.label(outside)
    return int(n_parts), int(n_background) - 1


def _decide(values: FloatArray) -> MaskReading:
    used = values[values != 0]
    if not used.size:
        raise ValueError("is empty: all its voxels are zero")
    lowest, highest = float(used.min()), float(used.max())
    if np.isclose(lowest, highest, rtol=1e-4):
        text = f"inside where {highest:.6g}"
        whole = used.size == values.size
        warning = "the mask covers the whole image, air and skull included" if whole else ""
        return MaskReading(values != 0, "two values", 0.0, text, warning)
    # splines overshoot by up to a third at corners, on both sides
    if lowest < -0.35 * highest:
        raise ValueError(
            f"has values from {lowest:g} to {highest:g}, which are no mask: give one with 0"
            " outside and 1 inside"
        )
    plateau = np.count_nonzero(used > _PLATEAU * highest) / used.size
    labels = np.unique(used) if bool((used == np.rint(used)).all()) else None
    scaled = labels is None or any(abs(highest / full - 1) < 0.03 for full in _FULL_SCALES)
    if labels is not None and len(labels) <= _MOST_LABELS and not scaled:
        return _labels(values, labels)
    if highest <= 1.5 or (scaled and plateau > _PLATEAU_SHARE):
        return _fractions(values, 1.0 if highest <= 1.5 else highest)
    return _image(values, used)


def _fractions(values: FloatArray, full: float) -> MaskReading:
    threshold = 0.5 * full
    text = f"fractions, inside where above {threshold:.4g}"
    if full != 1.0:
        text += f" of {full:.6g}"
    if not (values > threshold).any():
        raise ValueError(f"is empty: its largest value is {values.max():g}, none is above 0.5")
    return MaskReading(values > threshold, "fractions", threshold, text)


def _labels(values: FloatArray, labels: FloatArray) -> MaskReading:
    listed = ", ".join(f"{label:.6g}" for label in labels)
    if not (values == 0).any():
        raise ValueError(f"has the values {listed} and no 0, which would be outside")
    return MaskReading(
        values != 0,
        "labels",
        0.0,
        f"labels {listed}, all of them inside",
        f"the mask has the labels {listed} and all of them count as inside; if some are not brain,"
        " give a mask of 0 and 1",
    )


def _image(values: FloatArray, used: FloatArray) -> MaskReading:
    """Take an image in which all but the brain was set to zero for a mask."""
    if 1 - used.size / values.size < _LEAST_ZEROS or used.min() < 0:
        raise ValueError("is an image rather than a mask: nothing in it was set to zero")
    return MaskReading(
        values != 0,
        "image",
        0.0,
        f"an image with values up to {used.max():g}, inside where it is not zero",
        "the mask is an image with many values, inside is where it is not zero",
    )
