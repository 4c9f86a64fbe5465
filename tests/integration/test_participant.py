"""A dataset in, valid derivatives out, through the real command line."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from qsmbids.io.truth import compare_with_truth
from qsmbids.io.validate import validate_dataset

LEVELS = {
    "minimal": {
        "anat/desc-wholebrain_Chimap",
        "anat/desc-references_stats.tsv",
        "anat/desc-iqms_stats.tsv",
        "anat/label-brain_desc-mask4_mask",
        "anat/label-brain_desc-mask4noholes_mask",
        "fmap/magnitude",
        "fmap/desc-local_fieldmap",
    },
    "standard": {
        "anat/desc-csf_Chimap",
        "anat/label-CSF_desc-reference_mask",
        "anat/R2starmap",
        "anat/T2starmap",
        "anat/S0map",
        "anat/label-brain_desc-mask1_mask",
        "anat/label-brain_desc-mask2_mask",
        "anat/label-brain_desc-mask3_mask",
        "anat/desc-phasequality_probseg",
        "anat/part-mag_desc-rss_T2starw",
        "anat/desc-weights_T2starw",
        "fmap/desc-total_fieldmap",
    },
    "full": {
        "anat/desc-unreferenced_Chimap",
        "anat/part-phase_desc-offset_T2starw",
        "fmap/desc-background_fieldmap",
        "fmap/desc-noise_fieldmap",
        *(f"anat/echo-{e}_part-phase_desc-unwrapped_MEGRE" for e in range(1, 6)),
    },
}


@pytest.fixture(scope="module")
def finished(write_small_dataset, tmp_path_factory):
    """A run of everything but the last iterations, at the highest useful output level."""
    from qsmbids.cli.run import main

    out = tmp_path_factory.mktemp("finished") / "out"
    work = out.parent / "work"
    bids = write_small_dataset(out.parent / "bids", shape=(48, 56, 40), voxel_size=(2.0,) * 3)
    arguments = [bids, out, "participant", "--nprocs", "1", "--work-dir", work]
    options = ["--output-level", "full", "--skip-bids-validation"]
    code = main([str(a) for a in (*arguments, *options)])
    assert code == 0
    return bids, out


def _volume(out, name):
    folder, _, stem = name.partition("/")
    return np.asarray(nib.load(out / "sub-demo" / folder / f"sub-demo_{stem}.nii.gz").dataobj)


def _sidecar(out, name):
    folder, _, stem = name.partition("/")
    return json.loads((out / "sub-demo" / folder / f"sub-demo_{stem}.json").read_text())


def test_the_files_are_exactly_those_of_the_documented_tree(finished):
    _, out = finished
    found = {
        f"{p.parent.name}/{p.name.removeprefix('sub-demo_').removesuffix('.nii.gz')}"
        for p in (out / "sub-demo").rglob("*.*")
        if p.name.endswith((".nii.gz", ".tsv")) and p.parent.name != "figures"
    }
    assert found == set().union(*LEVELS.values())
    assert not [p for p in out.rglob("*") if "tmp" in p.name or p.name.startswith(".~")]


def test_the_output_is_valid_bids(finished):
    _, out = finished
    result = validate_dataset(out, all_modalities=True)
    assert not result.errors, result.errors


def test_what_a_publication_needs_is_left(finished):
    bids, out = finished
    for name in ("CITATION.md", "CITATION.bib", "CITATION.html"):
        assert (out / "logs" / name).is_file(), name
    text = (out / "logs/CITATION.md").read_text("utf-8")
    assert "TR = 33 ms" in text
    assert "5 monopolar echoes at TE1 : spacing : TEmax = 4 : 6 : 28 ms" in text
    assert "FANSI [@milovic2018]" in text
    figures = {p.name for p in (out / "sub-demo/figures").iterdir()}
    for name in ("hardware_table.tsv", "sequence_table.tsv", "reconstruction_table.tsv"):
        assert f"sub-demo_desc-{name}" in figures
    assert "sub-demo_desc-paper_tables.md" in figures
    # every sidecar agrees with the settings, so that text and tables are those of the run
    page = (out / "sub-demo.html").read_text("utf-8")
    assert "another value than the settings" not in page
    assert "flip angle = 15°" in page
    kept = json.loads((out / "sub-demo/anat/sub-demo_desc-acquisition_stats.json").read_text())
    assert len(kept["Sidecars"]) == 5
    raw = json.loads(next(bids.glob("sub-demo/anat/*echo-1_part-phase*.json")).read_text())
    assert kept["Sidecars"][0]["FlipAngle"] == raw["FlipAngle"]


def test_the_map_is_zero_outside_and_its_mean_is_zero_inside(finished):
    _, out = finished
    chi = _volume(out, "anat/desc-wholebrain_Chimap")
    mask4 = _volume(out, "anat/label-brain_desc-mask4_mask") > 0
    support = _volume(out, "anat/label-brain_desc-mask4noholes_mask") > 0
    assert np.isfinite(chi).all()
    assert (chi[~support] == 0).all()
    assert abs(chi[mask4].mean(dtype=np.float64)) < 1e-6
    unreferenced = _volume(out, "anat/desc-unreferenced_Chimap")
    value = _sidecar(out, "anat/desc-wholebrain_Chimap")["ReferenceValue"]
    assert value == pytest.approx(unreferenced[mask4].mean(dtype=np.float64), abs=1e-6)


def test_the_masks_are_nested(finished):
    _, out = finished
    m1, m2, m3, m4, filled = (
        _volume(out, f"anat/label-brain_desc-mask{n}_mask") > 0
        for n in ("1", "2", "3", "4", "4noholes")
    )
    assert m4.any()
    assert not (m4 & ~filled).any()
    assert not (m4 & ~m2).any()
    assert not (filled & ~m3).any()
    assert not (m3 & ~m1).any()


def test_nuclei_come_out_near_the_truth(finished):
    bids, out = finished
    chi = out / "sub-demo" / "anat" / "sub-demo_desc-wholebrain_Chimap.nii.gz"
    rows, slope = compare_with_truth(bids, chi)
    assert len(rows) >= 5
    assert 0.7 < slope < 1.15  # voxels of 2 mm: nuclei of a few voxels
    assert all(abs(row.value - row.true) < 0.05 for row in rows)


def test_fields_are_in_hz_and_add_up(finished):
    bids, out = finished
    total, local, background = (
        _volume(out, f"fmap/desc-{n}_fieldmap") for n in ("total", "local", "background")
    )
    support = _volume(out, "anat/label-brain_desc-mask4noholes_mask") > 0
    np.testing.assert_allclose((local + background)[support], total[support], atol=1e-2)
    truth = bids / "derivatives/truth/sub-demo/fmap/sub-demo_desc-total_fieldmap.nii.gz"
    error = (total - np.asarray(nib.load(truth).dataobj))[support]
    error -= np.median(error)
    assert np.sqrt(np.mean(error**2)) < 1.5


def test_relaxation_maps_are_in_the_units_of_bids(finished):
    bids, out = finished
    truth = bids / "derivatives/truth/sub-demo/anat/sub-demo_R2starmap.nii.gz"
    support = _volume(out, "anat/label-brain_desc-mask4noholes_mask") > 0
    r2star, t2star = _volume(out, "anat/R2starmap"), _volume(out, "anat/T2starmap")
    true = np.asarray(nib.load(truth).dataobj)
    assert np.median(r2star[support]) == pytest.approx(np.median(true[support]), rel=0.15)
    np.testing.assert_allclose((r2star * t2star)[support & (r2star > 0)], 1, rtol=1e-3)


def test_sidecars_say_what_was_done(finished):
    _, out = finished
    chi = _sidecar(out, "anat/desc-wholebrain_Chimap")
    inversion = chi["DipoleInversion"]["Parameters"]
    assert inversion["GradientL1Penalty"] == 5e-4
    assert inversion["HarmonicConstraint"] == 150.0
    assert chi["BackgroundRemoval"]["Parameters"]["MaximumRadius"] == 12
    assert chi["PhaseScale"]["Rule"] == "siemens-12bit"
    assert chi["Units"] == "ppm"
    assert chi["EchoTime"] == [0.004, 0.01, 0.016, 0.022, 0.028]
    assert chi["ReferenceRegion"].startswith("brain")
    assert any("phase sign" in line for line in chi["Decisions"])
    assert chi["SliceAlternation"]["Axes"] == []
    assert chi["ReadoutCorrection"]["Bipolar"] is False
    assert not any(check["Suspicious"] for check in chi["PhaseChecks"].values())
    assert 0 < chi["PhaseChecks"]["EchoTimes"]["Value"] < 0.1
    assert chi["SignCheck"]["Inverted"] is not True
    assert _sidecar(out, "fmap/desc-local_fieldmap")["Units"] == "Hz"
    assert _sidecar(out, "anat/echo-2_part-phase_desc-unwrapped_MEGRE")["EchoTime"] == 0.01


def test_every_source_exists(finished):
    bids, out = finished
    links = json.loads((out / "dataset_description.json").read_text())["DatasetLinks"]
    assert set(links) == {"raw"}
    for path in (out / "sub-demo").rglob("*.json"):
        sources = json.loads(path.read_text())["Sources"]
        assert sources, path
        for uri in sources:
            _, dataset, relative = uri.split(":", 2)
            assert ((bids if dataset == "raw" else out) / relative).exists(), uri


def test_settings_and_log_are_left_behind(finished):
    _, out = finished
    assert list((out / "logs").glob("*/qsmbids.toml"))
    log = next((out / "logs").glob("*/qsmbids.log")).read_text()
    assert "dipole inversion: done" in log
    assert "\x1b" not in log
    summary = json.loads((out / "logs" / "summary.json").read_text())
    assert summary["counts"] == {"ok": 1}
    steps = {step["step"]: step for step in summary["runs"][0]["steps"]}
    assert {"prepare", "invert_dipole_field", "save_chi", "report"} <= set(steps)
    ends = [step["start"] + step["seconds"] for step in steps.values()]
    assert steps["prepare"]["start"] == 0
    assert max(ends) == steps["report"]["start"] + steps["report"]["seconds"]


def test_both_references_are_described_under_both(finished):
    _, out = finished
    table = out / "sub-demo" / "anat" / "sub-demo_desc-references_stats.tsv"
    lines = [line.split("\t") for line in table.read_text().splitlines()]
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    found = {(r["reference"], r["region"]): r for r in rows}
    assert set(found) == {(a, b) for a in ("wholebrain", "csf") for b in ("wholebrain", "csf")}
    for name in ("wholebrain", "csf"):
        assert float(found[name, name]["mean"]) == pytest.approx(0, abs=2e-6)
        chi = _volume(out, f"anat/desc-{name}_Chimap")
        csf = _volume(out, "anat/label-CSF_desc-reference_mask") > 0
        assert float(found[name, "csf"]["mean"]) == pytest.approx(chi[csf].mean(), abs=2e-6)
        assert float(found[name, "csf"]["std"]) == pytest.approx(chi[csf].std(), abs=2e-6)
    sidecar = _sidecar(out, "anat/desc-csf_Chimap")
    assert sidecar["ReferenceRegion"].startswith("cerebrospinal fluid")
    shift = float(found["wholebrain", "csf"]["mean"])
    value = _sidecar(out, "anat/desc-wholebrain_Chimap")["ReferenceValue"]
    assert sidecar["ReferenceValue"] - value == pytest.approx(shift, abs=2e-6)


def test_orientation_is_that_of_the_input(finished):
    bids, out = finished
    raw = nib.load(bids / "sub-demo/anat/sub-demo_echo-1_part-mag_MEGRE.nii.gz")
    for path in (out / "sub-demo").rglob("*.nii.gz"):
        image = nib.load(path)
        np.testing.assert_allclose(image.affine, raw.affine, atol=1e-4)
        assert image.shape == raw.shape


@pytest.mark.slow
def test_processes_and_threads_change_nothing(small_run, small_dataset_source, qsmbids, tmp_path):
    out = tmp_path / "out"
    code, _, said = qsmbids(
        small_dataset_source, out, "participant", "--nprocs", "2", "--omp-nthreads", "2",
        "--work-dir", tmp_path / "work", "--sloppy", "--skip-bids-validation",
        "--output-level", "minimal",
    )  # fmt: skip
    assert code == 0, said
    for name in LEVELS["minimal"]:
        if name.endswith(".tsv"):
            continue
        one, two = _volume(small_run / "out", name), _volume(out, name)
        np.testing.assert_allclose(one, two, atol=2e-5 * max(1.0, float(np.abs(one).max())))
    written = {p.name for p in (out / "sub-demo").rglob("*.nii.gz")}
    assert len(written) == len(LEVELS["minimal"]) - 2  # the tables


@pytest.mark.slow
def test_permuted_and_flipped_data_give_the_same_map(finished, tmp_path, qsmbids):
    bids, out = finished
    chi = _volume(out, "anat/desc-wholebrain_Chimap")
    turned = tmp_path / "turned"
    for path in bids.rglob("*"):
        target = turned / path.relative_to(bids)
        if path.is_dir():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.name.endswith(".nii.gz") and "derivatives" not in path.parts:
            image = nib.load(path)
            ornt = nib.orientations.axcodes2ornt(("A", "I", "L"))
            start = nib.io_orientation(image.affine)
            image.as_reoriented(nib.orientations.ornt_transform(start, ornt)).to_filename(target)
        else:
            target.write_bytes(path.read_bytes())
    code, _, said = qsmbids(
        turned,
        tmp_path / "out",
        "participant",
        "--work-dir",
        tmp_path / "w",
        "--nprocs",
        "2",
        "--skip-bids-validation",
    )
    assert code == 0, said
    image = nib.load(tmp_path / "out/sub-demo/anat/sub-demo_desc-wholebrain_Chimap.nii.gz")
    assert nib.aff2axcodes(image.affine) == ("A", "I", "L")
    back = np.asarray(nib.as_closest_canonical(image).dataobj)
    both = (chi != 0) & (back != 0)
    assert both.sum() > 0.97 * (chi != 0).sum()
    assert np.corrcoef(chi[both], back[both])[0, 1] > 0.99
    assert np.polyfit(chi[both], back[both], 1)[0] == pytest.approx(1, abs=0.02)


def test_module_and_version():
    said = subprocess.run(
        [sys.executable, "-m", "qsmbids", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith("qsmbids ")


def test_dry_run_tells_and_writes_nothing(finished, qsmbids, tmp_path):
    bids, _ = finished
    code, last, said = qsmbids(bids, tmp_path / "out", "participant", "--dry-run")
    assert code == 0
    assert "1 to process" in last
    for expected in ("5: 4.00, 10.00", "3 T", "tilt 0.0", "48 x 56 x 40", "siemens-12bit", "GB"):
        assert expected in said
    assert not (tmp_path / "out").exists()


def test_a_clean_head_has_nothing_unusual_and_its_measures_are_numbers(finished):
    _, out = finished
    content = _sidecar(out, "anat/desc-iqms_stats")
    assert set(content["MeasureVerdicts"].values()) == {"ok"}
    assert set(content["Measures"]) == set(content["MeasureVerdicts"])
    assert all(type(value) in (int, float) for value in content["Measures"].values())
    table = (out / "sub-demo" / "anat" / "sub-demo_desc-iqms_stats.tsv").read_text()
    header, *lines = table.splitlines()
    assert header == "measure\tvalue\tunit\tverdict\tmeaning\tadvice"
    rows = dict(line.split("\t")[:2] for line in lines)
    assert {k: float(v) for k, v in rows.items()} == pytest.approx(content["Measures"], rel=1e-5)
    page = (out / "sub-demo.html").read_text("utf-8")
    assert 'id="quality"' in page
