"""Joint iterations: known minima, the conditions of a minimum, and what they promise."""

import numpy as np
import pytest

from qsmbids.core.inversion.dipole import dipole_field, dipole_kernel
from qsmbids.core.inversion.fansi import fansi, mean_edge
from qsmbids.core.inversion.fansi_joint import RELAXATION
from qsmbids.core.maths.fft import irfft, rfft
from qsmbids.core.maths.gradient import gradient, gradient_adjoint
from qsmbids.units import radians_per_ppm

SHAPE = (26, 30, 22)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([11, 13, 9], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
ISO, OBLIQUE = (1, 1, 1), (0.0, 0.6, 0.8)
F0, TE = 127.7e6, 0.0286
SCAN = {"centre_frequency": F0, "echo_time": TE}
TV = {**SCAN, "nonlinear": False, "weak_harmonic": False}
LINEAR = {**TV, "iterations": "joint"}
TO_RAD, KAPPA = 2 * np.pi * TE, radians_per_ppm(F0, TE)


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(5)
    w = (1 + 0.1 * rng.standard_normal(SHAPE)).clip(0.2, 2)
    w[14:17, 14:17, 11:14] = 0.2  # where the signal is lost
    return (w * MASK).astype(np.float32)


@pytest.fixture(scope="module")
def field():
    chi = np.zeros(SHAPE, np.float32)
    for centre, radius, value in (((4, 0, 2), 3.5, 0.1), ((-5, 4, -2), 2.5, -0.08)):
        chi[((R - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2] = value
    noise = np.random.default_rng(6).standard_normal(SHAPE)
    return np.where(MASK, (1e-6 * F0) * dipole_field(chi, ISO, OBLIQUE) + 0.3 * noise, 0)


@pytest.fixture(scope="module")
def minimum(field, weights):
    return fansi(
        field,
        MASK,
        weights,
        ISO,
        OBLIQUE,
        **LINEAR,
        maximum_iterations=400,
        tolerance_percent=1e-4,
    )


def distance(a, b):
    """Relative distance in the mask; the mean is not defined."""
    return float((a - b)[MASK].std(dtype=float) / b[MASK].std(dtype=float))


def test_layers_are_lowered_by_a_known_amount():
    """Of layers across B0 the field is -2/3 chi: TV denoising, which moves m layers by 2 / m."""
    shape, layers, alpha = (6, 8, 32), 5, 0.02
    chi = np.zeros(shape)
    chi[..., 10 : 10 + layers] = 0.1
    truth = chi - chi.mean()
    ones = np.ones(shape)
    result = fansi(
        -2 / 3 * truth * 1e-6 * F0, ones > 0, ones, ISO, (0, 0, 1), **LINEAR, margin=None,
        gradient_l1_penalty=alpha, gradient_consistency=0.1, regularisation_weight="none",
        tolerance_percent=1e-5, maximum_iterations=2000,
    )  # fmt: skip
    assert result.converged
    step = 2 * alpha / (2 / 3) ** 2 / KAPPA
    expected = truth + np.where(chi > 0, -step / layers, step / (32 - layers))
    assert 5e-4 < step / layers < 0.1  # seen, and not all of it
    np.testing.assert_allclose(result.chi, expected, atol=1e-5)


def test_conditions_of_a_minimum(field, weights):
    """Gradient of the data term plus divergence of a dual that is extreme where x has a step."""
    alpha, mu1 = 5e-4, 0.05
    everywhere = np.ones(SHAPE, bool)
    state = fansi(
        field, everywhere, weights, ISO, OBLIQUE, **LINEAR, margin=None, keep_state=True,
        gradient_l1_penalty=alpha, gradient_consistency=mu1, maximum_iterations=400,
        tolerance_percent=1e-4,
    ).state  # fmt: skip
    edges = np.maximum(np.abs(gradient(weights)), 1e-3)
    bound = alpha * mean_edge(weights, "vector-absolute") / edges
    kernel, w2 = dipole_kernel(SHAPE, ISO, OBLIQUE), (weights / weights.max()) ** 2
    dual = mu1 * np.clip(state.v, -bound / mu1, bound / mu1)
    residual = w2 * (irfft(rfft(state.x) * kernel, SHAPE) - field * TO_RAD)
    slope = irfft(rfft(residual.astype(np.float32)) * kernel, SHAPE) + gradient_adjoint(dual)
    start = irfft(rfft((w2 * field * TO_RAD).astype(np.float32)) * kernel, SHAPE)
    assert np.linalg.norm(slope - slope.mean()) < 2e-3 * np.linalg.norm(start)
    steps = gradient(state.x.astype(float))
    lost = (bound * np.abs(steps) - dual * steps).sum() / (bound * np.abs(steps)).sum()
    assert 0 <= lost < 0.01


@pytest.mark.slow
def test_ends_no_further_from_the_minimum_than_plain_iterations(field, weights, minimum):
    """Without h, the iterations of FANSI's software are these less the over-relaxation."""
    new = fansi(field, MASK, weights, ISO, OBLIQUE, **LINEAR)
    plain = fansi(field, MASK, weights, ISO, OBLIQUE, **TV, iterations="alternating")
    n = round(plain.n_iterations / RELAXATION)
    same = fansi(
        field, MASK, weights, ISO, OBLIQUE, **LINEAR, maximum_iterations=n, tolerance_percent=1e-6
    )
    assert new.converged
    assert plain.converged
    assert distance(new.chi, minimum.chi) < distance(plain.chi, minimum.chi)
    assert distance(same.chi, minimum.chi) < 1.1 * distance(plain.chi, minimum.chi)


@pytest.mark.slow
def test_margin(field, weights, minimum):
    """The zeros around the mask are enough: the minimum hardly moves with twice as many."""
    wide = fansi(
        field, MASK, weights, ISO, OBLIQUE, **LINEAR, margin=24, maximum_iterations=250,
        tolerance_percent=1e-4,
    )  # fmt: skip
    assert distance(minimum.chi, wide.chi) < 0.02


def test_goes_on_where_it_ended(field, weights):
    """The state is that before the last x, which is found again."""
    options = {**LINEAR, "tolerance_percent": 1e-6}
    whole = fansi(field, MASK, weights, ISO, OBLIQUE, **options, maximum_iterations=20)
    half = fansi(
        field, MASK, weights, ISO, OBLIQUE, **options, maximum_iterations=8, keep_state=True
    )
    kept = {name: getattr(half.state, name).copy() for name in ("x", "s2", "data", "v")}
    rest = fansi(
        field, MASK, weights, ISO, OBLIQUE, **options, maximum_iterations=13, initial=half.state
    )
    np.testing.assert_array_equal(rest.chi, whole.chi)
    for name, before in kept.items():
        np.testing.assert_array_equal(getattr(half.state, name), before)


def test_threads_do_not_change_the_result(field, weights):
    one, two, five = (
        fansi(field, MASK, weights, ISO, OBLIQUE, **LINEAR, maximum_iterations=15, n_threads=n).chi
        for n in (1, 2, 5)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, five)


def test_no_field_gives_no_susceptibility(weights):
    result = fansi(np.zeros(SHAPE), MASK, weights, ISO, OBLIQUE, **LINEAR)
    assert result.converged
    assert not result.chi.any()
    assert result.harmonic_field is None
