"""The surface of the brain where a run shows it, near that of a template that is off."""

import numpy as np
import pytest

from qsmbids.core.anatomy.guided_mask import guided_mask
from qsmbids.core.anatomy.surface import BAND, Looks, seen_surface, unshaded

VOXEL = np.array([2.5, 2.5, 2.5])
SHAPE = (72, 72, 72)
RADIUS = 60.0


def _far(shift=(0.0, 0.0, 0.0)):
    """Distance to a ball's surface [mm], the ball moved by ``shift``."""
    place = [(np.arange(n) - (n - 1) / 2) * v for n, v in zip(SHAPE, VOXEL, strict=True)]
    x, y, z = np.meshgrid(*place, indexing="ij")
    r = np.sqrt((x - shift[0]) ** 2 + (y - shift[1]) ** 2 + (z - shift[2]) ** 2)
    return (r - RADIUS).astype(np.float32)


@pytest.fixture(scope="module")
def head():
    """Magnitude and R2* of tissue with sulci, 2.5 mm of fluid, and bone or (below) muscle."""
    rng = np.random.default_rng(3)
    true = _far()
    magnitude = np.full(SHAPE, 100.0)
    r2star = np.full(SHAPE, 18.0)
    # a tenth of the outer tissue is fluid of sulci
    fluid = ((true > -10) & (true < 0) & (rng.random(SHAPE) < 0.1)) | ((true >= 0) & (true < 2.5))
    magnitude[fluid], r2star[fluid] = 55.0, 2.0
    below = np.broadcast_to(np.arange(SHAPE[2]) < 14, SHAPE)
    magnitude[(true >= 2.5) & ~below], r2star[(true >= 2.5) & ~below] = 3.0, 0.0
    magnitude[(true >= 2.5) & below], r2star[(true >= 2.5) & below] = 100.0, 34.0
    magnitude += 3 * rng.standard_normal(SHAPE)
    r2star += 1.5 * rng.standard_normal(SHAPE)
    return magnitude.astype(np.float32), r2star.astype(np.float32), true


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (3.0, -2.0, 2.0)])
def test_a_template_that_is_off_is_moved_to_the_surface(head, shift) -> None:
    magnitude, r2star, true = head
    template = _far(shift)
    seen = seen_surface(Looks.of([magnitude, r2star], np.abs(template) < BAND), template, VOXEL)
    at_surface = np.abs(true) < 1.0
    off = (seen - true)[at_surface]
    assert np.abs(off.mean()) < 0.8
    assert off.std() < 0.6
    if any(shift):
        assert off.std() < 0.4 * (template - true)[at_surface].std()


def test_the_mask_follows_what_is_seen(head) -> None:
    magnitude, r2star, true = head
    brain, template = true < 0, _far((3.0, -2.0, 2.0))
    made = guided_mask(true < 6, template, VOXEL, magnitude, r2star)
    assert dice(made, brain) > 0.98 > 0.97 > dice(template < 0, brain)
    assert np.count_nonzero(made & ~brain) < 0.015 * np.count_nonzero(made)


def test_what_goes_on_below_the_template_is_cut(head) -> None:
    """A cord looks like brain, and is not."""
    magnitude, r2star, true = (np.array(v) for v in head)
    cord = np.zeros(SHAPE, dtype=bool)
    cord[33:39, 33:39, :12] = True
    magnitude[cord], r2star[cord] = 100.0, 18.0
    made = guided_mask((true < 0) | cord, _far(), VOXEL, magnitude, r2star)
    assert not (made & cord & (true > 6)).any()


def test_where_nothing_is_seen_the_template_stays() -> None:
    template = _far()
    flat = np.full(SHAPE, 7.0, dtype=np.float32)
    seen = seen_surface(Looks.of([flat], np.abs(template) < BAND), template, VOXEL)
    np.testing.assert_allclose(seen, template, atol=0.05)


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (3.0, -2.0, 2.0)])
def test_one_echo_ends_at_the_fluid_beside_bone_and_beside_muscle(head, shift) -> None:
    """Muscle is as bright as brain; what lies between them is not."""
    magnitude, _, true = head
    made = guided_mask(true < 6, _far(shift), VOXEL, magnitude)
    outside = made & (true > 1.25)
    assert dice(made, true < 0) > 0.97
    assert np.count_nonzero(outside) < 0.02 * np.count_nonzero(made)


def test_fluid_that_looks_like_tissue_is_left_before_the_bone(head) -> None:
    magnitude, _, true = head
    rng = np.random.default_rng(4)
    late = np.where(true < 2.5, 100.0, magnitude) + 3 * rng.standard_normal(SHAPE)
    made = guided_mask(true < 2.5, _far(), VOXEL, late.astype(np.float32))
    bone = true > 2.5
    assert not (made & bone).any()
    assert np.count_nonzero(made & (true > 0.6)) < 0.03 * np.count_nonzero(made)


@pytest.mark.parametrize("alike", [0.2, 0.4, 0.9])
def test_fluid_that_looks_like_some_tissue_stays_outside(head, alike) -> None:
    """Late echoes at 7 T: a share of the brain is as bright as the 3 mm of fluid around it."""
    _, _, true = head
    rng = np.random.default_rng(5)
    late = np.where(rng.random(SHAPE) < alike, 100.0, 75.0)
    late[(true >= 0) & (true < 3)] = 100.0
    late[true >= 3] = 3.0
    late += 3 * rng.standard_normal(SHAPE)
    made = guided_mask(true < 3, _far((1.0, -1.0, 1.0)), VOXEL, np.abs(late).astype(np.float32))
    assert np.count_nonzero(made & (true > 0)) < 0.02 * np.count_nonzero(made)
    assert dice(made, true < 0) > 0.99


def test_a_falling_receive_field_does_not_darken_what_lies_below_the_core() -> None:
    true = _far()
    height = np.arange(SHAPE[2]) * VOXEL[2]
    field = np.broadcast_to(0.45 + 0.004 * height, SHAPE)
    flat = unshaded((300 * field).astype(np.float32), true < -8, VOXEL)
    near = np.abs(true) < 8
    below = near & (height < 40)
    assert np.abs(flat[below] / np.median(flat[near]) - 1).max() < 0.03
