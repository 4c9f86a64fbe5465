"""Slices of one image that were spread over several files."""

import nibabel as nib
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from qsmbids.io.slabs import join_slabs


def _slab(path, first, pixel_mm):
    image = nib.Nifti1Image(np.full((3, 4, 2), first, np.int16), np.eye(4))
    affine = np.diag([*pixel_mm, 2, 1.0])
    affine[2, 3] = 2 * first
    image.header["pixdim"][1:4] = *pixel_mm, 2
    image.set_sform(affine, 1, update_affine=True)
    nib.save(image, path)
    return path, {"EchoTime": 0.01}


def test_slabs_that_follow_each_other_are_one_image(tmp_path):
    slabs = [_slab(tmp_path / f"{n}_ph.nii", n, (1.0, 1.0)) for n in (2, 0)]
    ((path, sidecar),) = join_slabs(slabs, tmp_path / "joined")
    joined = nib.load(path)
    assert_array_equal(np.asanyarray(joined.dataobj)[0, 0], [0, 0, 2, 2])
    assert joined.affine[2, 3] == 0
    assert sidecar is slabs[0][1]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("pixel_mm", [(0.0, 0.0), (0.0, 1.0), (np.inf, 1.0)])
def test_slabs_without_a_pixel_size_are_left_as_they_are(tmp_path, pixel_mm):
    """What is said of them is said where their headers are read."""
    slabs = [_slab(tmp_path / f"{n}_ph.nii", n, pixel_mm) for n in (0, 2)]
    assert join_slabs(slabs, tmp_path / "joined") == slabs
