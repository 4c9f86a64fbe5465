"""Tab-separated tables are read as they stand, whoever saved them last."""

import pytest

from qsmbids.io.tables import read_cells, read_rows


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "a.tsv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        'name\tmean\n"L" x\t1\n',
        'name\tmean\r\n"L" x\t1\r\n',
        '\ufeffname\tmean\n\n"L" x\t1',
    ],
)
def test_cells_whatever_the_ends_of_lines(table, text):
    assert read_cells(table(text)) == [["name", "mean"], ['"L" x', "1"]]
    assert read_rows(table(text)) == [{"name": '"L" x', "mean": "1"}]


def test_only_whole_rows_have_columns(table):
    path = table("name\tmean\na\nb\t1\nc\t1\t2\n\t\n")
    assert [len(cells) for cells in read_cells(path)] == [2, 1, 2, 3]
    assert read_rows(path) == [{"name": "b", "mean": "1"}]


def test_nothing_in_a_table(table):
    assert read_cells(table("")) == []
    assert read_rows(table("\n")) == []
    assert read_rows(table("name\tmean\n")) == []


def test_no_table(table, tmp_path):
    with pytest.raises(ValueError, match="utf-8"):
        read_rows(table(b"name\n\xff\xfe"))
    with pytest.raises(FileNotFoundError):
        read_cells(tmp_path / "absent.tsv")
