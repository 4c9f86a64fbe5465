"""``qsmbids-zenodo --dicom`` on a stand-in for the archive with DICOM."""

import re

import pytest

SMALL = (16, 18, 16)


@pytest.fixture(scope="module")
def inner(example, dicom, tmp_path_factory):
    """DICOM of one run of each vendor, as the archive in the archive holds them."""
    runs = [example.RUNS[i] for i in (1, 4, 7)]
    return example.write_dicom(dicom, tmp_path_factory.mktemp("dicom"), runs, SMALL)


@pytest.fixture
def converted(record, example, zenodo, tmp_path):
    """Publish the archive in the archive with DICOM, and call the command on it."""

    def call(inner, dest=tmp_path / "data", **kwargs):
        outer = example.zipped(example.dicom_archive(inner, **kwargs))
        url = record.offer({example.RESULTS: b"x" * 90_000_000, example.DICOM: outer})
        return (*zenodo(dest, "--dicom", "--record-url", url), dest)

    return call


@pytest.mark.slow
def test_dicom_of_all_vendors_gets_the_names_of_the_paper(converted, inner, example, qsmbids):
    code, _, said, dest = converted(example.with_mac_files(inner))
    assert code == 0, said
    runs = [example.RUNS[i] for i in (1, 4, 7)]
    assert example.raw_names(dest) == sorted(n for run in runs for n in example.bids_names(run))
    assert "sub-001_ses-PHILIPS_acq-BipolarCLEAR: is not in the archive" in said
    assert (
        example.laid_out_sidecar(dest, "*SIEMENS*echo-1_part-phase_MEGRE")["Units"] == "arbitrary"
    )
    assert example.laid_out_sidecar(dest, "*GE*echo-1_part-imag_MEGRE")["Units"] == "arbitrary"
    text = (dest / "sub-001/ses-GE/anat" / example.bids_names(runs[0])[0]).read_text()
    assert "Hidden Hospital" not in text
    kept = sorted(p.name for p in (dest / "sourcedata" / "zenodo").iterdir())
    assert kept == [example.DICOM, "record.json"]
    code, last, said = qsmbids(dest, dest.parent / "out", "participant", "--dry-run")
    assert code == 0, said
    assert "3 to process, 0 cannot be" in last
    code, last, _, _ = converted(example.with_mac_files(inner))
    assert "all files were there already" in last


def test_dicom_without_the_inner_archive(record, example, zenodo, inner, tmp_path):
    url = record.offer({example.DICOM: example.zipped({"protocols/GE.html": b"<html>"})})
    code, last, _ = zenodo(tmp_path / "data", "--dicom", "--record-url", url)
    assert code == 3
    assert "QSM_CONSENSUS_DATA.zip" in last


def test_a_damaged_inner_archive(record, example, zenodo, tmp_path):
    members = {f"{example.TOP}QSM_CONSENSUS_DATA.zip": b"PK\3\4 cut off"}
    url = record.offer({example.DICOM: example.zipped(members)})
    code, last, _ = zenodo(tmp_path / "data", "--dicom", "--record-url", url)
    assert code == 3
    assert "QSM_CONSENSUS_DATA.zip: is not a zip archive" in last
    assert example.raw_names(tmp_path / "data") == []


@pytest.mark.slow
def test_missing_and_bad_parts_of_dicom(converted, inner, example):
    """One folder has no images left, one lacks an echo, one is whole."""
    folder = "PHILLIPS/CLEAR/MONOPOLAR_5E"
    bad = {n: (b"noise" * 99 if folder in n else c) for n, c in inner.items()}
    third = sorted(n for n in inner if "SIEMENS" in n)
    slices = SMALL[2]
    lost = [n for n in third if (int(re.search(r"_(\d{5})\.", n)[1]) - 1) // slices == 2]
    assert len(lost) == 2 * slices
    code, last, said, dest = converted({n: c for n, c in bad.items() if n not in lost})
    assert code == 3, said
    assert f"{folder}/GRE: holds no DICOM image" in last
    assert "SIEMENS/MONOPOLAR_5E/GRE holds 4 echoes, its name says 5" in last
    assert example.raw_names(dest) == example.bids_names(example.RUNS[1])
    code, last, said, dest = converted(inner)  # a better archive: what is whole stays
    assert code == 0, said
    assert example.raw_names(dest) == sorted(
        n for i in (1, 4, 7) for n in example.bids_names(example.RUNS[i])
    )


def test_both_archives_do_not_mix(converted, fetched, inner, example):
    some = {n: c for n, c in inner.items() if "SIEMENS" in n}
    code, _, said, dest = converted(some)
    assert code == 0, said
    before = example.raw_names(dest)
    code, last, _, _ = fetched(example.results_archive(example.RUNS[7:]))
    assert code == 1
    assert "is another image" in last
    assert example.raw_names(dest) == before
