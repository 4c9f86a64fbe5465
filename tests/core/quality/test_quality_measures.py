"""Single quality measures against what is known."""

import numpy as np
import pytest

from qsmbids.core.masks.masking import erode
from qsmbids.core.quality.background import harmonic_part, shadowing
from qsmbids.core.quality.criteria import judge
from qsmbids.core.quality.masks import channel_fraction, rim_fraction
from qsmbids.core.quality.noise import noise_of_map
from qsmbids.core.quality.streaking import streaking
from qsmbids.core.quality.values import histogram, phase_coverage
from qsmbids.core.quality.wraps import wrap_jumps


def test_streaks_lie_on_the_cone_of_b0(rng):
    mask = np.ones((40, 40, 40), dtype=bool)
    noise = rng.standard_normal(mask.shape).astype(np.float32)
    energy, _ = streaking(noise, mask, (1, 1, 1), (0, 0, 1))
    assert energy == pytest.approx(1.0, abs=0.1)
    doubled, height = streaking(2 * noise, mask, (1, 1, 1), (0, 0, 1))
    assert doubled == pytest.approx(energy, rel=1e-4)
    assert height == pytest.approx(2 * streaking(noise, mask, (1, 1, 1), (0, 0, 1))[1], rel=1e-4)


def test_a_harmonic_field_is_measured_and_another_is_not():
    x, y, z = (i.astype(np.float32) - 15.5 for i in np.indices((32, 32, 32)))
    ball = x**2 + y**2 + z**2 < 14**2
    harmonic = (x * y + z**2 - y**2).astype(np.float32)
    assert harmonic_part(harmonic, ball, (1, 1, 1)) == pytest.approx(
        harmonic[ball].std(), rel=0.02
    )
    fine = np.cos(np.pi * (x + 0.5)).astype(np.float32)
    assert harmonic_part(fine, ball, (1, 1, 1)) < 0.05 * fine[ball].std()


def test_noise_is_measured_through_smooth_anatomy(rng):
    x = np.indices((40, 40, 40))[0]
    volume = np.sin(x / 8.0) + 0.1 * rng.standard_normal(x.shape)
    assert noise_of_map(volume.astype(np.float32), x >= 0) == pytest.approx(0.1, rel=0.05)
    assert np.isnan(noise_of_map(volume, x == 3))


def test_shadowing_does_not_see_noise_and_does_not_depend_on_the_voxel():
    for n, voxel in ((32, 2.0), (64, 1.0)):
        x = (np.indices((n, n, n))[0] + 0.5) * voxel
        wave = np.sin(2 * np.pi * x / 64.0).astype(np.float32)
        found = shadowing(wave, np.ones((n,) * 3, dtype=bool), (voxel,) * 3)
        assert found == pytest.approx(0.6, abs=0.03)
    checker = (np.indices((64, 64, 64)).sum(axis=0) % 2).astype(np.float32)
    assert shadowing(checker, np.ones((64,) * 3, dtype=bool), (1, 1, 1)) < 0.01


def test_a_steep_field_is_no_wrap_and_single_voxels_are_noise():
    x = np.indices((20, 20, 20))[0].astype(np.float32)
    mask = np.ones(x.shape, dtype=bool)
    assert wrap_jumps([0.5 * x], mask, 1.0) == 0.0
    step = np.where(x > 9, np.float32(1.0), np.float32(0.0))
    assert wrap_jumps([step], mask, 1.0) == pytest.approx(1e6 * 400 / (3 * 19 * 400))
    single = np.zeros_like(x)
    single[5, 5, 5] = 1.0
    assert wrap_jumps([single], mask, 1.0) == 0.0
    assert np.isnan(wrap_jumps([], mask, 1.0))


def test_a_convex_mask_has_no_channel_at_any_voxel_size():
    for size in (1.0, 2.0):
        x, y, z = ((np.indices((44, 44, 44)) - 21.5) * size) ** 2
        assert channel_fraction(x + y + z < (20 * size) ** 2, (size,) * 3) == 0.0


def test_rim_counts_only_the_rim():
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[3:17, 3:17, 3:17] = True
    inside = erode(mask, 2.0)
    values = np.where(inside, 0.0, 1.0)
    assert rim_fraction(values, mask, (1, 1, 1), above=0.5, rim_mm=2.0) == 1.0
    assert rim_fraction(1 - values, mask, (1, 1, 1), above=0.5, rim_mm=2.0) == 0.0


def test_the_histogram_does_not_depend_on_the_reference(rng):
    chi = 0.03 * rng.standard_normal((30, 30, 30))
    mask = np.ones(chi.shape, dtype=bool)
    found = histogram(chi, mask)
    assert found.std == pytest.approx(0.03, rel=0.02)
    assert found.kurtosis == pytest.approx(0.0, abs=0.1)
    np.testing.assert_allclose(histogram(chi + 0.1, mask), found, atol=1e-9)


def test_coverage_of_the_circle(rng):
    phase = rng.uniform(-np.pi, np.pi, (40, 40, 40))
    assert phase_coverage(phase) == 1.0
    assert phase_coverage(phase / 2) == pytest.approx(0.5, abs=0.02)
    assert phase_coverage(phase % (2 * np.pi)) == 1.0
    assert np.isnan(phase_coverage(np.zeros((40, 40, 40))))


def test_limits_belong_to_the_usual_range():
    assert judge("FieldNoise", 4.0).verdict == "ok"
    assert judge("FieldNoise", 4.01).verdict == "look"
    assert judge("FieldNoise", None).verdict == "unknown"
    assert judge("FilteredPhase", 1e9).verdict == "unknown"
