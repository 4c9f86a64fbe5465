"""One text for many runs says what holds for all of them."""

import pytest

from qsmbids.config import Settings, load_settings
from qsmbids.reports.paper.dataset_methods import DescribedRun, methods_of_runs, shared


@pytest.fixture
def run(make_acquisition, make_sidecars, finished_record):
    def make(record=None, sidecars=None, **kwargs):
        return DescribedRun(
            make_acquisition(**kwargs),
            make_sidecars(**(sidecars or {})),
            {**finished_record, **(record or {})},
        )

    return make


def test_one_run_is_told_as_on_its_page(run):
    text = methods_of_runs(Settings(), [run()])
    assert "TR = 33 ms" in text
    assert "please fill in" not in text
    assert "sign +1" in text


def test_what_differs_is_left_out_and_frequencies_are_averaged(run):
    runs = [
        run(centre_frequency_hz=123.25e6),
        run(
            {"PhaseSign": {"Setting": "auto", "Sign": -1}},
            {"AcquisitionDuration": 111, "TotalScanTimeSec": 111},
            centre_frequency_hz=123.26e6,
        ),
    ]
    text = methods_of_runs(Settings(), runs)
    assert "centre frequency 123.255 ± 0.0071 MHz (mean and SD)" in text
    assert "**please fill in: scan duration**" in text
    assert "TR = 33 ms" in text
    assert "sign +1" not in text
    assert "after the manufacturer's convention." in text


def test_before_a_run_the_text_is_that_of_the_plan(run):
    planned = [DescribedRun(r.acquisition, r.sidecars) for r in (run(), run())]
    assert "V-SHARP" in methods_of_runs(Settings(), planned)
    # a run that left nothing is not taken for one that is planned
    failed = [DescribedRun(r.acquisition, r.sidecars, {}) for r in (run(), run())]
    text = methods_of_runs(Settings(), failed)
    assert "V-SHARP" not in text
    assert "No step of the processing has left a record." in text


def test_different_acquisitions_are_not_described_as_one(run):
    text = methods_of_runs(Settings(), [run(), run(voxel_size=(1.0, 1.0, 1.2))])
    assert "acquisitions differ; each report has its own" in text
    assert "TR = 33 ms" not in text
    assert "V-SHARP" in text


def test_without_any_run_the_processing_is_told():
    text = methods_of_runs(load_settings("consensus-medi"), [])
    assert "Data acquisition" not in text
    assert "MEDI" in text


def test_shared_looks_into_what_it_finds():
    one = {"a": 1, "b": {"c": [1, 2], "d": 1}, "e": True, "f": 1}
    two = {"a": 1, "b": {"c": [1, 2], "d": 2}, "e": 1, "g": 1}
    assert shared([one, two]) == {"a": 1, "b": {"c": [1, 2]}}
    assert shared([]) == {}
