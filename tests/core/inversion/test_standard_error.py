"""The standard error of an adaptive inversion: its size, its regions, its input."""

from dataclasses import replace

import numpy as np
import pytest

from qsmbids.core.background.vsharp import vsharp, vsharp_blocks
from qsmbids.core.inversion.adaptive_inversion import adaptive_inversion
from qsmbids.core.inversion.dipole import dipole_field
from qsmbids.core.inversion.error_of_means import ErrorOfMeans
from qsmbids.core.inversion.standard_error import factor_of_twins, standard_error

SHAPE = (40, 44, 36)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([17, 19, 15], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
ISO, AXIAL, F0 = (1.0, 1.0, 1.0), (0.0, 0.0, 1.0), 127.7e6
LABELS = np.zeros(SHAPE, np.int16)
for label, (centre, radius) in enumerate((((6, 0, 3), 5), ((-7, 5, -3), 4)), start=1):
    near = ((R - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2
    LABELS[near] = label
CHI = np.where(MASK, 0.1 * (LABELS == 1) - 0.06 * (LABELS == 2), 0).astype(np.float32)
CHI += np.where(MASK, 0.02 * np.sin(R[0] / 3) * np.sin(R[1] / 4 + 1), 0).astype(np.float32)
FIELD = 1e-6 * F0 * dipole_field(CHI, ISO, AXIAL)


def invert(sigma_hz, seed):
    noise = sigma_hz * np.random.default_rng(seed).standard_normal(SHAPE)
    return adaptive_inversion(
        FIELD + noise, MASK, MASK.astype(np.float32), ISO, AXIAL,
        centre_frequency=F0, echo_time=0.025,
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs():
    return [invert(0.3, seed) for seed in range(6)]


@pytest.fixture(scope="module")
def found(runs):
    return standard_error(runs[0], ISO, background_removed=False)


def centred(chi):
    return np.where(MASK, chi - chi[MASK].mean(dtype=float), 0)


@pytest.mark.slow
def test_the_standard_error_is_the_size_of_the_error(runs, found):
    errors = [(centred(run.chi) - centred(CHI))[MASK] for run in runs]
    stated = np.sqrt(np.mean(found.total_ppm[MASK] ** 2))
    assert stated == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=0.15)
    assert (found.total_ppm[MASK] > 0).all()
    assert not found.total_ppm[~MASK].any()


@pytest.mark.slow
def test_chance_is_that_of_repeated_measurements(runs, found):
    """A twin is calmer than its head, and ten iterations end before all of the noise is there."""
    maps = np.stack([centred(run.chi)[MASK] for run in runs])
    repeated = np.sqrt(maps.var(axis=0, ddof=1).mean())
    chance = np.sqrt(np.mean(found.chance_ppm[MASK] ** 2))
    assert 0.6 * repeated < chance < 1.1 * repeated


@pytest.mark.slow
def test_intervals_hold_the_truth(runs, found):
    # waves, which a gradient penalty flattens most, in a small head: heads have 90 % and more
    wrong = np.abs(centred(runs[0].chi) - centred(CHI))[MASK]
    assert 0.82 < np.mean(wrong < 1.96 * found.total_ppm[MASK]) < 0.99
    means = ErrorOfMeans(found.errors, found.factor, ISO)
    for label in (1, 2):
        here = MASK & (LABELS == label)
        error, bias = means.of(here)
        off = (centred(runs[0].chi) - centred(CHI))[here].mean()
        assert abs(off - bias) < 3 * error


@pytest.mark.parametrize(
    ("share", "factor"), [(0.0, 1.7), (0.01, 1.7), (0.02, 1.38), (0.03, 1.06), (0.2, 1.06)]
)
def test_what_square_penalties_take_twins_show_whole(share, factor):
    """A fifth is lost; the larger the share of the error, the more of the penalty is square."""
    chi = np.tile(np.float32([-0.05, 0.05]), 100)
    found = factor_of_twins(0.2 * chi, 1 + chi, share)
    assert found == pytest.approx(factor, rel=1e-3)
    assert factor_of_twins(0 * chi, chi, share) == 1
    # more than four fifths was never seen, and nothing can be lost of no contrast
    most = factor_of_twins(0.8 * chi, chi, share)
    assert most > factor_of_twins(0.6 * chi, chi, share)
    assert factor_of_twins(3 * chi, chi, share) == pytest.approx(most)
    assert factor_of_twins(0.2 * chi, np.ones_like(chi), share) == 1


@pytest.mark.slow
def test_more_noise_is_less_sure(found):
    worse = standard_error(invert(1.0, 0), ISO, background_removed=False)
    assert worse.total_ppm[MASK].mean() > 1.5 * found.total_ppm[MASK].mean()


@pytest.mark.slow
def test_what_background_removal_takes_is_in_the_error():
    noise = 0.1 * np.random.default_rng(3).standard_normal(SHAPE)
    removed = vsharp((FIELD + noise).astype(np.float32), MASK, ISO)
    run = adaptive_inversion(
        removed.local_field, removed.mask, removed.mask.astype(np.float32), ISO, AXIAL,
        centre_frequency=F0, echo_time=0.025,
    )  # fmt: skip
    wrong, true = (v[removed.mask] - v[removed.mask].mean(dtype=float) for v in (run.chi, CHI))
    off = np.abs(wrong - true)
    with_it, without = (
        np.mean(
            off < 1.96 * standard_error(run, ISO, background_removed=yes).total_ppm[removed.mask]
        )
        for yes in (True, False)
    )
    assert with_it > without + 0.05


@pytest.mark.slow
def test_the_seed_decides(runs, found):
    again = standard_error(runs[0], ISO, background_removed=False)
    np.testing.assert_array_equal(again.total_ppm, found.total_ppm)
    np.testing.assert_array_equal(again.errors, found.errors)


@pytest.mark.slow
def test_bad_input(runs):
    with pytest.raises(ValueError, match="four"):
        standard_error(runs[0], ISO, n_twins=2)


def test_twins_get_back_what_the_removal_took():
    """As the run that they are twins of: their nuclei are then less too weak."""
    left = vsharp(FIELD, MASK, ISO, maximum_radius=8)
    around = MASK

    def removal(field, widths):
        blocks = vsharp_blocks(around, ISO, widths, 8, 1)
        return vsharp(
            field, blocks.mask, blocks.size, maximum_radius=blocks.largest, rim_outlier=np.inf
        )

    result = adaptive_inversion(
        left.local_field + 0.05 * np.random.default_rng(1).standard_normal(SHAPE), left.mask,
        left.mask.astype(np.float32), ISO, AXIAL, centre_frequency=F0, echo_time=0.025,
        removal=removal,
    )  # fmt: skip
    assert result.put_back_percent > 0
    before = replace(result, put_back_percent=0.0, n_iterations_before=result.n_iterations)
    with_it, without = (
        np.abs(standard_error(r, ISO, n_twins=4).errors.mean(axis=0)[LABELS == 1].mean())
        for r in (result, before)
    )
    assert with_it < 0.95 * without
