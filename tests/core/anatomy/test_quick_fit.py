"""The template on a quick map: the same place as on the map itself, known before it."""

from dataclasses import replace

import numpy as np
import pytest

from qsmbids.core.anatomy.quick_fit import BlockGrid, fit_to_quick_map
from qsmbids.core.anatomy.regions import fit_regions, place_regions
from qsmbids.core.anatomy.registration import Registration
from qsmbids.core.anatomy.template import class_maps, expected_map
from qsmbids.core.inversion.dipole import dipole_field
from qsmbids.core.maths.arrays import EmptyMaskError
from qsmbids.io.template import load_template

CENTRE = 123.0e6


def test_blocks_lie_where_their_voxels_do():
    affine = np.diag([-0.6, 0.6, 1.0, 1.0])
    affine[:3, 3] = 30.0, -20.0, 5.0
    grid = BlockGrid.of(affine)
    assert grid.widths == [3, 3, 2]
    np.testing.assert_allclose(grid.size, (1.8, 1.8, 2.0))
    # the first block holds voxels 0 to 2, 0 to 2 and 0 to 1
    np.testing.assert_allclose(grid.affine[:3, 3], (affine @ [1, 1, 0.5, 1])[:3])
    large = np.diag([2.0, 2.0, 2.0, 1.0])
    assert BlockGrid.of(large).widths == [1, 1, 1]
    np.testing.assert_array_equal(BlockGrid.of(large).affine, large)


def test_what_is_not_known_does_not_count(rng):
    grid = BlockGrid.of(np.eye(4))
    volume = rng.random((6, 8, 4)).astype(np.float32)
    mask = rng.random(volume.shape) > 0.3
    odd = np.where(mask, volume, np.nan).astype(np.float32)
    np.testing.assert_array_equal(grid.mean(odd), grid.mean(volume, mask))
    flat = grid.mean(np.full(volume.shape, 3.0, np.float32), mask)
    np.testing.assert_allclose(flat[flat > 0], 3.0, rtol=1e-6)


@pytest.fixture(scope="module")
def head():
    """Return the template's own head, its field, and a start 4 mm off."""
    template = load_template()
    maps = class_maps(template)
    brain = maps[0] < 0.5
    moved = template.grid.copy()
    moved[0, 3] += 4.0
    start = Registration(
        affine=np.eye(4), run_affine=moved, shift=np.zeros((3, *template.t1.shape), np.float32),
        information=0.1, lead=12.0, size=1.0, coverage=1.0, least_jacobian=0.9,
        channels=("magnitude",),
    )  # fmt: skip
    chi = expected_map(maps, "chi") * brain
    field = 1e-6 * CENTRE * dipole_field(chi, (2.0, 2.0, 2.0), (0, 0, 1))
    looks = {"magnitude": template.t1, "r2star": expected_map(maps, "r2star") * brain}
    return template, brain, chi, field, start, looks


def test_a_quick_map_tells_the_place_as_well_as_the_map(head):
    template, brain, chi, field, start, looks = head
    grid = BlockGrid.of(start.run_affine)
    quick = fit_to_quick_map(
        template, grid, brain, brain, field, brain.astype(np.float32), (0, 0, 1),
        centre_frequency=CENTRE, start=start, **looks,
    )  # fmt: skip
    best = fit_regions(template, start.run_affine, brain, brain, chi, start=start, **looks)
    assert quick.channels == best.channels == ("magnitude", "chi", "r2star")
    np.testing.assert_array_equal(quick.run_affine, start.run_affine)
    off = np.linalg.norm(2.0 * (quick.shift - best.shift), axis=0)[brain]
    moved = np.linalg.norm(2.0 * best.shift, axis=0)[brain]
    assert np.median(moved) > 2.0  # without a fit it would be this
    assert np.median(off) < 0.3
    # the regions lie where those of the map do
    of_quick, of_map = (
        place_regions(template, start.run_affine, brain, chi, fit, **looks)
        for fit in (quick, best)
    )
    assert of_quick.fit is quick
    assert of_map.fit is not start
    same = (of_quick.labels > 0) & (of_quick.labels == of_map.labels)
    assert 2 * same.sum() > 0.97 * ((of_quick.labels > 0).sum() + (of_map.labels > 0).sum())


def test_what_does_not_fit_is_not_tried_again(head):
    template, brain, _, field, start, _ = head
    poor = replace(start, information=0.001)
    found = fit_to_quick_map(
        template, BlockGrid.of(start.run_affine), brain, brain, field, brain.astype(np.float32),
        (0, 0, 1), centre_frequency=CENTRE, start=poor,
    )  # fmt: skip
    assert found is poor


def test_a_field_that_is_known_nowhere_is_refused(head):
    template, brain, _, field, start, _ = head
    with pytest.raises(EmptyMaskError):
        fit_to_quick_map(
            template, BlockGrid.of(start.run_affine), brain, 0 * brain > 0, field, field,
            (0, 0, 1), centre_frequency=CENTRE, start=start,
        )  # fmt: skip
