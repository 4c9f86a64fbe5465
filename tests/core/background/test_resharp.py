"""RESHARP against a dense solver."""

import numpy as np
import pytest
import scipy.ndimage as ndi

from qsmbids.core.background.resharp import resharp

MASK = np.zeros((13, 12, 11), bool)
MASK[1:12, 1:11, 1:10] = True
MASK[4:6, 5, 1:3] = False


def reference(field, mask, radius, alpha):
    """Solve the regularised least squares with matrices."""
    reach = np.indices((2 * radius + 1,) * 3) - radius
    ball = (reach**2).sum(axis=0) <= radius**2
    support = ndi.binary_erosion(mask, structure=ball)
    inside, rows = np.argwhere(mask), np.argwhere(support)
    distance = ((rows[:, None] - inside[None]) ** 2).sum(axis=2)
    c = (distance == 0) - (distance <= radius**2) / ball.sum()
    normal = c.T @ c + alpha * np.eye(len(inside))
    local = np.zeros(mask.shape)
    local[mask] = np.linalg.solve(normal, c.T @ (c @ field[mask]))
    return np.where(support, local, 0.0), support


@pytest.mark.parametrize("alpha", [0.1, 1e-3])
def test_dense_solver(alpha, rng):
    field = ndi.gaussian_filter(rng.standard_normal(MASK.shape), 0.7)
    expected, support = reference(field, MASK, 2, alpha)
    found = resharp(
        field,
        MASK,
        (1, 1, 1),
        radius=2,
        tikhonov_weight=alpha,
        tolerance=1e-5,
        maximum_iterations=500,
    )
    np.testing.assert_array_equal(found.mask, support)
    error = np.linalg.norm(found.local_field - expected)
    assert error < 1e-3 * np.linalg.norm(expected)


def test_regularisation_shrinks_the_local_field(rng):
    field = rng.standard_normal(MASK.shape)
    sizes = [
        np.linalg.norm(resharp(field, MASK, (1, 1, 1), radius=2, tikhonov_weight=a).local_field)
        for a in (1.0, 0.1, 0.01)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tikhonov_weight": -1.0}, "weight"),
        ({"tikhonov_weight": np.nan}, "weight"),
        ({"radius": 0.5}, "radius"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        resharp(np.zeros(MASK.shape), MASK, (1, 1, 1), **options)
