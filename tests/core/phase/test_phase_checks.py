"""Signs of damaged phase: found in a head with the damage, silent without it."""

import functools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates, rotate
from swi import filtered
from volumes import wrap

from qsmbids.core.field.residues import count_residues
from qsmbids.core.phantom.head import make_phantom, multi_echo_signal, simulate_field
from qsmbids.core.phase.echo_time_check import check_echo_time_consistency
from qsmbids.core.phase.phase_checks import (
    detect_filtered_phase,
    detect_interpolated_wraps,
    detect_slice_jumps,
    tells_filter,
)

TIMES = np.array([4.0, 10.0, 16.0, 22.0, 28.0]) * 1e-3
VOXEL = (1.5, 1.5, 1.5)
SHAPE = (64, 76, 54)
CONDITIONS = [(b0, seed) for b0 in (3.0, 7.0) for seed in (1, 2)]


@functools.cache
def head(b0_tesla, seed):
    """Return a phantom and its field."""
    phantom = make_phantom(SHAPE, VOXEL, seed=seed)
    return phantom, simulate_field(phantom, b0_tesla=b0_tesla)[0]


class Scan:
    """A simulated scan: phase, magnitude (E, X, Y, Z) and mask."""

    def __init__(self, b0_tesla, seed, times=TIMES, **kwargs):
        phantom, field = head(b0_tesla, seed)
        self.signal = multi_echo_signal(
            phantom, field, times, b0_tesla=b0_tesla, noise_std=0.03, seed=seed, **kwargs
        )
        self.phase, self.magnitude = np.angle(self.signal), np.abs(self.signal)
        self.mask = phantom.mask


@pytest.fixture(scope="module", params=CONDITIONS, ids=lambda c: f"{c[0]:g}T-seed{c[1]}")
def scan(request):
    return Scan(*request.param)


@pytest.mark.parametrize("echo", [0, -1])
def test_silent_on_a_good_scan(scan, echo):
    p, m, mask = scan.phase[echo], scan.magnitude[echo], scan.mask
    for check in (count_residues, detect_slice_jumps, detect_interpolated_wraps):
        result = check(p, mask, magnitude=m)
        assert result.suspicious is False, result
    assert detect_filtered_phase(p, m, mask, VOXEL).suspicious is False


def _combined_from_coils(scan, rng):
    """Sum of coils whose phase turns with their place, magnitude as sum of squares."""
    x, y, z = (
        np.linspace(-1, 1, n).reshape(s)
        for n, s in zip(SHAPE, np.eye(3, dtype=int) * -2 + 1, strict=True)
    )
    total, power = 0, 0
    for angle in np.linspace(0, 2 * np.pi, 8, endpoint=False):
        distance = (x - 1.3 * np.cos(angle)) ** 2 + (y - 1.3 * np.sin(angle)) ** 2 + z**2
        sensitivity = np.exp(-distance / 2 + 1j * (angle + rng.uniform(-1, 1)))
        total = total + sensitivity * scan.signal[0]
        power = power + np.abs(sensitivity * scan.signal[0]) ** 2
    return np.angle(total), np.sqrt(power)


def test_open_fringe_lines_of_a_bad_coil_combination(scan, rng):
    phase, magnitude = _combined_from_coils(scan, rng)
    found = count_residues(phase, scan.mask, magnitude=magnitude)
    assert found.suspicious
    assert "open-ended" in found.text


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_vortex_along_any_axis(scan, axis):
    u, v = (
        a - n / 2 - 0.3
        for a, n in zip(
            np.indices(SHAPE)[[a for a in range(3) if a != axis]],
            [SHAPE[a] for a in range(3) if a != axis],
            strict=True,
        )
    )
    phase = wrap(scan.phase[0] + np.arctan2(v + 9, u + 5))
    found = count_residues(phase, scan.mask, magnitude=scan.magnitude[0])
    assert found.suspicious, found


def test_a_vortex_is_found_in_every_plane_across_it():
    """By one loop at least; loops are 5 x 5 voxels, two apart, so by four at most."""
    shape = (35, 35, 41)
    x, y, _ = np.indices(shape) - 17.3
    found = count_residues(np.arctan2(y, x), np.ones(shape, bool))
    loops = 16 * 16 * 41 + 2 * 16 * 19 * 35
    assert 41 <= found.value * loops <= 1.01 * 4 * 41
    straight = count_residues(wrap(0.9 * x + 0.4 * y), np.ones(shape, bool))
    assert straight.value == 0


def test_filtered_phase(scan):
    """Homodyne, as for SWI: divided by a low-pass filtered copy."""
    signal = scan.signal[-1]
    low = gaussian_filter(signal.real, 3) + 1j * gaussian_filter(signal.imag, 3)
    found = detect_filtered_phase(np.angle(signal * low.conj()), np.abs(signal), scan.mask, VOXEL)
    assert found.suspicious, found


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("jump", [0.7, np.pi / 2, 2.5])
def test_interleaved_slices(scan, axis, jump):
    phase = np.moveaxis(scan.phase[0].copy(), axis, 0)
    phase[::2] += jump
    phase = wrap(np.moveaxis(phase, 0, axis))
    found = detect_slice_jumps(phase, scan.mask, magnitude=scan.magnitude[0])
    assert found.suspicious
    assert f"axis {axis}" in found.text


@pytest.mark.parametrize("slices", [slice(25, 26), slice(25, None)])
def test_one_shifted_slice_or_stack(scan, slices):
    phase = scan.phase[0].copy()
    phase[:, :, slices] += 1.0
    found = detect_slice_jumps(wrap(phase), scan.mask, magnitude=scan.magnitude[0])
    assert found.suspicious
    assert "axis 2" in found.text
    assert found.value == pytest.approx(1.0 if slices.stop is None else 1.5, abs=0.25)


def test_alternating_sign_is_no_jump(scan):
    phase = scan.phase[0].copy()
    phase[:, :, ::2] += np.pi
    assert not detect_slice_jumps(wrap(phase), scan.mask, magnitude=scan.magnitude[0]).suspicious


@pytest.mark.parametrize("order", [1, 3])
def test_interpolated_wraps(scan, order):
    turned = [
        rotate(v, 8, axes=(1, 2), reshape=False, order=o)
        for v, o in ((scan.phase[0], order), (scan.magnitude[0], 1))
    ]
    found = detect_interpolated_wraps(turned[0], scan.mask, magnitude=turned[1])
    assert found.suspicious, found


def test_wraps_interpolated_to_twice_the_slices(scan):
    z = np.arange(0, SHAPE[2] - 1, 0.5)
    where = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE[:2]), z, indexing="ij"))
    phase = map_coordinates(scan.phase[0], where, order=1)
    mask = map_coordinates(scan.mask.astype(float), where, order=0) > 0.5
    assert detect_interpolated_wraps(phase, mask).suspicious


def test_complex_interpolation_is_innocent(scan):
    signal = scan.signal[0]
    turned = sum(
        factor * rotate(part, 8, axes=(1, 2), reshape=False, order=3)
        for factor, part in ((1, signal.real), (1j, signal.imag))
    )
    found = detect_interpolated_wraps(np.angle(turned), scan.mask, magnitude=np.abs(turned))
    assert found.suspicious is False, found


@pytest.mark.parametrize("bipolar_rad", [0.0, 3.0])
@pytest.mark.parametrize("times", [TIMES, TIMES[:3], np.array([4, 9, 17, 22]) * 1e-3])
def test_echo_times_that_fit(times, bipolar_rad):
    for b0, seed in CONDITIONS:
        good = Scan(b0, seed, times, bipolar_rad=bipolar_rad)
        found = check_echo_time_consistency(good.phase, good.magnitude, times, good.mask)
        assert found.suspicious is False, found


@pytest.mark.parametrize(
    "stated",
    [
        np.array([4.0, 10.0, 16.0, 22.0, 30.0]) * 1e-3,
        np.array([4.0, 12.0, 16.0, 22.0, 28.0]) * 1e-3,
        np.array([4.0, 8.0, 16.0, 32.0, 64.0]) * 1e-3,
    ],
)
def test_wrong_echo_times(scan, stated):
    found = check_echo_time_consistency(scan.phase, scan.magnitude, stated, scan.mask)
    assert found.suspicious, found
    assert (
        check_echo_time_consistency(scan.phase, scan.magnitude, 1.7 * TIMES, scan.mask).suspicious
        is False
    )  # a common factor cannot be seen


def test_swapped_echoes_and_one_of_opposite_sign(scan):
    order = [0, 2, 1, 3, 4]
    found = check_echo_time_consistency(scan.phase[order], scan.magnitude, TIMES, scan.mask)
    assert found.suspicious
    assert " -" in found.text  # one spacing runs backwards
    phase = scan.phase.copy()
    phase[3] *= -1
    assert check_echo_time_consistency(phase, scan.magnitude, TIMES, scan.mask).suspicious


def test_what_cannot_be_told(rng):
    flat, mask = np.zeros((20, 20, 20)), np.ones((20, 20, 20), bool)
    assert detect_interpolated_wraps(flat, mask).suspicious is None
    assert count_residues(np.full_like(flat, np.nan), mask).suspicious is None
    assert detect_filtered_phase(flat, flat, mask, (1, 1, 1)).suspicious is None
    assert detect_slice_jumps(flat[:3, :3, :3], mask[:3, :3, :3]).suspicious is None
    noise = rng.uniform(-np.pi, np.pi, (2, 20, 20, 20))
    assert check_echo_time_consistency(noise, noise**2, [1e-3, 2e-3], mask).suspicious is None


def test_noise_alone_does_not_contradict_the_echo_times(rng):
    mask = np.ones((40, 40, 40), bool)
    for level in (0.2, 5.0):  # of a signal without any field
        signal = 1 + level * (rng.standard_normal((5, *mask.shape, 2)) @ [1, 1j])
        found = check_echo_time_consistency(np.angle(signal), np.abs(signal), TIMES, mask)
        assert found.suspicious is None, found


def test_voxels_that_are_not_finite_change_nothing(scan):
    phase, magnitude = scan.phase.copy(), scan.magnitude.copy()
    phase[:, 30:32, 40, 30] = np.nan
    magnitude[0, 20, 40, 30] = np.inf
    for check in (count_residues, detect_slice_jumps, detect_interpolated_wraps):
        assert check(phase[0], scan.mask, magnitude=magnitude[0]).suspicious is False
    assert check_echo_time_consistency(phase, magnitude, TIMES, scan.mask).suspicious is False


def test_bad_arguments():
    volume, mask = np.zeros((8, 8, 8)), np.ones((8, 8, 8), bool)
    for call in (
        lambda: count_residues(volume[0], mask),
        lambda: count_residues(volume, ~mask),
        lambda: detect_slice_jumps(volume, mask, magnitude=volume[:4]),
        lambda: detect_filtered_phase(volume, volume, mask, (1, 1, 0)),
        lambda: check_echo_time_consistency(volume, volume, [1, 2, 3], mask),
        lambda: check_echo_time_consistency(volume[None], volume[None], [1, 2], mask),
    ):
        with pytest.raises(ValueError):
            call()


@pytest.mark.parametrize(
    ("echo_time", "b0_tesla", "tells"),
    [(0.020, 3.0, True), (0.010, 3.0, False), (0.020, 0.55, False), (0.040, 0.55, True)],
)
def test_early_echoes_tell_nothing_of_a_filter(echo_time, b0_tesla, tells):
    assert tells_filter(echo_time, b0_tesla) is tells


@pytest.mark.parametrize(("echo_time", "b0_tesla"), [(0.040, 0.55), (0.015, 1.5), (0.015, 7.0)])
def test_a_head_without_offset_is_not_taken_for_filtered(echo_time, b0_tesla):
    """The phase of the field alone, as after ASPIRE; a filter of SWI leaves less than half."""
    phantom = make_phantom((40, 48, 36), (4.0, 4.0, 4.0))
    field, _ = simulate_field(phantom, b0_tesla=b0_tesla)
    none = np.zeros(field.shape, np.float32)
    signal = np.asarray(
        multi_echo_signal(phantom, field, (echo_time,), offset=none, b0_tesla=b0_tesla)
    )
    head = np.abs(signal[0]) > 0.1 * np.abs(signal[0]).max()
    found = [
        detect_filtered_phase(np.angle(s[0]), np.abs(s[0]), head, (4.0, 4.0, 4.0))
        for s in (signal, filtered(signal))
    ]
    assert found[0].value > 0.5
    assert found[1].suspicious is True
