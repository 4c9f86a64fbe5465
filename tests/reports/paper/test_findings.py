"""Tables and findings in three formats."""

import pytest

from qsmbids.reports.paper.findings import Finding, Table, findings_table, item_table

NASTY = 'a<b> & "c" | *d*\tnext\nline'


def test_a_finding_has_one_of_four_verdicts():
    assert Finding("2.a", "topic", "pass", "text").value == ""
    with pytest.raises(ValueError, match="verdict"):
        Finding("2.a", "topic", "fine", "text")


def test_rows_and_flags_must_fit():
    with pytest.raises(ValueError, match="2 cells"):
        Table("t", ("a", "b"), (("1",),))
    with pytest.raises(ValueError, match="essential"):
        Table("t", ("a", "b"), (("1", "2"),), essential=(True, False))


def test_html_is_escaped_and_marks_what_is_essential_or_missing():
    html = item_table(NASTY, [(NASTY, NASTY, True), ("empty", "", False)], (NASTY,)).to_html()
    assert "<b>" not in html
    assert "a&lt;b&gt; &amp;" in html
    assert html.count('<tr class="essential">') == 1
    assert html.count('title="essential"') == 1
    assert html.count('class="missing"') == 1


def test_tsv_has_one_line_per_row_whatever_the_cells_hold():
    lines = item_table("t", [(NASTY, "1", True), ("empty", "", False)]).to_tsv().splitlines()
    assert [line.count("\t") for line in lines] == [2, 2, 2]
    assert lines[0] == "Item\tValue\tEssential"
    assert lines[2] == "empty\tn/a\tno"


def test_markdown_keeps_its_columns():
    text = item_table("t", [(NASTY, "1|2", True), ("empty", "", False)]).to_markdown()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [row.replace("\\|", "").count("|") for row in rows] == [3] * 4
    assert "please fill in" in rows[-1]
    assert "a\\<b> " in rows[2]


def test_missing_items_are_named():
    table = item_table("t", [("x", "", True), ("y", "", False), ("z", "1", True)])
    assert table.missing == ("x", "y")
    assert table.missing_essential == ("x",)
    assert table.notes[-1] == "To be filled in by the author: x, y."


def test_findings_become_a_table():
    table = findings_table("f", [Finding("2.a", "echoes", "pass", "enough", "5")])
    assert table.rows == (("2.a", "pass", "echoes", "5", "enough"),)
    assert not table.missing
