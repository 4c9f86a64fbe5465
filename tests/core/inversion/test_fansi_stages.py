"""Iterations with consistency weights that grow: the same minimum, in fewer of them."""

import numpy as np
import pytest

from qsmbids.core.inversion import fansi_stages
from qsmbids.core.inversion.dipole import dipole_field
from qsmbids.core.inversion.fansi import fansi

SHAPE = (26, 30, 22)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([11, 13, 9], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
ISO, OBLIQUE = (1, 1, 1), (0.0, 0.6, 0.8)
F0, TE = 127.7e6, 0.0286
#: Few zeros around: these are about the way to the minimum, not about where it is.
SCAN = {"centre_frequency": F0, "echo_time": TE, "margin": 4}
LINEAR = {**SCAN, "nonlinear": False, "weak_harmonic": False}


@pytest.fixture(scope="module")
def weights():
    w = (1 + 0.1 * np.random.default_rng(5).standard_normal(SHAPE)).clip(0.2, 2)
    w[14:17, 14:17, 11:14] = 0.2  # where the signal is lost
    return (w * MASK).astype(np.float32)


@pytest.fixture(scope="module")
def field():
    chi = np.zeros(SHAPE, np.float32)
    for centre, radius, value in (((4, 0, 2), 3.5, 0.1), ((-5, 4, -2), 2.5, -0.08)):
        chi[((R - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2] = value
    noise = np.random.default_rng(6).standard_normal(SHAPE)
    return np.where(MASK, (1e-6 * F0) * dipole_field(chi, ISO, OBLIQUE) + 0.3 * noise, 0)


def invert(field, weights, **options):
    return fansi(field, MASK, weights, ISO, OBLIQUE, **options)


def distance(a, b):
    """Relative distance in the mask; the mean is not defined."""
    return float((a - b)[MASK].std(dtype=float) / b[MASK].std(dtype=float))


def test_nearer_to_the_minimum_in_fewer_iterations(field, weights):
    exact = {**LINEAR, "tolerance_percent": 1e-4, "maximum_iterations": 1000}
    minimum = invert(field, weights, **exact, iterations="joint")
    joint, staged = (
        invert(field, weights, **LINEAR, iterations=name) for name in ("joint", "staged")
    )
    assert staged.converged
    assert staged.n_iterations < 0.8 * joint.n_iterations
    assert distance(staged.chi, minimum.chi) < distance(joint.chi, minimum.chi)


@pytest.mark.parametrize("options", [LINEAR, SCAN])
def test_stages_are_the_default(field, weights, options):
    few = {"maximum_iterations": 12}
    plain = invert(field, weights, **options, **few)
    named = invert(field, weights, **options, **few, iterations="staged")
    np.testing.assert_array_equal(plain.chi, named.chi)


def test_a_stage_that_does_not_settle_gives_way_to_plain_iterations(field, weights, monkeypatch):
    exact = {**SCAN, "tolerance_percent": 0.01, "maximum_iterations": 400}
    seen = []
    monkeypatch.setattr("qsmbids.core.inversion.fansi_stages.MOST_ITERATIONS", 25)
    found = invert(field, weights, **exact, progress=lambda n, _: seen.append(n))
    assert seen == list(range(1, found.n_iterations + 1))
    assert found.converged
    assert found.n_iterations > 50
    minimum = invert(field, weights, **exact, iterations="joint")
    assert distance(found.chi, minimum.chi) < 0.02


def test_weak_harmonics_end_nearer_to_the_minimum(field, weights):
    exact = {**SCAN, "tolerance_percent": 1e-3, "maximum_iterations": 400}
    minimum = invert(field, weights, **exact, iterations="joint")
    joint, staged = (invert(field, weights, **SCAN, iterations=n) for n in ("joint", "staged"))
    assert staged.converged
    assert distance(staged.chi, minimum.chi) < distance(joint.chi, minimum.chi)


def test_ends_at_the_same_minimum(field, weights):
    exact = {**LINEAR, "tolerance_percent": 1e-4, "maximum_iterations": 1000}
    joint, staged = (
        invert(field, weights, **exact, iterations=name) for name in ("joint", "staged")
    )
    assert distance(staged.chi, joint.chi) < 1e-3


def test_one_stage_is_joint(field, weights, monkeypatch):
    monkeypatch.setattr(fansi_stages, "STAGES", ((1.0, 1.0, 1.0),))
    joint, staged = (invert(field, weights, **SCAN, iterations=n) for n in ("joint", "staged"))
    np.testing.assert_array_equal(joint.chi, staged.chi)
    assert joint.n_iterations == staged.n_iterations


def test_a_state_goes_on_with_the_weights_that_were_set(field, weights):
    """At the minimum, other iterations do not leave it again: the duals were given back right."""
    exact = {**LINEAR, "tolerance_percent": 1e-3, "maximum_iterations": 1000}
    found = invert(field, weights, **exact, iterations="staged", keep_state=True)
    on = invert(
        field, weights, **LINEAR, initial=found.state, maximum_iterations=10,
        tolerance_percent=1e-9,
    )  # fmt: skip
    assert distance(on.chi, found.chi) < 2e-3


def test_counts_on_from_stage_to_stage(field, weights):
    seen = []
    result = invert(
        field, weights, **LINEAR, iterations="staged", progress=lambda n, _: seen.append(n)
    )
    assert seen == list(range(1, result.n_iterations + 1))
    few = invert(field, weights, **LINEAR, iterations="staged", maximum_iterations=5)
    assert few.n_iterations == 5
    assert not few.converged


def test_threads_do_not_change_the_result(field, weights):
    one, three = (
        invert(field, weights, **LINEAR, iterations="staged", n_threads=n).chi for n in (1, 3)
    )
    np.testing.assert_array_equal(one, three)
