"""``qsmbids-convert --from-nifti``: a table first, then raw BIDS."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from qsmbids.io.coils import find_coils
from qsmbids.io.layout import collect_runs
from qsmbids.io.metadata import read_acquisition
from qsmbids.io.validate import validate_dataset

TIMES = {1: 0.004, 2: 0.012}
SHAPE = (12, 14, 10)


@pytest.fixture
def put(tmp_path, rng):
    """Write one image below ``images``, with a sidecar if it is given one."""

    def write(name, part="mag", sidecar=None, shape=SHAPE):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = rng.uniform(0, 1000, shape) if part == "mag" else rng.uniform(-4096, 4095, shape)
        nib.save(nib.Nifti1Image(numbers.astype(np.int16), np.diag([2, 2, 2, 1.0])), path)
        if sidecar is not None:
            json_path = path.with_name(path.name.split(".nii")[0] + ".json")
            json_path.write_text(json.dumps(sidecar))
        return path

    return write


@pytest.fixture
def convert_table(convert, tmp_path):
    """Run the command on ``images``; return exit code, last line and everything said."""
    table = tmp_path / "t.tsv"

    def call(*options):
        return convert(tmp_path / "images", tmp_path / "bids", "--from-nifti", table, *options)

    return call


def cells(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def fill(path, **columns):
    rows = cells(path)
    for row in rows:
        row.update({name: value for name, value in columns.items() if not row[name]})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)


def sidecar(echo, **more):
    return {"EchoTime": TIMES[echo], "MagneticFieldStrength": 3, **more}


def pair(put, echo, magnitude, phase):
    put(magnitude, "mag", sidecar(echo))
    put(phase, "phase", sidecar(echo))


def test_many_habits_become_one_valid_dataset(put, convert_table, tmp_path):
    for e in TIMES:
        pair(
            put, e, *(f"sub-01/swi/sub-01_echo-{e}_part-{p}_GRE.nii.gz" for p in ("mag", "phase"))
        )
        rec = [
            f"sub-02/ses-a/anat/sub-02_ses-a_rec-{p}_echo-{e}_T2star.nii" for p in ("mag", "phase")
        ]
        pair(put, e, *rec)
        put(f"sub-03/fmap/sub-03_magnitude{e}.nii.gz")
        put(f"sub-03/fmap/sub-03_phase{e}.nii.gz", "phase", sidecar(e))
        pair(put, e, f"bob/5_gre_{e}20200101_e{e}.nii", f"bob/6_gre_{e}20200101_e{e}_ph.nii")
    pair(
        put, 2, "sub-04/swi/sub-04_part-mag_swi.nii.gz", "sub-04/swi/sub-04_part-phase_swi.nii.gz"
    )
    put("sub-04/swi/sub-04_swi.nii.gz", sidecar=sidecar(2))
    put("sub-04/anat/sub-04_T1w.nii.gz")

    code, last, said = convert_table()
    assert (code, (tmp_path / "bids").exists()) == (0, False)
    assert "1 to skip" in last
    assert "1 T1w" in said
    code, last, _ = convert_table()
    assert (code, last) == (0, last)
    assert "5 run(s) converted" in last
    runs, problems = collect_runs(tmp_path / "bids")
    assert problems == []
    assert {(run.label, run.suffix, len(run.echoes)) for run in runs} == {
        ("sub-01", "MEGRE", 2),
        ("sub-02_ses-a", "MEGRE", 2),
        ("sub-03", "MEGRE", 2),
        ("sub-04", "T2starw", 1),
        ("sub-bob", "MEGRE", 2),
    }
    for run in runs:
        acquisition = read_acquisition(run)
        assert acquisition.echo_times == tuple(TIMES.values())[-len(run.echoes) :]
        assert acquisition.b0_tesla == 3
    assert validate_dataset(tmp_path / "bids").errors == []


def test_nothing_is_written_until_every_cell_is_there(put, convert_table, tmp_path):
    for part in ("magnitude", "phase"):
        put(f"anna/{part}.nii.gz", part[:3], shape=(*SHAPE, 2))
    table = tmp_path / "t.tsv"
    code, last, said = convert_table()
    assert (code, "fill in 4 cell(s)" in last, said.count("TO FILL IN")) == (0, True, 4)
    fill(table, field_strength_t="7")
    code, last, said = convert_table()
    assert (code, "2 cell(s)" in last) == (3, True)
    assert "line 2, anna/magnitude.nii.gz: echo_time_s is empty" in said
    assert not (tmp_path / "bids").exists()
    fill(table, echo_time_s="0.004")
    code, _, said = convert_table()
    assert (code, "one time per volume" in said) == (3, True)
    assert not (tmp_path / "bids").exists()
    table.write_text(table.read_text().replace("0.004", "0.004, 0.012"))
    code, last, _ = convert_table("--dry-run")
    assert (code, (tmp_path / "bids").exists()) == (0, False)
    code, last, _ = convert_table()
    assert code == 0, last
    (run,), _ = collect_runs(tmp_path / "bids")
    stored = nib.load(run.phase[1]).get_fdata()
    given = nib.load(tmp_path / "images/anna/phase.nii.gz").get_fdata()[..., 1]
    np.testing.assert_array_equal(stored, given)


def test_the_table_counts_and_conversion_can_be_repeated(put, convert_table, tmp_path):
    pair(put, 1, "sub-01_magnitude.nii", "sub-01_phase.nii")
    convert_table()
    table = tmp_path / "t.tsv"
    table.write_text(table.read_text().replace("0.004", "0.005"))  # the table is what counts
    assert convert_table()[0] == 0
    (run,), _ = collect_runs(tmp_path / "bids")
    assert read_acquisition(run).echo_times == (0.005,)
    code, last, _ = convert_table()
    assert (code, "0 run(s) converted, 1 left out" in last) == (0, True)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("phase\t0.012", "phase\t0.011", "there is no mag at 0.011 s"),
        ("phase\t0.012", "phase\t0.004", "both are phase at 0.004 s"),
        ("phase\t0.012", "skip\t0.012", "there is no phase at 0.012 s"),
        ("phase\t0.012\t3", "phase\t0.012\t7", "field strengths of 3 and 7 T"),
        ("sub-01_phase2.nii", "gone.nii", "no such file"),
    ],
)
def test_rows_that_make_no_run_are_named(put, convert_table, tmp_path, old, new, word):
    for e in TIMES:
        pair(put, e, f"sub-01_magnitude{e}.nii", f"sub-01_phase{e}.nii")
    convert_table()
    table = tmp_path / "t.tsv"
    assert old in table.read_text()
    table.write_text(table.read_text().replace(old, new))
    code, _, said = convert_table()
    assert (code, word in said, (tmp_path / "bids").exists()) == (3, True, False)


def test_images_on_other_grids_are_no_run(put, convert_table, tmp_path):
    put("sub-01_magnitude.nii", "mag", sidecar(1))
    put("sub-01_phase.nii", "phase", sidecar(1), shape=(12, 14, 11))
    convert_table()
    code, _, said = convert_table()
    assert (code, "another grid" in said, (tmp_path / "bids").exists()) == (3, True, False)


def test_scans_are_told_apart_by_their_words_or_counted(put, convert_table, tmp_path):
    for scan in ("gre_1mm", "gre_2mm"):
        pair(put, 1, f"anna/3_{scan}_e1.nii", f"anna/4_{scan}_e1_ph.nii")
    for series in (5, 7):
        pair(put, 1, f"bob/{series}_gre_e1.nii", f"bob/{series + 1}_gre_e1_ph.nii")
    convert_table()
    assert convert_table()[0] == 0
    runs, _ = collect_runs(tmp_path / "bids")
    assert [run.label for run in runs] == [
        "sub-anna_acq-gre1mm",
        "sub-anna_acq-gre2mm",
        "sub-bob_run-1",
        "sub-bob_run-2",
    ]


def test_a_folder_without_images_or_pairs_is_told(put, convert_table, tmp_path):
    put("sub-01/anat/sub-01_T1w.nii.gz")
    code, last, _ = convert_table()
    assert (code, "no NIfTI image but T1w" in last) == (3, True)
    put("sub-01/anat/sub-01_T2starw.nii.gz", sidecar=sidecar(1))
    code, last, _ = convert_table()
    assert (code, "none has magnitude and phase" in last) == (3, True)
    assert cells(tmp_path / "t.tsv")[0]["comment"] == "no phase beside it"


def test_names_of_persons_do_not_go_on(put, convert_table, tmp_path):
    put("sub-01_magnitude.nii", "mag", sidecar(1, PatientName="Muster"))
    put("sub-01_phase.nii", "phase", sidecar(1, PatientName="Muster"))
    convert_table()
    assert convert_table()[0] == 0
    for path in (tmp_path / "bids").rglob("*.json"):
        assert "Muster" not in path.read_text()


def test_coils_are_numbered_in_their_order(put, convert_table, tmp_path):
    for e in TIMES:
        for coil in ("H2", "H10"):
            name = f"TE{e}/SWI_3mm_coil{coil}_echo{e}"
            pair(put, e, f"1001/MAG_{name}_06.nii", f"1001/PHA_{name}_07_ph.nii")
        for part, name in (("mag", "mag"), ("phase", "pha")):
            put(f"1002/{name}_e{e}.nii.gz", part, sidecar(e), shape=(*SHAPE, 3))
    convert_table()
    table = {row["file"]: row for row in cells(tmp_path / "t.tsv")}
    assert table["1001/MAG_TE1/SWI_3mm_coilH10_echo1_06.nii"]["coil"] == "H10"
    assert table["1002/mag_e1.nii.gz"]["coil"] == "all"
    code, _, said = convert_table()
    assert code == 0, said
    (first, second), problems = find_coils(tmp_path / "bids")
    assert problems == []
    assert [len(files) for files in (first.phase[0], second.phase[0])] == [2, 1]
    given = nib.load(tmp_path / "images/1001/PHA_TE1/SWI_3mm_coilH10_echo1_07_ph.nii")
    made = nib.load(first.phase[0][1])
    np.testing.assert_array_equal(made.get_fdata(), given.get_fdata())
    assert nib.load(second.phase[1][0]).shape == (*SHAPE, 3)
    assert validate_dataset(tmp_path / "bids").errors == []
