"""The frame of all pages: nothing foreign as markup, no script but our own, no gap unseen."""

import base64
import hashlib

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from qsmbids.reports.run import template


@pytest.fixture(autouse=True)
def page(monkeypatch):
    source = "{{ script_hash }}|{{ style }}|{{ script }}|{{ value }}"
    monkeypatch.setattr(template, "asset", {"page": source}.__getitem__)


def test_only_our_own_markup_is_taken_as_it_is():
    filled = template.fill_template("page", style="a > b", script="1 < 2", value="<i>")
    assert filled.split("|")[1:] == ["a > b", "1 < 2", "&lt;i&gt;"]
    assert template.fill_template("page", style="", script="", value=Markup("<i>")).endswith("<i>")


def test_the_digest_is_that_of_the_script():
    digest = template.fill_template("page", style="", script="f('é')", value="").split("|")[0]
    assert base64.b64decode(digest) == hashlib.sha256("f('é')".encode()).digest()


def test_a_value_that_is_not_given_is_an_error():
    with pytest.raises(UndefinedError, match="value"):
        template.fill_template("page", style="", script="")
