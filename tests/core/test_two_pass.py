"""Each voxel comes from the inversion that knows it, on one common zero."""

import numpy as np
import pytest

from qsmbids.core.two_pass import merge_two_pass


@pytest.fixture
def passes(rng):
    filled = np.zeros((10, 11, 12), bool)
    filled[1:-1, 1:-1, 1:-1] = True
    holes = filled.copy()
    holes[4:6, 4:6, 4:6] = False
    truth = rng.normal(0, 0.05, filled.shape).astype(np.float32) * filled
    return truth, truth * holes, (truth + 0.2) * filled, holes, filled


def test_inversions_that_differ_by_a_constant_merge_to_either(passes):
    truth, first, second, holes, filled = passes
    merged = merge_two_pass(first, second, holes, filled)
    np.testing.assert_allclose(merged.chi, truth, atol=1e-6)
    assert merged.offset == pytest.approx(0.2, abs=1e-6)
    assert np.array_equal(merged.from_filled, filled & ~holes)
    assert merged.chi.dtype == np.float32
    assert not merged.chi[~filled].any()


def test_reliable_voxels_keep_the_first_inversion(passes):
    _, first, second, holes, filled = passes
    second[holes] += 0.01 * np.sign(np.indices(holes.shape)[0][holes] - 4.5)
    merged = merge_two_pass(first, second, holes, filled)
    assert np.array_equal(merged.chi[holes], first[holes])


def test_bad_masks(passes):
    _, first, second, holes, filled = passes
    with pytest.raises(ValueError, match="part of the filled"):
        merge_two_pass(first, second, filled, holes)
    with pytest.raises(ValueError, match="not empty"):
        merge_two_pass(first, second, np.zeros_like(holes), filled)
    with pytest.raises(ValueError, match="same volume"):
        merge_two_pass(first[1:], second, holes, filled)
