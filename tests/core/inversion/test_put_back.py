"""What background removal took of the field of the map comes back in the adaptive inversion."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage as ndi

from qsmbids.core.background.lost_field import finer_part, lost_of_map
from qsmbids.core.background.result import BackgroundResult
from qsmbids.core.background.smv import distance_to_border, widened
from qsmbids.core.background.vsharp import vsharp
from qsmbids.core.inversion.adaptive_inversion import adaptive_inversion
from qsmbids.core.inversion.dipole import dipole_field
from qsmbids.methods.background.vsharp import METHOD as VSHARP
from qsmbids.methods.background.vsharp import Vsharp
from qsmbids.methods.background_field import BackgroundField, left_to_inversion

SHAPE, VOXEL, AXIAL, F0 = (40, 44, 36), (2.0, 2.0, 2.0), (0.0, 0.0, 1.0), 127.7e6
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([17, 19, 15], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
NUCLEUS = ((R - np.reshape((5, 0, 2), (3, 1, 1, 1))) ** 2).sum(axis=0) <= 16
CHI = (0.1 * NUCLEUS).astype(np.float32)
FIELD = 1e-6 * F0 * dipole_field(CHI, VOXEL, AXIAL)


def invert(field, mask=MASK, **options):
    noise = 0.02 * np.random.default_rng(3).standard_normal(SHAPE)
    return adaptive_inversion(
        field + noise, mask, mask.astype(np.float32), VOXEL, AXIAL,
        centre_frequency=F0, echo_time=0.025, **options,
    )  # fmt: skip


def contrast(chi, mask=MASK):
    around = ndi.binary_dilation(NUCLEUS, iterations=4) & ~ndi.binary_dilation(NUCLEUS) & mask
    return float(chi[NUCLEUS].mean() - chi[around].mean())


def above_mean(chi, mask):
    return float(chi[NUCLEUS].mean() - chi[mask].mean())


def leaving(part, known=True):
    """Return a removal that leaves so much of any field."""
    return lambda field, _: BackgroundResult(
        np.float32(part) * field, np.float32(1 - part) * field, np.full(field.shape, known)
    )


@pytest.fixture(scope="module")
def plain():
    return invert(FIELD)


def test_a_removal_that_takes_nothing_changes_nothing(plain):
    found = invert(FIELD, removal=leaving(1))
    np.testing.assert_array_equal(found.chi, plain.chi)
    assert found.put_back_percent == plain.put_back_percent == 0
    assert found.n_iterations == plain.n_iterations == plain.n_iterations_before


def test_of_a_half_of_the_field_a_half_of_the_rest_comes_back():
    """Once: of f / 2 a half is added, so that three quarters are there."""
    without, found = invert(0.5 * FIELD), invert(0.5 * FIELD, removal=leaving(0.5))
    assert contrast(found.chi) / contrast(without.chi) == pytest.approx(1.5, abs=0.08)
    assert found.put_back_percent == pytest.approx(50, abs=5)
    # the error is that of the field as it was left
    assert found.error == without.error
    assert found.penalties == without.penalties
    assert found.n_iterations > found.n_iterations_before == without.n_iterations


def test_what_vsharp_took_of_a_nucleus_comes_back():
    left = vsharp(FIELD, MASK, VOXEL)
    settings = Vsharp(put_back=False)
    removal = VSHARP.again(settings, left.mask, VOXEL, 1)
    without, found = (invert(left.local_field, left.mask, removal=r) for r in (None, removal))
    whole = invert(FIELD, left.mask)
    true, before, after = (above_mean(v.chi, left.mask) for v in (whole, without, found))
    assert before < after < true
    assert true - after < 0.95 * (true - before)


def test_turns_are_counted_as_before():
    """What is put back is no turn of the phase."""
    found = invert(0.5 * FIELD, removal=leaving(0.5))
    assert found.n_turned == 0


def test_what_is_lost_of_a_map_is_zero_outside_and_linear_in_the_removal():
    chi = CHI + 0.01 * np.random.default_rng(2).standard_normal(SHAPE).astype(np.float32)
    lost = lost_of_map(chi, MASK, VOXEL, AXIAL, leaving(0.25))
    whole = dipole_field(finer_part(chi, MASK, VOXEL), VOXEL, AXIAL)
    assert not lost[~MASK].any()
    np.testing.assert_allclose(lost[MASK], 0.75 * whole[MASK], atol=1e-6)


@pytest.mark.parametrize(("radius", "unit"), [(1, (1, 1, 1)), (2, (1, 1, 1)), (3, (1, 1, 2.5))])
def test_spheres_fit_into_a_widened_mask(radius, unit):
    sides = np.array(unit, dtype=float)
    wide = widened(MASK, radius, sides)
    assert (distance_to_border(np.pad(wide, 1), sides)[1:-1, 1:-1, 1:-1][MASK] > radius).all()
    far = ndi.distance_transform_edt(~MASK, sampling=sides) > radius + 1e-3
    assert not wide[far].any()


def test_vsharp_again_is_linear_and_leaves_what_it_left():
    """In the widened Mask 4, which is the mask of V-SHARP where that has no corners."""
    settings = Vsharp(maximum_radius=8, put_back=False, rim_outlier=2.0)
    first = vsharp(FIELD, MASK, VOXEL, maximum_radius=8, rim_outlier=np.inf)
    again = VSHARP.again(settings, first.mask, VOXEL, 1)
    one, three = (again(n * FIELD, [1, 1, 1]).local_field for n in (1, 3))
    np.testing.assert_allclose(three, 3 * one, atol=1e-4)
    size = np.std(first.local_field[first.mask])
    assert np.std((one - first.local_field)[first.mask]) < 0.1 * size


def test_what_is_lost_is_found_on_blocks_of_small_voxels():
    """The same head in voxels of 1 mm: joined to those of before, they lose the same."""
    smooth = ndi.gaussian_filter(CHI, 1.5)
    chi = smooth.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    mask = MASK.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    fine = lost_of_map(chi, mask, (1.0, 1.0, 1.0), AXIAL, leaving(0.25))
    coarse = lost_of_map(smooth, MASK, VOXEL, AXIAL, leaving(0.25))
    inner = ndi.binary_erosion(MASK, iterations=2)
    joined = fine.reshape(40, 2, 44, 2, 36, 2).mean(axis=(1, 3, 5))
    assert np.std((joined - coarse)[inner]) < 0.1 * np.std(coarse[inner])
    thin = np.zeros_like(mask)
    thin[20, ::3, ::3] = True  # no block of which half is in it
    assert not lost_of_map(chi, thin, (1.0, 1.0, 1.0), AXIAL, leaving(0.25)).any()


@pytest.mark.parametrize(
    ("vsharp_has", "left"),
    [({}, False), ({"put_back": False}, True), ({"variant": "sepia", "put_back": False}, False)],
)
def test_nothing_is_put_back_twice_nor_of_another_variant(vsharp_has, left):
    section = replace(BackgroundField(), vsharp=Vsharp(**vsharp_has))
    assert left_to_inversion(section, "fill") is left
    for changed in ({"erode_after": 1}, {"residual_removal": "on"}, {"method": "pdf"}):
        assert not left_to_inversion(replace(section, **changed), "fill")
    assert not left_to_inversion(section, "two-pass")
