"""A run that has ended is followed at once, while others go on."""

import threading
from types import SimpleNamespace

import networkx as nx
import pytest

from qsmbids.cli.ended_runs import EndedRuns


class _Node:
    def __init__(self, name, run):
        self.name, self._hierarchy = name, f"all.{run}"


class _Workflow:
    """Runs of three steps in a chain, and one beside them, as far as they are asked."""

    def __init__(self, *runs):
        self.nodes, self.graphs = {}, {}
        for run in runs:
            nodes = {name: _Node(name, run) for name in ("a", "b", "c", "save")}
            self.graphs[run] = nx.DiGraph([(nodes["a"], nodes["b"]), (nodes["b"], nodes["c"])])
            self.graphs[run].add_node(nodes["save"])
            self.nodes[run] = nodes

    def get_node(self, run):
        return SimpleNamespace(_graph=self.graphs[run])


@pytest.fixture
def world():
    workflow = _Workflow("one", "two")
    told = []
    ended = EndedRuns(
        workflow, ["one", "two"], lambda run, last: told.append((run, last)), beside=False
    )

    def tell(run, *steps, status="end"):
        for step in steps:
            ended(workflow.nodes[run][step], status)

    return SimpleNamespace(tell=tell, told=told, ended=ended)


def test_a_run_is_followed_once_when_all_its_steps_have_ended(world):
    world.tell("one", "a", status="start")
    world.tell("one", "a", "save", "b")
    assert world.told == []
    world.tell("one", "c")
    assert world.told == [("one", False)]
    world.tell("one", "c")  # told twice by Nipype, of a step that it ran by itself
    world.tell("two", "a", "b", "c", "save")
    world.ended.finish()
    assert world.told == [("one", False), ("two", True)]


def test_what_waits_for_a_failed_step_is_not_waited_for(world):
    """And its report is there only after Nipype has told of it."""
    world.tell("one", "a", "save")
    world.tell("one", "b", status="exception")
    assert world.told == []
    world.tell("two", "a", status="start")
    assert world.told == [("one", False)]


def test_the_other_steps_of_a_failed_run_are_waited_for(world):
    world.tell("one", "a", status="exception")
    world.tell("two", "a")
    assert world.told == []
    world.tell("one", "save")
    assert world.told == [("one", False)]


def test_the_last_run_may_be_one_that_failed(world):
    world.tell("one", "save", "a", "b", "c")
    world.tell("two", "save")
    world.tell("two", "a", status="exception")
    assert world.told == [("one", False)]
    world.ended.finish()
    assert world.told == [("one", False), ("two", True)]


def test_steps_of_no_run_are_of_no_concern(world):
    world.ended(_Node("a", "three"), "end")
    world.ended(SimpleNamespace(name="a"), "end")
    assert world.told == []


def _beside(follow):
    workflow = _Workflow("one", "two", "three")
    ended = EndedRuns(workflow, list(workflow.graphs), follow, beside=True)

    def end(run):
        for node in workflow.nodes[run].values():
            ended(node, "end")

    return ended, end


def test_what_follows_does_not_hold_up_the_steps():
    go, threads, told = threading.Event(), [], []

    def follow(run, last):
        if run == "one":
            assert go.wait(10)
        threads.append(threading.current_thread() is threading.main_thread())
        told.append((run, last))

    ended, end = _beside(follow)
    end("one")
    end("two")
    assert told == []
    end("three")  # has nothing to wait for
    assert told == [("three", True)]
    go.set()
    ended.finish()
    assert told == [("three", True), ("one", False), ("two", False)]
    assert threads == [True, False, False]


def test_an_error_in_what_follows_stops_nothing():
    told = []

    def follow(run, last):
        if run == "one":
            raise OSError("disk full")
        told.append(run)

    ended, end = _beside(follow)
    for run in ("one", "two", "three"):
        end(run)
    ended.finish()
    assert sorted(told) == ["three", "two"]


def test_after_an_interruption_nothing_is_begun():
    go, began, told = threading.Event(), threading.Event(), []

    def follow(run, last):
        began.set()
        assert go.wait(10)
        told.append(run)

    ended, end = _beside(follow)
    end("one")
    end("two")
    assert began.wait(10)
    threading.Timer(0.1, go.set).start()
    ended.stop()
    assert told == ["one"]  # which was under way, and is waited for
