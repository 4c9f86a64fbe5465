"""The group page in a real browser: keys, windows of any width, links, and no complaint."""

import contextlib
import importlib.util
import time
from pathlib import Path

import pytest

from qsmbids.reports.group.gather import gather
from qsmbids.reports.group.page import write_group

_spec = importlib.util.spec_from_file_location(
    "page_browser", Path(__file__).parents[1] / "run" / "test_browser.py"
)
_shared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_shared)

pytestmark = _shared.pytestmark

KEY = """document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", {key: "%s", bubbles: true}))"""
FIRST = "document.querySelector('#chi .panel:not([hidden]) tbody svg')"


@pytest.fixture
def page(typical):
    return write_group(typical.out, gather(typical.out, typical.bids))


@pytest.fixture(params=[1280, 1920])
def browser(request, tmp_path, page):
    with _shared.Browser(_shared.CHROMIUM, tmp_path / "profile", width=request.param) as opened:
        _open(opened, page)
        yield opened


def _open(browser, page):
    browser.call("Page.navigate", url=page.as_uri())
    _wait(browser, "document.body?.dataset.ready === 'true'")


def _wait(browser, condition):
    for _ in range(150):
        # while it goes from page to page, the browser has nothing to answer with
        with contextlib.suppress(AssertionError):
            if browser.run(condition):
                return
        time.sleep(0.1)
    raise AssertionError(condition)


def test_every_line_is_drawn_and_nothing_is_asked_for(browser, page):
    lines = "document.querySelectorAll('.panel:not([hidden]) tbody tr').length"
    plots = "document.querySelectorAll('.panel:not([hidden]) tbody td.strip svg').length"
    assert browser.run(lines) == browser.run(plots) == 16 + 3
    for index in range(4):
        browser.run(f"""(() => {{ const s = document.querySelector('#chi .choose');
            s.selectedIndex = {index}; s.dispatchEvent(new Event('change')); }})()""")
        assert browser.run(lines) == browser.run(plots)
    browser.run("""(() => { const s = document.querySelector('#chi .scaling');
        s.value = 'own'; s.dispatchEvent(new Event('change')); })()""")
    assert browser.run("document.documentElement.scrollWidth - window.innerWidth") <= 0
    unnamed = browser.run("""[...document.querySelectorAll("input, select, button, svg[tabindex]")]
        .filter((e) => !e.labels?.length && !e.getAttribute("aria-label")).length""")
    assert unnamed == 0
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]


def test_a_point_lies_where_its_value_is_and_its_run_is_marked_everywhere(browser):
    browser.run(f"{FIRST}.focus()")
    xs = []
    for _ in range(12):
        browser.run(KEY % "ArrowRight")
        xs.append(browser.run(f"+{FIRST}.querySelector('.marker').getAttribute('cx')"))
    assert xs == sorted(xs)
    assert len(set(xs)) > 6
    marked = """[...document.querySelectorAll('.panel:not([hidden]) .marker')]
        .filter((m) => m.style.visibility === 'visible').length"""
    assert browser.run(marked) == 16 + 3
    said = browser.run("document.querySelector('#chi .said').textContent")
    assert "Caudate (left): +0.0" in said
    browser.run(KEY % "Escape")
    assert browser.run(marked) == 0
    assert browser.run("document.getElementById('tip').hidden")


def test_a_run_that_is_looked_for_stays_marked(browser):
    browser.run("""(() => { const f = document.querySelector('.find');
        f.value = 'sub-03'; f.dispatchEvent(new Event('input')); })()""")
    count = """[...document.querySelectorAll('.marker')]
        .filter((m) => m.style.visibility === 'visible').length"""
    assert browser.run(count) == 19
    assert browser.run(
        "[...document.querySelectorAll('.find')].every((f) => f.value === 'sub-03')"
    )


def test_enter_and_click_open_the_report(browser, page):
    outlier = "document.querySelectorAll('#chi .panel:not([hidden]) tbody svg')[2]"
    browser.run(f"{outlier}.focus()")
    browser.run(KEY % "End")
    assert "sub-03" in browser.run("document.getElementById('tip').textContent")
    browser.run(KEY % "Enter")
    _wait(browser, "document.title === 'sub-03'")
    assert browser.run("location.pathname").endswith("/out/sub-03.html")
    _open(browser, page)
    browser.run(f"{outlier}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    x, y = browser.run(f"""(() => {{ const svg = {outlier}, box = svg.getBoundingClientRect();
        svg.focus(); {KEY % "End"};
        const m = svg.querySelector('.marker');
        return [box.left + m.cx.baseVal.value, box.top + m.cy.baseVal.value]; }})()""")
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    _wait(browser, "document.title === 'sub-03'")
