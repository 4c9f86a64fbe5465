"""Text, tables and sidecars say the same numbers as the settings in force."""

import dataclasses
import json
import re

import pytest

from qsmbids.config import PRESETS, Settings, load_settings, nested
from qsmbids.methods.sections import PARAGRAPHS, PARAMETERS
from qsmbids.reports.paper.citations import citation_files, cited_keys
from qsmbids.reports.paper.methods_text import methods_markdown, processing_text, software_versions
from qsmbids.reports.paper.reconstruction_table import reconstruction_table
from qsmbids.reports.paper.settings_in_force import (
    disagreements,
    in_force,
    looked_up,
    settings_table,
    shown,
)

VERSIONS = {"qsmbids": "1.2.3", "Python": "3.11.7", "NumPy": "2.4.6"}
ROWS = [row for row in PARAMETERS if row.is_setting]


def _changed(settings, key, value):
    return settings.updated(nested({key: value}), "test")


def _other_values(row):
    """Return values that a setting may have instead of its default."""
    old = Settings().value(row.key)
    if row.choices:
        return [c for c in row.choices if c != old]
    if isinstance(old, bool):
        return [not old]
    if old == "":
        return ["median of other runs"]
    if isinstance(old, int):
        return [old + 4 if row.maximum is None or old + 4 <= row.maximum else old - 1]
    return [round(old * 0.71 + 0.0137, 6)]


def _said(settings, n_echoes=5):
    """Return the text and both tables of a run with the record of the defaults left out."""
    text = "\n".join(processing_text(settings, n_echoes=n_echoes))
    return (
        text,
        settings_table(settings, n_echoes).to_tsv(),
        reconstruction_table(settings, n_echoes=n_echoes, versions=VERSIONS).to_tsv(),
    )


def _reachable(row):
    """Return settings with which a parameter is in force."""
    needed = {f"{row.section}.{k}": v[0] for k, v in row.when.items()}
    if row.method:
        needed[row.method_key] = row.method
    return Settings().updated(nested(needed), "test")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_changed_setting_changes_text_and_tables(row):
    start = _reachable(row)
    echoes = row.most_echoes or 5
    before = _said(start, echoes)
    for value in _other_values(row):
        changed = _changed(start, row.key, value)
        text, settings, table5 = _said(changed, echoes)
        new = shown(value, row.unit)
        assert f"{row.label}\t{new}\t" in settings
        assert f"{row.label}: {new}" in table5 or row.section == "reference"
        assert table5 != before[2]
        if not isinstance(value, str | bool):
            assert new in text or value == 0, f"{new} is not in the text"
        if row.key != "masks.brain_extraction":
            assert text != before[0], f"{value} gives the same text"


def test_every_value_in_force_is_in_the_table_and_every_number_in_the_text():
    settings = Settings()
    text, table, _ = _said(settings)
    rows = in_force(settings, 5)
    assert len(rows) == len(table.splitlines()) - 1
    for row, value in rows:
        new = shown(value, row.unit)
        assert f"{row.label}\t{new}\t" in table
        if isinstance(value, float | int) and not isinstance(value, bool) and value:
            assert new in text, row.key


def test_no_sentence_holds_a_number_of_its_own():
    names = r"\{[\w.]+\}|\[@[^]]+\]|Masks? [1-4]|MCPC-3D-S|R2\*|B1|L[12]|MEDI\+0"
    for paragraph in PARAGRAPHS:
        for clause in paragraph.clauses:
            assert not re.search(r"[0-9]", re.sub(names, "", clause.text)), clause.text


def test_what_does_not_apply_is_not_said():
    linear = _changed(Settings(), "dipole_inversion.fansi.weak_harmonic", False)
    assert "harmonic constraint" not in _said(linear)[1]
    fit = Settings().updated({"total_field": {"echo_phase_combination": "nonlinear-fit"}}, "test")
    text, table, _ = _said(fit)
    assert "MCPC-3D-S" not in text
    assert "ROMEO edge weights" not in table
    # with two echoes the fit cannot be made, and the text must not claim it
    assert "MCPC-3D-S" in " ".join(processing_text(fit, n_echoes=2))
    one = " ".join(processing_text(fit, n_echoes=1))
    assert "R2*" not in one
    assert "single echo" in one
    assert "averaged" not in one
    assert "relative residual" not in one
    assert "cannot be told from the field; its curvature" in one
    flat = _changed(Settings(), "total_field.single_echo_offset", "none")
    assert "not removed" in " ".join(processing_text(flat, n_echoes=1))
    assert "curvature" not in " ".join(processing_text(Settings(), n_echoes=2))


def test_a_setting_without_a_sentence_is_still_reported(monkeypatch):
    mute = tuple(
        dataclasses.replace(p, clauses=tuple(c for c in p.clauses if "maximum_iter" not in c.text))
        for p in PARAGRAPHS
    )
    monkeypatch.setattr("qsmbids.reports.paper.methods_text.PARAGRAPHS", mute)
    changed = _changed(Settings(), "dipole_inversion.fansi.maximum_iterations", 777)
    text, table, table5 = _said(changed)
    assert "Further settings" in text
    for said in (text, table, table5):
        assert "777" in said


def test_a_setting_of_another_method_is_not_reported():
    settings = _changed(Settings(), "dipole_inversion.tkd.threshold", 0.0678)
    assert not any("0.0678" in said for said in _said(settings))


def test_the_record_decides_what_was_found(finished_record):
    text = " ".join(processing_text(Settings(), finished_record, n_echoes=5))
    assert "sign +1" in text
    assert "none was found" in text
    bipolar = {
        **finished_record,
        "ReadoutCorrection": {"Setting": "auto", "Bipolar": True, "Method": "linear"},
        "SliceAlternation": {"Setting": "auto", "Axes": [2]},
        "PhaseSign": {"Setting": "auto", "Sign": -1},
        "BrainExtraction": {"Name": "given: m.nii", "Parameters": {}},
    }
    text = " ".join(processing_text(Settings(), bipolar, n_echoes=5))
    assert "model linear" in text
    assert "sign -1" in text
    assert "was undone" in text
    assert "investigators" in text
    assert "fractional intensity" not in text


@pytest.mark.parametrize(
    ("background", "said"),
    [
        ("pdf", "@liu2011pdf"),
        ("lbv", "@zhou2014"),
        ("resharp", "@sun2014"),
        ("ismv", "@wen2014"),
    ],
)
def test_other_background_removals_are_told_with_their_own_parameters(background, said):
    settings = Settings().updated({"background_field": {"method": background}}, "test")
    text, table, _ = _said(settings)
    assert said in text
    assert "V-SHARP" not in text
    assert "largest sphere" not in table
    assert "Further settings" not in text


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_leaves_settings_without_a_sentence(preset):
    text, _, _ = _said(load_settings(preset))
    assert "Further settings" not in text


def test_the_preset_of_medi_is_told_as_in_table_s2_4():
    text, table, _ = _said(load_settings("consensus-medi"))
    assert "FANSI" not in text
    assert "regularisation parameter of 2000" in text
    assert "weighted by the inverse of its noise" in text
    assert "spherical mean values (5 mm in radius)" in text
    assert "gradient L1 penalty" not in table
    assert "regularisation parameter lambda\t2000\t2000\t" in table


def test_a_penalty_from_the_noise_is_told_as_it_came_out(finished_record):
    by_noise = {"dipole_inversion": {"fansi": {"regularisation": "adaptive"}}}
    settings = Settings().updated(by_noise, "test")
    record = json.loads(json.dumps(finished_record))
    found = {"Regularisation": "adaptive", "GradientL1Penalty": 0.00123456}
    record["DipoleInversion"]["Parameters"] |= {**found, "GradientConsistency": 0.123456}
    text = " ".join(processing_text(settings, record, n_echoes=5))
    assert "derived from the noise" in text
    assert "penalty came to 0.001235 and the consistency weight to 0.1235" in text
    assert "0.0005" not in text  # the fixed penalty had no part
    table5 = reconstruction_table(settings, record, n_echoes=5, versions=VERSIONS).to_tsv()
    assert "adaptive (found: penalty 0.001235, gradient consistency 0.1235)" in table5
    assert disagreements(settings, record) == ()
    # without a run the numbers are not known, and none is told
    assert "came to" not in " ".join(processing_text(settings, n_echoes=5))


def test_an_error_of_the_field_is_told_as_it_came_out(make_record):
    settings = load_settings("adaptive")
    record = make_record(settings)
    record["DipoleInversion"]["FieldErrorPercent"] = 31.24
    text = " ".join(processing_text(settings, record, n_echoes=5))
    assert "It was 31.24 % of the field." in text
    table5 = reconstruction_table(settings, record, n_echoes=5, versions=VERSIONS).to_tsv()
    assert "adaptive (found: error of the field 31.24 %)" in table5
    assert disagreements(settings, record) == ()


def test_radii_count_millimetres_where_the_run_did(finished_record):
    record = json.loads(json.dumps(finished_record))
    record["BackgroundRemoval"]["Parameters"]["RadiusUnit"] = "mm"
    assert "from 12 mm to 1 mm" in " ".join(processing_text(Settings(), record))
    assert "from 12 voxels to 1 voxel " in " ".join(processing_text(Settings(), finished_record))


def test_sidecars_that_say_something_else_are_found(finished_record):
    assert disagreements(Settings(), finished_record) == ()
    tampered = json.loads(json.dumps(finished_record))
    tampered["DipoleInversion"]["Parameters"]["GradientL1Penalty"] = 0.0004
    tampered["PhaseOffsetCorrection"]["SmoothingMm"] = 6.0
    found = disagreements(Settings(), tampered)
    assert len(found) == 2
    assert "0.0005 in the settings, 0.0004 in the sidecar" in found[1]


def test_the_merge_of_two_inversions_is_known_by_its_own_step(finished_record):
    settings = Settings().updated({"dipole_inversion": {"holes": "two-pass"}}, "test")
    record = json.loads(json.dumps(finished_record))
    record["DipoleInversion"]["Parameters"]["Holes"] = "weight"
    assert len(disagreements(settings, record)) == 1
    record["Steps"].append("merge_two_pass")
    assert disagreements(settings, record) == ()


def test_the_whole_text(finished_record, make_acquisition, make_sidecars):
    text = methods_markdown(
        Settings(),
        finished_record,
        acquisition=make_acquisition(),
        sidecars=make_sidecars(),
        versions=VERSIONS,
    )
    for words in (
        "3 T scanner (Prisma_fit, Siemens; syngo MR E11".replace("_", " "),
        "TR = 33 ms",
        "5 monopolar echoes at TE1 : spacing : TEmax = 5 : 6 : 29 ms",
        "flip angle = 15°",
        "256 x 176 x 144 mm³",
        "GRAPPA acceleration by 2 in phase direction",
        "6 min 34 s",
        "qsmbids 1.2.3",
        "NumPy 2.4.6 [@harris2020]",
    ):
        assert words in text
    assert "please fill in" not in text
    assert {"consensus2024", "milovic2018", "dymerska2021"} <= set(cited_keys(text))
    assert "{" not in text


def test_what_is_missing_asks_for_the_author(make_acquisition):
    text = methods_markdown(Settings(), acquisition=make_acquisition(), versions=VERSIONS)
    for item in ("model", "TR", "flip angle", "acceleration", "scan duration"):
        assert f"**please fill in: {item}**" in text


def test_words_of_a_sidecar_are_no_markup(make_acquisition, make_sidecars):
    sidecars = make_sidecars(
        ReceiveCoilName="[@evil1999] **x** <script>", ParallelAcquisitionTechnique="[@evil]"
    )
    text = methods_markdown(
        Settings(), acquisition=make_acquisition(), sidecars=sidecars, versions=VERSIONS
    )
    html = citation_files(text)["CITATION.html"]
    assert "<script" not in html
    assert "<strong>x" not in html


def test_versions_come_from_the_run(finished_record, make_sidecars):
    found = software_versions(finished_record, make_sidecars())
    assert found["qsmbids"] == "9.8.7"
    assert found["dcm2niix"] == "v1.0.20240202"
    assert "FSL" not in found
    assert found["NumPy"]
    fsl = {"BrainExtraction": {"Name": "FSL BET"}}
    assert "FSL" in software_versions(fsl)


@pytest.mark.slow
def test_text_tables_and_sidecars_of_a_run_agree(small_dataset, tmp_path, qsmbids):
    wanted = {
        "masks": {"quality_threshold": 0.21, "closing_mm": 3.0},
        "total_field": {"phase_offset_refinements": 3, "relative_residual_threshold": 0.37},
        "background_field": {"erode_before": 2},
        "background_field.vsharp": {"maximum_radius": 9, "truncation": 0.061},
        "dipole_inversion.fansi": {"gradient_l1_penalty": 7e-4, "maximum_iterations": 6},
    }
    toml = tmp_path / "my.toml"
    toml.write_text(
        "".join(
            f"[{s}]\n" + "".join(f"{k} = {v}\n" for k, v in t.items()) for s, t in wanted.items()
        )
    )
    out = tmp_path / "out"
    code, _, said = qsmbids(
        small_dataset, out, "participant", "--config-file", toml, "--skip-bids-validation",
        "--work-dir", tmp_path / "work", "--nprocs", 1,
    )  # fmt: skip
    assert code == 0, said
    record = json.loads(next(out.rglob("*desc-wholebrain_Chimap.json")).read_text("utf-8"))
    settings = load_settings(config_file=toml)
    assert disagreements(settings, record) == ()
    # the rule that finds a setting in a sidecar still finds nearly all of them
    compared = [
        row.key
        for row, _ in in_force(settings, 5, record)
        if row.sidecar and looked_up(record, row.sidecar) is not None
    ]
    assert len(compared) >= 40
    assert len(disagreements(Settings(), record)) == sum(map(len, wanted.values()))
    text, table = (
        " ".join(processing_text(settings, record, n_echoes=5)),
        settings_table(settings, 5, record).to_tsv(),
    )
    for row, value in in_force(settings, 5, record):
        if row.name in wanted.get(row.section, {}):
            assert shown(value, row.unit) in text
            assert f"\t{shown(value, row.unit)}\t" in table


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"ZeroPhaseVoxels": 7, "OutOfRangeVoxels": 5}, "12 voxels that hold no phase"),
        ({"SliceOffsets": {"Axis": 2}}, "A phase that each slice had of its own"),
        ({"ReadoutCorrection": {"EchoConstantsRad": [0, 0, 1.3]}}, "each echo had of its own"),
    ],
)
def test_what_was_mended_in_the_phase_is_in_the_text(record, says):
    assert says in " ".join(processing_text(load_settings(), record))
    assert says not in " ".join(processing_text(load_settings(), {"NonFiniteVoxels": 0}))
