"""L-curves with a known corner, and one of an inversion."""

import numpy as np
import pytest

from qsmbids.core.inversion.dipole import dipole_field
from qsmbids.core.inversion.fansi import fansi
from qsmbids.core.inversion.l_curve import fansi_l_curve, find_corner, l_curve

ALPHAS = np.geomspace(1e-5, 1e-1, 13)


@pytest.mark.parametrize("corner", [2e-4, 1e-3, 7e-3])
def test_hyperbola(corner):
    """(1 + a/c) and (1 + c/a) bend symmetrically about c."""
    curve = find_corner(ALPHAS, 5 * (1 + ALPHAS / corner), 3 * (1 + corner / ALPHAS))
    assert curve.corner == pytest.approx(corner, rel=0.15)  # the spline is smoothed
    assert not curve.at_the_edge


def test_curvature_of_a_circle():
    """An arc of radius 2 in the plane of the logarithms, bent towards the origin."""
    angle = np.pi + np.linspace(0.1, np.pi / 2 - 0.1, 13)
    curve = find_corner(ALPHAS, 10 ** (2 * np.cos(angle)), 10 ** (2 * np.sin(angle)))
    np.testing.assert_allclose(curve.curvature[3:-3], 0.5, rtol=0.05)
    assert (
        (find_corner(ALPHAS, 10 ** (2 * np.sin(angle)), 10 ** (2 * np.cos(angle))).curvature[6])
        < 0
    )


def test_order_and_units_do_not_matter(rng):
    order = rng.permutation(ALPHAS.size)
    rho, eta = 1 + ALPHAS / 1e-3, 1 + 1e-3 / ALPHAS
    one, two = (
        find_corner(ALPHAS, rho, eta),
        find_corner(ALPHAS[order], 50 * rho[order], eta[order]),
    )
    assert two.corner == pytest.approx(one.corner, rel=1e-6)
    np.testing.assert_allclose(one.strengths, ALPHAS)
    np.testing.assert_allclose(one.residual, np.log10(rho))


def test_noise_of_half_a_percent(rng):
    factors = np.exp(0.005 * rng.standard_normal((2, ALPHAS.size)))
    curve = find_corner(ALPHAS, (1 + ALPHAS / 1e-3) * factors[0], (1 + 1e-3 / ALPHAS) * factors[1])
    assert curve.corner == pytest.approx(1e-3, rel=0.3)


def test_no_corner_in_the_range():
    curve = find_corner(ALPHAS, 1 + ALPHAS / 1e3, 1 + 1e3 / ALPHAS)
    assert curve.at_the_edge


def test_from_the_largest_down():
    calls, steps = [], []

    def invert(alpha):
        calls.append(alpha)
        return 1 + alpha / 1e-3, 1 + 1e-3 / alpha

    curve = l_curve(invert, ALPHAS, progress=lambda n, a: steps.append((n, a)))
    assert calls == sorted(ALPHAS, reverse=True)
    assert steps == list(enumerate(calls, start=1))
    assert curve.corner == pytest.approx(1e-3, rel=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strengths": ALPHAS[:4], "residual": np.ones(4), "regularity": np.ones(4)}, "five"),
        ({"strengths": np.r_[ALPHAS[:-1], ALPHAS[0]]}, "twice"),
        ({"residual": np.zeros(13)}, "> 0"),
        ({"regularity": np.full(13, np.nan)}, "> 0"),
    ],
)
def test_bad_points(change, message):
    points = {"strengths": ALPHAS, "residual": np.ones(13), "regularity": np.ones(13), **change}
    with pytest.raises(ValueError, match=message):
        find_corner(**points)


SHAPE = (32, 36, 30)
F0, TE = 127.7e6, 0.0286
SCAN = {"centre_frequency": F0, "echo_time": TE, "margin": 8}


@pytest.fixture(scope="module")
def scan():
    """Blocks of susceptibility, their field with 0.3 Hz of noise, mask, weights, geometry."""
    r = np.indices(SHAPE) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
    mask = ((r / np.reshape([13, 15, 12], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
    chi = np.zeros(SHAPE, np.float32)
    chi[8:14, 10:20, 9:16], chi[18:24, 14:22, 14:20] = 0.1, -0.06
    field = 1e-6 * F0 * dipole_field(chi * mask, (1, 1, 1), (0, 0, 1))
    field += 0.3 * np.random.default_rng(4).standard_normal(SHAPE).astype(np.float32)
    return field * mask, mask, mask.astype(np.float32), (1, 1, 1), (0, 0, 1)


@pytest.mark.slow
def test_curve_of_fansi(scan):
    """Monotone both ways, and the warm start ends where a cold one does."""
    curve = fansi_l_curve(
        *scan,
        **SCAN,
        gradient_l1_penalties=np.geomspace(1e-4, 1e-2, 5),
        weak_harmonic=False,
        tolerance_percent=0.3,
    )
    assert (np.diff(curve.residual) > 0).all()
    assert (np.diff(curve.regularity) < 0).all()


def test_warm_start_arrives_sooner(scan):
    options = {
        **SCAN, "weak_harmonic": False, "tolerance_percent": 0.05, "iterations": "joint"
    }  # fmt: skip
    near = fansi(
        *scan, **options, gradient_l1_penalty=1e-3, gradient_consistency=0.1, keep_state=True
    )
    cold = fansi(*scan, **options)
    warm = fansi(*scan, **options, initial=near.state)
    assert warm.n_iterations < 0.5 * cold.n_iterations
    assert np.linalg.norm(warm.chi - cold.chi) < 0.02 * np.linalg.norm(cold.chi)
    assert cold.state is None


def test_state_continues_the_same_iterations(scan):
    """Twenty iterations equal eight and then the rest, bit by bit, where there are no stages."""
    options = {**SCAN, "tolerance_percent": 1e-9, "iterations": "joint"}
    whole = fansi(*scan, **options, maximum_iterations=20)
    first = fansi(*scan, **options, maximum_iterations=8, keep_state=True)
    rest = fansi(
        *scan, **options, maximum_iterations=13, initial=first.state
    )  # the eighth is repeated
    np.testing.assert_array_equal(rest.chi, whole.chi)
    with pytest.raises(ValueError, match="initial state"):
        fansi(*scan, **{**options, "margin": 12}, initial=first.state)
