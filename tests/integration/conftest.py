"""What the tests of whole runs share."""

import pytest


@pytest.fixture(autouse=True)
def _few_figures(request, monkeypatch):
    """Leave out the figures of the report, which take longer than the small runs themselves."""
    if "report" not in request.node.name:
        monkeypatch.setattr("qsmbids.reports.run.page.make_figures", lambda *_: [])
