"""What the names in both archives of the paper say."""

from zipfile import ZipInfo

import pytest

from qsmbids.io.example_data import (
    EXAMPLE_RUNS,
    converted_runs,
    dicom_runs,
    published_maps,
)


def members(*names):
    return [ZipInfo(name) for name in names]


def test_the_runs_of_the_paper(example):
    for run, (session, acquisition, folder, place, n) in zip(
        EXAMPLE_RUNS, example.RUNS, strict=True
    ):
        assert (run.session, run.acquisition, run.n_echoes) == (session, acquisition, n)
        assert run.folder == f"{session}/{folder}"
        (found,) = dicom_runs(members(f"QSM_CONSENSUS_DATA/{place}/S1/I1.dcm"))
        assert (found, found.n_echoes) == (run, n)


@pytest.mark.parametrize(
    "folder",
    [
        "PHILLIPS/CLEAR/BIPOLAR_7E",
        "x/QSM_CONSENSUS_DATA/PHILIPS/CLEAR/BIPOLAR_7E",
        "raw/PHILIPS/Bipolar_CLEAR",  # as the first script renames it
        "phillips/clear/bipolar_7e",
    ],
)
def test_spellings_of_one_folder(folder):
    (run,) = dicom_runs(members(f"{folder}/I1.dcm", f"{folder}/I2.dcm"))
    assert run.label == "sub-001_ses-PHILIPS_acq-BipolarCLEAR"


def test_what_is_no_image_of_a_run():
    assert not dicom_runs(
        members(
            "protocols/GE/BIPOLAR.txt",
            "__MACOSX/QSM_CONSENSUS_DATA/GE/BIPOLAR_8E/._I1.dcm",
            "QSM_CONSENSUS_DATA/GE/BIPOLAR_8E/.DS_Store",
        )
    )


def test_the_copy_below_converted_counts():
    name = "sub-001_ses-GE_acq-Bipolar_part-real_echo-1_GRE"
    there = members(
        f"backup/{name}.nii.gz", f"a/b/c/converted/{name}.nii.gz", f"backup/{name}.json",
        f"derivatives/converted/{name}.json",
    )  # fmt: skip
    (run,) = converted_runs(there)
    (image,) = run.images.values()
    assert image.image.filename == f"a/b/c/converted/{name}.nii.gz"
    assert image.sidecar.filename == f"backup/{name}.json"


def test_entities_in_any_order_and_both_words_for_a_part():
    names = ("part-imaginary_echo-1_GRE", "echo-2_part-imag_MEGRE")
    (run,) = converted_runs(members(*(f"sub-001_ses-GE_acq-Bipolar_{n}.nii.gz" for n in names)))
    assert list(run.images) == [("imag", 1), ("imag", 2)]


def test_names_of_what_is_missing():
    stem = "sub-001_ses-GE_acq-Bipolar_part"
    there = members(
        f"{stem}-mag_echo-1_GRE.nii.gz", f"{stem}-mag_echo-1_GRE.json",
        f"{stem}-mag_echo-3_GRE.nii.gz", f"{stem}-mag_echo-3_GRE.json",
        f"{stem}-real_echo-1_GRE.json", f"{stem}-real_echo-2_GRE.nii.gz",
    )  # fmt: skip
    (run,) = converted_runs(there)
    assert run.missing == [
        f"{stem}-mag_echo-2_GRE.nii.gz", f"{stem}-mag_echo-2_GRE.json",
        f"{stem}-real_echo-1_GRE.nii.gz", f"{stem}-real_echo-2_GRE.json",
        f"{stem}-real_echo-3_GRE.nii.gz", f"{stem}-real_echo-3_GRE.json",
    ]  # fmt: skip


def test_words_within_words_of_the_published_maps():
    root = "derivatives/SEPIA/SIEMENS/Monopolar/GRE/Pipeline_FANSI"
    stem = f"{root}/sub-001_ses-SIEMENS_acq-Monopolar"
    words = ("mask_localfield", "localfield", "fieldmap", "relativeresidualweights", "weights")
    found = published_maps([f"{stem}_{word}.nii.gz" for word in words])
    (maps,) = found.values()
    assert maps == {w: f"{stem}_{w}.nii.gz" for w in ("mask_localfield", "localfield")}
