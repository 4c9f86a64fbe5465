"""LBV against a direct sparse solver, and its masks."""

import numpy as np
import pytest
import scipy.ndimage as ndi
import scipy.sparse as sp
import scipy.sparse.linalg as spl

from qsmbids.core.background.lbv import lbv


def reference(field, mask, voxel):
    """The background by a direct solver: harmonic inside, equal to the field on the boundary."""
    interior = ndi.binary_erosion(mask)
    number = np.full(mask.shape, -1)
    number[interior] = np.arange(interior.sum())
    matrix = sp.lil_matrix((interior.sum(),) * 2)
    rhs = np.zeros(interior.sum())
    for index in np.argwhere(interior):
        row = number[tuple(index)]
        for axis, size in enumerate(voxel):
            for step in (-1, 1):
                other = index.copy()
                other[axis] += step
                matrix[row, row] += size**-2.0
                if interior[tuple(other)]:
                    matrix[row, number[tuple(other)]] = -(size**-2.0)
                else:
                    rhs[row] += field[tuple(other)] * size**-2.0
    local = np.zeros(mask.shape)
    local[interior] = field[interior] - spl.spsolve(matrix.tocsr(), rhs)
    return local, interior


@pytest.mark.parametrize("voxel", [(1, 1, 1), (1, 0.8, 2)])
def test_direct_solver(voxel, rng):
    mask = np.zeros((16, 14, 15), bool)
    mask[1:9, 1:13, 2:14] = mask[10:15, 2:8, 3:9] = True  # two parts
    mask[4, 5, 6] = mask[5, 8:10, 7] = False  # holes
    field = ndi.gaussian_filter(rng.standard_normal(mask.shape), 1.5)
    expected, interior = reference(field, mask, voxel)
    found = lbv(field, mask, voxel, peel=0, tolerance=1e-5)
    np.testing.assert_array_equal(found.mask, interior)
    error = np.linalg.norm(found.local_field - expected)
    assert error < 1e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize("peel", [0, 1, 3])
def test_mask_loses_the_boundary_and_what_is_peeled(peel, rng):
    mask = ndi.binary_dilation(rng.random((30, 30, 30)) > 0.999, iterations=6)
    found = lbv(rng.standard_normal(mask.shape), mask, (1, 1, 1), peel=peel)
    np.testing.assert_array_equal(found.mask, ndi.binary_erosion(mask, iterations=peel + 1))


def test_few_iterations_on_any_size():
    counts = []
    for n in (20, 60):
        r = np.indices((n,) * 3) - (n - 1) / 2
        mask = (r**2).sum(axis=0) < (n / 2 - 2) ** 2
        field = np.random.default_rng(0).standard_normal(mask.shape)
        counts.append(lbv(field, mask, (1, 1, 1), tolerance=1e-5).n_iterations)
    assert max(counts) <= 8


def test_negative_peel():
    with pytest.raises(ValueError, match="layers"):
        lbv(np.zeros((9, 9, 9)), np.ones((9, 9, 9), bool), (1, 1, 1), peel=-1)


def test_mask_may_fill_the_array(rng):
    found = lbv(rng.standard_normal((9, 9, 9)), np.ones((9, 9, 9), bool), (1, 1, 1), peel=0)
    assert found.mask.sum() == 7**3
    assert found.converged
