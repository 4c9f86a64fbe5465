"""Numbers of sidecars that are text, in another unit, or contradict each other."""

import pytest

from qsmbids.io.stated import as_number, contradiction, is_stated


@pytest.mark.parametrize(
    ("key", "ours", "other"),
    [
        ("EchoTime", "0.008", 0.004),
        ("EchoTime", 0.008, "0.004"),
        ("EchoTime", 8, 0.004),
        ("EchoTime", [0.004, 0.008], [0.004, 0.009]),
        ("MagneticFieldStrength", "7", 3),
        ("ImagingFrequency", 123.2, "297.2"),
        ("RepetitionTime", "0.050", 0.030),
        ("RepetitionTimeExcitation", 50, 0.03),
        ("FlipAngle", "15", 20),
    ],
)
def test_real_differences(key, ours, other):
    assert contradiction({key: ours}, {key: other}) == (key, ours, other)
    assert contradiction({key: ours}, {key: other}, [key]) is None


@pytest.mark.parametrize(
    ("key", "ours", "other"),
    [
        ("EchoTime", "0.008", 0.008),
        ("EchoTime", "8.0", 0.008),
        ("EchoTime", ["4", 8], [0.004, 0.008]),
        ("EchoTime", None, 0.008),
        ("EchoTime", "n/a", 0.008),
        ("MagneticFieldStrength", "3", 2.89),
        ("MagneticFieldStrength", 30000, 3),
        ("ImagingFrequency", 123.2e6, 123.2),
        ("RepetitionTime", "50", 0.05),
        ("Manufacturer", "GE", "Siemens"),
    ],
)
def test_the_same_in_other_words(key, ours, other):
    assert contradiction({key: ours}, {key: other}) is None


def test_what_is_a_number_and_what_is_stated():
    assert [as_number(v) for v in ("3", 3, True, "3T", None, float("inf"))] == [3, 3] + [None] * 4
    assert [is_stated(v) for v in (0, "0", "", " n/a", None, [])] == [True, True] + [False] * 4
