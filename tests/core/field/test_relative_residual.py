"""Relative residual and the weights made from it and from the field noise."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsmbids.core.field.relative_residual import relative_residual, residual_weight
from qsmbids.core.field.weights import sepia_weights

ECHO_TIMES = np.array([5.25, 11.08, 16.91, 22.74, 28.57]) * 1e-3
SHAPE = (6, 7, 8)


class Signal:
    """Noise-free echoes with a static phase offset, wrapped."""

    def __init__(self, rng: np.random.Generator) -> None:
        te = ECHO_TIMES[:, None, None, None]
        self.field = rng.uniform(-60, 60, SHAPE).astype(np.float32)
        self.r2star = rng.uniform(10, 60, SHAPE).astype(np.float32)
        self.offset = rng.uniform(-3, 3, SHAPE)
        phase = 2 * np.pi * te * self.field + self.offset
        self.phase = np.angle(np.exp(1j * phase)).astype(np.float32)
        self.magnitude = (700 * np.exp(-te * self.r2star)).astype(np.float32)

    def residual(self, **changed: np.ndarray) -> np.ndarray:
        values = {name: changed.pop(name, getattr(self, name)) for name in ("phase", "magnitude")}
        return relative_residual(
            values["phase"], values["magnitude"], ECHO_TIMES, self.field, self.r2star, **changed
        )


@pytest.fixture
def signal(rng: np.random.Generator) -> Signal:
    return Signal(rng)


def test_noise_free_residual_vanishes(signal: Signal) -> None:
    assert signal.residual().max() < 1e-9


def test_equals_the_complex_formula(signal: Signal, rng: np.random.Generator) -> None:
    phase = rng.uniform(-np.pi, np.pi, signal.phase.shape)
    magnitude = rng.uniform(0.1, 1, phase.shape)
    tau = (ECHO_TIMES - ECHO_TIMES[0])[:, None, None, None]
    model = magnitude[0] * np.exp((2j * np.pi * signal.field - signal.r2star) * tau)
    referenced = magnitude * np.exp(1j * (phase - phase[0]))
    expected = (abs(model - referenced) ** 2).sum(axis=0) / (magnitude**2).sum(axis=0)
    np.testing.assert_allclose(
        signal.residual(phase=phase, magnitude=magnitude), expected, rtol=1e-4, atol=1e-6
    )


def test_corrupted_voxels_stand_out(signal: Signal, rng: np.random.Generator) -> None:
    bad = rng.random(SHAPE) < 0.2
    phase = signal.phase.copy()
    phase[1:, bad] += rng.uniform(1.5, 4.5, (4, int(bad.sum()))).astype(np.float32)
    residual = signal.residual(phase=phase)
    assert residual[bad].min() > 0.3
    assert residual[~bad].max() < 1e-9


def test_invariant_to_offset_wraps_and_scale(signal: Signal, rng: np.random.Generator) -> None:
    phase = signal.phase + rng.normal(0, 0.3, signal.phase.shape)
    before = signal.residual(phase=phase)
    jumps = 2 * np.pi * rng.integers(-3, 4, phase.shape)
    offset = rng.uniform(-3, 3, SHAPE)
    # float32 phase of up to 20 rad is good to 1e-6 rad
    np.testing.assert_allclose(signal.residual(phase=phase + jumps), before, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(signal.residual(phase=phase + offset), before, rtol=1e-4, atol=1e-7)
    scaled = signal.residual(phase=phase, magnitude=0.01 * signal.magnitude)
    np.testing.assert_allclose(scaled, before, rtol=1e-4, atol=1e-7)
    assert before.mean() > 0.01


def test_residual_grows_as_the_noise_power(signal: Signal, rng: np.random.Generator) -> None:
    noise = rng.normal(0, 0.02, signal.phase.shape)
    one = signal.residual(phase=signal.phase + noise).mean()
    two = signal.residual(phase=signal.phase + 2 * noise).mean()
    assert two / one == pytest.approx(4, rel=0.01)


def test_residual_without_signal_and_outside_the_mask(signal: Signal) -> None:
    magnitude = signal.magnitude.copy()
    magnitude[:, 0, 0, 0] = 0
    phase = signal.phase.copy()
    phase[2, 0, 0, 1] = np.nan
    mask = np.ones(SHAPE, dtype=bool)
    mask[3:] = False
    residual = signal.residual(phase=phase, magnitude=magnitude, mask=mask)
    assert residual[0, 0, 0] == 1
    assert residual[0, 0, 1] == 1
    assert not residual[3:].any()
    assert residual_weight(residual)[0, 0, 0] == 0


def test_residual_threads(signal: Signal, rng: np.random.Generator) -> None:
    phase = rng.uniform(-3, 3, signal.phase.shape)
    np.testing.assert_array_equal(
        signal.residual(phase=phase, n_threads=1), signal.residual(phase=phase, n_threads=2)
    )


def test_residual_weight_values() -> None:
    weight = residual_weight(np.array([0.0, 0.1, 0.2, 0.3, 5.0]), threshold=0.2)
    np.testing.assert_allclose(weight, [1, 0.5, 0, 0, 0], atol=1e-7)


def test_residual_bad_arguments(signal: Signal) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        relative_residual(
            signal.phase[:1], signal.magnitude[:1], [0.005], signal.field, signal.r2star
        )
    with pytest.raises(ValueError, match="do not fit"):
        signal.residual(phase=signal.phase[:, 1:])
    with pytest.raises(ValueError, match="mask"):
        signal.residual(mask=np.ones((2, 2, 2), dtype=bool))
    with pytest.raises(ValueError, match="positive"):
        residual_weight(signal.field, 0)


def _weights_by_the_book(sd: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """SEPIA's rule step by step on the whole volume, for sd > 0 everywhere."""
    w = 1 / sd
    quartiles = np.percentile(w[mask], (25, 50, 75), method="hazen")
    w = w / (quartiles[1] + 3 * (quartiles[2] - quartiles[0]))
    w = w - np.median(w[mask]) + 1
    quartiles = np.percentile(w[mask], (25, 50, 75), method="hazen")
    fence = quartiles[1] + 3 * (quartiles[2] - quartiles[0])
    padded = np.pad(w * mask, 1)
    x, y, z = w.shape
    mean = sum(padded[i : i + x, j : j + y, k : k + z] for i, j, k in np.ndindex(3, 3, 3)) / 27
    return np.where((w > fence) & (mean != 0), mean, w) * mask


def test_weights_follow_the_rule(rng: np.random.Generator) -> None:
    sd = 1 / rng.normal(10, 1, (12, 11, 10))
    sd[5:7, 5, 5] = 0.01  # weights far above the fence
    sd[0, 0, 0] = 0.01  # the same in a corner of the array
    mask = np.ones(sd.shape, dtype=bool)
    mask[9:] = False
    weights = sepia_weights(sd, mask)
    np.testing.assert_allclose(weights, _weights_by_the_book(sd, mask), rtol=1e-5, atol=1e-6)
    assert weights.max() < 2
    assert not weights[~mask].any()


def test_weights_have_median_one_and_any_scale(rng: np.random.Generator) -> None:
    sd = 1 / rng.normal(10, 1, (14, 13, 12))  # no outliers
    mask = rng.random(sd.shape) < 0.7
    weights = sepia_weights(sd, mask)
    assert np.median(weights[mask]) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(sepia_weights(1e4 * sd, mask), weights, rtol=1e-5)
    order = np.argsort(sd[mask])  # less noise is never less weight
    assert np.all(np.diff(weights[mask][order]) <= 1e-6)


def test_weights_residual_and_unknown_noise(rng: np.random.Generator) -> None:
    sd = rng.gamma(50, 0.1, SHAPE)
    mask = np.ones(SHAPE, dtype=bool)
    sd[0, 0, :3] = 0, np.nan, np.inf
    factor = np.ones(SHAPE)
    factor[1, 1, 1] = 0
    factor[1, 1, 2] = 0.5
    weights = sepia_weights(sd, mask, factor)
    assert np.isfinite(weights).all()
    assert not weights[0, 0, :3].any()
    assert weights[1, 1, 1] == 0
    factor[1, 1, 2] = 1
    assert weights[1, 1, 2] == pytest.approx(0.5 * sepia_weights(sd, mask, factor)[1, 1, 2])


def test_weights_of_uniform_noise_are_one() -> None:
    mask = np.ones(SHAPE, dtype=bool)
    np.testing.assert_allclose(sepia_weights(np.full(SHAPE, 0.3), mask), 1, rtol=1e-6)


def test_weights_bad_arguments() -> None:
    sd = np.ones(SHAPE)
    with pytest.raises(ValueError, match="empty"):
        sepia_weights(sd, np.zeros(SHAPE, dtype=bool))
    with pytest.raises(ValueError, match="shape"):
        sepia_weights(sd, np.ones((2, 2, 2), dtype=bool))
    with pytest.raises(ValueError, match="known"):
        sepia_weights(0 * sd, np.ones(SHAPE, dtype=bool))


@pytest.mark.slow
def test_weights_agree_with_sepia(shared_dir: Path) -> None:
    """SEPIA's own weights of a head phantom, whose echoes are not stored, only their root sum."""
    folder = shared_dir / "reference"
    names = ("weights_sepia_v1", "magnitude_rss", "mask")
    theirs, rss, mask = (
        np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, dtype=np.float32) for name in names
    )
    inside = mask > 0
    assert np.median(theirs[inside]) == pytest.approx(1, abs=3e-4)  # stored with 12 bits
    # the rule maps 1 / SD in units of its median, u, to 3 q + (1 - 3 q) u with q the final IQR
    offset = 3 * np.subtract(*np.percentile(theirs[inside], (75, 25), method="hazen"))
    assert theirs[inside].max() < 1 + offset  # outliers were replaced
    relative = (theirs - offset) / (1 - offset)
    assert relative[inside].min() > 0
    noise = np.divide(1, relative, out=np.zeros_like(relative), where=inside)
    np.testing.assert_allclose(sepia_weights(noise, inside), theirs, atol=1e-3)
    # 1 / SD = sqrt(sum m^2 TE^2) against the root sum of squares, for the decay rates of the
    # haemorrhage, the only tissue of that intensity, and of the median tissue
    shade = rss / np.median(rss[inside])
    bleeding = inside & (shade > 0.1) & (shade < 0.25)

    def gain(r2star: float) -> float:
        decay = np.exp(-r2star * ECHO_TIMES)
        return float(np.linalg.norm(decay * ECHO_TIMES) / np.linalg.norm(decay))

    expected = gain(220) / gain(19)
    assert (relative[bleeding] / shade[bleeding]).mean() == pytest.approx(expected, rel=0.15)
