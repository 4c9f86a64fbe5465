"""``--dicom-out``: what is looked at before a run, and what its records say."""

import argparse
import sys

import pytest

from qsmbids.cli import dicom_out
from qsmbids.cli.parser import parse_args
from qsmbids.errors import ConfigError, InputError

BASE = ["bids", "out", "participant"]


@pytest.fixture
def asked(tmp_path):
    """Return arguments with a destination, for a dataset whose ``sourcedata`` is there."""
    (tmp_path / "bids" / "sourcedata" / "sub-01").mkdir(parents=True)

    def make(**changes):
        given = {"dicom_out": tmp_path / "dest", "dicom_source": None, "dicom_form": "classic"}
        return argparse.Namespace(**{**given, **changes})

    return make


def test_records_hold_no_folder_that_may_bear_a_name():
    words = [*BASE, "--dicom_out", "/pacs/Doe", "--dicom-source=/disk/Doe^Jane", "-v"]
    said = " ".join(dicom_out.unnamed(words))
    assert "Doe" not in said
    assert said.endswith("-v")


def test_a_source_without_a_destination_is_a_mistake(capsys):
    with pytest.raises(SystemExit):
        parse_args([*BASE, "--dicom-source", "x"])
    assert "--dicom-out" in capsys.readouterr().err


def test_what_cannot_end_well_is_refused_before_anything_is_computed(asked, tmp_path, monkeypatch):
    bids, out = tmp_path / "bids", tmp_path / "out"
    dicom_out.check_dicom_out(asked(), bids, out)
    for inside in (out / "dicom", bids / "dicom", bids / "sourcedata" / "dicom"):
        with pytest.raises(ConfigError, match="must not lie in"):
            dicom_out.check_dicom_out(asked(dicom_out=inside), bids, out)
    with pytest.raises(InputError, match="no DICOM files of the source"):
        dicom_out.check_dicom_out(asked(dicom_source=tmp_path / "absent"), bids, out)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(ConfigError, match="highdicom"):
        dicom_out.check_dicom_out(asked(), bids, out)


def test_each_run_needs_a_source(asked, tmp_path):
    bids = tmp_path / "bids"
    labels = ["sub-01_run-1", "sub-01_run-2", "sub-02"]
    assert [run for run, _ in dicom_out.lacking_sources(asked(), bids, labels)] == ["sub-02"]
    (bids / "sourcedata" / "sub-02.zip").touch()
    assert not dicom_out.lacking_sources(asked(), bids, labels)
    assert not dicom_out.lacking_sources(asked(dicom_out=None), tmp_path / "absent", labels)


def test_a_folder_of_one_participant_is_not_taken_for_two(asked, tmp_path):
    (tmp_path / "dicom").mkdir()
    one = asked(dicom_source=tmp_path / "dicom")
    bids = tmp_path / "bids"
    assert not dicom_out.lacking_sources(one, bids, ["sub-01_run-1", "sub-01_run-2"])
    assert len(dicom_out.lacking_sources(one, bids, ["sub-01", "sub-02"])) == 2


def test_one_that_fails_never_stops_the_others(asked, dicom_scan, tmp_path, caplog, monkeypatch):
    """The second has the files of another person; the folder's name is not repeated."""
    monkeypatch.setattr(dicom_out.logger, "propagate", True)
    source, out = tmp_path / "Doe^Jane", tmp_path / "out"
    for number, seed in ((1, 1), (2, 7), (3, 3)):
        scan = dicom_scan.Scan(seed=number, study=f"1.2.3.{number}")
        scan.write_output(out, label=f"sub-0{number}")
        dicom_scan.Scan(seed=seed, study=f"1.2.3.{number}").write(source / f"sub-0{number}")
    results = [{"run": f"sub-0{n}", "status": "ok"} for n in (1, 2, 3)]
    results.append({"run": "sub-04", "status": "failed"})
    failed = dicom_out.write_dicom(asked(dicom_source=source), results, tmp_path / "bids", out)
    assert failed == 1
    assert sorted(p.name for p in (tmp_path / "dest").iterdir()) == ["sub-01", "sub-03"]
    assert "another person or scan" in caplog.text
    assert "Doe" not in caplog.text
