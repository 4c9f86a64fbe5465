"""Whose phase falls with the field."""

import pytest

from qsmbids.core.phase.phase_sign import phase_sign


@pytest.mark.parametrize(
    ("manufacturer", "sign", "warns"),
    [
        ("Siemens", 1, False),
        ("SIEMENS Healthineers", 1, False),
        ("Philips Medical Systems", 1, False),
        ("GE", -1, False),
        ("GE MEDICAL SYSTEMS", -1, False),
        ("General Electric", -1, False),
        ("UIH", -1, True),
        ("Canon Medical", -1, True),
        ("Hitachi", -1, True),
        ("", 1, True),
        ("Gerda Imaging", 1, False),
    ],
)
def test_vendor_conventions(manufacturer, sign, warns):
    choice = phase_sign("auto", manufacturer)
    assert choice.sign == sign
    assert bool(choice.warning) == warns


def test_the_user_wins():
    assert phase_sign("+1", "GE").sign == 1
    assert phase_sign("-1", "Siemens").sign == -1


def test_other_choices_are_refused():
    with pytest.raises(ValueError, match="sign"):
        phase_sign("1", "Siemens")
