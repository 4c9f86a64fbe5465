"""Single receive coils to one image by MCPC-3D-S, on a head of known field."""

import numpy as np
import pytest

from qsmbids.core.phantom.head import make_phantom, multi_echo_signal, simulate_field
from qsmbids.core.phase.coils import combine_coils

SHAPE, VOXEL, TIMES = (36, 42, 30), (2.6, 2.6, 2.6), (0.005, 0.012)
N_COILS = 6


@pytest.fixture(scope="module")
def scan():
    """Return field [Hz], brain and what every coil sees; smooth, with noise."""
    rng = np.random.default_rng(11)
    phantom = make_phantom(SHAPE, VOXEL)
    field, _ = simulate_field(phantom)
    signal = multi_echo_signal(phantom, field, TIMES).astype(np.complex64)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    coils, sensitivities = [], []
    for c in range(N_COILS):
        angle = 2 * np.pi * c / N_COILS
        place = np.array([1.6 * np.cos(angle), 1.6 * np.sin(angle), rng.uniform(-0.8, 0.8)])
        distance = ((grid - place[:, None, None, None]) ** 2).sum(axis=0)
        phase = rng.uniform(-np.pi, np.pi) + np.tensordot(rng.normal(0, 1.2, 3), grid, 1)
        sensitivity = np.exp(-distance / 2 + 1j * phase)
        noise = rng.normal(0, 0.002, (2, *signal.shape))
        coils.append((signal * sensitivity + noise[0] + 1j * noise[1]).astype(np.complex64))
        sensitivities.append(sensitivity)
    return field, phantom.mask, coils, np.stack(sensitivities)


def field_of(phase, times=TIMES):
    """Return the field [Hz] by the phase difference, up to whole cycles of it."""
    return np.angle(np.exp(1j * (phase[1] - phase[0]))) / (2 * np.pi * (times[1] - times[0]))


def typical_error(found, field, mask):
    """Return the median size of the difference [Hz], whole cycles of the phase apart."""
    cycle = 1 / (TIMES[1] - TIMES[0])
    difference = (found - field) - cycle * np.rint((found - field) / cycle)
    return np.median(np.abs(difference[mask]))


def test_the_field_is_that_of_known_sensitivities(scan):
    field, mask, coils, sensitivities = scan
    combined = combine_coils(lambda c: coils[c], N_COILS, TIMES, VOXEL)
    ideal = sum(np.conj(s) * c for s, c in zip(sensitivities, coils, strict=True))
    best = typical_error(field_of(np.angle(ideal)), field, mask)
    found = typical_error(field_of(combined.phase), field, mask)
    assert found < 1.1 * best


def test_the_phase_at_echo_time_zero_is_gone(scan):
    field, mask, coils, _ = scan
    combined = combine_coils(lambda c: coils[c], N_COILS, TIMES, VOXEL)

    def left(phase):
        """Return the typical phase that the field does not explain, a constant apart [rad]."""
        rest = np.exp(1j * (phase - 2 * np.pi * field * TIMES[0])[mask])
        return np.median(np.abs(np.angle(rest * np.exp(-1j * np.angle(rest.sum())))))

    assert left(combined.phase[0]) < 0.06
    assert left(np.angle(sum(coils)[0])) > 0.3


def test_the_magnitude_is_that_of_all_coils(scan):
    _, mask, coils, _ = scan
    combined = combine_coils(lambda c: coils[c], N_COILS, TIMES, VOXEL)
    together = np.sqrt(sum(np.abs(coil) ** 2 for coil in coils))
    ratio = (combined.magnitude / together)[:, mask]
    assert np.median(ratio) == pytest.approx(1, abs=0.01)


def test_every_coil_is_read_twice_and_none_is_changed(scan):
    *_, coils, _ = scan
    asked = []
    before = coils[0].copy()

    def read(c):
        asked.append(c)
        return coils[c]

    combine_coils(read, 3, TIMES, VOXEL, refinements=0)
    assert asked == [0, 1, 2, 0, 1, 2]
    np.testing.assert_array_equal(coils[0], before)


@pytest.mark.parametrize("times", [(0.005,), (0.012, 0.005), (0.0, 0.005)])
def test_two_rising_echo_times_are_needed(scan, times):
    *_, coils, _ = scan
    with pytest.raises(ValueError, match="two increasing echo times"):
        combine_coils(lambda c: coils[c], 2, times, VOXEL)
