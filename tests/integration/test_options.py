"""Options that change how a run is executed, each through the real command line."""

import json
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsmbids.io.truth import compare_with_truth

ANAT = Path("sub-demo/anat")


@pytest.fixture
def go_on(attempt, begun_work):
    """Attempt what differs from the quick run, which computes only that."""

    def steps():
        results = begun_work.rglob("result_*.pklz")
        return {p: p.stat().st_mtime_ns for p in results if not p.parent.name.startswith("save_")}

    def call(*options):
        before = steps()
        code, last, said = attempt(*options)
        assert code or steps() != before, "the options changed nothing"
        return code, last, said

    call.bids, call.out = attempt.bids, attempt.out
    return call


FAKE_BET = """#!{python}
import sys, nibabel as nib, numpy as np
source, target = sys.argv[1:3]
options = sys.argv[3:]
assert options[options.index("-f") + 1].startswith("0.5"), options
assert "-m" in options
image = nib.load(source)
mask = nib.load({mask!r})
nib.Nifti1Image(np.asarray(mask.dataobj).astype("uint8"), image.affine).to_filename(
    target.replace(".nii.gz", "") + "_mask.nii.gz"
)
nib.Nifti1Image(np.asarray(image.dataobj), image.affine).to_filename(
    target if target.endswith(".nii.gz") else target + ".nii.gz"
)
"""


@pytest.mark.slow
def test_fsl_makes_mask_1_where_it_is_installed(go_on, tmp_path, monkeypatch):
    truth = go_on.bids / "derivatives/truth/sub-demo/anat"
    mask = truth / "sub-demo_label-brain_desc-truth_mask.nii.gz"
    folder = tmp_path / "fsl"
    folder.mkdir()
    (folder / "bet").write_text(FAKE_BET.format(python=sys.executable, mask=str(mask)))
    (folder / "bet").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    code, _, said = go_on()
    assert code == 0, said
    assert "Mask 1: FSL BET" in said
    found = nib.load(go_on.out / ANAT / "sub-demo_label-brain_desc-mask1_mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(nib.load(mask).dataobj))
    sidecar = json.loads(
        (go_on.out / ANAT / "sub-demo_label-brain_desc-mask1_mask.json").read_text()
    )
    assert sidecar["BrainExtraction"]["Name"] == "FSL BET"


@pytest.mark.slow
@pytest.mark.parametrize("plugin", ["Linear", "MultiProc"])
def test_any_nipype_plugin_can_be_named(go_on, tmp_path, plugin):
    file = tmp_path / "plugin.yaml"
    file.write_text(f"plugin: {plugin}\nplugin_args: {{n_procs: 2}}\n")
    options = ("--inversion", "tkd", "--output-level", "minimal")
    code, _, said = go_on("--use-plugin", file, *options)
    assert code == 0, said
    assert (go_on.out / ANAT / "sub-demo_desc-wholebrain_Chimap.nii.gz").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("plugin: NoSuch\n", "NoSuch"),
        ("plugin_args: {}\n", "names no plugin"),
        ("plugin: Linear\nargs: 3\n", "unknown keys"),
        ("plugin: [\n", "YAML"),
    ],
)
def test_a_wrong_plugin_file_is_a_usage_error(attempt, tmp_path, text, says):
    file = tmp_path / "plugin.yaml"
    file.write_text(text)
    code, last, _ = attempt("--use-plugin", file)
    assert code == 2
    assert says in last


def test_settings_of_the_file_are_used_and_kept(go_on, tmp_path):
    config = tmp_path / "my.toml"
    config.write_text("[background_field.vsharp]\nmaximum_radius = 6\n")
    code, _, said = go_on("--config-file", config, "--output-level", "minimal")
    assert code == 0, said
    chi = json.loads((go_on.out / ANAT / "sub-demo_desc-wholebrain_Chimap.json").read_text())
    assert chi["BackgroundRemoval"]["Parameters"]["MaximumRadius"] == 6
    kept = next((go_on.out / "logs").glob("*/qsmbids.toml"))
    assert "maximum_radius = 6" in kept.read_text()


def test_a_wrong_setting_is_a_usage_error_before_anything_is_read(qsmbids, tmp_path):
    config = tmp_path / "my.toml"
    config.write_text("[background_field.vsharp]\nmaximum_radus = 6\n")
    code, last, _ = qsmbids(tmp_path, tmp_path / "out", "participant", "--config-file", config)
    assert code == 2
    assert "maximum_radius" in last


#: Settings that whole runs of the claims have as well, or that take long.
LONGER = (
    "[dipole_inversion]\nholes = 'two-pass'\n",
    "[dipole_inversion.fansi]\nconstraint = 'tgv'\nregularisation = 'adaptive'\n",
    "[dipole_inversion]\nmethod = 'medi'\n[dipole_inversion.medi]\nzero_reference = true\n",
    "[dipole_inversion]\nmethod = 'medi'\nholes = 'two-pass'\n"
    "[dipole_inversion.medi]\nsmv_radius_mm = 0.0\n",
    "[dipole_inversion]\nmethod = 'tkd'\n[background_field]\nmethod = 'pdf'\n",
    "[dipole_inversion]\nmethod = 'l2'\n[background_field]\nmethod = 'lbv'\n",
    "[background_field]\nmethod = 'resharp'\n",
    "[background_field]\nmethod = 'ismv'\n",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "table",
    [
        "[masks]\nreliable_phase = 'inverse-noise'\n",
        "[masks]\nreliable_phase = 'relative-residual'\n",
        "[masks]\nreliable_phase = 'none'\nbrain_extraction_image = 'combined'\n",
        "[total_field]\necho_weighting = 'average'\n",
        "[total_field]\necho_phase_combination = 'nonlinear-fit'\n",
        "[total_field]\nbipolar_correction = 'off'\n[phase]\nslice_alternation = 'off'\n",
        "[background_field]\nerode_after = 1\n[background_field.vsharp]\nvariant = 'sepia'\n",
        "[background_field]\nremove_residual_b1_field = true\n",
        "[dipole_inversion]\nholes = 'weight'\n[dipole_inversion.fansi]\nsolver = 'linear'\n",
        "[dipole_inversion.fansi]\nregularisation_weight = 'none'\n",
        "[reference]\nregion = 'csf'\n[relaxometry]\nmethod = 'loglinear'\n",
        "[total_field]\nromeo_weights = 'romeo6'\necho_weighting = 'phase_var'\n"
        "romeo_regions = 'as-grown'\n[background_field]\nunsure_rim = 'kept'\n",
        *(pytest.param(table, marks=pytest.mark.slow) for table in LONGER),
    ],
)
def test_every_choice_of_the_settings_runs(go_on, tmp_path, table):
    config = tmp_path / "my.toml"
    config.write_text(table)
    quick = () if "dipole_inversion" in table else ("--inversion", "tkd")
    code, _, said = go_on("--config-file", config, *quick)
    assert code == 0, said
    chi = np.asarray(nib.load(go_on.out / ANAT / "sub-demo_desc-wholebrain_Chimap.nii.gz").dataobj)
    assert np.isfinite(chi).all()
    assert 0.005 < chi[chi != 0].std() < 0.3


@pytest.mark.slow
def test_a_phase_offset_is_left_only_where_there_is_none(
    qsmbids, small_dataset_source, write_small_dataset, tmp_path, monkeypatch
):
    """With an offset the echoes fit no field, which is said in place of a map."""
    config = tmp_path / "my.toml"
    config.write_text(
        "[total_field]\nphase_offset_correction = 'none'\necho_weighting = 'average'\n"
    )
    options = ["--work-dir", tmp_path / "work", "--sloppy", "--skip-bids-validation"]
    options += ["--nprocs", "1", "--config-file", config, "--inversion", "tkd"]
    code, _, said = qsmbids(small_dataset_source, tmp_path / "with", "participant", *options)
    assert code == 1
    assert "the echoes do not fit one field" in said
    assert not list((tmp_path / "with").rglob("*_Chimap.nii.gz"))

    monkeypatch.setattr(
        "qsmbids.core.phantom.head.phase_offset", lambda phantom: np.zeros_like(phantom.chi)
    )
    bids = write_small_dataset(tmp_path / "bids")
    code, _, said = qsmbids(bids, tmp_path / "out", "participant", *options)
    assert code == 0, said
    chi = np.asarray(
        nib.load(tmp_path / "out" / ANAT / "sub-demo_desc-wholebrain_Chimap.nii.gz").dataobj
    )
    assert np.isfinite(chi).all()
    assert 0.005 < chi[chi != 0].std() < 0.3


def test_without_a_reference(go_on):
    code, _, said = go_on("--reference", "none")
    assert code == 0, said
    assert not list((go_on.out / ANAT).glob("*wholebrain_Chimap*"))
    assert list((go_on.out / ANAT).glob("*desc-unreferenced_Chimap.nii.gz"))
    page = (go_on.out / "sub-demo.html").read_text()
    assert "There is no susceptibility map" not in page


@pytest.mark.slow
def test_a_region_of_the_user_is_a_reference(go_on, small_dataset_source, tmp_path):
    raw = nib.load(next(small_dataset_source.rglob("*echo-1_part-mag_MEGRE.nii.gz")))
    region = np.zeros(raw.shape, np.uint8)
    region[17:21, 20:24, 16:18] = 1
    path = tmp_path / "region.nii.gz"
    nib.save(nib.Nifti1Image(region, raw.affine), path)
    code, _, said = go_on("--reference", path)
    assert code == 0, said
    chi = nib.load(go_on.out / ANAT / "sub-demo_desc-region_Chimap.nii.gz")
    values = np.asarray(chi.dataobj)[region > 0]
    assert values.mean() == pytest.approx(0, abs=1e-6)
    sidecar = json.loads((go_on.out / ANAT / "sub-demo_desc-region_Chimap.json").read_text())
    assert sidecar["ReferenceRegion"] == "given: region.nii.gz"
    # one that lies elsewhere is refused in plain words
    nib.save(nib.Nifti1Image(np.roll(region, (-17, -20, -16), axis=(0, 1, 2)), raw.affine), path)
    code, _, said = go_on("--reference", path)
    assert code == 1
    assert "no voxel where chi is known" in said


def _total_field(out):
    """Return the total field and Mask 4 of a run."""
    names = ("*desc-total_fieldmap.nii.gz", "*desc-mask4noholes_mask.nii.gz")
    field, mask4 = (np.asarray(nib.load(next(out.rglob(name))).dataobj) for name in names)
    return field, mask4 > 0


@pytest.fixture
def field_of(qsmbids, write_small_dataset, tmp_path):
    """Write a small head, and return its total field, Mask 4 and what was said."""

    def call(name, **head):
        bids, out = write_small_dataset(tmp_path / name, truth=False, **head), tmp_path / "out"
        code, _, said = qsmbids(
            bids, out / name, "participant", "--work-dir", tmp_path / "work" / name, "--sloppy",
            "--inversion", "tkd", "--skip-bids-validation", "--nprocs", "1",
        )  # fmt: skip
        assert code == 0, said
        return *_total_field(out / name), said

    return call


@pytest.mark.slow
@pytest.mark.parametrize("n_echoes", [pytest.param(3, marks=pytest.mark.slow), 5])
def test_a_bipolar_readout_is_found_and_corrected(field_of, n_echoes):
    maps = {}
    for readout in ("monopolar", "bipolar"):
        times = (0.004, 0.010, 0.016, 0.022, 0.028)[:n_echoes]
        *maps[readout], said = field_of(readout, readout=readout, echo_times=times)
        assert f"readout: {readout}" in said
    both = maps["monopolar"][1] & maps["bipolar"][1]
    difference = (maps["bipolar"][0] - maps["monopolar"][0])[both]
    assert np.std(difference - np.median(difference)) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "encoding",
    [
        "siemens-signed",
        "ge",
        pytest.param("milliradians", marks=pytest.mark.slow),
        pytest.param("float", marks=pytest.mark.slow),
    ],
)
def test_every_encoding_gives_the_same_field(small_run, field_of, encoding):
    """As the quick run, which is of phase from 0 to 4095."""
    expected, mask4 = _total_field(small_run / "out")
    field, known, said = field_of(encoding, encoding=encoding)
    if encoding == "ge":
        assert "phase sign: -1" in said
        assert "alternat" in said
    both = (field != 0) & known & (expected != 0) & mask4
    difference = (field - expected)[both]
    difference -= np.median(difference)
    assert both.sum() > 0.99 * ((expected != 0) & mask4).sum()
    assert np.sqrt(np.mean(difference**2)) < 0.5


@pytest.mark.slow
def test_an_oblique_slab_may_be_rotated(qsmbids, write_small_dataset, tmp_path):
    """Both ways lead to the same nuclei, on the array of the images."""
    bids = write_small_dataset(tmp_path / "bids", tilt_degrees=20)
    found = {}
    for method in ("tilt-kernel", "rotate"):
        out = tmp_path / method
        code, _, said = qsmbids(
            bids, out, "participant", "--oblique", method, "--work-dir", tmp_path / "work",
            "--skip-bids-validation", "--nprocs", "1", "--output-level", "full",
        )  # fmt: skip
        assert code == 0, said
        assert ("rotated by 20.0 degrees" in said) == (method == "rotate")
        chi = next(out.rglob("*desc-wholebrain_Chimap.nii.gz"))
        image = nib.load(chi)
        raw = nib.load(next(bids.rglob("sub-demo_echo-1_part-mag_MEGRE.nii.gz")))
        np.testing.assert_allclose(image.affine, raw.affine, atol=1e-4)
        mask4 = np.asarray(nib.load(next(out.rglob("*desc-mask4_mask.nii.gz"))).dataobj) > 0
        assert abs(np.asarray(image.dataobj)[mask4].mean(dtype=np.float64)) < 1e-6
        rows, slope = compare_with_truth(bids, chi)
        found[method] = {row.name: row.value for row in rows}
        assert 0.85 < slope < 1.15
    a, b = (np.array(list(found[m].values())) for m in found)
    assert np.polyfit(a, b, 1)[0] == pytest.approx(1, abs=0.08)


@pytest.mark.slow
def test_a_wrong_sign_is_noticed_in_the_map(qsmbids, write_small_dataset, tmp_path):
    bids = write_small_dataset(
        tmp_path / "bids", shape=(72, 84, 60), voxel_size=(1.33, 1.33, 1.33)
    )
    arguments = [bids, tmp_path / "out", "participant", "--work-dir", tmp_path / "work"]
    arguments += ["--skip-bids-validation", "--sloppy", "--nprocs", "1", "--inversion", "tkd"]
    arguments += ["--mask", next(bids.rglob("*_desc-truth_mask.nii.gz"))]
    code, _, said = qsmbids(*arguments)
    assert code == 0, said
    assert "--phase-sign" not in said
    code, _, said = qsmbids(*arguments, "--phase-sign=-1")
    assert code == 0, said
    assert "run again with the other --phase-sign" in said


@pytest.mark.slow
def test_sessions_and_runs_have_files_of_their_own(qsmbids, write_small_dataset, tmp_path):
    bids = tmp_path / "bids"
    for session, run in (("a", 1), ("a", 2), ("b", None)):
        write_small_dataset(bids, session=session, run=run, truth=False)
    arguments = [bids, tmp_path / "out", "participant", "--work-dir", tmp_path / "work"]
    arguments += ["--sloppy", "--skip-bids-validation", "--output-level", "minimal"]
    arguments += ["--inversion", "tkd"]
    code, last, said = qsmbids(*arguments, "--session-label", "ses-a", "--nprocs", "1")
    assert code == 0, said
    assert "2 ok" in last
    maps = sorted(p.name for p in (tmp_path / "out").rglob("*_Chimap.nii.gz"))
    assert maps == [f"sub-demo_ses-a_run-{r}_desc-wholebrain_Chimap.nii.gz" for r in (1, 2)]


@pytest.mark.slow
def test_the_work_directory_is_removed_on_request(attempt):
    code, _, said = attempt("--clean-workdir", "--output-level", "minimal")
    assert code == 0, said
    assert not attempt.work.exists()


@pytest.mark.slow
@pytest.mark.parametrize("nprocs", ["1", "2"])
def test_the_steps_of_a_run_that_failed_are_kept_for_the_next_call(
    qsmbids, write_small_dataset, tmp_path, nprocs
):
    bids, work = tmp_path / "bids", tmp_path / "work"
    for session in "ab":
        write_small_dataset(bids, session=session, truth=False)
    for path in (bids / "sub-demo" / "ses-a").rglob("*part-mag*.nii.gz"):
        image = nib.load(path)
        flat = np.zeros(image.shape, np.int16)
        flat[0, 0, 0] = 1
        nib.save(nib.Nifti1Image(flat, image.affine), path)
    arguments = [bids, tmp_path / "out", "participant", "--work-dir", work, "--clean-workdir"]
    arguments += ["--sloppy", "--skip-bids-validation", "--output-level", "minimal"]
    code, last, said = qsmbids(*arguments, "--nprocs", nprocs)
    assert code == 1
    assert "1 ok, 1 failed" in last
    assert {p.name for p in work.glob("qsmbids_*_wf/*")} == {"sub_demo_ses_a_wf"}
    assert {p.name for p in work.glob("*.lock")} == {"sub_demo_ses_a_wf.lock"}
    if nprocs == "1":  # else it is made beside the other run, which may be the first to end
        assert said.index("sub-demo_ses-a.html") < said.index("sub-demo_ses-b.html")
    lines = said.splitlines()
    failed = next(n for n, line in enumerate(lines) if "ses-a" in line and "FAILED" in line)
    done = [line for line in lines[failed + 1 :] if "ses-a" in line and ": done in" in line]
    assert len(done) < 6  # those that do not wait for Mask 1


@pytest.mark.slow
def test_a_real_head_gives_sensible_maps(qsmbids, shared_dir, tmp_path):
    """Philips, 3 T, 3 mm, two echoes, oblique: the sinus field is positive, nuclei are bright."""
    import subprocess

    converter = shutil.which("dcm2niix") or str(Path(sys.executable).with_name("dcm2niix"))
    dicom = shared_dir / "data" / "philips_head_2echo" / "dicom_classic"
    raw, anat = tmp_path / "raw", tmp_path / "bids" / "sub-01" / "anat"
    raw.mkdir()
    anat.mkdir(parents=True)
    subprocess.run(
        [converter, "-z", "y", "-f", "e%e", "-o", raw, dicom], check=True, capture_output=True
    )
    for path in raw.iterdir():
        echo, _, kind = path.name.partition(".")[0].partition("_")
        part = "phase" if kind == "ph" else "mag"
        suffix = path.name.partition(".")[2]
        path.rename(anat / f"sub-01_echo-{echo[1:]}_part-{part}_MEGRE.{suffix}")
    for path in anat.glob("*phase*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"Units": "rad"}))
    (anat.parents[1] / "dataset_description.json").write_text(
        json.dumps({"Name": "head", "BIDSVersion": "1.10.0", "DatasetType": "raw"})
    )
    code, _, said = qsmbids(
        tmp_path / "bids", tmp_path / "out", "participant", "--work-dir", tmp_path / "work"
    )
    assert code == 0, said
    out = tmp_path / "out" / "sub-01"
    chi = np.asarray(nib.load(next(out.rglob("*_Chimap.nii.gz"))).dataobj)
    total = np.asarray(nib.load(next(out.rglob("*desc-total_fieldmap.nii.gz"))).dataobj)
    inside = chi != 0
    assert 1000 < inside.sum() * 0.027 < 2200  # ml
    assert 0.01 < chi[inside].std() < 0.2
    # the frontal sinus and the ear canals push the field up, nothing pushes it down as far
    assert np.percentile(total[inside], 99.8) - np.median(total[inside]) > 60
