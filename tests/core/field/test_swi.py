"""Susceptibility-weighted images: paramagnetic sources are dark, all else is left."""

import numpy as np
import pytest

from qsmbids.core.field.swi import (
    even_magnitude,
    high_pass,
    minimum_projection,
    phase_mask,
    slab_slices,
    susceptibility_mask,
)
from qsmbids.core.phantom.analytic_fields import cylinder_field
from qsmbids.core.phantom.head import make_phantom, multi_echo_signal, simulate_field

ISO = (1.0, 1.0, 1.0)


@pytest.fixture
def inside(rng):
    mask = np.zeros((20, 24, 18), bool)
    mask[3:17, 2:20, 4:16] = True
    mask[8, 9, 10] = False
    return mask


def _factor(chi, mask, rng):
    """Return the factor of the phase of a cylinder along B0, and the field in it [ppm]."""
    field = cylinder_field(mask.shape, ISO, radius_mm=2.0, axis=(0, 0, 1), chi=chi)
    noise = rng.normal(0, 0.004, mask.shape)
    return phase_mask(high_pass(field + noise, mask, ISO), mask), field


def test_a_paramagnetic_vein_is_dark_and_a_diamagnetic_one_is_not(rng):
    mask = np.ones((32, 32, 12), bool)
    dark, field = _factor(0.3, mask, rng)
    bright, _ = _factor(-0.3, mask, rng)
    vein = field > 0.09
    assert vein.any()
    plain = 0.5 * (1 + np.tanh(1.0))
    assert dark[vein].max() < 0.3 * plain
    assert bright[vein].min() > plain


def test_the_phase_factor_does_not_know_the_unit(rng):
    mask = np.ones((8, 8, 8), bool)
    phase = rng.normal(size=mask.shape).astype(np.float32)
    np.testing.assert_allclose(phase_mask(37 * phase, mask), phase_mask(phase, mask), rtol=1e-5)
    median = np.median(phase[phase > 0])
    value = 0.5 * (1 + np.tanh(1 - phase / (10 / 4 * median)))
    np.testing.assert_allclose(phase_mask(phase, mask), value, rtol=1e-5)
    assert (phase_mask(phase, mask, strength=8) <= phase_mask(phase, mask)).mean() > 0.4


def test_the_high_pass_leaves_nothing_of_a_constant_and_acts_in_the_slice(rng, inside):
    assert np.abs(high_pass(np.full(inside.shape, 50.0), inside, ISO)).max() < 1e-4
    along = np.broadcast_to(np.arange(18.0) ** 2, inside.shape)
    assert np.abs(high_pass(along, inside, ISO)).max() < 1e-3
    assert np.abs(high_pass(along, inside, ISO, slice_axis=0)).max() > 1
    field = rng.normal(size=inside.shape)
    filtered = high_pass(field, inside, ISO)
    assert not filtered[~inside].any()
    moved = np.moveaxis(high_pass(np.moveaxis(field, 2, 0), np.moveaxis(inside, 2, 0), ISO,
                                  slice_axis=0), 0, 2)  # fmt: skip
    np.testing.assert_allclose(moved, filtered, atol=1e-5)
    # what lies outside the mask has no influence
    np.testing.assert_array_equal(high_pass(np.where(inside, field, 1e6), inside, ISO), filtered)


def test_the_width_is_in_millimetres(rng):
    mask = np.ones((24, 24, 4), bool)
    field = rng.normal(size=mask.shape)
    one = high_pass(field, mask, ISO, smoothing_mm=2.0)
    two = high_pass(field, mask, (2.0, 2.0, 5.0), smoothing_mm=4.0)
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_the_magnitude_has_no_scale_and_no_bias(rng):
    shape = (48, 48, 24)
    mask = np.zeros(shape, bool)
    mask[4:44, 4:44, 2:22] = True
    tissue = 1.0 + 0.02 * rng.normal(size=shape)
    tissue[20:23, 20:23, :] = 0.4
    x = np.linspace(-1, 1, shape[0])[:, None, None]
    plain, biased = (
        even_magnitude(m, mask, (2, 2, 2)) for m in (tissue, 700 * tissue * (1 + 0.5 * x))
    )
    rest = mask.copy()
    rest[18:25, 18:25, :] = False
    before = np.std((1 + 0.5 * x + 0 * tissue)[rest])
    assert np.std((biased - plain)[rest]) < 0.5 * before
    np.testing.assert_allclose(even_magnitude(31 * tissue, mask, (2, 2, 2)), plain, rtol=1e-4)
    assert not plain[~mask].any()
    assert np.percentile(plain[mask], 80) == pytest.approx(1, abs=1e-3)
    # dark voxels become darker than they were
    assert plain[21, 21, 12] / np.median(plain[rest]) < 0.38
    axes = (2, 0, 1)
    turned = even_magnitude(
        np.ascontiguousarray(tissue.transpose(axes)), mask.transpose(axes).copy(), (2, 2, 2)
    )
    np.testing.assert_allclose(turned.transpose(np.argsort(axes)), plain, atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_projection_is_the_minimum_of_the_slab(rng, inside, axis):
    image = rng.uniform(0.5, 1.0, inside.shape).astype(np.float32)
    voxel = [1.0, 1.0, 1.0]
    voxel[axis] = 2.0
    found = minimum_projection(image, inside, voxel, thickness_mm=10.0, slice_axis=axis)
    masked = np.moveaxis(np.where(inside, image, np.inf), axis, 0)
    expected = np.stack([masked[max(0, i - 2) : i + 3].min(0) for i in range(len(masked))])
    expected = np.where(inside, np.moveaxis(expected, 0, axis), 0)
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_the_slab_has_an_odd_number_of_slices():
    assert [slab_slices(1.0, t) for t in (0.2, 1, 2.9, 7, 10.2)] == [1, 1, 3, 7, 11]
    assert slab_slices(2.0, 10.0) == 5


def test_bad_arguments(inside):
    image = np.ones(inside.shape, np.float32)
    calls = [
        lambda: high_pass(image[1:], inside, ISO),
        lambda: high_pass(image, inside, ISO, smoothing_mm=0),
        lambda: high_pass(image, inside, ISO, slice_axis=3),
        lambda: high_pass(image, np.zeros_like(inside), ISO),
        lambda: even_magnitude(0 * image, inside, ISO),
        lambda: even_magnitude(image, inside, (1, 1, -1)),
        lambda: even_magnitude(image, inside, ISO, smoothing_mm=-1),
        lambda: phase_mask(image, inside, strength=0),
        lambda: susceptibility_mask(image, power=0),
        lambda: minimum_projection(image, inside, ISO, thickness_mm=0),
        lambda: minimum_projection(image, inside, ISO, slice_axis=-1),
    ]
    for call in calls:
        with pytest.raises(ValueError):
            call()


@pytest.mark.parametrize("tilt", [0.0, 0.5])
def test_veins_of_the_head_darken_and_the_calcification_does_not(tilt):
    b0 = (0.0, np.sin(tilt), np.cos(tilt))
    phantom = make_phantom((64, 74, 54), (1.5, 1.5, 1.5), b0_direction=b0)
    mask = phantom.mask
    factor = susceptibility_mask(np.where(mask, phantom.chi, 0))
    assert factor[phantom.region("calcification")].min() > 0.999
    assert factor[phantom.region("vein")].mean() < 0.6
    field, _ = simulate_field(phantom)
    times = [0.02]
    magnitude = np.abs(multi_echo_signal(phantom, field, times))[0]
    even = even_magnitude(magnitude, mask, phantom.voxel_size)
    smwi = even * factor
    white, vein = phantom.region("whitematter"), phantom.region("vein")
    contrast = [np.median(i[vein & mask]) / np.median(i[white]) for i in (magnitude, smwi)]
    assert contrast[1] < 0.6 * contrast[0]
