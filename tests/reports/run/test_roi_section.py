"""The tables of regions and references say what the files say."""

import re

import pytest

from qsmbids.io.write import write_text
from qsmbids.reports.run.record import read_run
from qsmbids.reports.run.roi_section import roi_section

HEAD = (
    "index\tname\themisphere\tn_voxels\tn_mask4\tfraction_excluded"
    "\tmean\tstd\tmedian\tiqr\tmad\tp05\tp95\n"
)
ROW = "{}\t{}\t{}\t100\t{}\t{}\t{}\t0.020000\t0.031\t0.012\t0.008\t-0.01\t0.07\n"
LOST = "9\tempty\tn/a\t0\t0\tn/a" + 7 * "\tn/a" + "\n"
REFERENCES = (
    "reference\tregion\tn_voxels\tvolume_ml\tmean\tstd\tmedian\tp05\tp95\treference_value\n"
    "wholebrain\twholebrain\t10\t1200.04\t0.0\t0.05\t0\t0\t0\t0.01\n"
    "wholebrain\tcsf\t5\t2.26\t0.02\t0.011\t0\t0\t0\t0.01\n"
    "csf\twholebrain\t10\t1200.04\t-0.02\t0.05\t0\t0\t0\t0.03\n"
    "csf\tcsf\t5\t2.26\t0.0\t0.011\t0\t0\t0\t0.03\n"
)


@pytest.fixture
def section(write_outputs):
    def make(files, **status):
        out, result = write_outputs()
        for name, text in files.items():
            write_text(out / "sub-01" / "anat" / f"sub-01_{name}_stats.tsv", text)
        found = roi_section(read_run(out, {**result, **status}))
        return None if found is None else found.html

    return make


def _plain(html):
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", html))


def test_nothing_without_tables(section):
    assert section({}) is None


def test_regions_under_two_references(section):
    html = section(
        {
            "seg-x_desc-csf": HEAD + ROW.format(1, "<b>", "L", 80, 0.2, -0.00125) + LOST,
            "seg-x_desc-wholebrain": HEAD + ROW.format(1, "<b>", "L", 40, 0.6, 0.03) + LOST,
            "desc-references": REFERENCES,
        }
    )
    text = _plain(html)
    assert "&lt;b&gt; L – 40 60 % +0.0300 ± 0.0200 0.0310 0.0120 – –" in text  # noqa: RUF001
    assert "&lt;b&gt; -0.0013 ± 0.0200" in text  # under the other reference, folded away
    assert "<strong>60 %</strong>" in html
    assert "empty – 0 – – – – – –" in text  # noqa: RUF001
    assert "brain (Mask 4) 1200.0 +0.0000 ± 0.0500 -0.0200 ± 0.0500" in text
    assert "CSF of the ventricles 2.3 +0.0200 ± 0.0110 +0.0000 ± 0.0110" in text


def test_intervals_stand_in_the_table_where_they_are_known(section):
    row = ROW.format(1, "caudate", "L", 80, 0.2, 0.03)
    assert "interval" not in _plain(section({"seg-x_desc-wholebrain": HEAD + row}))
    head = HEAD.replace("\n", "\terror_low\terror_high\terror_bias\n")
    row = row.replace("\n", "\t0.024\t0.036\t-0.001\n")
    lost = LOST.replace("\n", 3 * "\tn/a" + "\n")
    text = _plain(section({"seg-x_desc-wholebrain": head + row + lost}))
    assert "95 % interval Bias" in text
    assert "+0.0240 to +0.0360 -0.0010" in text
    assert "it held the true mean of 98 % of the regions, and of 89 % where" in text
    assert "n/a to" not in text


def test_a_table_of_an_earlier_call_is_left_out(section):
    tables = {
        f"seg-{s}_desc-wholebrain": HEAD + ROW.format(1, f"in{s}", "n/a", 9, 0, 0.1) for s in "ab"
    }
    text = section(tables, outputs=["sub-01/anat/sub-01_seg-b_desc-wholebrain_stats.tsv"])
    assert "inb" in text
    assert "ina" not in text


@pytest.mark.parametrize("damaged", ["", "what\n1\n", HEAD, HEAD + "1\tcaudate\n", "\x00"])
def test_a_damaged_table_takes_nothing_with_it(section, damaged):
    html = section({"seg-x_desc-wholebrain": damaged, "desc-references": REFERENCES})
    assert "1200.0" in html
    assert "Segmentation x" not in html
    section({"desc-references": damaged})
