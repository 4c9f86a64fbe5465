"""Removal of a smooth polynomial, for what background removal may leave (Table S2.2)."""

from itertools import product

import numpy as np

from qsmbids.core.maths.arrays import EmptyMaskError, Float32Array, Float64Array, FloatArray, Mask

__all__ = ["remove_polynomial"]


def remove_polynomial(field: FloatArray, mask: Mask, *, order: int = 4) -> Float32Array:
    """Subtract the least-squares polynomial of all terms up to ``order`` inside a mask.

    Parameters
    ----------
    field : (X, Y, Z) ndarray
        Any unit.
    mask : (X, Y, Z) ndarray of bool
        Where the polynomial is fitted and subtracted.
    order : int
        Highest total power; 4 as in the software of Table S2.2.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        0 outside the mask.

    Raises
    ------
    EmptyMaskError
        The mask is empty.
    ValueError
        The shapes differ.

    Notes
    -----
    Not in the default pipeline: unlike background removal it also takes slow variation that
    belongs to tissue.
    """
    if field.shape != mask.shape:
        raise ValueError(f"field {field.shape} and mask {mask.shape} must be one volume")
    if not mask.any():
        raise EmptyMaskError("the mask is empty")
    where = np.nonzero(mask)
    axes = [
        2.0 * (index - index.min()) / max(1, index.max() - index.min()) - 1.0 for index in where
    ]
    powers = [p for p in product(range(order + 1), repeat=3) if sum(p) <= order]
    values = field[mask].astype(np.float64)
    normal = np.zeros((len(powers), len(powers)))
    right = np.zeros(len(powers))
    chunks = range(0, values.size, 200_000)  # bounds the memory of the design matrix

    def design(start: int) -> Float64Array:
        part = [a[start : start + 200_000] for a in axes]
        return np.stack([part[0] ** i * part[1] ** j * part[2] ** k for i, j, k in powers], axis=1)

    for start in chunks:
        terms = design(start)
        normal += terms.T @ terms
        right += terms.T @ values[start : start + 200_000]
    coefficients = np.linalg.lstsq(normal, right, rcond=1e-12)[0]
    for start in chunks:
        values[start : start + 200_000] -= design(start) @ coefficients
    out = np.zeros(field.shape, dtype=np.float32)
    out[mask] = values
    return out
