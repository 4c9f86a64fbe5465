"""The steps of many runs: one run after another, whatever executes them."""

from itertools import groupby, pairwise

import networkx as nx
import nipype.pipeline.engine as pe
import numpy as np
import pytest
from nipype.interfaces.utility import Function

from qsmbids.execution import Execution
from qsmbids.workflows.base import new_workflow
from qsmbids.workflows.execute import execute
from qsmbids.workflows.run_order import StepsByRun, steps_by_run

N_STEPS = 4


def _work(seconds, before=None):
    import time

    if seconds < 0:
        raise ValueError("odd")
    time.sleep(seconds)
    return seconds


def _runs(tmp_path, *seconds):
    """Return a graph of chains of four steps each, of so long each; a negative one fails."""
    outer = new_workflow("all", Execution(tmp_path / "work"), tmp_path)
    for number, of_run in enumerate(seconds):
        inner = pe.Workflow(f"run{number}")
        nodes = []
        for step in range(N_STEPS):
            function = Function(
                function=_work, input_names=["seconds", "before"], output_names=["o"]
            )
            node = pe.Node(function, f"step{step}")
            node.inputs.seconds = of_run
            nodes.append(node)
        inner.connect([(a, b, [("o", "before")]) for a, b in pairwise(nodes)])
        outer.add_nodes([inner])
    return outer


def _ended(tmp_path, nprocs, *seconds):
    """Return run and step of every node in the order of their ends, and the error."""
    ended = []

    def note(node, status):
        if status != "start":
            ended.append((node._hierarchy.split(".")[-1], node.name, status))

    error = execute(_runs(tmp_path, *seconds), Execution(tmp_path, nprocs=nprocs, mem_gb=8), note)
    return ended, error


def test_one_processor_finishes_a_run_before_the_next(tmp_path):
    ended, error = _ended(tmp_path, 1, *[0.0] * 5)
    assert error is None
    assert len(ended) == 5 * N_STEPS
    assert [run for run, _ in groupby(ended, key=lambda e: e[0])] == [f"run{i}" for i in range(5)]


def test_a_failure_stops_its_own_run_alone(tmp_path):
    """And nothing is told of the steps that it has left out."""
    ended, error = _ended(tmp_path, 1, 0.0, -1.0, 0.0)
    assert "ValueError: odd" in str(error)
    steps = [f"step{i}" for i in range(N_STEPS)]
    assert [name for run, name, s in ended if run == "run2" and s == "end"] == steps
    assert [(name, s) for run, name, s in ended if run == "run1"] == [("step0", "exception")]


@pytest.mark.parametrize("nprocs", [2, 3])
def test_few_runs_are_at_work_at_a_time(tmp_path, nprocs):
    """So the last one begins only when most have ended."""
    n = 9
    ended, _ = _ended(tmp_path, nprocs, *[0.02] * n)
    last_step = f"step{N_STEPS - 1}"
    for number in range(nprocs + 1, n):
        first = ended.index((f"run{number}", "step0", "end"))
        finished = sum(name == last_step for _, name, _ in ended[:first])
        assert finished >= number - nprocs


def test_a_failed_run_makes_room_for_the_next(tmp_path):
    ended, _ = _ended(tmp_path, 2, *[-1.0] * 6, 0.0)
    assert sum(status == "exception" for _, _, status in ended) == 6
    assert ("run6", f"step{N_STEPS - 1}", "end") in ended


def test_numbers_follow_the_runs_and_keep_what_depends_on_what(tmp_path):
    workflow = _runs(tmp_path, *[0.0] * 7)
    graph = workflow._create_flat_graph()
    plugin = StepsByRun()
    plugin._generate_dependency_list(graph)
    assert plugin.procs == [node for run in steps_by_run(graph) for node in run]
    assert len(plugin.procs) == 7 * N_STEPS
    assert np.array_equal(plugin.runs, np.repeat(np.arange(7), N_STEPS))
    expected = nx.to_numpy_array(graph, nodelist=plugin.procs, weight=None)
    assert np.array_equal(plugin.depidx.toarray() != 0, expected != 0)
    assert np.array_equal(plugin.refidx.toarray() != 0, expected != 0)
    assert expected.sum() == 7 * (N_STEPS - 1)
    # breadth first would have been the other way
    assert [node.name for node in plugin.procs[:N_STEPS]] == [f"step{i}" for i in range(N_STEPS)]


def test_runs_that_have_nothing_left_are_finished(tmp_path):
    plugin = StepsByRun()
    plugin._generate_dependency_list(_runs(tmp_path, 0.0, 0.0, 0.0)._create_flat_graph())
    plugin.proc_done[: 2 * N_STEPS] = True
    plugin.proc_pending[N_STEPS] = True  # at work
    assert plugin.unfinished_runs().tolist() == [1, 2]
