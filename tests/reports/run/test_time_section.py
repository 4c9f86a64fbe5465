"""Where the time of a run went, as the page shows it."""

from pathlib import Path

from qsmbids.reports.run.record import RunRecord
from qsmbids.reports.run.time_section import time_section


def _step(step, start, seconds=2.0, cpu=3.0, memory=0.5):
    return {
        "step": step,
        "title": step.title(),
        "start": start,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "memory_gb": memory,
    }


def _section(*steps):
    result = {"run": "sub-01", "status": "ok", "steps": list(steps)}
    return time_section(RunRecord(Path(), {"subject": "01"}, result, {}, {}))


def test_every_step_has_a_bar_from_its_start_and_files_have_one_together():
    section = _section(
        _step("mask1", 0.0),
        _step("save_chi", 2.0, 0.5, 0.4),
        _step("invert", 2.0, 8.0, 14.5),
        _step("save_mask1", 3.0, 0.25, 0.2),
    )
    html = section.html
    assert html.count("<svg") == 3
    assert '<rect x="20.00" width="80.00"' in html
    assert "writing of 2 files" in html
    assert "10 s on the clock" in html
    assert "14.5" in html


def test_steps_of_an_earlier_call_have_no_bar_and_are_counted():
    html = _section(_step("mask1", None), _step("invert", 1.0)).html
    assert html.count("<svg") == 1
    assert "have no bar: 1." in html


def test_without_costs_there_is_no_section():
    assert _section() is None
    assert _section({"step": "mask1"}, "odd") is None
    assert _section(_step("mask1", None)) is None
