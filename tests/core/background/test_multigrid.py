"""The V-cycle is symmetric and close to the inverse of the Laplacian, for any mask."""

import numpy as np
import pytest
import scipy.ndimage as ndi

from qsmbids.core.background.multigrid import PoissonMultigrid
from qsmbids.core.maths.cg import conjugate_gradients

SHAPE = (40, 44, 36)


def ellipsoid():
    r = np.indices(SHAPE) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
    return ((r / np.reshape([18, 20, 16], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1


def masks():
    rng = np.random.default_rng(1)
    full = ellipsoid()
    parts = full.copy()
    parts[18:20] = False
    return {
        "full": full,
        "parts": parts,
        "shell": full & ~ndi.binary_erosion(full, iterations=4),
        "holes": full & (rng.random(SHAPE) > 0.01),
        "box": np.ones(SHAPE, bool),
        "voxel": np.pad(np.ones((1, 1, 1), bool), 3),
    }


@pytest.mark.parametrize("voxel", [(1, 1, 1), (1, 1, 2.5), (0.7, 1.4, 0.9)])
@pytest.mark.parametrize("name", masks())
def test_few_iterations_for_any_mask(name, voxel, rng):
    mask = masks()[name]
    solver = PoissonMultigrid(mask, voxel)
    rhs = solver.pad((rng.standard_normal(mask.shape) * mask).astype(np.float32))
    found = conjugate_gradients(
        solver.operator,
        rhs,
        precondition=solver.precondition,
        tolerance=1e-5,
        maximum_iterations=50,
    )
    assert found.converged
    assert found.n_iterations <= 14
    residual = rhs - solver.operator(found.x)
    assert np.linalg.norm(residual) < 2e-5 * np.linalg.norm(rhs)
    assert not solver.unpad(found.x)[~mask].any()


@pytest.mark.parametrize("voxel", [(1, 1, 1), (1, 1, 3)])
def test_operator_and_cycle_are_symmetric(voxel, rng):
    mask = masks()["holes"]
    solver = PoissonMultigrid(mask, voxel)
    a, b = (
        solver.pad((rng.standard_normal(SHAPE) * mask).astype(np.float32)).astype(np.float32)
        for _ in range(2)
    )
    for linear in (solver.operator, solver.precondition):
        ab, ba = float((a * linear(b)).sum()), float((b * linear(a)).sum())
        aa = float((a * linear(a)).sum())
        assert aa > 0
        assert ab == pytest.approx(ba, abs=1e-4 * aa)


def test_operator_is_the_scaled_laplacian():
    mask = ndi.binary_erosion(np.ones((12, 12, 12), bool), iterations=2)
    solver = PoissonMultigrid(mask, (1, 2, 0.5))
    x, y, z = np.indices(mask.shape)
    field = (x**2 + 3.0 * (2 * y) ** 2 + 5 * (0.5 * z) ** 2).astype(np.float32)
    out = solver.unpad(solver.operator(solver.pad(field)))
    np.testing.assert_allclose(out[mask], -2 * (1 + 3 + 5), rtol=1e-4)
    assert not out[~mask].any()
