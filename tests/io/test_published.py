"""Published maps on the grid of another image."""

import nibabel as nib
import numpy as np
import pytest

from qsmbids.errors import InputError
from qsmbids.io.nifti_header import read_header
from qsmbids.io.published import find_published, read_on_grid

SHAPE = (10, 12, 14)


@pytest.fixture
def smooth():
    """A smooth volume in RAS, 2 mm."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-9, -11, -13)
    return nib.Nifti1Image((x + 2 * y - 3 * z).astype(np.float32), affine)


def saved(image, path):
    image.to_filename(path)
    return path


@pytest.mark.parametrize("axes", ["LAS", "PSR", "IRA"])
def test_the_order_of_the_axes_does_not_matter(smooth, tmp_path, axes):
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(smooth.affine), nib.orientations.axcodes2ornt(axes)
    )
    path = saved(smooth.as_reoriented(turn), tmp_path / "turned.nii.gz")
    grid = read_header(saved(smooth, tmp_path / "grid.nii"))
    image, note = read_on_grid(path, grid)
    assert note == ""
    np.testing.assert_array_equal(image, smooth.get_fdata(dtype=np.float32))


def test_another_grid_is_interpolated_and_it_is_said(smooth, tmp_path):
    fine = np.diag([1.0, 1.0, 1.0, 1.0])
    fine[:3, 3] = (-6, -7, -8)
    target = nib.Nifti1Image(np.zeros((12, 14, 16), np.float32), fine)
    grid = read_header(saved(target, tmp_path / "grid.nii"))
    image, note = read_on_grid(saved(smooth, tmp_path / "map.nii"), grid)
    assert "interpolated" in note
    x, y, z = (fine[i, 3] + np.arange(n) for i, n in enumerate(target.shape))
    expected = (x / 9)[:, None, None] + 2 * (y / 11)[:, None] - 3 * (z / 13)  # it is linear
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_masks_stay_masks(smooth, tmp_path):
    mask = nib.Nifti1Image((smooth.get_fdata() > 0).astype(np.uint8), smooth.affine)
    shifted = smooth.affine.copy()
    shifted[0, 3] += 0.7
    grid = read_header(
        saved(nib.Nifti1Image(np.zeros(SHAPE, np.float32), shifted), tmp_path / "grid.nii")
    )
    image, _ = read_on_grid(saved(mask, tmp_path / "mask.nii"), grid, labels=True)
    assert set(np.unique(image)) == {0.0, 1.0}


def test_without_an_orientation(smooth, tmp_path):
    bare = nib.Nifti1Image(smooth.get_fdata(dtype=np.float32), None)
    bare.header["sform_code"] = bare.header["qform_code"] = 0
    path = saved(bare, tmp_path / "bare.nii")
    image, note = read_on_grid(path, read_header(saved(smooth, tmp_path / "grid.nii")))
    assert "no orientation" in note
    np.testing.assert_array_equal(image, smooth.get_fdata(dtype=np.float32))
    other = nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4))
    with pytest.raises(InputError, match="another shape"):
        read_on_grid(path, read_header(saved(other, tmp_path / "other.nii")))


def test_published_maps_are_found_in_the_tree_of_the_paper(example, tmp_path):
    for name in example.published(example.RUNS[3:4]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_published(tmp_path)
    assert [(run.label, pipeline) for run, pipeline in found] == [
        ("sub-001_ses-PHILIPS_acq-BipolarSYNERGY", "Pipeline_FANSI"),
        ("sub-001_ses-PHILIPS_acq-BipolarSYNERGY", "Pipeline_MEDI"),
    ]
    stem = "sub-001_ses-PHILIPS_acq-BipolarSYNERGY"
    assert {word: path.name for word, path in next(iter(found.values())).items()} == {
        word: f"{stem}_{word}.nii.gz"
        for word in ("Chimap", "localfield", "mask_brain", "mask_localfield", "mask_QSM")
    }
