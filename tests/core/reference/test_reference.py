"""Referencing and region statistics."""

import numpy as np
import pytest

from qsmbids.core.reference.reference import apply_reference, reference_value, region_statistics

SHAPE = (20, 21, 22)


@pytest.fixture
def chi(rng: np.random.Generator) -> np.ndarray:
    return (0.05 + 0.03 * rng.standard_normal(SHAPE)).astype(np.float32)


@pytest.fixture
def mask(rng: np.random.Generator) -> np.ndarray:
    return rng.random(SHAPE) < 0.4


def test_whole_brain_mean_becomes_zero(chi: np.ndarray, mask: np.ndarray) -> None:
    referenced = apply_reference(chi, mask, reference_value(chi, mask))
    assert referenced.dtype == np.float32
    assert abs(referenced[mask].mean(dtype=np.float64)) < 1e-6
    assert not referenced[~mask].any()
    np.testing.assert_allclose(
        np.diff(referenced[mask]), np.diff(chi[mask]), atol=1e-7
    )  # contrast is kept


def test_region_mean_becomes_zero_in_the_region(chi: np.ndarray, mask: np.ndarray) -> None:
    region = mask.copy()
    region[10:] = False
    referenced = apply_reference(chi, mask, reference_value(chi, region))
    assert abs(referenced[region].mean(dtype=np.float64)) < 1e-6
    assert abs(referenced[mask].mean(dtype=np.float64)) > 1e-6


def test_values_outside_never_enter(chi: np.ndarray, mask: np.ndarray) -> None:
    value = reference_value(chi, mask)
    changed = chi.copy()
    changed[~mask] = np.nan
    before = changed.copy()
    assert reference_value(changed, mask) == value
    np.testing.assert_array_equal(
        apply_reference(changed, mask, value), apply_reference(chi, mask, value)
    )
    np.testing.assert_array_equal(changed, before)


def test_large_map_is_summed_in_double() -> None:
    # a running float32 sum of 8e6 times 0.1 is off by several percent in the worst order
    chi = np.full((200, 200, 200), 0.1, dtype=np.float32)
    chi[0, 0, 0] = 1e4
    region = np.ones(chi.shape, dtype=bool)
    expected = float(np.float32(0.1)) * (1 - 1 / 8e6) + 1e4 / 8e6
    assert reference_value(chi, region) == pytest.approx(expected, rel=1e-12)


def test_zero_inside_the_mask_is_shifted() -> None:
    chi = np.array([[[0.0, 0.2, 0.0]]], dtype=np.float32)
    mask = np.array([[[True, True, False]]])
    np.testing.assert_allclose(apply_reference(chi, mask, 0.1), [[[-0.1, 0.1, 0.0]]], rtol=1e-6)


def test_statistics() -> None:
    chi = np.arange(101, dtype=np.float32).reshape(1, 1, 101)
    region = np.ones(chi.shape, dtype=bool)
    found = region_statistics(chi, region)
    assert found == (101, 50.0, pytest.approx(np.sqrt((101**2 - 1) / 12)), 50.0, 5.0, 95.0)
    assert region_statistics(chi, chi == 7) == (1, 7.0, 0.0, 7.0, 7.0, 7.0)
    assert region_statistics(chi + 3, region).std == pytest.approx(found.std)


def test_bad_arguments(chi: np.ndarray, mask: np.ndarray) -> None:
    empty = np.zeros(SHAPE, dtype=bool)
    for function in (reference_value, region_statistics):
        with pytest.raises(ValueError, match="empty"):
            function(chi, empty)
        with pytest.raises(ValueError, match="shape"):
            function(chi, mask[1:])
        with pytest.raises(ValueError, match="finite"):
            function(np.full(SHAPE, np.nan), mask)
    with pytest.raises(ValueError, match="shape"):
        apply_reference(chi, mask[1:], 0.0)
    with pytest.raises(ValueError, match="reference value"):
        apply_reference(chi, mask, np.nan)
