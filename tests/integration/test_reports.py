"""Every run leaves a page, also a failed one; a page that fails takes nothing with it."""

import json

import pytest


@pytest.mark.slow
def test_a_report_that_fails_is_named_and_can_be_made_later(attempt, monkeypatch):
    def broken(*_):
        raise RuntimeError("no ink")

    with monkeypatch.context() as patch:
        patch.setattr("qsmbids.reports.run.page.make_figures", broken)
        code, last, said = attempt("--output-level", "minimal")
    assert code == 0, said
    assert "1 ok, 0 failed (1 without a report)" in last
    assert "no ink" in said
    status = json.loads((attempt.out / "logs/status/sub-demo.json").read_text())
    assert "no ink" in status["report_error"]
    assert status["status"] == "ok"
    assert not (attempt.out / "sub-demo.html").exists()
    maps = {p: p.stat().st_mtime_ns for p in attempt.out.rglob("*.nii.gz")}
    assert maps

    code, last, said = attempt("--reports-only")
    assert code == 0, said
    assert "1 reports made, 0 failed" in last
    page = (attempt.out / "sub-demo.html").read_text("utf-8")
    assert "did not converge" in page  # the warning of the quick inversion
    for key in ("chi", "local_field", "magnitude", "wrapped", "unwrapped", "masks"):
        assert f'id="volume-{key}"' in page, key
    assert {p: p.stat().st_mtime_ns for p in attempt.out.rglob("*.nii.gz")} == maps
    status = json.loads((attempt.out / "logs/status/sub-demo.json").read_text())
    assert status["report"] == "sub-demo.html"
    assert "report_error" not in status
    # the raw data are not looked at again, and nothing of them is lost
    assert "TR = 33 ms" in (attempt.out / "logs/CITATION.md").read_text("utf-8")
    assert "flip angle = 15°" in page


def test_refused_input_leaves_a_page_that_says_why(attempt):
    next(attempt.bids.glob("sub-demo/anat/*echo-3_part-phase*.json")).write_text("{,}")
    code, _, said = attempt()
    assert code == 3, said
    page = (attempt.out / "sub-demo.html").read_text("utf-8")
    assert "malformed JSON" in page
    assert "in the step “check of the input”" in page
    assert "No image was written" in page


def test_the_methods_can_be_had_without_processing(attempt):
    code, last, said = attempt("--boilerplate-only", "--inversion", "medi", "--background", "pdf")
    assert code == 0, said
    assert "methods text of 1 run(s)" in last
    text = (attempt.out / "logs/CITATION.md").read_text("utf-8")
    assert text.strip() in said
    assert "TR = 33 ms" in text
    assert "MEDI" in text
    assert "[@liu2011pdf]" in text
    assert "@article{liu2011medi," in (attempt.out / "logs/CITATION.bib").read_text("utf-8")
    assert {p.name for p in attempt.out.rglob("*")} == {
        "logs", "CITATION.md", "CITATION.bib", "CITATION.html"
    }  # fmt: skip
    assert not (attempt.out.parent / "work").exists()


def test_reports_only_needs_something_to_report(attempt):
    code, last, _ = attempt("--reports-only")
    assert code == 3
    assert "Run without --reports-only first" in last
