import numpy as np
import pytest

from qsmbids.core.reference.roi_statistics import roi_statistics


def test_exact_answers_on_a_toy_array():
    chi = np.array([0.1, 0.2, 0.3, 0.4, 1.0, 7.0, -2.0, 5.0]).reshape(2, 2, 2)
    labels = np.array([4, 4, 4, 4, 4, 4, 9, 0]).reshape(2, 2, 2)
    support = (np.arange(8) != 5).reshape(2, 2, 2)
    found = roi_statistics(chi, labels, support, [9, 4])
    assert found.n_voxels.tolist() == [1, 6]
    assert found.n_mask4.tolist() == [1, 5]
    np.testing.assert_allclose(found.fraction_excluded, [0, 1 / 6])
    np.testing.assert_allclose(found.mean, [-2, 0.4])
    np.testing.assert_allclose(found.std, [0, np.sqrt(0.1)])
    np.testing.assert_allclose(found.median, [-2, 0.3])
    np.testing.assert_allclose(found.iqr, [0, 0.2])
    np.testing.assert_allclose(found.mad, [0, 0.1])
    np.testing.assert_allclose(found.p05, [-2, 0.12])
    np.testing.assert_allclose(found.p95, [-2, 0.88])


def test_all_regions_at_once_equal_numpy_one_by_one(rng):
    labels = rng.integers(0, 30, (20, 21, 22)).astype(np.uint16)
    chi = rng.normal(size=labels.shape).astype(np.float32)
    support = rng.random(labels.shape) < 0.6
    index = rng.permutation(np.arange(1, 30))
    found = roi_statistics(chi, labels, support, index)
    for i, label in enumerate(index):
        values = chi[(labels == label) & support].astype(np.float64)
        low, first, middle, third, high = np.percentile(values, (5, 25, 50, 75, 95))
        expected = (
            np.count_nonzero(labels == label), values.size,
            1 - values.size / np.count_nonzero(labels == label), values.mean(), values.std(),
            middle, third - first, np.median(np.abs(values - middle)), low, high,
        )  # fmt: skip
        np.testing.assert_allclose([column[i] for column in found], expected, rtol=1e-12)


def test_empty_regions_keep_their_row():
    chi = np.ones((2, 2, 1))
    labels = np.array([[[1], [1]], [[2], [0]]])
    found = roi_statistics(chi, labels, labels == 1, [1, 2, 3])
    assert found.n_voxels.tolist() == [2, 1, 0]
    assert found.n_mask4.tolist() == [2, 0, 0]
    np.testing.assert_array_equal(found.fraction_excluded, [0, 1, np.nan])
    for column in found[3:]:
        assert np.isfinite(column[0])
        assert np.isnan(column[1:]).all()
    assert all(column.shape == (0,) for column in roi_statistics(chi, labels, labels == 1, []))


def test_values_outside_the_support_do_not_matter():
    chi = np.array([[[1.0, np.nan, np.inf]]])
    found = roi_statistics(chi, np.ones((1, 1, 3), int), np.array([[[True, False, False]]]), [1])
    assert found.mean.tolist() == [1.0]
    with pytest.raises(ValueError, match="not finite"):
        roi_statistics(chi, np.ones((1, 1, 3), int), np.ones((1, 1, 3), bool), [1])


@pytest.mark.parametrize(
    ("labels", "support", "index", "says"),
    [
        (np.ones((1, 1, 2), int), np.ones((1, 1, 3), bool), [1], "differ in shape"),
        (np.ones((1, 1, 3)), np.ones((1, 1, 3), bool), [1], "integers"),
        (np.ones((1, 1, 3), int), np.ones((1, 1, 3), int), [1], "boolean"),
        (np.ones((1, 1, 3), int), np.ones((1, 1, 3), bool), [1, 1], "twice"),
    ],
)
def test_what_cannot_be_measured_is_refused(labels, support, index, says):
    with pytest.raises(ValueError, match=says):
        roi_statistics(np.zeros((1, 1, 3)), labels, support, index)
