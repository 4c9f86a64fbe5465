"""One call gives everything; the record of a map is enough for the acquisition."""

import dataclasses

import numpy as np
import pytest

from qsmbids.config import Settings
from qsmbids.errors import MetadataError
from qsmbids.io.nifti import write_volume
from qsmbids.io.nifti_header import read_header
from qsmbids.reports.paper.citations import write_citations
from qsmbids.reports.paper.publication import acquisition_from_record, prepare_publication


def test_one_call_gives_checks_tables_and_text(
    make_sidecars, make_acquisition, finished_record, tmp_path
):
    made = prepare_publication(Settings(), make_acquisition(), make_sidecars(), finished_record)
    assert all(f.verdict == "pass" for f in made.acquisition)
    assert [t.title[:7] for t in made.tables] == ["Table 3", "Table 4", "Table 5"]
    assert made.disagreements == ()
    assert made.missing[0] == "Inclusion and exclusion of data"
    assert "Gradient system" in made.missing
    assert len(write_citations(tmp_path, made.methods)) == 3


def test_a_run_without_any_record_is_still_described(make_acquisition):
    made = prepare_publication(Settings(), make_acquisition(), [{}] * 5)
    assert len(made.pipeline) > 15
    assert "No step of the processing has left a record." in made.methods
    assert made.settings.rows == ()
    assert made.caveats == ()
    assert "{" not in made.methods


@pytest.fixture
def header(tmp_path):
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    return read_header(write_volume(tmp_path / "chi.nii", np.zeros((4, 5, 6)), affine))


def test_the_record_of_a_map_tells_the_acquisition(header):
    record = {
        "EchoTime": [0.005, 0.011],
        "MagneticFieldStrength": 3,
        "ImagingFrequency": 123.2,
        "B0Direction": [0.0, 0.6, 0.8],
    }
    found = acquisition_from_record(record, header, manufacturer="GE")
    assert found.echo_times == (0.005, 0.011)
    assert found.centre_frequency_hz == pytest.approx(123.2e6)
    assert found.voxel_size == (1.0, 1.0, 2.0)
    assert found.matrix == (4, 5, 6)
    assert found.tilt_degrees == pytest.approx(np.degrees(np.arccos(0.8)))
    del record["ImagingFrequency"], record["B0Direction"]
    nominal = acquisition_from_record(record, header)
    assert nominal.centre_frequency_hz == pytest.approx(127.73e6, rel=1e-4)
    assert nominal.b0_direction == (0.0, 0.0, 1.0)
    assert dataclasses.replace(found, manufacturer="").manufacturer == nominal.manufacturer


@pytest.mark.parametrize("lost", ["EchoTime", "MagneticFieldStrength"])
def test_an_incomplete_record_is_refused(header, lost):
    record = {"EchoTime": [0.005], "MagneticFieldStrength": 3}
    del record[lost]
    with pytest.raises(MetadataError, match=lost):
        acquisition_from_record(record, header)
