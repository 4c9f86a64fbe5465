"""Second-order total generalised variation: operators, optimality, and slopes."""

import numpy as np
import pytest
from volumes import contrast_error

from qsmbids.core.inversion.dipole import dipole_field, dipole_kernel
from qsmbids.core.inversion.fansi import fansi
from qsmbids.core.inversion.tgv import solve_slope_step, symmetric_adjoint, symmetric_gradient, tgv
from qsmbids.core.maths.gradient import gradient, gradient_adjoint

SHAPE = (32, 36, 30)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([13, 15, 12], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
ISO, AXIAL = (1, 1, 1), (0, 0, 1)
F0, TE = 127.7e6, 0.0286
SCAN = {"centre_frequency": F0, "echo_time": TE, "margin": 6}
ONES = MASK.astype(np.float32)
#: A gentle slope with one sharp nucleus.
CHI = np.where(
    MASK, 0.004 * R[0] + 0.1 * (((R - np.reshape((3, 2, 0), (3, 1, 1, 1))) ** 2).sum(0) < 9), 0
).astype(np.float32)


@pytest.fixture(scope="module")
def field():
    noise = np.random.default_rng(3).standard_normal(SHAPE)
    return (1e-6 * F0 * dipole_field(CHI, ISO, AXIAL) + 0.2 * noise).astype(np.float32)


def error(estimate, mask=MASK):
    return contrast_error(estimate, CHI, mask)


def test_adjoint_of_the_symmetric_gradient(rng):
    w, t = rng.standard_normal((3, 6, 7, 8)), rng.standard_normal((6, 6, 7, 8))
    twice = np.reshape([1, 1, 1, 2, 2, 2], (6, 1, 1, 1))
    left = (twice * symmetric_gradient(w) * t).sum()
    assert left == pytest.approx((w * symmetric_adjoint(t)).sum(), rel=1e-10)


def test_slope_step_solves_both_equations(rng):
    """Applied in image space, the operators give the right-hand sides back."""
    shape, (mu0, mu1, mu2) = (8, 9, 10), (0.3, 0.2, 1.1)
    b = rng.standard_normal((4, *shape))
    b[0] -= b[0].mean()
    turn = [np.exp(2j * np.pi * np.arange(n) / n) - 1 for n in shape]
    symbols = (turn[0][:, None, None], turn[1][:, None], turn[2][: shape[2] // 2 + 1])
    kernel = dipole_kernel(shape, ISO, AXIAL)
    spectra = [np.fft.rfftn(v) for v in b]
    x, w = solve_slope_step(spectra[0], spectra[1:], symbols, kernel, (mu0, mu1, mu2))
    x, w = np.fft.irfftn(x, shape), np.stack([np.fft.irfftn(v, shape) for v in w])
    dd = np.fft.irfftn(kernel**2 * np.fft.rfftn(x), shape)
    left = gradient(x) - w
    np.testing.assert_allclose(mu2 * dd + mu1 * gradient_adjoint(left), b[0], atol=1e-4)
    np.testing.assert_allclose(
        mu0 * symmetric_adjoint(symmetric_gradient(w)) - mu1 * left, b[1:], atol=1e-4
    )


@pytest.mark.slow
def test_slopes_are_kept_better_than_by_tv(field):
    options = {
        **SCAN,
        "gradient_l1_penalty": 3e-3,
        "gradient_consistency": 0.1,
        "maximum_iterations": 80,
    }
    first = fansi(field, MASK, ONES, ISO, AXIAL, **options, weak_harmonic=False)
    second = tgv(field, MASK, ONES, ISO, AXIAL, **options)
    inner = ((R / np.reshape([11, 13, 10], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
    assert error(second.chi, inner) < 0.9 * error(first.chi, inner)
    assert second.harmonic_field is None


@pytest.mark.slow
def test_stiff_slope_comes_near_tv(field):
    """A slope that may not bend is constant, and zero on a periodic grid with a flat margin."""
    options = {
        **SCAN,
        "gradient_l1_penalty": 1e-3,
        "gradient_consistency": 0.05,
        "maximum_iterations": 120,
        "nonlinear": False,
    }
    first = fansi(field, MASK, ONES, ISO, AXIAL, **options, weak_harmonic=False)
    free, stiff = (
        tgv(field, MASK, ONES, ISO, AXIAL, **options, tgv_ratio=ratio).chi for ratio in (0.5, 1e6)
    )
    apart = np.linalg.norm(free - first.chi)
    assert np.linalg.norm(stiff - first.chi) < 0.7 * apart


@pytest.mark.slow
def test_whole_turns_do_not_matter(field):
    turned = field.copy()
    turned.flat[np.random.default_rng(2).choice(field.size, 100, replace=False)] += 1 / TE
    options = {**SCAN, "maximum_iterations": 60}
    clean = tgv(field, MASK, ONES, ISO, AXIAL, **options)
    wrapped = tgv(turned, MASK, ONES, ISO, AXIAL, **options)
    linear = tgv(turned, MASK, ONES, ISO, AXIAL, **options, nonlinear=False)
    size = np.linalg.norm(clean.chi)
    assert np.linalg.norm(wrapped.chi - clean.chi) < 0.1 * size
    assert np.linalg.norm(linear.chi - clean.chi) > 0.5 * size


def test_zero_outside_threads_and_input(field):
    spoilt = np.where(MASK, field, np.nan)
    before = spoilt.copy()
    options = {**SCAN, "maximum_iterations": 4}
    one = tgv(spoilt, MASK, ONES, ISO, AXIAL, **options)
    two = tgv(spoilt, MASK, ONES, ISO, AXIAL, **options, n_threads=2)
    np.testing.assert_array_equal(one.chi, two.chi)
    np.testing.assert_array_equal(spoilt, before)
    assert one.chi.dtype == np.float32
    assert not one.chi[~MASK].any()
    assert (one.n_iterations, one.converged) == (4, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.zeros(SHAPE, bool)}, "empty"),
        ({"local_field": np.full(SHAPE, np.nan)}, "finite"),
        ({"tgv_ratio": 0.0}, "> 0"),
        ({"margin": -1}, "margin"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {
        "local_field": np.zeros(SHAPE), "mask": MASK, "weights": ONES,
        "voxel_size": ISO, "b0_direction": AXIAL, **SCAN, **change,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        tgv(**arguments)
