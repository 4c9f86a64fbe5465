"""What the tests of whole runs share."""

import pytest


@pytest.fixture(autouse=True)
def _few_figures(request, monkeypatch):
    """Leave out the figures of the report, which take longer than the small runs themselves."""
    if "report" not in request.node.name:
        monkeypatch.setattr("qsmbids.reports.run.page.make_figures", lambda *_: [])


@pytest.fixture
def attempt(request, qsmbids, small_dataset, tmp_path):
    """Run the quick pipeline on a dataset that the test may break.

    A module says in ``OPTIONS`` what all its runs have besides.
    """
    always = ("--nprocs", 1, "--sloppy", "--skip-bids-validation")
    always += getattr(request.module, "OPTIONS", ())

    def call(*options, out="out"):
        work = tmp_path / ("work" if out == "out" else f"work-{out}")
        return qsmbids(
            small_dataset, tmp_path / out, "participant", "--work-dir", work, *always, *options
        )

    call.bids, call.out, call.work = small_dataset, tmp_path / "out", tmp_path / "work"
    call.truth = small_dataset / "derivatives/truth"
    return call
