"""R2* against analytic decays."""

import numpy as np
import pytest

from qsmbids.core.field.relaxometry import r2star_map

UNIFORM = np.arange(4, 29, 6) * 1e-3
UNEVEN = np.array([3, 7, 12, 20, 26]) * 1e-3


def _decay(echo_times: np.ndarray, r2star: np.ndarray, s0: float = 900.0) -> np.ndarray:
    return s0 * np.exp(-echo_times[:, None, None, None] * r2star)


def _all(shape: tuple[int, ...]) -> np.ndarray:
    return np.ones(shape, dtype=bool)


def test_arlo_published_arithmetic() -> None:
    t2star = np.array([5, 20, 50]).reshape(3, 1, 1) * 1e-3
    found = r2star_map(_decay(UNIFORM, 1 / t2star), UNIFORM, _all((3, 1, 1)))
    assert found.method == "arlo"
    np.testing.assert_allclose(found.r2star.ravel(), [198.06, 49.998, 20.000], atol=6e-3)
    np.testing.assert_allclose(found.t2star, 1 / found.r2star, rtol=1e-6)
    np.testing.assert_allclose(found.s0.ravel()[1:], 900, rtol=1e-3)


@pytest.mark.parametrize("echo_times", [UNEVEN, UNIFORM, UNIFORM[:2]])
def test_log_linear_is_exact(echo_times: np.ndarray, rng: np.random.Generator) -> None:
    r2star = rng.uniform(5, 200, (5, 6, 7))
    found = r2star_map(_decay(echo_times, r2star), echo_times, _all((5, 6, 7)), method="loglinear")
    np.testing.assert_allclose(found.r2star, r2star, rtol=2e-5, atol=1e-4)  # float32 magnitude
    np.testing.assert_allclose(found.s0, 900, rtol=1e-5)


def test_choice_of_method() -> None:
    one = _all((1, 1, 1))
    rate = np.full((1, 1, 1), 30.0)

    def used(times: np.ndarray) -> str:
        return r2star_map(_decay(times, rate), times, one).method

    rounded = np.array([5.25, 11.08, 16.90, 22.74, 28.57]) * 1e-3
    assert used(rounded) == "arlo"
    assert used(UNIFORM[:3]) == "arlo"
    assert used(UNIFORM[:2]) == "loglinear"
    assert used(UNEVEN) == "loglinear"


def test_two_echoes_are_the_log_ratio() -> None:
    magnitude = np.array([80.0, 50.0]).reshape(2, 1, 1, 1)
    found = r2star_map(magnitude, [0.01, 0.02], _all((1, 1, 1)))
    assert found.r2star[0, 0, 0] == pytest.approx(np.log(1.6) / 0.01, rel=1e-6)


@pytest.mark.parametrize("method", ["arlo", "loglinear"])
def test_noise_leaves_no_bias_and_the_expected_spread(
    method: str, rng: np.random.Generator
) -> None:
    shape, sigma, rate = (40, 40, 20), 0.01, 30.0
    clean = _decay(UNIFORM, np.full(shape, rate), s0=1.0)
    noisy = abs(
        clean
        + sigma * rng.standard_normal(clean.shape)
        + 1j * sigma * rng.standard_normal(clean.shape)
    )
    found = r2star_map(noisy, UNIFORM, _all(shape), method=method).r2star
    # Cramer-Rao bound of the rate when S0 is fitted, too
    m = np.exp(-rate * UNIFORM)
    information = (m**2 * UNIFORM**2).sum() - (m**2 * UNIFORM).sum() ** 2 / (m**2).sum()
    bound = sigma / np.sqrt(information)
    assert found.mean(dtype=np.float64) == pytest.approx(rate, abs=0.1)
    assert found.std(dtype=np.float64) > 0.97 * bound
    # the log-linear fit is efficient; ARLO loses some
    assert found.std(dtype=np.float64) < (1.05 if method == "loglinear" else 1.35) * bound


def test_clipping_and_empty_voxels() -> None:
    magnitude = np.ones((5, 6, 1, 1), dtype=np.float32)
    magnitude[:, 0, 0, 0] = np.exp(3 * np.arange(5))  # grows
    magnitude[:, 1, 0, 0] = [1e3, 1e-4, 1e-8, 1e-12, 1e-16]  # gone at once
    magnitude[:, 2, 0, 0] = 0
    magnitude[:, 3, 0, 0] = [5, 0, 0, 0, 0]
    mask = _all((6, 1, 1))
    mask[5] = False
    lowest, highest = 1 / (20 * UNIFORM[-1]), 20 / UNIFORM[0]
    for method in ("arlo", "loglinear"):
        found = r2star_map(magnitude, UNIFORM, mask, method=method)
        r2star = found.r2star.ravel()
        assert r2star[0] == pytest.approx(lowest)
        assert lowest <= r2star[1] <= highest
        assert r2star[4] == pytest.approx(lowest)  # no decay at all
        for image in found[:3]:
            assert np.isfinite(image).all()
            assert not image.ravel()[[2, 3, 5]].any()
    steep = np.array([1e3, 1e-30]).reshape(2, 1, 1, 1)
    two = r2star_map(steep, [0.004, 0.010], _all((1, 1, 1)))
    assert two.r2star[0, 0, 0] == pytest.approx(20 / 0.004)


def test_not_finite_magnitude_stays_finite() -> None:
    magnitude = np.ones((5, 2, 1, 1), dtype=np.float32)
    magnitude[1, 0] = np.nan
    magnitude[1, 1] = np.inf
    for method in ("arlo", "loglinear"):
        for image in r2star_map(magnitude, UNIFORM, _all((2, 1, 1)), method=method)[:3]:
            assert np.isfinite(image).all()


def test_scale_and_threads(rng: np.random.Generator) -> None:
    magnitude = rng.uniform(0.2, 1, (5, 8, 7, 6)).astype(np.float32)
    mask = rng.random((8, 7, 6)) < 0.8
    for method in ("arlo", "loglinear"):
        one = r2star_map(magnitude, UNIFORM, mask, method=method, n_threads=1)
        two = r2star_map(magnitude, UNIFORM, mask, method=method, n_threads=2)
        big = r2star_map(1000 * magnitude, UNIFORM, mask, method=method)
        np.testing.assert_array_equal(one.r2star, two.r2star)
        np.testing.assert_array_equal(one.s0, two.s0)
        np.testing.assert_allclose(big.r2star, one.r2star, rtol=1e-4)
        np.testing.assert_allclose(big.s0, 1000 * one.s0, rtol=1e-4)


def test_bad_arguments() -> None:
    magnitude = np.ones((5, 2, 2, 2))
    mask = _all((2, 2, 2))
    with pytest.raises(ValueError, match="ARLO"):
        r2star_map(magnitude, UNEVEN, mask, method="arlo")
    with pytest.raises(ValueError, match="ARLO"):
        r2star_map(magnitude[:2], UNIFORM[:2], mask, method="arlo")
    with pytest.raises(ValueError, match="at least 2"):
        r2star_map(magnitude[:1], UNIFORM[:1], mask)
    with pytest.raises(ValueError, match="unknown"):
        r2star_map(magnitude, UNIFORM, mask, method="nlls")
    with pytest.raises(ValueError, match="mask"):
        r2star_map(magnitude, UNIFORM, _all((2, 2, 3)))
