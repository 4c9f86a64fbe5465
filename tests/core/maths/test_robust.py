"""Standard deviations from medians."""

import numpy as np
import pytest
from scipy.stats import norm

from qsmbids.core.maths.robust import MAD_TO_STD, NORMAL_MAD, robust_std


def test_the_constants_are_those_of_the_normal_distribution():
    assert pytest.approx(norm.ppf(0.75), rel=1e-15) == NORMAL_MAD
    assert MAD_TO_STD == round(1 / NORMAL_MAD, 4)


def test_quantiles_of_a_normal_distribution_have_its_standard_deviation():
    deviations = 0.02 * norm.ppf((np.arange(10001) + 0.5) / 10001)
    assert robust_std(deviations) == pytest.approx(0.02, rel=1e-3)


def test_less_than_half_of_the_values_may_be_anywhere():
    deviations = np.array([-1.0, 1.0] * 30 + [1e9] * 59)
    assert robust_std(deviations) == MAD_TO_STD
