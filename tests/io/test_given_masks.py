"""The mask of a run in a folder of masks."""

import pytest

from qsmbids.errors import InputError
from qsmbids.io.masks import find_mask
from qsmbids.io.runs import Run

RUN = Run({"subject": "01", "session": "a", "run": "1"}, "MEGRE", (1,), (), (), ())


@pytest.fixture
def found(tmp_path):
    """Return a function that makes masks and returns the name of the one that is taken."""

    def find(*names):
        for name in names:
            path = tmp_path / "sub-01/ses-a/anat" / f"sub-01_{name}_mask.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return find_mask(tmp_path, RUN).name.removesuffix("_mask.nii.gz").removeprefix("sub-01_")

    return find


def test_our_own_mask_before_a_brain_before_any(found):
    assert found("ses-a_run-1_desc-lesion") == "ses-a_run-1_desc-lesion"
    assert found("ses-a_desc-brain") == "ses-a_desc-brain"
    ours = "ses-a_label-brain_desc-mask1"
    assert found(ours, "ses-a_run-1_label-brain_desc-mask4") == ours


def test_the_closest_of_several(found):
    assert found("desc-brain", "ses-a_desc-brain", "ses-b_run-1_desc-brain") == "ses-a_desc-brain"
    with pytest.raises(InputError, match=r"several masks fit sub-01_ses-a_run-1: sub-01_ses-a_"):
        found("ses-a_label-brain")


def test_none(tmp_path):
    with pytest.raises(InputError, match="no mask fits sub-01_ses-a_run-1"):
        find_mask(tmp_path, RUN)
