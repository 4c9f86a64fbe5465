"""Conjugate gradients solve systems whose solution is known."""

import numpy as np
import pytest

from qsmbids.core.maths.cg import conjugate_gradients


@pytest.fixture
def system(rng):
    """A symmetric positive definite matrix as an operator on 3 x 4 x 2 volumes."""
    root = rng.standard_normal((24, 24))
    matrix = root @ root.T + 0.1 * np.eye(24)

    def operator(x):
        return (matrix @ x.ravel()).reshape(x.shape).astype(np.float32)

    truth = rng.standard_normal((3, 4, 2)).astype(np.float32)
    return matrix, operator, truth


def test_finds_the_solution(system):
    _, operator, truth = system
    rhs = operator(truth)
    before = rhs.copy()
    found = conjugate_gradients(operator, rhs, tolerance=1e-5, maximum_iterations=200)
    assert found.converged
    assert found.relative_residual <= 1e-5
    np.testing.assert_allclose(found.x, truth, atol=2e-3)
    np.testing.assert_array_equal(rhs, before)


def test_a_good_start_saves_iterations(system):
    _, operator, truth = system
    rhs = operator(truth)
    start = truth + np.float32(1e-4)
    kept = start.copy()
    cold = conjugate_gradients(operator, rhs, tolerance=1e-4, maximum_iterations=200)
    warm = conjugate_gradients(operator, rhs, start=start, tolerance=1e-4, maximum_iterations=200)
    assert warm.n_iterations < cold.n_iterations
    np.testing.assert_array_equal(start, kept)
    exact = conjugate_gradients(operator, rhs, start=truth, tolerance=1e-4, maximum_iterations=200)
    assert exact.n_iterations == 0
    assert exact.converged


def test_the_inverse_as_preconditioner_takes_one_step(system):
    matrix, operator, truth = system
    inverse = np.linalg.inv(matrix)

    def precondition(x):
        return (inverse @ x.ravel()).reshape(x.shape).astype(np.float32)

    found = conjugate_gradients(
        operator,
        operator(truth),
        precondition=precondition,
        tolerance=1e-3,
        maximum_iterations=200,
    )
    assert found.n_iterations == 1


def test_stops_at_the_limit(system):
    _, operator, truth = system
    found = conjugate_gradients(operator, operator(truth), tolerance=1e-6, maximum_iterations=3)
    assert found.n_iterations == 3
    assert not found.converged
    assert found.relative_residual > 1e-6


def test_zero_right_hand_side(system):
    found = conjugate_gradients(
        system[1], np.zeros((3, 4, 2), np.float32), tolerance=0.1, maximum_iterations=5
    )
    assert found.converged
    assert not found.x.any()


@pytest.mark.parametrize(
    "options",
    [{"tolerance": 0, "maximum_iterations": 1}, {"tolerance": 0.1, "maximum_iterations": 0}],
)
def test_bad_arguments(system, options):
    with pytest.raises(ValueError, match="tolerance"):
        conjugate_gradients(system[1], np.ones((3, 4, 2), np.float32), **options)
