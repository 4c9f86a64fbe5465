"""What V-SHARP takes of the local field is put back, and nothing else."""

import numpy as np
import pytest

from qsmbids.core.background.lost_field import finer_part, lost_field
from qsmbids.core.background.result import BackgroundResult
from qsmbids.core.background.vsharp import vsharp, vsharp_blocks
from qsmbids.core.inversion.dipole import dipole_field
from qsmbids.methods.background.data import BackgroundData
from qsmbids.methods.background.vsharp import METHOD, Vsharp

SHAPE, VOXEL, AXIAL = (48, 52, 44), (3.0, 3.0, 3.0), (0, 0, 1)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([19, 21, 17], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
ONES = np.ones(SHAPE, np.float32)


def ball(centre, radius):
    return ((R - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2


def removal(mask=MASK, limit=np.inf):
    return lambda field, _=None: vsharp(field, mask, VOXEL, maximum_radius=8, rim_outlier=limit)


def leaves(share, known):
    """Return a removal that leaves so much of every field."""
    return lambda field, _: BackgroundResult(share * field, (1 - share) * field, known)


def lost_of(field, mask=MASK, b0=AXIAL, weights=ONES, **options):
    """Return what V-SHARP left of a total field, where, and what it lost by the estimate."""
    left = removal(mask)(field)
    lost = lost_field(left.local_field, left.mask, weights, VOXEL, b0, removal(mask), **options)
    return left.local_field, left.mask, lost


@pytest.fixture(scope="module")
def nuclei():
    """Field [Hz] of balls in the mask."""
    chi = np.zeros(SHAPE, np.float32)
    balls = (((5, 0, 3), 3, 0.1), ((-6, 5, -4), 2, 0.2), ((0, -8, 0), 2, 0.1))
    for centre, radius, value in balls:
        chi[ball(centre, radius)] = value
    return 127.0 * dipole_field(chi, VOXEL, AXIAL)


def test_what_was_lost_comes_back(nuclei):
    left, known, lost = lost_of(nuclei)
    missing = nuclei - left
    # without V-SHARP's loss there would be nothing to see
    assert np.std(missing[known]) > 0.03 * np.std(nuclei[known])
    assert np.std((missing - lost)[known]) < 0.3 * np.std(missing[known])
    assert np.corrcoef(missing[known], lost[known])[0, 1] > 0.97


def test_nothing_comes_back_where_nothing_was_lost(nuclei):
    known = removal()(nuclei).mask
    lost = lost_field(nuclei, known, ONES, VOXEL, AXIAL, leaves(1, known))
    assert not lost.any()


def test_a_background_adds_nothing(nuclei):
    x, y, z = R
    background = 0.05 * (x * x - y * y) + 0.3 * z + 1e-3 * z * (2 * z * z - 3 * x * x - 3 * y * y)
    _, known, alone = lost_of(background.astype(np.float32))
    # digital spheres have no exact mean value, so that V-SHARP leaves some of it
    assert np.abs(alone).max() < 1e-3 * np.std(background[known])
    _, _, of_nuclei = lost_of(nuclei)
    _, _, of_both = lost_of((nuclei + background).astype(np.float32))
    assert np.std((of_both - of_nuclei)[known]) < 0.02 * np.std(of_nuclei[known])


def test_zero_outside(nuclei):
    _, known, lost = lost_of(nuclei)
    assert not lost[~known].any()


def test_zero_gives_zero():
    assert not lost_of(np.zeros(SHAPE, np.float32))[2].any()


def test_unit_does_not_matter(nuclei):
    one, many = lost_of(nuclei)[2], lost_of(1000 * nuclei, weights=7 * ONES)[2]
    np.testing.assert_allclose(many, 1000 * one, atol=2e-3 * 1000 * np.abs(one).max())


@pytest.mark.parametrize("order", [(1, 2, 0), (0, 2, 1)])
def test_axes_may_be_permuted(order, nuclei):
    lost = lost_of(nuclei)[2]
    b0 = np.array(AXIAL)[list(order)]
    turned = np.ascontiguousarray(nuclei.transpose(order)), MASK.transpose(order)
    other = lost_of(*turned, b0, ONES.transpose(order))[2]
    # fast sizes of the arrays differ with the order
    tolerance = 0.02 * np.abs(lost).max()
    np.testing.assert_allclose(other, lost.transpose(order), atol=tolerance)


def test_threads_do_not_change_the_result(nuclei):
    np.testing.assert_array_equal(lost_of(nuclei)[2], lost_of(nuclei, n_threads=3)[2])


def test_a_constant_is_not_fine():
    assert np.abs(finer_part(0.3 * ONES, MASK, VOXEL)).max() < 1e-6


def test_a_strong_source_has_no_halo(rng):
    noise = 0.01 * rng.standard_normal(SHAPE).astype(np.float32)
    source = ball((0, 0, 0), 2)
    with_source = finer_part(noise + source, MASK, VOXEL)
    change = with_source - finer_part(noise, MASK, VOXEL)
    near = ball((0, 0, 0), 5) & ~ball((0, 0, 0), 2)
    # a plain mean would be 0.1 to 0.2 too high there
    assert np.abs(change[near]).max() < 0.01
    assert (change[source] > 0.95).all()


def test_input_is_left_alone_and_checked(nuclei):
    known = removal()(nuclei).mask
    before = nuclei.copy()
    lost_field(nuclei, known, ONES, VOXEL, AXIAL, leaves(0, known))
    np.testing.assert_array_equal(nuclei, before)
    with pytest.raises(ValueError, match="finite"):
        lost_field(np.nan * nuclei, known, ONES, VOXEL, AXIAL, leaves(1, known))


def test_small_voxels_are_joined():
    """All is computed on blocks of two voxels; what was lost is known for each voxel."""
    size = (1.0, 1.0, 1.0)
    chi = (0.1 * ball((4, 0, 2), 4) + 0.1 * ball((-7, 3, -2), 3)).astype(np.float32)
    field = 127.0 * dipole_field(chi, size, AXIAL)
    data = BackgroundData(field, MASK, ONES, size, size, 1.0, AXIAL)
    left, restored = (
        METHOD.compute(data, Vsharp(maximum_radius=8, rim_outlier=1e6, put_back=put_back)).result
        for put_back in (False, True)
    )
    lost = restored.local_field - left.local_field
    missing = (field - left.local_field)[left.mask]
    assert np.corrcoef(missing, lost[left.mask])[0, 1] > 0.97
    assert np.std(missing - lost[left.mask]) < 0.4 * np.std(missing)


@pytest.mark.parametrize(
    ("size", "widths", "radii"),
    [
        ((1.0, 1.0, 1.0), [2, 2, 2], (6, 1)),
        ((0.6, 0.6, 0.6), [3, 3, 3], (4, 1)),
        ((1.0, 1.0, 2.0), [2, 2, 1], (6, 1)),  # radii in mm become radii in blocks of 2 mm
        ((1.0, 1.0, 3.0), [2, 2, 1], (12, 1)),
        ((2.0, 2.0, 2.0), [1, 1, 1], (12, 1)),
    ],
)
def test_spheres_of_blocks_have_their_size_in_mm(size, widths, radii):
    blocks = vsharp_blocks(MASK, size, widths, 12, 1)
    assert (blocks.largest, blocks.smallest) == radii
    np.testing.assert_allclose(blocks.size, np.multiply(size, widths))
    # the volume of the mask stays, of a small one nearly
    share = blocks.mask.mean() * blocks.mask.size * np.prod(widths) / MASK.sum()
    assert share == pytest.approx(1, abs=0.04)


def test_masks_too_thin_for_blocks_get_nothing():
    thin = np.zeros(SHAPE, bool)
    thin[10:40, 10:40, 20:24] = True
    field = 127.0 * dipole_field(
        (0.1 * thin * ball((0, 0, 0), 3)).astype(np.float32), VOXEL, AXIAL
    )
    data = BackgroundData(field, thin, ONES, (1, 1, 1), (1, 1, 1), 1.0, AXIAL)
    with_it, without = (
        METHOD.compute(data, Vsharp(put_back=put_back)).result for put_back in (True, False)
    )
    np.testing.assert_array_equal(with_it.local_field, without.local_field)


@pytest.mark.parametrize(("variant", "changes"), [("deconvolution", True), ("sepia", False)])
def test_of_v_sharp_in_a_run(variant, changes, nuclei):
    data = BackgroundData(nuclei, MASK, ONES, VOXEL, VOXEL, 1.0, AXIAL)
    on, off = (
        METHOD.compute(data, Vsharp(variant=variant, maximum_radius=8, put_back=put_back)).result
        for put_back in (True, False)
    )
    np.testing.assert_array_equal(on.mask, off.mask)
    known, missing = on.mask, np.std((nuclei - off.local_field)[on.mask])
    np.testing.assert_allclose(
        (on.local_field + on.background_field)[known], nuclei[known], atol=1e-4
    )
    if changes:  # outliers at the rim are kept out of the one, and not of the other
        assert np.std((nuclei - on.local_field)[known]) < 0.9 * missing
    else:
        np.testing.assert_array_equal(on.local_field, off.local_field)
