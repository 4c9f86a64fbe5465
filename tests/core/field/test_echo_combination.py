"""Field of weighted echoes and its noise."""

import numpy as np
import pytest

from qsmbids.core.field.echo_combination import (
    WEIGHTINGS,
    checked_echo_times,
    field_noise,
    noise_std,
    weighted_echo_average,
)

ECHO_TIMES = np.arange(4, 29, 6) * 1e-3
T2STAR = 30e-3


def _column(values: np.ndarray) -> np.ndarray:
    return values[:, None, None, None]


def _decay(shape: tuple[int, int, int], t2star: float = T2STAR) -> np.ndarray:
    return _column(np.exp(-ECHO_TIMES / t2star)) * np.ones(shape)


def _noisy(
    rng: np.random.Generator, signal: np.ndarray, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    noisy = signal + sigma * (
        rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape)
    )
    return np.abs(noisy).astype(np.float32), noisy


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_consistent_echoes_give_their_field(weighting: str, rng: np.random.Generator) -> None:
    field = rng.uniform(-80, 80, (5, 6, 7))
    phase = 2 * np.pi * _column(ECHO_TIMES) * field
    magnitude = rng.uniform(0.1, 1, phase.shape)
    found = weighted_echo_average(phase, magnitude, ECHO_TIMES, weighting=weighting)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, field, atol=2e-5)  # float32 phase of up to 14 rad


@pytest.mark.parametrize(
    ("weighting", "weight"),
    [
        ("phase_snr", lambda m, te: m * te),
        ("phase_var", lambda m, te: m**2 * te**2),
        ("average", lambda m, te: np.ones_like(m)),
        ("TEs", lambda m, te: te * np.ones_like(m)),
        ("mag", lambda m, te: m),
        ("simulated_mag", lambda m, te: te * np.exp(-te / 0.02) * np.ones_like(m)),
    ],
)
def test_inconsistent_echoes_are_weighted(weighting, weight, rng: np.random.Generator) -> None:
    phase = rng.uniform(-9, 9, (5, 3, 4, 2))
    magnitude = rng.uniform(0.1, 1, phase.shape)
    te = _column(ECHO_TIMES)
    w = weight(magnitude, te)
    expected = (w * phase / te).sum(axis=0) / w.sum(axis=0) / (2 * np.pi)
    found = weighted_echo_average(phase, magnitude, ECHO_TIMES, weighting=weighting)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("weighting", ["phase_snr", "phase_var", "TEs"])
def test_noise_formula_agrees_with_simulation(weighting: str, rng: np.random.Generator) -> None:
    # 48 000 draws fix an SD to 0.3 %; at SNR 50 the first-order formula holds to about 1 %
    shape, sigma, field = (60, 40, 20), 0.02, 11.0
    clean = _decay(shape)
    signal = clean * np.exp(2j * np.pi * field * _column(ECHO_TIMES))
    magnitude, noisy = _noisy(rng, signal, sigma)
    truth = 2 * np.pi * field * _column(ECHO_TIMES)
    phase = truth + np.angle(noisy * np.exp(-1j * truth))
    found = weighted_echo_average(phase, magnitude, ECHO_TIMES, weighting=weighting)
    predicted = field_noise(clean, ECHO_TIMES, sigma, weighting=weighting)
    assert found.mean() == pytest.approx(field, abs=0.01)
    assert found.std(dtype=np.float64) == pytest.approx(predicted.mean(), rel=0.05)


def test_noise_formula_known_values() -> None:
    one = _decay((1, 1, 1))
    snr = field_noise(one, ECHO_TIMES, 1.0)[0, 0, 0]
    variance = field_noise(one, ECHO_TIMES, 1.0, weighting="phase_var")[0, 0, 0]
    te, m = ECHO_TIMES, np.exp(-ECHO_TIMES / T2STAR)
    assert snr == pytest.approx(np.sqrt(5) / (2 * np.pi * (m * te).sum()), rel=1e-5)
    assert variance == pytest.approx(1 / (2 * np.pi * np.sqrt((m**2 * te**2).sum())), rel=1e-5)
    assert snr == pytest.approx(8.55, abs=0.01)
    assert variance == pytest.approx(8.12, abs=0.01)
    assert all(
        field_noise(one, ECHO_TIMES, 1.0, weighting=w)[0, 0, 0] >= variance * (1 - 1e-5)
        for w in WEIGHTINGS
    )


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_no_signal_and_bad_values_give_zero(weighting: str) -> None:
    magnitude = _decay((3, 1, 1)).astype(np.float32)
    phase = np.ones_like(magnitude)
    magnitude[:, 0] = 0
    phase[:, 0] = 0
    phase[2, 1] = np.nan
    noise = field_noise(magnitude, ECHO_TIMES, 0.1, weighting=weighting)
    field = weighted_echo_average(phase, magnitude, ECHO_TIMES, weighting=weighting)
    assert field[0, 0, 0] == 0
    assert field[1, 0, 0] == 0
    assert field[2, 0, 0] != 0
    assert noise[0, 0, 0] == 0
    assert noise[2, 0, 0] > 0
    magnitude[3, 2] = np.nan
    assert field_noise(magnitude, ECHO_TIMES, 0.1, weighting=weighting)[2, 0, 0] == 0


def test_single_echo() -> None:
    phase = np.full((1, 2, 2, 2), np.pi)
    field = weighted_echo_average(phase, np.ones((1, 2, 2, 2)), [0.02])
    np.testing.assert_allclose(field, 25.0, rtol=1e-6)


def test_threads_and_inputs_unchanged(rng: np.random.Generator) -> None:
    phase = rng.standard_normal((5, 9, 8, 7)).astype(np.float32)
    magnitude = rng.uniform(0, 1, phase.shape).astype(np.float32)
    copies = phase.copy(), magnitude.copy()
    one = weighted_echo_average(phase, magnitude, ECHO_TIMES, n_threads=1)
    phase.flags.writeable = False
    two = weighted_echo_average(phase, magnitude, ECHO_TIMES, n_threads=2)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(phase, copies[0])
    np.testing.assert_array_equal(magnitude, copies[1])


def test_bad_arguments() -> None:
    images = np.ones((2, 2, 2, 2))
    with pytest.raises(ValueError, match="do not fit"):
        checked_echo_times([0.01, 0.02, 0.03], images)
    for times in ([0.02, 0.01], [0.0, 0.01], [0.01, 0.01], [0.01, np.nan]):
        with pytest.raises(ValueError, match="increase"):
            weighted_echo_average(images, images, times)
    with pytest.raises(ValueError, match="shape"):
        weighted_echo_average(images[:, :1], images, [0.01, 0.02])
    with pytest.raises(ValueError, match="phase_snr"):
        weighted_echo_average(images, images, [0.01, 0.02], weighting="best")


@pytest.mark.parametrize("n_echoes", [1, 2, 5])
def test_noise_estimate_survives_anatomy(n_echoes: int, rng: np.random.Generator) -> None:
    # smooth shading times tissue with sharp edges every 8 voxels, whose decay differs, SNR 50
    x, y, z = np.indices((40, 40, 40)) / 40
    tissue = ((np.indices((40, 40, 40)) // 8).sum(axis=0) % 2).astype(float)
    proton = (0.8 + 0.3 * tissue) * (0.7 + 0.5 * x * y + 0.3 * np.sin(4 * z))
    rate = 20 + 10 * tissue
    signal = proton * np.exp(-_column(ECHO_TIMES) * rate)
    sigma = 0.02
    magnitude, _ = _noisy(rng, signal[:n_echoes], sigma)
    found = noise_std(magnitude, np.ones((40, 40, 40), dtype=bool))
    assert found == pytest.approx(sigma, rel=0.05 if n_echoes > 1 else 0.4)
    scaled = noise_std(250 * magnitude, np.ones((40, 40, 40), dtype=bool))
    assert scaled == pytest.approx(250 * found, rel=1e-4)


def test_noise_estimate_sees_only_the_mask(rng: np.random.Generator) -> None:
    magnitude, _ = _noisy(rng, np.ones((30, 30, 30)), 0.01)
    mask = np.zeros((30, 30, 30), dtype=bool)
    mask[4:26, 5:25, 3:27] = True
    inside = noise_std(magnitude, mask)
    assert inside == pytest.approx(0.01, rel=0.05)
    magnitude[~mask] = rng.uniform(0, 100, (~mask).sum())
    assert noise_std(magnitude, mask) == inside
    assert noise_std(magnitude[None], mask) == inside


def test_noise_estimate_bad_arguments() -> None:
    with pytest.raises(ValueError, match="thin"):
        noise_std(np.ones((9, 9, 9)), np.pad(np.ones((3, 3, 3), dtype=bool), 3))
    with pytest.raises(ValueError, match="do not fit"):
        noise_std(np.ones((9, 9, 9)), np.ones((9, 9, 8), dtype=bool))
    with pytest.raises(ValueError, match="empty"):
        noise_std(np.ones((9, 9, 9)), np.zeros((9, 9, 9), dtype=bool))
