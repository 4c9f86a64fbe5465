"""``qsmbids-zenodo`` on stand-ins for the archives of the consensus paper's record."""

import gzip
import json
import re
import zipfile

import nibabel as nib
import numpy as np
import pytest

import qsmbids.cli.zenodo as module
from qsmbids.io.validate import validate_dataset

ONE = "SIEMENS/Monopolar"


@pytest.fixture(scope="module")
def members(example):
    """All of the archive with data and results."""
    return example.results_archive()


@pytest.fixture(scope="module")
def siemens(example):
    """The same with the two runs of one vendor."""
    return example.results_archive(example.RUNS[6:])


# the archive with data and results -------------------------------------------------------------


@pytest.mark.slow
def test_the_names_of_the_scripts_become_valid_bids(fetched, example, members, qsmbids):
    code, last, said, dest = fetched(example.with_mac_files(members))
    assert code == 0, said
    assert f"8 runs in {dest}" in last
    assert "published maps: 16 sets in " in said
    assert example.raw_names(dest) == sorted(
        name for run in example.RUNS for name in example.bids_names(run)
    )
    assert re.search(r"ses-GE_acq-Bipolar_MEGRE +8  imag, mag, real", said)
    result = validate_dataset(dest)
    assert [str(e) for e in result.errors] == []
    about = json.loads((dest / "dataset_description.json").read_text())
    assert about["Name"] == "Example data of the QSM consensus paper"
    assert "https://doi.org/10.5281/zenodo.7410455" in about["ReferencesAndLinks"]
    assert "doi:10.5281/zenodo.7410455" in (dest / "README.md").read_text()
    assert (dest / "participants.tsv").read_text().split() == ["participant_id", "sub-001"]
    code, last, said = qsmbids(dest, dest.parent / "out", "participant", "--dry-run")
    assert code == 0, said
    assert "8 to process, 0 cannot be" in last
    assert said.count("real and imaginary parts") == 2


def test_units_follow_the_numbers_and_the_numbers_stay(fetched, siemens, example):
    runs = [example.RUNS[i] for i in (1, 4, 7)]
    members = example.results_archive(runs)
    _, _, _, dest = fetched(members)
    units = {
        (s, part): example.laid_out_sidecar(dest, f"*ses-{s}*echo-2*part-{part}_MEGRE").get(
            "Units"
        )
        for s, parts in example.BIDS_PARTS.items()
        for part in parts
    }
    assert units == {
        ("GE", "mag"): None, ("GE", "real"): "arbitrary", ("GE", "imag"): "arbitrary",
        ("PHILIPS", "mag"): None, ("PHILIPS", "phase"): "rad",
        ("SIEMENS", "mag"): None, ("SIEMENS", "phase"): "arbitrary",
    }  # fmt: skip
    for given, laid_out in (
        (r"GE/Monopolar.*part-imaginary_echo-3.*nii", "*GE*echo-3_part-imag_MEGRE.nii.gz"),
        (r"Monopolar_CLEAR.*part-phase_echo-2.*nii", "*PHILIPS*echo-2_part-phase_MEGRE.nii.gz"),
    ):
        published = nib.Nifti1Image.from_bytes(
            gzip.decompress(members[example.find_member(members, given)])
        )
        mine = nib.load(next(dest.glob(f"sub-001/*/anat/{laid_out}")))
        np.testing.assert_array_equal(mine.get_fdata(), published.get_fdata())
        np.testing.assert_array_equal(mine.affine, published.affine)


@pytest.mark.parametrize("top", ["", "a/folder more/"])
def test_whatever_folders_are_around_the_tree(fetched, example, siemens, top):
    renamed = {top + name.removeprefix(example.TOP): c for name, c in siemens.items()}
    code, _, said, dest = fetched(renamed)
    assert code == 0, said
    assert example.raw_names(dest) == sorted(
        n for run in example.RUNS[6:] for n in example.bids_names(run)
    )


def test_only_maps_that_are_compared_leave_the_derivatives(fetched, siemens):
    _, _, _, dest = fetched(siemens)
    maps = dest / "derivatives" / "SEPIA" / "SIEMENS" / "Bipolar" / "GRE" / "Pipeline_MEDI"
    stem = "sub-001_ses-SIEMENS_acq-Bipolar"
    assert sorted(p.name for p in maps.iterdir()) == [
        f"{stem}_{what}.nii.gz"
        for what in ("Chimap", "localfield", "mask_QSM", "mask_brain", "mask_localfield")
    ]
    assert not list((dest / "derivatives").rglob("*part-*"))


def test_runs_that_the_archive_lacks_are_named(fetched, siemens):
    code, _, said, _ = fetched(siemens)
    assert code == 0
    assert "sub-001_ses-PHILIPS_acq-BipolarSYNERGY: is not in the archive" in said
    assert "sub-001_ses-SIEMENS_acq-Bipolar: is not" not in said


@pytest.mark.parametrize(
    ("lost", "missing"),
    [
        (r"part-phase_echo-3_GRE\.nii", "acq-Monopolar_part-phase_echo-3_GRE.nii.gz"),
        (r"part-mag_echo-1_GRE\.json", "acq-Monopolar_part-mag_echo-1_GRE.json"),
        (r"echo-4_GRE", "acq-Monopolar_part-mag_echo-4_GRE.nii.gz"),
        (r"part-mag", "phase without the magnitude"),
    ],
    ids=["image", "sidecar", "echo", "part"],
)
def test_missing_members_are_named_and_the_run_is_left_out(
    fetched, siemens, example, lost, missing
):
    kept = {n: c for n, c in siemens.items() if not re.search(f"converted/{ONE}.*{lost}", n)}
    assert len(kept) < len(siemens)
    code, last, said, dest = fetched(kept)
    assert code == 3
    assert missing in last
    assert f"LEFT OUT  sub-001_ses-SIEMENS_acq-Monopolar: {missing[:0]}" in said
    assert example.raw_names(dest) == example.bids_names(example.RUNS[6])  # the other one is whole


def test_ge_needs_no_magnitude(fetched, example):
    members = example.results_archive(example.RUNS[1:2])
    kept = {n: c for n, c in members.items() if not re.search("converted.*part-mag", n)}
    code, _, said, dest = fetched(kept)
    assert code == 0, said
    assert not list(dest.glob("sub-001/*/anat/*part-mag*"))


def damaged(content: bytes) -> dict[str, bytes]:
    image = nib.Nifti1Image.from_bytes(gzip.decompress(content))
    four = nib.Nifti1Image(np.stack([image.dataobj] * 2, -1), image.affine)
    return {
        "cut": content[: len(content) // 2],
        "header": gzip.compress(gzip.decompress(content)[:3000]),
        "no image": gzip.compress(b"Not Found" * 100),
        "4-D": gzip.compress(four.to_bytes()),
    }


@pytest.mark.parametrize("kind", ["cut", "header", "no image", "4-D"])
def test_a_damaged_image_is_named_and_mended_by_a_better_archive(fetched, siemens, example, kind):
    name = example.find_member(siemens, f"converted/{ONE}.*part-mag_echo-2.*nii")
    code, last, said, dest = fetched({**siemens, name: damaged(siemens[name])[kind]})
    assert code == 3, said
    assert "acq-Monopolar_part-mag_echo-2_GRE" in last
    assert example.raw_names(dest) == example.bids_names(example.RUNS[6])
    code, last, said, dest = fetched(siemens)
    assert code == 0, said
    assert example.raw_names(dest) == sorted(
        n for run in example.RUNS[6:] for n in example.bids_names(run)
    )
    # the sets of two runs of two pipelines are there, one run was written
    assert f"{len(example.bids_names(example.RUNS[7]))} files written" in last


@pytest.mark.parametrize("text", [b'{"EchoTime": 0.0', b"[1, 2]", b"\xff\xfe"])
def test_a_damaged_sidecar_is_named(fetched, siemens, text, example):
    name = example.find_member(siemens, f"converted/{ONE}.*part-phase_echo-2.*json")
    code, last, _, _ = fetched({**siemens, name: text})
    assert code == 3
    assert "acq-Monopolar_part-phase_echo-2_GRE.json" in last


def test_a_member_that_rotted_in_the_archive(record, example, siemens, zenodo, tmp_path):
    name = example.find_member(siemens, f"converted/{ONE}.*part-mag_echo-2.*nii")
    content = example.zipped(siemens, zipfile.ZIP_STORED)
    place = content.index(siemens[name]) + 100
    content = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    url = record.offer({example.RESULTS: content})  # its checksum is that of the rotten archive
    code, last, _ = zenodo(tmp_path / "data", "--record-url", url)
    assert code == 3
    assert "part-mag_echo-2_GRE: is damaged in the archive" in last
    assert example.raw_names(tmp_path / "data") == example.bids_names(example.RUNS[6])


def test_names_that_contradict_the_sidecars(fetched, siemens, example):
    """A magnitude under the name of the phase would make a map, and a wrong one."""
    name = example.find_member(siemens, f"converted/{ONE}.*part-mag_echo-2.*json")
    phase = siemens[name.replace("part-mag", "part-phase")]
    code, last, _, dest = fetched({**siemens, name: phase})
    assert code == 3
    assert "part-mag_echo-2_GRE: is phase, not mag, by its ImageType" in last
    assert not [n for n in example.raw_names(dest) if "acq-Monopolar" in n]


def test_an_interruption_between_runs(fetched, siemens, example, record, monkeypatch):
    real, calls = module._say, []

    def interrupt(text):
        if "files written" in text:
            calls.append(text)
            raise KeyboardInterrupt
        real(text)

    monkeypatch.setattr(module, "_say", interrupt)
    code, last, _, dest = fetched(siemens)
    assert code == 130
    assert "goes on where it was" in last
    assert example.raw_names(dest) == example.bids_names(example.RUNS[6])
    assert not list((dest / "sourcedata" / "zenodo").glob(".unpacked*"))
    monkeypatch.undo()
    asked = record.asked.count(f"/files/{example.RESULTS}")
    code, _, said, _ = fetched(siemens)
    assert code == 0, said
    assert example.raw_names(dest) == sorted(
        n for run in example.RUNS[6:] for n in example.bids_names(run)
    )
    assert record.asked.count(f"/files/{example.RESULTS}") == asked


def test_a_second_call_asks_nobody(fetched, siemens, record, example):
    _, _, _, dest = fetched(siemens)
    asked = len(record.asked)
    (dest / "sourcedata" / "zenodo" / example.RESULTS).unlink()  # may be deleted
    code, last, _, _ = fetched(siemens)
    assert (code, len(record.asked)) == (0, asked)
    assert "all files were there already" in last


def test_a_lost_file_comes_back_from_the_archive(fetched, siemens, record, example):
    _, _, _, dest = fetched(siemens)
    lost = next(dest.glob("sub-001/*/anat/*acq-Bipolar_echo-2_part-phase_MEGRE.nii.gz"))
    content = lost.read_bytes()
    lost.unlink()
    code, _, _, _ = fetched(siemens)
    assert code == 0
    assert lost.read_bytes() == content
    assert record.asked.count(f"/files/{example.RESULTS}") == 1


def test_own_files_are_not_overwritten(fetched, siemens, example, tmp_path):
    own = (
        tmp_path
        / "data"
        / "sub-001"
        / "ses-SIEMENS"
        / "anat"
        / example.bids_names(example.RUNS[7])[1]
    )
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    code, last, _, dest = fetched(siemens)
    assert code == 1
    assert "is another image" in last
    assert own.read_text() == "mine"
    assert example.raw_names(dest) == sorted([*example.bids_names(example.RUNS[6]), own.name])


def test_a_left_folder_of_a_killed_call_goes_away(fetched, siemens, tmp_path):
    left = tmp_path / "data" / "sourcedata" / "zenodo" / ".unpacked-x"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    assert fetched(siemens)[0] == 0
    assert not left.exists()


def test_members_that_would_escape(fetched, siemens, example):
    code, last, _, dest = fetched({**siemens, "converted/../../../evil": b"evil"})
    assert code == 3
    assert "unsafe name" in last
    assert not example.raw_names(dest)


def test_an_archive_without_such_names(fetched):
    code, last, _, _ = fetched({"raw/GE/0001.dcm": b"DICM", "converted/GE/x_e1.nii.gz": b""})
    assert code == 3
    assert "--dicom" in last


# the record ------------------------------------------------------------------------------------


def test_dry_run_writes_nothing(fetched, record, example, siemens):
    code, last, said, dest = fetched(siemens, "--dry-run")
    assert code == 0
    assert "dry run" in last
    assert re.search(rf"{example.DICOM}  \(not needed\)", said)
    assert not dest.exists()
    assert record.asked == ["/record.json"]
    _, _, said, _ = fetched(siemens, "--dry-run", "--dicom")
    assert re.search(rf"{example.RESULTS}  \(not needed\)", said)


def test_no_such_record(record, example, zenodo, tmp_path):
    url = record.offer({example.RESULTS: b""})
    code, last, _ = zenodo(tmp_path / "data", "--record-url", url + "x")
    assert code == 3
    assert "404" in last


@pytest.mark.parametrize(("option", "there"), [((), "DICOM"), (("--dicom",), "RESULTS")])
def test_a_record_without_the_archive(record, example, zenodo, tmp_path, option, there):
    url = record.offer({getattr(example, there): b"x"})
    code, last, _ = zenodo(tmp_path / "data", *option, "--record-url", url)
    assert code == 3
    assert getattr(example, there) in last


@pytest.mark.parametrize("option", [(), ("--dicom",)])
def test_what_is_not_a_zip(record, example, zenodo, tmp_path, option):
    url = record.offer({example.RESULTS: b"no zip", example.DICOM: b"no zip"})
    code, last, _ = zenodo(tmp_path / "data", *option, "--record-url", url)
    assert code == 3
    assert "not a zip archive" in last


def test_a_changed_file_on_the_server(record, example, siemens, zenodo, tmp_path):
    content = example.zipped(siemens)
    url = record.offer({example.RESULTS: content})
    (record.folder / example.RESULTS).write_bytes(content[:-1] + b"?")
    code, last, _ = zenodo(tmp_path / "data", "--record-url", url)
    assert code == 1
    assert "MD5" in last
    assert not [p for p in (tmp_path / "data").rglob("*") if p.is_file()]


def test_wrong_usage(zenodo, tmp_path):
    assert zenodo()[0] == 2
    code, last, _ = zenodo(tmp_path, "--record-url", "file:///etc/passwd")
    assert code == 2
    assert "address of the web" in last
    assert zenodo(tmp_path, "--dicom", "--compare", tmp_path)[0] == 2
