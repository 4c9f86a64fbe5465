"""Citations resolve to numbered references, and the files are written once."""

import re

import pytest

from qsmbids.errors import OutputError
from qsmbids.methods.sections import PARAGRAPHS
from qsmbids.reports.paper.citations import (
    citation_files,
    cited_keys,
    markdown_to_html,
    references,
    write_citations,
)

TEXT = "# T\n\nA [@wu2012; @li2011] and **b** <i> [@li2011].\n\n- one\n- two [@smith2002]\n"


def test_references_are_complete():
    for key, entry in references().items():
        assert {"author", "title", "year", "doi", "pages"} <= set(entry.fields), key
        assert entry.fields["year"] in key
        assert re.fullmatch(r"10\.\d{4,}/\S+", entry.fields["doi"])
        assert entry.bibtex.count("{") == entry.bibtex.count("}")
        assert entry.fields["year"] in entry.to_text()
    dois = [entry.fields["doi"] for entry in references().values()]
    assert len(set(dois)) == len(dois)


def test_bibtex_keeps_the_capitals_of_names_and_the_text_has_no_braces():
    for entry in references().values():
        title = entry.fields["title"]
        outside = re.sub(r"\{[^}]*\}", "", title)
        lost = [w for w in re.findall(r"[\w-]+", outside) if re.search(r"\w[A-Z]", w)]
        assert not lost, f"{entry.key}: {lost} would lose capitals"
        assert "{" not in entry.to_text().split(". ", 1)[1]
    assert "({ROMEO})" in references()["dymerska2021"].bibtex
    assert "(ROMEO)." in references()["dymerska2021"].to_text()


def test_every_sentence_cites_what_there_is():
    for paragraph in PARAGRAPHS:
        for clause in paragraph.clauses:
            cited_keys(clause.text)


def test_numbers_follow_the_first_citation():
    html = markdown_to_html(TEXT)
    assert cited_keys(TEXT) == ("wu2012", "li2011", "smith2002")
    assert '[<a href="#ref-wu2012">1</a>, <a href="#ref-li2011">2</a>]' in html
    assert html.index('id="ref-wu2012"') < html.index('id="ref-li2011"')
    assert "<strong>b</strong> &lt;i&gt;" in html
    assert html.count("<li>") == 2
    assert "@" not in html


def test_an_unknown_key_is_an_error():
    with pytest.raises(KeyError, match="nobody1900"):
        cited_keys("text [@nobody1900]")


def test_the_bibliography_holds_what_is_cited_and_no_more():
    files = citation_files(TEXT)
    assert set(files) == {"CITATION.md", "CITATION.bib", "CITATION.html"}
    assert re.findall(r"^@\w+\{(\w+),", files["CITATION.bib"], re.M) == [
        "wu2012",
        "li2011",
        "smith2002",
    ]
    assert files["CITATION.md"] == TEXT
    assert "http://" not in files["CITATION.html"]


def test_files_appear_whole_and_are_left_when_nothing_changes(tmp_path):
    first = write_citations(tmp_path / "logs", TEXT)
    stamps = [p.stat().st_mtime_ns for p in first]
    write_citations(tmp_path / "logs", TEXT)
    assert [p.stat().st_mtime_ns for p in first] == stamps
    write_citations(tmp_path / "logs", TEXT + "\nMore.\n")
    assert first[0].read_text("utf-8").endswith("More.\n")
    assert sorted(p.name for p in (tmp_path / "logs").iterdir()) == [
        "CITATION.bib",
        "CITATION.html",
        "CITATION.md",
    ]


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(OutputError):
        write_citations(tmp_path / "logs", TEXT)
