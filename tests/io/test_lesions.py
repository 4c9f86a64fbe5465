"""Lesions of a run, found as segmentations are."""

import numpy as np
import pytest

from qsmbids.errors import InputError
from qsmbids.io.layout import collect_runs
from qsmbids.io.lesions import find_lesions
from qsmbids.io.write import write_volume

SHAPE = (20, 18, 16)
AFFINE = np.diag([-1.0, 1.0, 2.0, 1.0])


def put(path, shape=SHAPE):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, np.zeros(shape, np.int16), AFFINE)
    return path


@pytest.fixture
def run(make_run):
    return collect_runs(make_run("sub-01_ses-a_run-1"))[0][0]


def test_an_image_of_any_name(run, tmp_path):
    found = find_lesions(put(tmp_path / "ms plaques.nii.gz"), run)
    assert (found.label, found.space) == ("lesions", "MEGRE")
    with pytest.raises(InputError, match="not on the run's grid"):
        find_lesions(put(tmp_path / "b.nii.gz", (9, 9, 9)), run)


@pytest.mark.parametrize(
    "name",
    ["sub-01_ses-a_label-lesion_mask", "sub-01_ses-a_run-1_seg-lesions_dseg",
     "sub-01_desc-wmLesion_dseg"],
)  # fmt: skip
def test_the_one_of_a_dataset_that_is_of_lesions(run, tmp_path, name):
    folder = tmp_path / "sub-01" / "ses-a" / "anat"
    for other in ("sub-01_ses-a_label-brain_mask", "sub-01_ses-a_seg-aseg_dseg"):
        put(folder / f"{other}.nii.gz")
    put(folder / "sub-01_ses-b_label-lesion_mask.nii.gz")
    image = put(folder / f"{name}.nii.gz")
    assert find_lesions(tmp_path, run).image == image


def test_none_and_several(run, tmp_path):
    folder = tmp_path / "sub-01" / "anat"
    put(folder / "sub-01_seg-aseg_dseg.nii.gz")
    with pytest.raises(InputError, match="no image of lesions fits") as error:
        find_lesions(tmp_path, run)
    assert "zero everywhere" in str(error.value)
    put(folder / "sub-01_label-lesion_mask.nii.gz")
    put(folder / "sub-01_desc-lesions2_dseg.nii.gz")
    with pytest.raises(InputError, match="several images of lesions"):
        find_lesions(tmp_path, run)
