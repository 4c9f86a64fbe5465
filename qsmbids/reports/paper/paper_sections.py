"""Parts of the page for a publication: checks against the paper, its tables, and the methods."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from qsmbids.reports.paper.citations import markdown_to_html
from qsmbids.reports.paper.findings import Finding
from qsmbids.reports.paper.publication import Publication
from qsmbids.reports.run.section import Section, bullets, paragraph, table

__all__ = ["advice", "paper_sections"]

#: Verdicts in words, in the order in which they are counted.
_WORDS = {
    "pass": "as recommended",
    "advice": "advice",
    "changed": "another choice",
    "unknown": "not known",
    "absent": "not done in this run",
    "outside": "outside the paper's scope",
}
_STUDY = "for the study"
_PAPER = "https://doi.org/10.1002/mrm.30006"


def paper_sections(publication: Publication, tables: Sequence[Path] = ()) -> list[Section]:
    """Return the checks, Tables 3 to 5, the methods, and what to bear in mind of the map.

    Parameters
    ----------
    publication : Publication
    tables : sequence of Path
        Files of the tables, which are named below them.
    """
    return [
        Section("acquisition", "Acquisition check", _acquisition(publication)),
        Section("pipeline", "Pipeline check", _pipeline(publication)),
        Section("tables", "Tables 3-5", _tables(publication, tables)),
        Section("methods", "Methods", _methods(publication)),
        *(
            [Section("interpretation", "Interpretation", _interpretation(publication))]
            if publication.caveats
            else []
        ),
    ]


def advice(publication: Publication) -> list[str]:
    """Return what should be looked at, one line per point, for the verdict."""
    lines = [
        f"{f.recommendation}, {f.topic}: {f.text}{f' Found: {f.value}.' if f.value else ''}"
        for f in (*publication.acquisition, *publication.pipeline)
        if f.verdict == "advice"
    ]
    lines += [
        f"The sidecars name another value than the settings: {text}."
        for text in publication.disagreements
    ]
    return lines


def _acquisition(publication: Publication) -> Markup:
    html = paragraph(
        Markup(
            "Against section 2 and the sample protocols (S1.5) of the "
            '<a href="{}">consensus paper</a>: {}.'
        ).format(_PAPER, _counts(publication.acquisition)),
        "note",
    )
    return html + _findings(publication.acquisition)


def _pipeline(publication: Publication) -> Markup:
    """Return the findings with those first that are not simply as recommended."""
    found = publication.pipeline
    html = paragraph(f"Against recommendations 3.a to 8.g: {_counts(found)}.", "note")
    special = [f for f in found if f.verdict in ("advice", "changed")]
    usual = [f for f in found if f not in special]
    if special:
        html += _findings(special)
    return html + _folded(f"{len(usual)} further recommendations", _findings(usual))


def _findings(findings: Sequence[Finding]) -> Markup:
    chip = Markup('<span class="chip {}">{}</span>')
    rows = [
        (f.recommendation, chip.format(f.verdict, _word(f)), f.topic, f.value, f.text)
        for f in findings
    ]
    return Markup('<div class="findings">{}</div>').format(
        table(("Item", "Verdict", "Topic", "Value", "Finding"), rows)
    )


def _counts(findings: Sequence[Finding]) -> str:
    counts = Counter(_word(f) for f in findings)
    order = [*_WORDS.values(), _STUDY]
    return ", ".join(f"{counts[word]} {word}" for word in order if counts[word])


def _word(finding: Finding) -> str:
    """Return the verdict in words; what no single run can tell is up to the study."""
    if finding.verdict == "unknown" and finding.text.startswith("For the study"):
        return _STUDY
    return _WORDS[finding.verdict]


def _tables(publication: Publication, files: Sequence[Path]) -> Markup:
    html = Markup("")
    essential = [name for t in publication.tables for name in t.missing_essential]
    if essential:
        html += paragraph("Essential in every publication, and to be filled in by the author:")
        html += bullets(essential, "missing")
    for t in publication.tables:
        n = len(t.missing)
        summary = f"{t.title}{f' ({n} to fill in)' if n else ''}"
        # Table.to_html escapes every cell
        html += _folded(
            summary, Markup('<div class="scroll">{}</div>').format(_markup(t.to_html()))
        )
    if files:
        names = ", ".join(path.name for path in files)
        html += paragraph(f"As files in figures/: {names}", "note")
    return html


def _methods(publication: Publication) -> Markup:
    text = publication.methods.removeprefix("# Methods\n")
    n_open = text.count("**please fill in")
    summary = "Text for a publication with every parameter in force and its references"
    if n_open:
        summary += f" ({n_open} to fill in)"
    # markdown_to_html escapes every text
    html = _folded(summary, Markup('<div class="methods">{}</div>').format(
        _markup(markdown_to_html(text))
    ))  # fmt: skip
    return html + paragraph(
        "The text for all runs of a call, and the references for BibTeX, are in logs/CITATION.md, "
        ".bib and .html.",
        "note",
    )


def _interpretation(publication: Publication) -> Markup:
    lines = [Markup("<b>{}</b>: {}").format(c.topic, c.text) for c in publication.caveats]
    note = paragraph(
        "What section 9.1.6 asks to be borne in mind, as far as it holds here.", "note"
    )
    return note + bullets(lines)


def _markup(html: str) -> Markup:
    """Take HTML whose every text is escaped already."""
    return Markup(html)  # noqa: S704 - made by our own, escaping functions


def _folded(summary: str, html: Markup) -> Markup:
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, html)
