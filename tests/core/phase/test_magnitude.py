import numpy as np
import pytest
import scipy.ndimage as ndi

from qsmbids.core.phase.magnitude import computable_scale, negatives, root_sum_of_squares

HEAD = 1000.0 * (np.linalg.norm(np.indices((24, 24, 24)) - 11.5, axis=0) < 9)


@pytest.mark.parametrize("unit", [1e-30, 1e-9, 1e9, 1e25])
def test_magnitudes_of_any_unit_can_be_raised_to_the_fourth_power(unit):
    magnitude = (HEAD * unit).astype(np.float32)
    scale = computable_scale(magnitude)
    assert np.log2(scale) == round(np.log2(scale))
    scaled = magnitude * np.float32(scale)
    assert np.isfinite(np.sum(np.square(np.square(scaled)), dtype=np.float32))
    assert root_sum_of_squares(scaled[None]).min() == 0
    np.testing.assert_array_equal(scaled / np.float32(scale), magnitude)


@pytest.mark.parametrize("peak", [0.0, 0.05, 1.0, 4095.0, 65535.0])
def test_ordinary_magnitudes_stay_as_they_are(peak):
    assert computable_scale(np.array([0.0, peak, np.nan, np.inf])) == 1.0


def test_ringing_is_shallow_and_phase_is_not():
    ringing = negatives(ndi.shift(HEAD, 0.4, order=5))
    assert 0.005 < ringing.depth < 0.3
    assert ringing.share < 0.05
    phase = negatives(np.angle(np.exp(0.7j * np.indices(HEAD.shape).sum(0))))
    assert phase.depth > 0.9
    assert phase.share > 0.4
    assert negatives(np.array([np.nan, -np.inf, 1.0])).n_voxels == 0
