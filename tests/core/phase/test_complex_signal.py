"""Complex input and slices of alternating sign."""

import itertools

import numpy as np
import pytest

from qsmbids.core.phantom.head import make_phantom, multi_echo_signal, simulate_field
from qsmbids.core.phase.complex_signal import (
    detect_slice_alternation,
    polar,
    remove_slice_alternation,
)

TIMES = (4e-3, 10e-3)


def _signal(b0_tesla, shape=(48, 56, 40), voxel=(2.0, 2.0, 2.0), seed=1, **kwargs):
    phantom = make_phantom(shape, voxel, seed=seed)
    field, _ = simulate_field(phantom, b0_tesla=b0_tesla, **kwargs)
    return multi_echo_signal(phantom, field, TIMES, b0_tesla=b0_tesla, seed=seed)


@pytest.fixture(scope="module", params=[(3.0, 1), (3.0, 2), (7.0, 1), (7.0, 2)], ids=str)
def signal(request):
    return _signal(request.param[0], seed=request.param[1])


def alternate(signal, axis):
    """Invert every second slice of (E, X, Y, Z)."""
    sign = 1 - 2 * (np.arange(signal.shape[axis + 1]) % 2)
    shape = [1] * 4
    shape[axis + 1] = -1
    return signal * sign.reshape(shape)


def detect(signal, both):
    """Detect from one echo or from two."""
    more = {"second_phase": np.angle(signal[1]), "echo_times": TIMES} if both else {}
    return detect_slice_alternation(np.angle(signal[0]), np.abs(signal[0]), **more)


@pytest.mark.parametrize("both", [False, True])
def test_no_alternation(signal, both):
    found = detect(signal, both)
    assert found.axis is None
    assert min(found.coherence) > 0.5


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_alternation_along_any_axis_and_either_sign(signal, axis, both):
    found = detect(alternate(signal, axis), both)
    assert found.axis == axis
    assert found.coherence[axis] < -0.5
    assert np.delete(found.coherence, axis).min() > 0.5
    assert detect(alternate(signal, axis).conj(), both).axis == axis


def test_found_again_after_permutation_and_flips(signal):
    """The slice axis moves with the storage order."""
    stored = alternate(signal, 2)
    for order in itertools.permutations(range(3)):
        moved = np.transpose(stored, (0, *(a + 1 for a in order)))[:, ::-1, :, ::-1]
        assert detect(moved, both=False).axis == order.index(2)


@pytest.mark.parametrize("turns", [0.35, 0.45, 0.5, -0.4])
def test_a_steep_field_is_told_from_alternation_by_the_second_echo(signal, turns):
    """A ramp of this many cycles per slice at TE 1, which alone looks like alternation."""
    ramp = turns / TIMES[0] * np.arange(signal.shape[3])
    # close enough that the step of their difference does not wrap
    times = (TIMES[0], 1.5 * TIMES[0])
    phase = np.angle(signal[0]) + 2 * np.pi * ramp * times[0]
    second = np.angle(signal[0]) + 2 * np.pi * ramp * times[1]
    magnitude = np.abs(signal[0])
    wrapped = [np.angle(np.exp(1j * p)) for p in (phase, second)]
    assert detect_slice_alternation(wrapped[0], magnitude).axis == 2
    found = detect_slice_alternation(
        wrapped[0], magnitude, second_phase=wrapped[1], echo_times=times
    )
    assert found.axis is None
    inverted = [remove_slice_alternation(p, 2) for p in wrapped]
    found = detect_slice_alternation(
        inverted[0], magnitude, second_phase=inverted[1], echo_times=times
    )
    assert found.axis == 2


def test_thick_slices_and_a_bad_shim():
    """50 Hz/cm along 3 mm slices at 7 T."""
    signal = _signal(7.0, (64, 76, 27), (1.5, 1.5, 3.0), ramp_hz_per_mm=(0.5, 1.0, 5.0))
    for both in (False, True):
        assert detect(signal, both).axis is None
        assert detect(alternate(signal, 2), both).axis == 2


def test_noise_decides_nothing(rng):
    phase = rng.uniform(-np.pi, np.pi, (40, 40, 40))
    found = detect_slice_alternation(phase, rng.rayleigh(size=phase.shape))
    assert found.axis is None
    assert max(np.abs(found.coherence)) < 0.05


def test_noise_around_the_head_has_no_say(rng):
    """A tenth of the volume is head."""
    signal = rng.standard_normal((2, 60, 60, 60)) + 1j * rng.standard_normal((2, 60, 60, 60))
    signal[:, 15:43, 15:43, 15:43] += 30
    assert detect(alternate(signal, 1), both=False).axis == 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_removal_undoes_it(signal, axis):
    phase = remove_slice_alternation(np.angle(alternate(signal, axis)), axis)
    assert phase.dtype == np.float32
    assert np.abs(phase).max() <= np.pi + 1e-6
    apart = np.angle(np.exp(1j * (phase - np.angle(signal))))
    assert np.abs(apart).max() < 1e-5
    assert detect_slice_alternation(phase[0], np.abs(signal[0])).axis is None


def test_removal_leaves_its_input_and_wraps_what_was_not():
    phase = np.full((2, 2, 4), 9.0)
    out = remove_slice_alternation(phase, 2)
    assert np.all(phase == 9)
    np.testing.assert_allclose(out[..., 1], 9 - 3 * np.pi, atol=1e-5)


def test_two_axes_come_one_after_the_other(signal):
    phase, magnitude = np.angle(alternate(alternate(signal, 0), 2)[0]), np.abs(signal[0])
    axes = []
    while (axis := detect_slice_alternation(phase, magnitude).axis) is not None:
        axes.append(axis)
        phase = remove_slice_alternation(phase, axis)
        assert len(axes) < 3
    assert sorted(axes) == [0, 2]


def test_not_finite_and_empty_slices(signal):
    phase, magnitude = np.angle(alternate(signal, 2)[0]), np.abs(signal[0])
    phase[:, :, 20] = np.nan
    phase[:, :, 25] = np.inf
    magnitude[10] = np.inf
    phase.setflags(write=False)
    assert detect_slice_alternation(phase, magnitude).axis == 2
    found = detect_slice_alternation(phase, magnitude, second_phase=phase, echo_times=TIMES)
    assert found.axis == 2
    assert detect_slice_alternation(phase, np.zeros_like(magnitude)).axis is None
    assert detect_slice_alternation(phase[:, :, :1], magnitude[:, :, :1]).axis is None


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_polar(signal, dtype):
    real, imaginary = (np.rint(1e4 * p).astype(dtype) for p in (signal[0].real, signal[0].imag))
    before = real.copy()
    magnitude, phase = polar(real, imaginary)
    exact = real.astype(float) + 1j * imaginary.astype(float)
    assert magnitude.dtype == phase.dtype == np.float32
    np.testing.assert_allclose(magnitude, np.abs(exact), rtol=1e-6)
    np.testing.assert_allclose(phase, np.angle(exact), atol=1e-6)
    assert np.array_equal(real, before)


def test_polar_of_broken_voxels_is_zero():
    magnitude, phase = polar(np.array([np.nan, np.inf, 1.0, -0.0]), np.array([1.0, 1, -np.inf, 0]))
    assert magnitude.tolist() == [0, 0, 0, 0]
    assert phase.tolist() == [0, 0, 0, 0]


def test_bad_arguments():
    volume = np.zeros((4, 4, 4))
    for call in (
        lambda: polar(volume, volume[1:]),
        lambda: polar(volume * 1j, volume),
        lambda: detect_slice_alternation(volume, volume[1:]),
        lambda: detect_slice_alternation(volume[0], volume[0]),
        lambda: detect_slice_alternation(volume, volume, second_phase=volume),
        lambda: detect_slice_alternation(volume, volume, echo_times=TIMES),
        lambda: detect_slice_alternation(
            volume, volume, second_phase=volume, echo_times=(0.2, 0.1)
        ),
        lambda: remove_slice_alternation(volume, -1),
        lambda: remove_slice_alternation(volume[0], 0),
    ):
        with pytest.raises(ValueError):
            call()
