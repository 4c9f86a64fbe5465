"""The checks, tables and methods on the page: the numbers of the settings, and only text."""

import dataclasses
import json
import re
from html import unescape

import pytest

from qsmbids.config import Settings, dump_toml, load_settings
from qsmbids.io.write import write_text
from qsmbids.reports.paper.acquisition_record import (
    acquisition_path,
    describing,
    load_acquisition,
    save_acquisition,
)
from qsmbids.reports.paper.paper_sections import advice, paper_sections
from qsmbids.reports.paper.publication import prepare_publication
from qsmbids.reports.paper.run_publication import publication_of, settings_of, write_tables
from qsmbids.reports.paper.settings_in_force import in_force, shown
from qsmbids.reports.run.page import write_report
from qsmbids.reports.run.record import read_run

HOSTILE = "</script><script>alert(1)</script>[@evil1999] **x** | `y`"
ENTITIES = {"subject": "01"}


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch):
    monkeypatch.setattr("qsmbids.reports.run.page.make_figures", lambda *_: [])


@pytest.fixture
def finished_run(write_outputs, make_acquisition, make_sidecars, make_record):
    """Write a run of the sample protocol with settings of its own."""

    def write(settings, sidecars=None, **kwargs):
        acquisition = make_acquisition()
        record = {**make_record(settings), **kwargs.pop("sidecar", {})}
        out, result = write_outputs(
            sidecar={**record, "EchoTime": list(acquisition.echo_times)}, **kwargs
        )
        tables = {**settings.as_dict(), "execution": {"preset": "consensus-fansi"}}
        write_text(out / "logs/job/qsmbids.toml", dump_toml(tables) + "\n")
        save_acquisition(out, ENTITIES, acquisition, sidecars or make_sidecars())
        return out, result

    return write


def _part(page, name):
    html = re.search(f'<section id="{name}">(.*?)</section>', page, re.S)[1]
    return unescape(re.sub(r"<[^>]+>", " ", html))


def test_page_and_files_say_the_numbers_of_the_settings(finished_run, make_record):
    settings = Settings().updated(
        {
            "masks": {"quality_threshold": 0.2137},
            "total_field": {"phase_offset_smoothing_mm": 6.31},
            "background_field": {"method": "pdf", "pdf": {"padding_mm": 17.9}},
            "dipole_inversion": {"method": "medi", "medi": {"data_weight": 1234.5}},
        },
        "test",
    )
    out, result = finished_run(settings)
    page = write_report(out, result).read_text("utf-8")
    tables, methods = _part(page, "tables"), _part(page, "methods")
    folder = out / "sub-01/figures"
    tsv = (folder / "sub-01_desc-reconstruction_table.tsv").read_text("utf-8")
    for row, value in in_force(settings, record=make_record(settings)):
        if row.key != "reference.region" and value != "auto":
            said = f"{row.label}: {shown(value, row.unit)}"
            assert said in tables
            assert said in tsv
    for said in ("0.2137", "6.31 mm", "17.9 mm", "1234.5"):
        assert said in methods
    markdown = (folder / "sub-01_desc-paper_tables.md").read_text("utf-8")
    assert [line for line in markdown.splitlines() if line.startswith("### ")] == [
        "### Table 3. Acquisition hardware",
        "### Table 4. Acquisition sequence",
        "### Table 5. Reconstruction and analysis",
    ]
    assert "TR\t33 ms\tyes" in (folder / "sub-01_desc-sequence_table.tsv").read_text("utf-8")
    assert "sub-01_desc-hardware_table.tsv" in _part(page, "files")


def test_a_run_of_the_sample_protocol_is_fine_and_another_is_advised_on(
    finished_run, make_sidecars
):
    page = write_report(*finished_run(Settings())).read_text("utf-8")
    assert '<div class="verdict fine"' in page
    assert "advice" not in _part(page, "acquisition")
    page = write_report(*finished_run(Settings(), make_sidecars(FlipAngle=40))).read_text("utf-8")
    assert '<div class="verdict look"' in page
    assert "Look at this point" in page
    assert "2.c, flip angle against the Ernst angle: " in page


def test_what_is_not_known_is_no_point_to_look_at_but_is_listed_for_the_author(finished_run):
    page = write_report(*finished_run(Settings(), [{}] * 5)).read_text("utf-8")
    assert "not known" in _part(page, "acquisition")
    # what the converter did is not known; all the rest is as recommended
    verdict = re.search(r'<div class="verdict.*?</div>', page, re.S)[0]
    assert "2." not in verdict
    tables = _part(page, "tables").split("Table 3.")[0]
    for item in ("TR", "Flip angle", "Scan duration", "Inclusion and exclusion of data"):
        assert re.search(rf"^\s*{item}\s*$", tables, re.M), item


def test_hostile_raw_metadata_stay_text(finished_run, make_sidecars):
    keys = (
        "ManufacturersModelName", "SoftwareVersions", "ReceiveCoilName", "ScanOptions",
        "PulseSequenceDetails", "ParallelAcquisitionTechnique", "PatientPosition",
    )  # fmt: skip
    sidecars = make_sidecars(**dict.fromkeys(keys, HOSTILE), GradientSystem=[HOSTILE, 3])
    out, result = finished_run(Settings(), sidecars)
    page = write_report(out, result).read_text("utf-8")
    assert "<script>alert" not in page
    assert HOSTILE in _part(page, "tables")
    assert "<strong>x" not in page
    assert "evil1999" in _part(page, "methods")
    assert '<a href="#ref-evil1999"' not in page


def test_a_sidecar_that_says_something_else_than_the_settings_is_a_point(
    finished_run, make_record
):
    other = make_record(
        Settings().updated({"dipole_inversion": {"fansi": {"gradient_l1_penalty": 4e-4}}}, "t")
    )
    record = {"DipoleInversion": other["DipoleInversion"]}
    page = write_report(*finished_run(Settings(), sidecar=record)).read_text("utf-8")
    assert "The sidecars name another value than the settings: gradient L1 penalty" in page


def test_only_what_describes_scanner_and_sequence_is_kept(tmp_path, make_acquisition):
    secret = {
        "PatientName": "Jane", "PatientID": "4711", "PatientBirthDate": "1970-01-01",
        "AcquisitionTime": "12:01:02", "AcquisitionDateTime": "2024-05-06",
        "InstitutionName": "Hospital", "InstitutionAddress": "Street", "StationName": "MRC4",
        "DeviceSerialNumber": "99887", "StudyInstanceUID": "1.2.3", "ImageComments": "Jane",
    }  # fmt: skip
    given = {**secret, "FlipAngle": 15, "SoftwareVersions": "E11", "ScanOptions": ["A" * 999]}
    path = save_acquisition(tmp_path, ENTITIES, make_acquisition(), [given] * 5)
    text = path.read_text("utf-8")
    assert not [v for v in secret.values() if v in text]
    acquisition, sidecars = load_acquisition(path)
    assert acquisition == make_acquisition()
    assert set(sidecars[0]) == {"FlipAngle", "SoftwareVersions", "ScannerKey"}
    other = describing({**given, "DeviceSerialNumber": "99888"})
    assert other["ScannerKey"] != sidecars[0]["ScannerKey"]
    assert len(other["ScannerKey"]) == 8


def test_no_key_that_the_tables_ask_for_is_lost(make_acquisition, make_sidecars):
    sidecars = make_sidecars()
    settings, acquisition = Settings(), make_acquisition()
    whole = prepare_publication(settings, acquisition, sidecars)
    kept = prepare_publication(settings, acquisition, [describing(s) for s in sidecars])
    assert kept == whole


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"Acquisition": 1}', '{"Acquisition": {}, "Sidecars": []}']
)
def test_a_damaged_file_leaves_what_the_derivatives_tell(finished_run, damage):
    out, result = finished_run(Settings())
    acquisition_path(out, ENTITIES).write_text(damage)
    assert load_acquisition(acquisition_path(out, ENTITIES)) is None
    page = write_report(out, result).read_text("utf-8")
    assert "5 echoes, 5 : 6 : 29 ms" in _part(page, "tables")
    assert "The sidecars do not tell" in _part(page, "acquisition")


@pytest.mark.parametrize("value", ["text", None, {"a": 1}])
def test_wrong_values_in_the_file_do_not_take_the_page_with_them(finished_run, value):
    out, result = finished_run(Settings())
    path = acquisition_path(out, ENTITIES)
    content = json.loads(path.read_text())
    content["Acquisition"]["matrix"] = value
    path.write_text(json.dumps(content))
    page = write_report(out, result).read_text("utf-8")
    assert 'id="maps"' in page


def test_the_fit_of_r2star_is_the_one_that_was_made(finished_run):
    fit = {"R2StarFit": {"Setting": "auto", "Name": "loglinear"}}
    out, result = finished_run(Settings(), sidecar=fit)
    page = write_report(out, result).read_text("utf-8")
    assert "R2* was mapped by a log-linear fit." in _part(page, "methods")
    assert "R2* fit: auto (found: loglinear)" in _part(page, "tables")


def test_settings_of_another_version_are_read_as_far_as_they_are_known(finished_run):
    out, result = finished_run(load_settings("consensus-medi"))
    toml = out / "logs/job/qsmbids.toml"
    toml.write_text(toml.read_text() + "[unheard_of]\nvalue = 1\n")
    record = read_run(out, result)
    assert settings_of(record) == load_settings("consensus-medi")
    toml.write_text('[dipole_inversion]\nmethod = "magic"\n')
    record = read_run(out, result)
    assert settings_of(record) is None
    assert publication_of(record) is None
    toml.unlink()
    assert publication_of(read_run(out, result)) is None


def test_the_parts_and_files_of_a_run_before_its_end(tmp_path, make_acquisition, make_sidecars):
    save_acquisition(tmp_path, ENTITIES, make_acquisition(), make_sidecars())
    write_text(tmp_path / "logs/job/qsmbids.log", "x INFO sub-01  y\n")
    write_text(tmp_path / "logs/job/qsmbids.toml", dump_toml(Settings().as_dict()) + "\n")
    record = read_run(tmp_path, {"run": "sub-01", "status": "failed", "log": "logs/job"})
    made = publication_of(record)
    assert [s.id for s in paper_sections(made)] == ["acquisition", "pipeline", "tables", "methods"]
    assert advice(made) == []
    names = [p.name for p in write_tables(record, made)]
    assert names[-1] == "sub-01_desc-paper_tables.md"
    assert len(names) == 4
    assert advice(dataclasses.replace(made, disagreements=("a: 1, 2",)))[0].endswith("a: 1, 2.")
