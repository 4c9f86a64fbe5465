"""DICOM that the scanner saved uncombined: an image of every receive coil."""

import nibabel as nib
import numpy as np
import pytest

from qsmbids.io.dicom import convert_dicom

TIMES = (0.0094, 0.020)  # of UK Biobank


@pytest.fixture
def coils(dicom):
    """Return what four coils see, each of another strength."""
    signal = dicom.make_signal(echo_times=TIMES)
    return [signal * (c + 1) / 4 * np.exp(1j * c) for c in range(4)]


@pytest.mark.parametrize("told", ["name", "loops", "header"])
def test_every_coil_is_a_run_of_its_own(write_coils, tmp_path, coils, told):
    write_coils(tmp_path / "dcm", coils, TIMES, told=told)
    found = convert_dicom(tmp_path / "dcm", tmp_path / "nii", participant="01")
    assert list(found.naming.runs) == [f"sub-01_rec-coil{n:02d}" for n in (1, 2, 3, 4)]
    assert not found.naming.skipped
    strengths = []
    for images in found.naming.runs.values():
        assert [i.part for i in images] == ["mag", "phase"] * 2
        assert all("SingleCoil" not in i.sidecar for i in images)
        strengths.append(nib.load(images[0].source.path).get_fdata().max())
    np.testing.assert_allclose(np.array(strengths) / strengths[3], (0.25, 0.5, 0.75, 1), atol=0.02)


def test_a_coil_without_the_others_is_left_out(write_coils, tmp_path, coils):
    write_coils(tmp_path / "dcm", coils[:1], TIMES, told="loops")
    found = convert_dicom(tmp_path / "dcm", tmp_path / "nii", participant="01")
    assert not found.naming.runs
    assert {why for _, why in found.naming.skipped} == {
        "the image of one receive coil; QSM needs those of all, with their phase"
    }


def test_combined_images_may_bear_any_name(write_coils, tmp_path, coils):
    write_coils(tmp_path / "dcm", coils[:1], TIMES, names=["HEA;HEP"])
    found = convert_dicom(tmp_path / "dcm", tmp_path / "nii", participant="01")
    assert list(found.naming.runs) == ["sub-01"]
