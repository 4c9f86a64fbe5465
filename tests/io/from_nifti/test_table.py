"""The table of images: what people and spreadsheets make of it."""

import pytest

from qsmbids.errors import InputError
from qsmbids.io.from_nifti.table import COLUMNS, Row, checked, read_table, write_table

GOOD = Row("a.nii", "01", part="mag", echo_time_s="0.004", field_strength_t="3")


def changed(**cells):
    return Row(**{**vars(GOOD), **cells})


def test_a_complete_row_has_numbers():
    (entry,), lines = checked([(2, changed(participant="sub-01", field_strength_t="7 T"))])
    assert lines == []
    assert (entry.labels["participant"], entry.echo_times, entry.b0_tesla) == ("01", (0.004,), 7.0)


def test_all_echoes_of_one_file():
    (entry,), _ = checked([(2, changed(echo_time_s="[0.004, 0.010; 0.016]"))])
    assert entry.echo_times == (0.004, 0.010, 0.016)


@pytest.mark.parametrize(
    ("column", "cell", "word"),
    [
        ("participant", "", "is empty"),
        ("participant", "n/a", "is empty"),
        ("participant", "a b", "letters and digits"),
        ("part", "", "is empty"),
        ("part", "magn", "none of"),
        ("echo_time_s", "", "is empty"),
        ("echo_time_s", "n/a", "is empty"),
        ("echo_time_s", "4.1", "write 0.0041"),
        ("echo_time_s", "0,0041", "with a point"),
        ("echo_time_s", "soon", "no number"),
        ("echo_time_s", "0.004 0.004", "twice"),
        ("field_strength_t", "", "is empty"),
        ("field_strength_t", "3000", "no field strength"),
        ("run", "a", "no number"),
    ],
)
def test_every_bad_cell_has_a_line(column, cell, word):
    entries, (line,) = checked([(7, changed(**{column: cell}))])
    assert entries == []
    assert line.startswith("line 7, a.nii: ")
    assert column in line
    assert word in line


def test_what_is_skipped_needs_nothing():
    assert checked([(2, Row("a.nii", part="Skip"))]) == ([], [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_spreadsheets_save(tmp_path, encoding):
    path = tmp_path / "t.tsv"
    text = "note\tpart\tFile\tparticipant\techo_time_s\tfield_strength_t\r\n"
    text += '\tmag\t"a ä.nii"\t01\t"0.004, 0.01"\t3\t\r\n\t\t\t\t\t\r\n'
    path.write_bytes(text.encode(encoding))
    ((number, row),) = read_table(path)
    assert (number, row.file, row.echo_time_s, row.session) == (2, "a ä.nii", "0.004, 0.01", "")


def test_a_table_that_is_none_is_refused(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text(",".join(COLUMNS) + "\n")
    with pytest.raises(InputError, match="no column file"):
        read_table(path)
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        read_table(path)


def test_what_is_written_is_read(tmp_path):
    write_table(tmp_path / "t.tsv", [GOOD, changed(comment="seen")])
    assert [row for _, row in read_table(tmp_path / "t.tsv")] == [GOOD, changed(comment="seen")]
