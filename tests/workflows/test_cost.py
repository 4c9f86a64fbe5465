"""What steps cost, and in which order they run."""

import time
from itertools import pairwise

import nipype.pipeline.engine as pe
import pytest
from nipype.interfaces.utility import Function

from qsmbids.cli.spent import steps_of
from qsmbids.execution import Execution
from qsmbids.workflows.cost import CostedNode, read_cost
from qsmbids.workflows.execute import execute


def _work(seconds, before=None):
    import time

    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    if seconds < 0:
        raise ValueError("odd")
    return seconds


def _step(name, seconds=0.0):
    node = CostedNode(
        Function(function=_work, input_names=["seconds", "before"], output_names=["o"]), name
    )
    node.inputs.seconds = seconds
    return node


def _workflow(tmp_path, *nodes, name="run"):
    inner = pe.Workflow(name)
    inner.add_nodes(list(nodes))
    outer = pe.Workflow("all", base_dir=str(tmp_path / "work"))
    outer.config["execution"] = {
        "crashdump_dir": str(tmp_path),
        "crashfile_format": "txt",
        "create_report": "false",
        "local_hash_check": "true",
    }
    outer.add_nodes([inner])
    return outer


@pytest.mark.parametrize("nprocs", [1, 2])
def test_a_step_leaves_its_cost_also_where_it_fails(tmp_path, nprocs):
    workflow = _workflow(tmp_path, _step("busy", 0.3), _step("bad", -1.0))
    began = time.time()
    execute(workflow, Execution(tmp_path, nprocs=nprocs), lambda *_: None)
    steps = {s["step"]: s for s in steps_of(workflow, "run", tmp_path / "work", began)}
    assert set(steps) == {"busy", "bad"}
    busy = steps["busy"]
    assert 0.25 <= busy["cpu_seconds"] < 3  # clocks tick in hundredths
    assert busy["seconds"] >= 0.3
    assert 0.01 < busy["memory_gb"] < 4
    assert 0 <= busy["start"] <= time.time() - began
    assert steps["bad"]["cpu_seconds"] < 0.3


def test_a_step_that_was_done_before_keeps_the_cost_of_then(tmp_path):
    workflow = _workflow(tmp_path, _step("busy", 0.05))
    execute(workflow, Execution(tmp_path), lambda *_: None)
    folder = tmp_path / "work/all/run/busy"
    before = read_cost(folder)
    time.sleep(0.01)
    began = time.time()
    execute(_workflow(tmp_path, _step("busy", 0.05)), Execution(tmp_path), lambda *_: None)
    assert read_cost(folder) == before
    (step,) = steps_of(workflow, "run", tmp_path / "work", began)
    assert step["start"] is None


def test_a_folder_without_a_cost_has_none(tmp_path):
    assert read_cost(tmp_path) is None
    (tmp_path / "cost.json").write_text("{")
    assert read_cost(tmp_path) is None


def test_the_longest_chain_comes_first_and_files_are_written_beside_it(tmp_path):
    chain = [_step(f"chain{i}", 0.05) for i in range(3)]
    lone = [_step(f"a_write{i}", 0.05) for i in range(3)]
    for node in chain:
        node.n_procs, node.wide = 2, True
    workflow = _workflow(tmp_path, *lone, *chain)
    run = workflow.get_node("run")
    run.connect([(a, b, [("o", "before")]) for a, b in pairwise(chain)])
    begun = []
    execute(
        workflow,
        Execution(tmp_path, nprocs=2, mem_gb=8),
        lambda node, status: begun.append((node.name, status)),
    )
    assert begun[0] == ("chain0", "start")
    # beside two threads there is room for one more, and not before the chain
    first_end = next(i for i, (_, status) in enumerate(begun) if status == "end")
    assert sum(name.startswith("a_write") for name, _ in begun[:first_end]) == 1


def test_files_are_written_before_a_chain_that_is_not_the_longest(tmp_path):
    """The pages are drawn from them while longer steps take the processors."""
    longest = [_step(f"chain{i}", 0.5 - 0.2 * i) for i in range(3)]
    shorter = [_step(f"b_side{i}", 0.05) for i in range(2)]
    lone = [_step(f"c_write{i}", 0.05) for i in range(2)]
    longest[0].n_procs, longest[0].wide = 2, True
    workflow = _workflow(tmp_path, *shorter, *lone, *longest)
    run = workflow.get_node("run")
    for steps in (longest, shorter):
        run.connect([(a, b, [("o", "before")]) for a, b in pairwise(steps)])
    begun = []
    execute(
        workflow,
        Execution(tmp_path, nprocs=2, mem_gb=8),
        lambda node, status: begun.append((node.name, status)),
    )
    order = [name for name, status in begun if status == "start"]
    assert order[0] == "chain0"
    assert max(order.index(f"c_write{i}") for i in range(2)) < order.index("b_side0")


def test_a_step_with_idle_threads_lets_another_one_run(tmp_path):
    nodes = [_step(f"s{i}", 0.1) for i in range(2)]
    for node in nodes:
        node.n_procs = 2
    begun = []
    execute(
        _workflow(tmp_path, *nodes),
        Execution(tmp_path, nprocs=2, mem_gb=8),
        lambda node, status: begun.append(status),
    )
    assert begun[:2] == ["start", "start"]
