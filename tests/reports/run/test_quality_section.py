"""The quality measures on the page, whatever their table looks like."""

import pytest

from qsmbids.core.quality.criteria import CRITERIA, judge
from qsmbids.interfaces.quality import COLUMNS, quality_table
from qsmbids.io.write import write_text
from qsmbids.reports.run.page import write_report
from qsmbids.reports.run.quality_section import (
    MeasureRow,
    quality_findings,
    quality_section,
    read_measures,
)
from qsmbids.reports.run.record import read_run

TABLE = "sub-01/anat/sub-01_desc-iqms_stats.tsv"


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch):
    monkeypatch.setattr("qsmbids.reports.run.page.make_figures", lambda *_: [])
    # the checks against the paper have findings of their own on these few files
    monkeypatch.setattr("qsmbids.reports.run.page._publication", lambda _: (None, []))


@pytest.fixture
def written(write_outputs):
    """Write the outputs of a run with a table of measures."""

    def write(text):
        out, result = write_outputs()
        if text is not None:
            write_text(out / TABLE, text)
        return out, result

    return write


def _table(**values):
    return quality_table([judge(name, values.get(name, None)) for name in CRITERIA])


def test_what_is_unusual_enters_the_verdict_and_the_table(written):
    out, result = written(_table(FieldNoise=12.5, Ghosting=0.001, BrainVolume=2459.3))
    page = write_report(out, result).read_text("utf-8")
    assert 'id="quality"' in page
    assert "Look at these 2 points" in page
    assert "FieldNoise is 12.5 ppb: median noise" in page
    assert "BrainVolume is 2459 ml: volume of Mask 1." in page
    assert "Ghosting is" not in page
    assert "<strong>look at it</strong>" in page


def test_what_a_step_has_warned_of_is_not_said_twice():
    rows = [MeasureRow("FilteredPhase", "0.1", "rad", "look", "Means.", "Do.")]
    assert quality_findings(rows) == []
    assert "FilteredPhase is 0.1 rad: means. Do." in quality_section(rows).html


def test_usual_measures_leave_the_verdict_fine(written):
    out, result = written(_table(FieldNoise=1.5))
    page = write_report(out, result).read_text("utf-8")
    assert "the checks found nothing unusual" in page
    assert "not measured" in page


@pytest.mark.parametrize("text", [None, "", "measure\tvalue\nFieldNoise\t3\n", "\x00\xff"])
def test_without_a_sound_table_there_is_no_section(written, text):
    out, result = written(text)
    assert read_measures(read_run(out, result)) == []
    assert quality_section([]) is None
    assert 'id="quality"' not in write_report(out, result).read_text("utf-8")


def test_bytes_that_are_no_text_are_no_table(written):
    out, result = written(None)
    (out / TABLE).write_bytes(b"measure\tvalue\n\xff\xfe")
    assert read_measures(read_run(out, result)) == []


def test_a_hostile_table_stays_text(written):
    hostile = "<script>alert(1)</script>"
    cells = [hostile if c != "verdict" else "look" for c in COLUMNS]
    out, result = written("\t".join(COLUMNS) + "\n" + "\t".join(cells) + "\n")
    assert hostile not in write_report(out, result).read_text("utf-8")
    (finding,) = quality_findings(read_measures(read_run(out, result)))
    assert hostile in finding
