"""DICOM below ``sourcedata`` in, maps out, through the real command line."""

import json
import os
import shutil

import nibabel as nib
import numpy as np
import pytest

QUICK = ("--nprocs", "1", "--sloppy", "--output-level", "minimal")
CHI = "anat/sub-{0}_desc-wholebrain_Chimap"


@pytest.fixture(scope="session")
def head_dicom(dicom, small_dataset_source, tmp_path_factory):
    """Three echoes of the small head as a Siemens scanner exports them; nobody writes to it."""
    anat = small_dataset_source / "sub-demo" / "anat"
    echoes, times = [], []
    for echo in (1, 3, 5):
        stem = f"sub-demo_echo-{echo}_part-{{}}_MEGRE"
        images = [nib.load(anat / f"{stem.format(p)}.nii.gz") for p in ("mag", "phase")]
        mag, phase = (np.asarray(nib.as_closest_canonical(i).dataobj, float) for i in images)
        signal = mag * np.exp(1j * (phase - 2048) * np.pi / 2048)
        echoes.append(signal[::-1, ::-1])  # the axes of DICOM: left, posterior, superior
        sidecar = json.loads((anat / f"{stem.format('mag')}.json").read_text())
        times.append(sidecar["EchoTime"])
    folder = tmp_path_factory.mktemp("head") / "dicom"
    given = {
        "signal": np.stack(echoes),
        "echo_times": times,
        "voxel": images[0].header.get_zooms()[:3],
        "ImagingFrequency": "127.7",
    }
    for number, part in enumerate(("mag", "phase"), 1):
        dicom.write_series(folder, "siemens", [part], number=number, **given)
    return folder


@pytest.fixture
def source(head_dicom, tmp_path):
    """Return a function that puts the head's DICOM somewhere below ``sourcedata``."""
    bids = tmp_path / "in"

    def put(where):
        target = bids / "sourcedata" / where
        if target.name.endswith((".zip", ".tar.gz")):
            stem, _, kind = target.name.partition(".")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.make_archive(
                target.with_name(stem), {"zip": "zip", "tar.gz": "gztar"}[kind], head_dicom
            )
        else:
            shutil.copytree(head_dicom, target, copy_function=os.link)
        return bids

    return put


@pytest.fixture
def run(qsmbids, tmp_path):
    def call(*options, out=None):
        folders = (tmp_path / "in", out or tmp_path / "out", "participant")
        return qsmbids(*folders, "--work-dir", tmp_path / "work", *QUICK, *options)

    call.bids, call.out = tmp_path / "in", tmp_path / "out"
    return call


def listing(folder):
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*")}


def chi_of(out, label="01"):
    return nib.load(out / f"sub-{label}" / f"{CHI.format(label)}.nii.gz")


@pytest.mark.slow
def test_dicom_becomes_a_map_and_one_bad_scan_stops_no_other(run, source):
    bids = source("sub-01/scans")
    (bids / "sourcedata" / "sub-02.zip").write_bytes(b"PK\3\4 this is no archive")
    code, last, said = run()
    assert code == 1, said
    assert "1 ok, 1 failed" in last
    summary = json.loads((run.out / "logs" / "summary.json").read_text())
    status = {entry["run"]: entry for entry in summary["runs"]}
    assert status["sub-01"]["status"] == "ok"
    assert status["sub-02"]["step"] == "convert_dicom"
    assert "sub-02.zip" in status["sub-02"]["message"]
    assert "Traceback" not in said
    # into the dataset itself, for it can be written
    assert len(list((bids / "sub-01" / "anat").glob("*.nii.gz"))) == 6
    assert not (run.out / "sourcedata").exists()
    sidecar = json.loads((run.out / "sub-01" / f"{CHI.format('01')}.json").read_text())
    assert {uri.partition("sub-01")[0] for uri in sidecar["Sources"]} <= {"bids:raw:", "bids::"}

    # the second call converts nothing
    before = listing(bids)
    code, last, said = run("--skip-bids-validation")
    assert code == 1, said
    assert "1 ok, 1 failed" in last
    assert listing(bids) == before


@pytest.mark.slow
def test_what_comes_of_dicom_is_what_comes_of_nifti(run, source, qsmbids, small_dataset, tmp_path):
    source("sub-01")
    assert run()[0] == 0
    for path in small_dataset.glob("sub-demo/anat/*_echo-[24]_*"):
        path.unlink()
    args = (small_dataset, tmp_path / "direct", "participant", "-w", tmp_path / "work2", *QUICK)
    assert qsmbids(*args, "--skip-bids-validation")[0] == 0
    ours, theirs = (
        nib.as_closest_canonical(i) for i in (chi_of(run.out), chi_of(tmp_path / "direct", "demo"))
    )
    a, b = (np.asarray(image.dataobj) for image in (ours, theirs))
    inside = (a != 0) & (b != 0)
    assert inside.sum() > 0.95 * (b != 0).sum()
    assert np.corrcoef(a[inside], b[inside])[0, 1] > 0.99


@pytest.mark.slow
def test_a_dataset_that_cannot_be_written_is_left_alone(run, source, monkeypatch):
    from qsmbids.io.validate import validate_dataset

    bids = source("sub-01/ses-a.zip")
    before = listing(bids)
    access = os.access

    def read_only(path, mode, **options):
        within = bids in (path, *getattr(path, "parents", ()))
        return access(path, mode, **options) and not (within and mode & os.W_OK)

    monkeypatch.setattr(os, "access", read_only)
    code, _, said = run()
    assert code == 0, said
    assert listing(bids) == before
    raw = run.out / "sourcedata" / "raw"
    assert len(list((raw / "sub-01/ses-a/anat").glob("*.nii.gz"))) == 6
    assert validate_dataset(raw).errors == []
    assert validate_dataset(run.out, all_modalities=True).errors == []
    links = json.loads((run.out / "dataset_description.json").read_text())["DatasetLinks"]
    assert links["converted"] == "sourcedata/raw"
    seen = 0
    for path in run.out.glob("sub-01/ses-a/*/*.json"):
        for uri in json.loads(path.read_text())["Sources"]:
            _, name, inside = uri.split(":", 2)
            root = run.out / links[name] if name else run.out
            seen += name == "converted"
            assert (root / inside).exists() or not name, uri
    assert seen
    made = listing(raw)
    code, _, said = run()
    assert code == 0, said
    assert "DICOM" not in said
    assert listing(raw) == made


def test_a_dry_run_shows_the_series_and_writes_nothing(run, source, small_dataset):
    bids = source("sub-07.tar.gz")
    shutil.copytree(small_dataset, bids, dirs_exist_ok=True)  # raw images of another person
    before = listing(bids)
    code, last, said = run("--dry-run", "--skip-bids-validation")
    assert code == 0, said
    assert "1 to process, 1 to convert first, 0 cannot be" in last
    assert f"sub-07 would be converted from DICOM into {bids}" in said
    assert "sub-07 MEGRE, phase, 3 echo(es)" in said
    only = ("--skip-bids-validation", "--participant-label", "07")
    code, last, said = run("--dry-run", *only)
    assert code == 0, said
    assert "0 to process, 1 to convert" in last
    code, last, said = run("--dry-run", *only, "--no-convert")
    assert code == 3
    assert "there is no participant 07" in last
    assert listing(bids) == before
    assert not run.out.exists()


def test_nothing_suitable_is_a_failure_with_the_reason(run, dicom):
    dicom.write_series(run.bids / "sourcedata" / "sub-01", "siemens", ["mag"])
    (run.bids / "sourcedata" / "sub-02").mkdir()
    (run.bids / "sourcedata" / "sub-02" / "notes.txt").write_text("nothing was scanned")
    code, last, said = run()
    assert code == 3, said
    assert "0 ok, 1 failed" in last
    assert "magnitude only" in said
    code, last, said = run("--dry-run")
    assert code == 3
    assert "magnitude only" in said


def test_sessions_fail_alone_and_a_later_success_clears_the_record(run, dicom, monkeypatch):
    from qsmbids.cli import run as command

    skip = "--skip-bids-validation"
    # the conversion is what counts here
    monkeypatch.setattr(command, "run_graph", lambda plans, *_: [
        {"run": plan.run.label, "status": "ok", "outputs": []} for plan in plans
    ])  # fmt: skip
    sources = run.bids / "sourcedata" / "sub-01"
    for number, part in enumerate(("mag", "phase"), 1):
        dicom.write_series(sources / "ses-1", "siemens", [part], number=number)
    archive = sources / "ses-2.zip"
    archive.write_bytes(b"PK\3\4")
    (sources / "ses-3").mkdir()
    (sources / "ses-3.zip").write_bytes(b"PK\3\4")
    code, last, said = run(skip)
    assert code == 1, said
    assert "1 ok, 2 failed" in last
    assert "ses-3 and ses-3.zip are both of sub-01_ses-3. Keep one" in said
    code, last, _ = run(skip, "--stop-on-first-crash", "--session-label", "2")
    assert code == 1
    assert "0 ok, 1 failed" in last
    archive.unlink()
    (sources / "ses-3.zip").unlink()
    for number, (name, part) in enumerate((n, p) for n in "ab" for p in ("mag", "phase")):
        dicom.write_series(
            sources / "ses-2", "siemens", [part], number=number, description=f"qsm{name}"
        )
    code, last, said = run(skip, "--session-label", "2")
    assert code == 0, said
    assert "2 ok, 0 failed" in last
    status = {path.stem for path in (run.out / "logs" / "status").iterdir()}
    assert {"sub-01_ses-1", "sub-01_ses-2_acq-qsma", "sub-01_ses-2_acq-qsmb"} <= status
    assert "sub-01_ses-2" not in status


@pytest.mark.slow
def test_processes_side_by_side_list_every_participant(run, dicom, monkeypatch):
    from qsmbids.cli import run as command

    monkeypatch.setattr(command, "run_graph", lambda plans, *_: [])
    for label in ("01", "02", "03"):
        for number, part in enumerate(("mag", "phase"), 1):
            folder = run.bids / "sourcedata" / f"sub-{label}"
            dicom.write_series(folder, "siemens", [part], number=number)
    run("--nprocs", "2", "--skip-bids-validation")
    table = (run.bids / "participants.tsv").read_text().splitlines()
    assert sorted(table) == ["participant_id", "sub-01", "sub-02", "sub-03"]
    assert not list(run.bids.glob(".qsmbids*"))


@pytest.mark.slow
def test_a_real_head_goes_from_dicom_to_a_map(run, shared_dir):
    """Philips, two echoes, magnitude and phase, as the scanner's archive exports them."""
    dicom = shared_dir / "data" / "philips_head_2echo" / "dicom_classic"
    shutil.copytree(dicom, run.bids / "sourcedata" / "sub-01" / "ses-1" / "dicom")
    code, _, said = run()
    assert code == 0, said
    chi = np.asarray(nib.load(next(run.out.rglob("*_Chimap.nii.gz"))).dataobj)
    assert 0.01 < chi[chi != 0].std() < 0.2
