"""When things are wrong: one line that names the file and the cure, and nothing lost."""

import gzip
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

ANAT = Path("sub-demo/anat")
OPTIONS = ("--output-level", "minimal", "--inversion", "tkd")


def _image(bids, echo, part):
    return bids / ANAT / f"sub-demo_echo-{echo}_part-{part}_MEGRE.nii.gz"


def _edit_image(path, change):
    image = nib.load(path)
    data = change(np.asarray(image.dataobj).copy())
    nib.Nifti1Image(data, image.affine).to_filename(path)


def _edit_sidecars(bids, change, part="*", echo="*"):
    for path in bids.glob(f"sub-*/anat/*echo-{echo}_part-{part}_MEGRE.json"):
        path.write_text(json.dumps(change(json.loads(path.read_text()))))


def _without(key):
    return lambda meta: {k: v for k, v in meta.items() if k != key}


def _no_half_files(out):
    """Every image that is there opens, and has its sidecar."""
    for path in out.rglob("*.nii.gz"):
        np.asarray(nib.load(path).dataobj)
        assert path.with_name(path.name.replace(".nii.gz", ".json")).exists() or path.parent == out
    return not list(out.rglob("*.tmp*"))


def _truncate(bids):
    path = _image(bids, 2, "phase")
    path.write_bytes(path.read_bytes()[:-2000])


def _drop(*parts_and_echoes):
    def change(bids):
        for part, echo in parts_and_echoes:
            for path in bids.glob(f"sub-demo/anat/*echo-{echo}_part-{part}_MEGRE.*"):
                path.unlink()

    return change


def _cut_slice(bids):
    _edit_image(_image(bids, 3, "mag"), lambda d: d[:, :, :-1])


def _move(bids):
    path = _image(bids, 3, "phase")
    image = nib.load(path)
    affine = image.affine.copy()
    affine[0, 3] += 5
    nib.Nifti1Image(np.asarray(image.dataobj), affine).to_filename(path)


def _all_zero(bids):
    for echo in range(1, 6):
        _edit_image(_image(bids, echo, "mag"), np.zeros_like)


def _unwrapped(bids):
    def ramp(data, echo):
        x = np.linspace(0, 60, len(data))[:, None, None]
        return (0 * data + echo * x).astype(np.float32)

    for echo in range(1, 6):
        _edit_image(_image(bids, echo, "phase"), lambda d, e=echo: ramp(d, e))
    _edit_sidecars(bids, lambda m: m | {"Units": "rad"}, "phase")


def _hertz(bids):
    _edit_sidecars(bids, lambda m: m | {"Units": "Hz"}, "phase")


def _broken_json(bids):
    _image(bids, 2, "phase").with_name("sub-demo_echo-2_part-phase_MEGRE.json").write_text("{,}")


def _equal(bids):
    _edit_sidecars(bids, lambda m: m | {"EchoTime": _echo_time(bids, 4)}, echo="5")


def _echo_time(bids, echo):
    path = _image(bids, echo, "phase")
    sidecar = path.with_name(path.name.replace(".nii.gz", ".json"))
    return json.loads(sidecar.read_text())["EchoTime"]


def _huge_header(bids):
    path = _image(bids, 1, "mag")
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[42:48] = np.array([32767, 32767, 32767], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))


REFUSED = {
    "missing phase echo": (_drop(("phase", 3)), "echo", "echo-3_part-phase"),
    "missing magnitude echo": (_drop(("mag", 5)), "echo", "echo-5_part-mag"),
    "no phase": (_drop(("phase", "*")), "phase", "sub-demo"),
    "no magnitude": (_drop(("mag", "*")), "magnitude", "sub-demo"),
    "no field strength": (
        lambda b: _edit_sidecars(
            b, lambda m: _without("ImagingFrequency")(_without("MagneticFieldStrength")(m))
        ),
        "--field-strength",
        "MEGRE",
    ),
    "no echo time": (lambda b: _edit_sidecars(b, _without("EchoTime")), "--echo-times", "MEGRE"),
    "two equal echo times": (_equal, "do not rise", "MEGRE"),
    "another shape": (_cut_slice, "shape", "echo-3_part-mag"),
    "another place": (_move, "affine", "echo-3_part-phase"),
    "field map in Hz": (_hertz, "Hz", "part-phase"),
    "broken JSON": (_broken_json, "JSON", "echo-2_part-phase_MEGRE.json"),
    "absurd header": (_huge_header, "echo-1_part-mag", "nii.gz"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_input_is_refused_before_anything_is_computed(attempt, case):
    change, says, where = REFUSED[case]
    change(attempt.bids)
    code, last, said = attempt()
    assert code == 3, said
    assert "0 ok, 1 failed" in last
    assert "exit code 3" in last
    assert says in said
    assert where in said
    assert "Traceback" not in said
    assert not list(attempt.out.rglob("*.nii.gz"))
    summary = json.loads((attempt.out / "logs" / "summary.json").read_text())
    assert summary["counts"] == {"failed": 1}


FAILING = {
    "truncated image": (_truncate, "echo-2_part-phase", "prepare_phase"),
    "all-zero magnitude": (_all_zero, "zero everywhere", "prepare_magnitude"),
    "unwrapped phase": (_unwrapped, "part-phase", "prepare_phase"),
}


@pytest.mark.parametrize("case", FAILING)
def test_wrong_voxels_fail_with_the_name_of_the_file(attempt, case):
    change, says, step = FAILING[case]
    change(attempt.bids)
    code, last, said = attempt()
    assert code == 1, said
    assert "0 ok, 1 failed" in last
    failure = next(line for line in said.splitlines() if "failed in step" in line)
    assert says in failure
    assert step in failure
    assert "Traceback" not in said
    assert _no_half_files(attempt.out)


@pytest.mark.slow
def test_echo_times_in_milliseconds_are_understood(attempt):
    _edit_sidecars(attempt.bids, lambda m: m | {"EchoTime": 1000 * m["EchoTime"]})
    code, _, said = attempt()
    assert code == 0, said
    chi = attempt.out / ANAT / "sub-demo_desc-wholebrain_Chimap.json"
    sidecar = json.loads(chi.read_text())
    assert sidecar["EchoTime"] == pytest.approx([0.004, 0.01, 0.016, 0.022, 0.028])
    assert any("ms" in w or "millisecond" in w for w in sidecar["AcquisitionWarnings"])


@pytest.mark.slow
def test_missing_metadata_can_be_given(attempt):
    _edit_sidecars(
        attempt.bids,
        lambda m: _without("ImagingFrequency")(
            _without("EchoTime")(_without("MagneticFieldStrength")(m))
        ),
    )
    times = ["0.004", "0.010", "0.016", "0.022", "0.028"]
    code, _, said = attempt("--field-strength", "3", "--echo-times", *times)
    assert code == 0, said


@pytest.mark.slow
def test_nan_and_infinite_voxels_are_left_out(attempt):
    def spoil(data):
        data = data.astype(np.float32)
        data[24, 28, 20], data[10, 10, 10], data[30, 20, 20] = np.nan, np.inf, -np.inf
        return data

    _edit_image(_image(attempt.bids, 2, "mag"), spoil)
    _edit_image(_image(attempt.bids, 4, "phase"), spoil)
    code, _, said = attempt("--output-level", "full")
    assert code == 0, said
    for path in attempt.out.rglob("*.nii.gz"):
        assert np.isfinite(np.asarray(nib.load(path).dataobj)).all(), path
    sidecar = json.loads((attempt.out / ANAT / "sub-demo_desc-wholebrain_Chimap.json").read_text())
    assert sidecar["NonFiniteVoxels"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("n_echoes", [1, 2])
def test_few_echoes_work_with_a_warning(attempt, n_echoes):
    _drop(*((p, e) for p in ("mag", "phase") for e in range(n_echoes + 1, 6)))(attempt.bids)
    code, _, said = attempt("--output-level", "full")
    assert code == 0, said
    assert (attempt.out / ANAT / "sub-demo_desc-wholebrain_Chimap.nii.gz").exists()
    assert (attempt.out / ANAT / "sub-demo_R2starmap.nii.gz").exists() == (n_echoes > 1)
    if n_echoes == 1:
        assert "single echo" in said


@pytest.mark.slow
def test_single_echo_t2starw_is_taken(attempt):
    _drop(*((p, e) for p in ("mag", "phase") for e in (1, 2, 4, 5)))(attempt.bids)
    for path in list((attempt.bids / ANAT).iterdir()):
        path.rename(path.with_name(path.name.replace("_echo-3", "").replace("MEGRE", "T2starw")))
    code, _, said = attempt("--output-level", "debug")
    assert code == 0, said
    assert (attempt.out / ANAT / "sub-demo_part-phase_desc-unwrapped_T2starw.nii.gz").exists()


@pytest.mark.slow
def test_one_bad_run_stops_no_other(qsmbids, write_small_dataset, tmp_path):
    bids = tmp_path / "bids"
    for subject in ("01", "02", "03"):
        write_small_dataset(bids, subject=subject, truth=False)
    bad = bids / "sub-02/anat/sub-02_echo-1_part-phase_MEGRE.nii.gz"
    bad.write_bytes(bad.read_bytes()[:-3000])
    (bids / "sub-03/anat/sub-03_echo-1_part-phase_MEGRE.json").write_text("{")
    args = [bids, tmp_path / "out", "participant", "--work-dir", tmp_path / "work", "--sloppy"]
    args += ["--skip-bids-validation", "--output-level", "minimal", "--nprocs", "2"]
    code, last, said = qsmbids(*args)
    assert code == 1, said
    assert "1 ok, 2 failed" in last
    assert (tmp_path / "out/sub-01/anat/sub-01_desc-wholebrain_Chimap.nii.gz").exists()
    summary = json.loads((tmp_path / "out/logs/summary.json").read_text())
    status = {r["run"]: r for r in summary["runs"]}
    assert status["sub-01"]["status"] == "ok"
    assert "part-phase" in status["sub-02"]["message"]
    assert Path(status["sub-02"]["crash_file"]).exists()
    assert status["sub-03"]["step"] == "pre-flight"


@pytest.mark.slow
def test_what_nobody_asked_for_is_left_out_and_the_codes_agree(attempt):
    """A participant that was not fetched, a reconstruction of the magnitude alone, odd folders."""
    anat = attempt.bids / ANAT
    shutil.copytree(attempt.bids / "sub-demo", attempt.bids / "sub-absent")
    for path in sorted((attempt.bids / "sub-absent/anat").iterdir()):
        path = path.rename(path.with_name(path.name.replace("sub-demo", "sub-absent")))
        if path.suffix == ".gz":
            path.write_text("/annex/objects/MD5E-s1--0123.nii.gz\n")
    (attempt.bids / "sub-demo_2").mkdir()
    for path in sorted(anat.glob("*part-mag*")):
        shutil.copy(path, path.with_name(path.name.replace("demo_", "demo_rec-sos_")))
    for options in (("--dry-run",), ()):
        code, last, said = attempt(*options)
        assert code == 0, said
        assert "2 left out" in last
        assert "datalad get" in said
        assert "sub-demo_rec-sos" in said
        assert "sub-demo_2" in said
    _drop(("phase", 2))(attempt.bids)
    assert attempt("--dry-run")[0] == attempt()[0] == 3
    for named in (
        ("--participant-label", "absent"),
        ("--participant-label", "absent", "--dry-run"),
    ):
        code, _, said = attempt(*named)
        assert code == 3, said
        assert "datalad get" in said


@pytest.fixture
def mask_file(small_dataset, tmp_path):
    truth = small_dataset / "derivatives/truth/sub-demo/anat"
    target = tmp_path / "mask.nii.gz"
    shutil.copy(truth / "sub-demo_label-brain_desc-truth_mask.nii.gz", target)
    return target


@pytest.mark.slow
def test_a_given_mask_is_mask_1(attempt, mask_file):
    code, _, said = attempt("--mask", mask_file, "--output-level", "standard")
    assert code == 0, said
    mask1 = nib.load(attempt.out / ANAT / "sub-demo_label-brain_desc-mask1_mask.nii.gz")
    np.testing.assert_array_equal(
        np.asarray(mask1.dataobj), np.asarray(nib.load(mask_file).dataobj)
    )


@pytest.mark.slow
def test_a_given_mask_may_be_stored_in_another_order(attempt, mask_file):
    image = nib.load(mask_file)
    turned = nib.orientations.axcodes2ornt(("S", "L", "P"))
    ornt = nib.orientations.ornt_transform(nib.io_orientation(image.affine), turned)
    expected = np.asarray(image.dataobj).copy()
    image.as_reoriented(ornt).to_filename(mask_file.with_name("turned.nii.gz"))
    code, _, said = attempt(
        "--mask", mask_file.with_name("turned.nii.gz"), "--output-level", "standard"
    )
    assert code == 0, said
    mask1 = nib.load(attempt.out / ANAT / "sub-demo_label-brain_desc-mask1_mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask1.dataobj), expected)


def test_masks_are_found_in_a_derivative(attempt):
    code, _, said = attempt("--mask", attempt.bids / "derivatives" / "truth", "--dry-run")
    assert code == 0, said
    assert "desc-truth_mask" in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: 0 * d, "empty"),
        (lambda d: d[:-1], "does not match"),
        (lambda d: np.stack([d, d], axis=-1), "mask"),
    ],
)
def test_a_wrong_mask_is_refused(attempt, mask_file, change, says):
    _edit_image(mask_file, change)
    code, _, said = attempt("--mask", mask_file)
    assert code == 3, said
    assert says in said
    assert "mask.nii.gz" in said


def test_options_that_do_not_exist_are_usage_errors(qsmbids):
    assert qsmbids("a", "b", "participant", "--mask-method", "x")[0] == 2
    assert qsmbids("a", "b", "subject")[0] == 2
    assert qsmbids("a", "b", "participant", "--preset", "none-such")[0] == 2


def test_no_dataset_no_participant_no_run(qsmbids, small_dataset, tmp_path):
    out = tmp_path / "out"
    code, last, _ = qsmbids(tmp_path / "nowhere", out, "participant")
    assert code == 3
    assert "nowhere" in last
    options = ("--skip-bids-validation", "--participant-label", "sub-99")
    code, last, _ = qsmbids(small_dataset, out, "participant", *options)
    assert code == 3
    assert "demo" in last


def test_results_never_go_among_the_raw_data(qsmbids, small_dataset):
    for out in (small_dataset, small_dataset / "results", small_dataset.parent):
        assert qsmbids(small_dataset, out, "participant")[0] == 2
    code, _, _ = qsmbids(
        small_dataset, small_dataset / "derivatives/q", "participant", "-w", small_dataset / "w"
    )
    assert code == 2


@pytest.mark.slow
def test_invalid_bids_is_refused_where_it_is_read(attempt, qsmbids, tmp_path):
    command = (attempt.bids, tmp_path / "out", "participant", "--dry-run")
    (attempt.bids / ANAT / "sub-demo_nonsense.nii.gz").write_bytes(b"")
    (attempt.bids / "README.md").write_text("")
    (attempt.bids / ANAT / "sub-demo_T1w.nii.gz").symlink_to("nowhere.nii.gz")
    code, _, said = qsmbids(*command)
    assert code == 0, said
    assert "nonsense" in said
    assert "README.md" in said
    assert "datalad get" in said
    _edit_sidecars(attempt.bids, _without("Units"), "phase", "2")
    code, _, said = qsmbids(*command)
    assert code == 3
    assert "--skip-bids-validation" in said
    assert "SIDECAR_KEY_REQUIRED (Units)" in said


def test_an_output_that_cannot_be_written_is_named(qsmbids, small_dataset, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    code, last, _ = qsmbids(
        small_dataset, blocked / "out", "participant", "--skip-bids-validation", "--sloppy"
    )
    assert code == 1
    assert "file" in last


@pytest.mark.slow
def test_a_full_disk_is_named_and_the_rerun_completes(small_dataset, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "qsmbids", small_dataset, out, "participant", "--sloppy"]
    command += ["--skip-bids-validation", "--work-dir", tmp_path / "work", "--nprocs", "1"]

    def limit():  # no file may grow beyond 100 kB: the same error path as a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = [str(c) for c in command]
    full = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert full.returncode == 1, full.stderr
    assert "cannot be written" in full.stderr
    assert "Traceback" not in full.stderr
    assert _no_half_files(out)
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
