"""Conjugate gradients for symmetric positive (semi-)definite operators on volumes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qsmbids.core.maths.arrays import Float32Array

__all__ = ["Operator", "Solution", "conjugate_gradients"]

Operator = Callable[[Float32Array], Float32Array]


@dataclass(frozen=True)
class Solution:
    """What conjugate gradients found, and how far they came."""

    x: Float32Array
    n_iterations: int
    relative_residual: float  # |b - A x| / |b|
    converged: bool


def conjugate_gradients(
    operator: Operator,
    rhs: Float32Array,
    *,
    start: Float32Array | None = None,
    precondition: Operator | None = None,
    tolerance: float,
    maximum_iterations: int,
) -> Solution:
    """Solve ``operator(x) = rhs``.

    Parameters
    ----------
    operator : callable
        Symmetric positive (semi-)definite; must not change its argument.
    rhs : (X, Y, Z) ndarray of float32
        Right-hand side, in the range of the operator.
    start : (X, Y, Z) ndarray of float32, optional
        First x; zero by default.
    precondition : callable, optional
        Symmetric positive definite approximation of the inverse of the operator.
    tolerance : float
        Stop when the residual is this small relative to ``rhs``.
    maximum_iterations : int
        Most iterations; few of them regularise ill-posed problems.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        The tolerance is not positive, or no iteration is allowed.

    Notes
    -----
    Volumes in single precision, inner products in double; one use of the operator (and of the
    preconditioner) for each iteration, and one more for a start.

    References
    ----------
    Hestenes MR, Stiefel E. Methods of conjugate gradients for solving linear systems. J Res Natl
    Bur Stand 1952;49:409.

    Examples
    --------
    >>> import numpy as np
    >>> diagonal = np.arange(1, 9, dtype=np.float32).reshape(2, 2, 2)
    >>> solution = conjugate_gradients(
    ...     lambda x: diagonal * x, diagonal, tolerance=1e-5, maximum_iterations=20
    ... )
    >>> bool(abs(solution.x - 1).max() < 1e-4), solution.n_iterations <= 8
    (True, True)
    """
    if not tolerance > 0 or maximum_iterations < 1:
        limits = f"tolerance {tolerance} and maximum of iterations {maximum_iterations}"
        raise ValueError(f"{limits} must be positive")
    norm = np.sqrt(_dot(rhs, rhs))
    if norm == 0:
        return Solution(np.zeros_like(rhs), 0, 0.0, True)
    x = np.zeros_like(rhs) if start is None else start.copy()
    residual = rhs.copy() if start is None else rhs - operator(start)
    z = residual if precondition is None else precondition(residual)
    direction = z.copy()
    rz = _dot(residual, z)
    relative = np.sqrt(_dot(residual, residual)) / norm
    iteration = 0
    while relative > tolerance and iteration < maximum_iterations:
        image = operator(direction)
        curvature = _dot(direction, image)
        if not curvature > 0:  # nothing left but rounding
            break
        step = np.float32(rz / curvature)
        x += step * direction
        image *= step
        residual -= image
        z = residual if precondition is None else precondition(residual)
        rz, before = _dot(residual, z), rz
        direction *= np.float32(rz / before)
        direction += z
        squared = rz if precondition is None else _dot(residual, residual)
        relative = np.sqrt(squared) / norm
        iteration += 1
    return Solution(x, iteration, float(relative), bool(relative <= tolerance))


def _dot(a: Float32Array, b: Float32Array) -> float:
    """Inner product in double precision, in an order that no number of threads changes."""
    return float(np.einsum("i,i->", a.ravel(), b.ravel(), dtype=np.float64))
