"""What is drawn before the end of a run changes nothing in its page but when it is there."""

import os
import sys
import threading
import time

import networkx as nx
import nibabel as nib
import numpy as np
import pytest

from qsmbids.cli.ahead import DrawnAhead
from qsmbids.io.write import write_volume
from qsmbids.reports.run import page


@pytest.fixture(autouse=True)
def _small_figures(monkeypatch):
    monkeypatch.setattr("qsmbids.reports.run.figures._DPI", 40)


@pytest.fixture
def drawings(monkeypatch):
    """Count the drawings of planes."""
    made = []

    def counted(images, keys, *rest):
        made.append(tuple(keys))
        return draw(images, keys, *rest)

    from qsmbids.reports.run import figures

    draw = figures.draw_planes
    monkeypatch.setattr(figures, "draw_planes", counted)
    return made


def test_a_page_is_the_same_and_draws_only_what_was_not_drawn(
    write_outputs, drawings, monkeypatch
):
    monkeypatch.setattr(page.time, "strftime", lambda form: form)  # a minute may end between
    out, result = write_outputs()
    plain = page.write_report(out, result).read_bytes()
    every, drawings[:] = list(drawings), []
    drawn = page.draw_ahead(out, result["run"], {})
    ahead, drawings[:] = list(drawings), []
    assert ahead
    assert not any("chi" in keys for keys in ahead)
    assert page.write_report(out, result, drawn=drawn).read_bytes() == plain
    assert sorted(drawings + ahead) == sorted(every)


def test_what_has_changed_since_is_drawn_again(write_outputs, drawings, monkeypatch):
    monkeypatch.setattr(page.time, "strftime", lambda form: form)  # a minute may end between
    out, result = write_outputs()
    drawn = page.draw_ahead(out, result["run"], {})
    path = next(out.rglob("*_magnitude.nii.gz"))
    image = nib.load(path)
    write_volume(path, 2 * np.asarray(image.dataobj, dtype=np.float32), image.affine)
    os.utime(path, (time.time() + 5, time.time() + 5))
    drawings.clear()
    new = page.write_report(out, result, drawn=drawn).read_bytes()
    assert ("magnitude",) in drawings
    assert new == page.write_report(out, result).read_bytes()


class _Node:
    def __init__(self, name):
        self.name, self._hierarchy = name, "all.run_wf"


class _Run:
    """A graph of a run, as far as it is asked."""

    def __init__(self, edges):
        names = {name for edge in edges for name in edge}
        nodes = {name: _Node(name) for name in names}
        self._graph = nx.DiGraph((nodes[a], nodes[b]) for a, b in edges)
        self.nodes = nodes

    def get_node(self, _):
        return self


@pytest.fixture
def ahead(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(DrawnAhead, "_draw", lambda self, label: begun.append(label))
    run = _Run(
        [
            ("field", "save_field"), ("mask", "save_mask"), ("field", "invert_dipole_field"),
            ("invert_dipole_field", "reference"), ("reference", "save_chi"),
        ]
    )  # fmt: skip
    told = DrawnAhead(run, {"run_wf": "sub-01"}, tmp_path, tmp_path)

    def tell(*names):
        for name in names:
            told(run.nodes[name], "end")
        told.take("sub-01")
        return begun

    return tell


def test_it_begins_once_the_early_images_are_written(ahead):
    assert ahead("field", "save_field") == []
    assert ahead("save_mask") == ["sub-01"]
    assert ahead("invert_dipole_field", "reference", "save_chi") == ["sub-01"]


def test_it_is_too_late_after_the_longest_step(ahead):
    assert ahead("save_field", "invert_dipole_field", "save_mask") == []


def test_drawings_that_a_busy_machine_holds_up_are_not_waited_for(tmp_path, monkeypatch):
    going_on, stopped = threading.Event(), threading.Event()

    def slow(out_dir, label, images, between):
        going_on.wait(10)
        try:
            between()
        except Exception:
            stopped.set()
            raise
        return "drawn"

    monkeypatch.setattr(page, "draw_ahead", slow)
    monkeypatch.setattr("qsmbids.cli.ahead._LONGEST_WAIT", 0.05)
    run = _Run([("field", "save_field"), ("field", "invert_dipole_field")])
    told = DrawnAhead(run, {"run_wf": "sub-01"}, tmp_path, tmp_path)
    told(run.nodes["save_field"], "end")
    assert told.take("sub-01") is None
    going_on.set()
    assert stopped.wait(10)


def test_only_who_draws_is_patient(tmp_path, monkeypatch):
    seen = []

    def nice(*_, between):
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        between()
        return "drawn"

    monkeypatch.setattr(page, "draw_ahead", nice)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    run = _Run([("field", "save_field"), ("field", "invert_dipole_field")])
    told = DrawnAhead(run, {"run_wf": "sub-01"}, tmp_path, tmp_path)
    told(run.nodes["save_field"], "end")
    assert told.take("sub-01") == "drawn"
    assert told.take("sub-01") is None
    assert os.getpriority(os.PRIO_PROCESS, 0) == own
    if sys.platform == "linux":
        assert seen == [max(own, 10)]
