"""Unwrapping against fields known in closed form."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import volumes
from volumes import grid

from qsmbids.core.field.romeo import edge_weights, quality_map, unwrap, unwrap_echoes

SHAPE = (28, 24, 20)


def wrap(phase):
    return volumes.wrap(phase).astype(np.float32)


def smooth_phase(shape=SHAPE):
    """Ramp and bowl: several wraps, but less than half a cycle from voxel to voxel."""
    x, y, z = grid(shape)
    return 0.9 * x - 0.5 * y + 0.03 * (x**2 + y**2) + 0.08 * z**2


def ball(shape=SHAPE, radius=9.5, centre=(0, 0, 0)):
    return sum((a - c) ** 2 for a, c in zip(grid(shape), centre, strict=True)) < radius**2


def cycles_off(unwrapped, truth, mask):
    """Difference to the truth, after the whole cycles that the median gives."""
    diff = (unwrapped.astype(float) - truth)[mask]
    return diff - 2 * np.pi * np.rint(np.median(diff) / (2 * np.pi))


# edge weights


def line(*values):
    return np.array(values, dtype=np.float32).reshape(-1, 1, 1)


def test_terms_of_one_edge():
    phase, magnitude = line(0.0, 1.0), line(2.0, 4.0)
    w1, w4 = 1 - 1 / np.pi, 0.25
    both = edge_weights(phase, magnitude=magnitude, weights="romeo2")
    assert both[0, 0, 0, 0] == pytest.approx((0.1 + 0.9 * w1) * (0.1 + 0.9 * w4), rel=1e-6)
    # without a magnitude its terms drop out
    alone = edge_weights(phase, weights="romeo2")
    assert alone[0, 0, 0, 0] == pytest.approx(0.1 + 0.9 * w1, rel=1e-6)


def test_gradient_coherence_compares_the_echoes():
    # the second echo at twice the time should change by -2.0; it changes by -1.6
    kwargs = {"phase2": line(0.0, 1.6), "te_ratio": 0.5, "weights": "romeo3"}
    w = edge_weights(line(0.0, 1.0), **kwargs)[0, 0, 0, 0]
    assert w == pytest.approx((0.1 + 0.9 * (1 - 1 / np.pi)) * (0.1 + 0.9 * 0.8), rel=1e-6)


def test_linearity_looks_two_voxels_far_and_is_09_at_the_border():
    w = edge_weights(line(0.0, 0.5, 1.0, 2.0), weights="romeo4")[0, :, 0, 0]
    w1 = 1 - np.array([0.5, 0.5, 1.0]) / np.pi
    w3 = np.array([0.9, 1.0 * 0.75, 0.9])
    np.testing.assert_allclose(w[:3], (0.1 + 0.9 * w1) * (0.1 + 0.9 * w3), rtol=1e-6)
    assert w[3] == 0


def test_magnitude_terms_use_the_given_scale():
    w = edge_weights(line(0.0, 0.0), magnitude=line(1.0, 8.0), weights="romeo6", magnitude_max=4.0)
    w3, w4, w5, w6 = 0.9, 1 / 64, 0.5 + 0.5 * 1 / 2, 0.5 + 0.5 * 2 / 8
    expected = np.prod([0.1 + 0.9 * w for w in (w3, w4, w5, w6)])
    assert w[0, 0, 0, 0] == pytest.approx(expected, rel=1e-6)


def test_edges_need_both_ends():
    phase = line(0.0, 0.1, 0.2, np.nan, 0.4, 0.5)
    mask = line(1, 1, 0, 1, 1, 1).astype(bool)
    usable = edge_weights(phase, mask=mask)[0, :, 0, 0] > 0
    assert usable.tolist() == [True, False, False, False, True, False]


# one volume


@pytest.mark.parametrize("weights", ["romeo2", "romeo3", "romeo4", "romeo6"])
def test_smooth_phase_is_recovered(weights):
    truth, mask = smooth_phase(), ball()
    result = unwrap(wrap(truth), magnitude=1 + 0.1 * ball(radius=4), mask=mask, weights=weights)
    assert np.abs(cycles_off(result, truth, mask)).max() < 1e-5
    assert np.all(result[~mask] == 0)
    assert abs(np.median(result[mask])) <= np.pi


def test_mask_may_touch_the_border():
    truth = smooth_phase()
    result = unwrap(wrap(truth))
    assert np.abs(cycles_off(result, truth, np.ones(SHAPE, bool))).max() < 1e-5


def test_whole_cycles_in_the_input_change_nothing(rng):
    phase, mask = wrap(smooth_phase()), ball()
    jumps = 2 * np.pi * rng.integers(-3, 4, SHAPE)
    for correct_global in (True, False):
        kwargs = {"mask": mask, "correct_global": correct_global}
        np.testing.assert_allclose(
            unwrap((phase + jumps).astype(np.float32), **kwargs),
            unwrap(phase, **kwargs),
            atol=1e-5,
        )


def test_axes_are_alike():
    phase, mask = wrap(smooth_phase()), ball()
    magnitude = (2 + np.cos(grid(SHAPE)[0] / 5)).astype(np.float32)
    expected = unwrap(phase, magnitude=magnitude, mask=mask)
    for axes in ((1, 2, 0), (2, 1, 0), (0, 2, 1)):
        turned = unwrap(
            phase.transpose(axes), magnitude=magnitude.transpose(axes), mask=mask.transpose(axes)
        )
        np.testing.assert_array_equal(turned, expected.transpose(axes))


def test_what_lies_outside_the_mask_does_not_matter(rng):
    phase, mask = wrap(smooth_phase()), ball()
    noise = rng.uniform(-np.pi, np.pi, SHAPE).astype(np.float32)
    np.testing.assert_array_equal(
        unwrap(np.where(mask, phase, noise), mask=mask), unwrap(phase, mask=mask)
    )


def test_regions_that_do_not_touch():
    truth = smooth_phase((40, 24, 20))
    one = ball(truth.shape, 7, (-11, 0, 0))
    two = ball(truth.shape, 6, (11, 0, 0))
    result = unwrap(wrap(truth), mask=one | two)
    for part in (one, two):
        assert np.abs(cycles_off(result, truth, part)).max() < 1e-5
        assert abs(np.median(result[part])) <= np.pi


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_voxels_are_zero_and_harm_no_other(bad):
    truth, mask = smooth_phase(), ball()
    phase, magnitude = wrap(truth), np.ones(SHAPE, np.float32)
    phase[14, 12, 10] = bad
    magnitude[12, 12, 10] = bad
    result = unwrap(phase, magnitude=magnitude, mask=mask, weights="romeo6")
    assert result[14, 12, 10] == result[12, 12, 10] == 0
    mask[[14, 12], 12, 10] = False
    assert np.abs(cycles_off(result, truth, mask)).max() < 1e-5


def test_vortex_pair_stays_local():
    shape = (32, 32, 6)
    x, y, _ = grid(shape)
    # opposite phase vortices in signal voids; the angle of their ratio jumps between them only
    one, other = (x - 2.5 + 1j * (y - 0.3), x + 2.5 + 1j * (y - 0.3))
    truth = 0.3 * x + 0.2 * y + np.angle(one / other)
    magnitude = np.tanh(np.abs(one * other) / 12)
    result = unwrap(wrap(truth), magnitude=magnitude)
    far = ~((np.abs(x) < 5) & (np.abs(y) < 2))
    assert np.abs(cycles_off(result, truth, far)).max() < 1e-5
    assert np.abs(cycles_off(result, truth, ~far)).max() > 1  # they cannot all be right


def test_noise_gives_few_wrong_cycles(rng):
    shape = (48, 48, 48)
    truth, mask = 0.3 * smooth_phase(shape), ball(shape, 22)
    signal = np.exp(1j * truth) + 0.2 * (
        rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    )
    wrapped = np.angle(signal)
    # noise alone may carry the phase over the cut, which is no error of the unwrapping
    noisy = truth + wrap(wrapped - truth)
    result = unwrap(wrapped, magnitude=np.abs(signal), mask=mask)
    assert np.mean(np.abs(cycles_off(result, noisy, mask)) > 1) < 1e-3


def test_threads_do_not_matter(rng):
    phase = rng.uniform(-np.pi, np.pi, SHAPE).astype(np.float32)
    kwargs = {"mask": ball(), "magnitude": rng.uniform(0, 1, SHAPE)}
    np.testing.assert_array_equal(unwrap(phase, **kwargs), unwrap(phase, n_threads=4, **kwargs))


def test_second_echo_finds_the_cycle_of_the_seed():
    field, times = 55.0, (0.010, 0.025)
    first, second = (wrap(np.full(SHAPE, 2 * np.pi * field * te)) for te in times)
    kwargs = {"phase2": second, "echo_times": times}
    alone = unwrap(first, correct_global=False)
    np.testing.assert_allclose(alone, 2 * np.pi * (field * times[0] - 1), atol=1e-5)
    seeded = unwrap(first, correct_global=False, **kwargs)
    np.testing.assert_allclose(seeded, 2 * np.pi * field * times[0], atol=1e-5)


def test_input_is_left_alone_and_may_be_read_only():
    phase, mask = wrap(smooth_phase()), ball()
    phase.flags.writeable = mask.flags.writeable = False
    before = phase.copy()
    unwrap(phase, mask=mask)
    np.testing.assert_array_equal(phase, before)


# several echoes

ECHO_TIMES = np.array([0.004, 0.010, 0.013, 0.024])


def echoes():
    field = smooth_phase() * 12
    truth = 2 * np.pi * ECHO_TIMES[:, None, None, None] * field
    return truth, np.exp(-ECHO_TIMES[:, None, None, None] / 0.03) * np.ones(SHAPE)


@pytest.mark.parametrize("template", [0, 1])
def test_echoes_follow_the_template(template):
    truth, magnitude = echoes()
    mask = ball()
    result = unwrap_echoes(wrap(truth), magnitude, ECHO_TIMES, mask, template=template)
    # whole cycles common to all voxels of the template scale with the echo time
    cycles = np.rint(np.median((result - truth)[template][mask]) / (2 * np.pi))
    assert cycles == 0
    assert np.abs((result - truth)[:, mask]).max() < 2e-5
    assert np.all(result[:, ~mask] == 0)


def test_bad_voxel_of_a_later_echo():
    truth, magnitude = echoes()
    phase = wrap(truth)
    phase[2, 14, 12, 10] = np.nan
    result = unwrap_echoes(phase, magnitude, ECHO_TIMES, ball())
    assert result[2, 14, 12, 10] == 0
    for e in (0, 1, 3):
        assert result[e, 14, 12, 10] == pytest.approx(truth[e, 14, 12, 10], abs=1e-4)


def test_single_echo_unwraps_in_space():
    truth, magnitude = echoes()
    mask = ball()
    result = unwrap_echoes(wrap(truth[:1]), magnitude[:1], ECHO_TIMES[:1], mask)
    assert np.abs(cycles_off(result[0], truth[0], mask)).max() < 1e-5


# quality


def test_quality_counts_six_edges():
    quality = quality_map(np.zeros((4, 4, 4), np.float32), magnitude=np.full((4, 4, 4), 7.0))
    assert quality[1, 2, 1] == pytest.approx(1)
    assert quality[0, 1, 1] == pytest.approx(5 / 6)
    assert quality[3, 0, 3] == pytest.approx(3 / 6)


def test_quality_tells_tissue_from_noise(rng):
    truth, magnitude = echoes()
    inside = ball()
    noise = rng.uniform(-np.pi, np.pi, truth.shape)
    phase = np.where(inside, wrap(truth), noise)
    magnitude = np.where(inside, magnitude, rng.rayleigh(0.02, truth.shape))
    args = {"magnitude": magnitude[0], "phase2": phase[1], "echo_times": ECHO_TIMES[:2]}
    quality = quality_map(phase[0], **args)
    assert quality.min() >= 0
    assert quality.max() <= 1
    assert np.median(quality[inside]) > 0.6
    assert np.median(quality[1:-1, 1:-1, 1:-1][~inside[1:-1, 1:-1, 1:-1]]) < 0.3
    args["magnitude"] = 1000 * args["magnitude"]
    np.testing.assert_allclose(quality_map(phase[0], n_threads=2, **args), quality, atol=1e-6)


# arguments


@pytest.mark.parametrize(
    "kwargs",
    [
        {"weights": "romeo9"},
        {"mask": np.zeros(SHAPE, bool)},
        {"mask": np.ones((3, 3, 3), bool)},
        {"magnitude": np.ones((3, 3, 3))},
        {"phase2": np.zeros(SHAPE)},
        {"echo_times": (0.01, 0.02)},
        {"phase2": np.zeros(SHAPE), "echo_times": (0.01, 0.01)},
    ],
)
def test_bad_arguments(kwargs):
    with pytest.raises(ValueError):
        unwrap(np.zeros(SHAPE, np.float32), **kwargs)


@pytest.mark.parametrize(
    ("times", "template"), [((0.01, 0.005), 0), ((0.01, 0.02, 0.03), 0), ((0.01, 0.02), 2)]
)
def test_bad_echoes(times, template):
    phase = np.zeros((2, *SHAPE), np.float32)
    with pytest.raises(ValueError):
        unwrap_echoes(phase, phase, times, np.ones(SHAPE, bool), template=template)


# real scans


def test_real_crop_with_a_wrap_becomes_smooth(shared_dir: Path):
    phase, magnitude = (
        np.asanyarray(nib.load(shared_dir / "data" / "romeo_small" / name).dataobj).squeeze()
        for name in ("small2_Phase.nii", "small2_Mag.nii")
    )
    # a vein goes through the crop; in its void the phase is undefined
    mask = magnitude > 0.4 * np.median(magnitude)
    result = unwrap(phase, magnitude=magnitude, mask=mask, weights="romeo4")

    def jumps(volume):
        volume = np.where(mask, volume, np.nan)
        return sum(np.count_nonzero(np.abs(np.diff(volume, axis=a)) > np.pi) for a in range(3))

    assert jumps(phase) > 500
    assert jumps(result) <= 3


def test_real_phase_with_nan(shared_dir: Path):
    (file,) = (shared_dir / "data" / "romeo_small").glob("phase_with_nan.nii*")
    phase = np.asanyarray(nib.load(file).dataobj)[..., 0].astype(np.float32)
    bad = ~np.isfinite(phase)
    result = unwrap(phase)
    assert bad.any()
    assert np.all(result[bad] == 0)
    assert np.all(np.isfinite(result))
    np.testing.assert_allclose(wrap(result - phase)[~bad], 0, atol=1e-4)


def test_slices_that_jump_are_unwrapped_each_for_itself(rng):
    shape = (24, 24, 10)
    ramp = 9 * np.linspace(-1, 1, shape[0])[:, None, None] * np.ones(shape)
    jumps = rng.uniform(-np.pi, np.pi, shape[2])
    noisy = ramp + jumps + rng.normal(0, 0.6, shape)
    wrapped = np.angle(np.exp(1j * noisy)).astype(np.float32)
    magnitude = np.ones(shape, np.float32)

    def torn(**kwargs):
        """Return the voxels that are not on the cycle of most of their slice."""
        cycles = np.rint((unwrap(wrapped, magnitude=magnitude, **kwargs) - noisy) / (2 * np.pi))
        return np.count_nonzero(cycles != np.median(cycles, axis=(0, 1)))

    assert torn(slice_axis=2) == 0
    assert torn() > 0
