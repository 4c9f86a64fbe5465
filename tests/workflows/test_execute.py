"""What Nipype leaves behind when a step fails becomes one line."""

import os
import signal

import nipype.pipeline.engine as pe
import pytest
from nipype.interfaces.utility import Function

from qsmbids.execution import Execution
from qsmbids.workflows.execute import execute, explain_crash, read_crashes
from qsmbids.workflows.plugins import WORKER_KILLED


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x\nqsmbids.errors.InputError: a.nii: is truncated. Copy it.\n", "a.nii: is truncated"),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8 GiB", "--mem"),
        (WORKER_KILLED, "--nprocs 1"),
        ("slurmstepd: error: Job 3 exceeded memory limit", "--mem"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("PermissionError: [Errno 13] Permission denied: '/x'", "/x"),
        ("Traceback\nValueError: odd\n", "ValueError: odd"),
        ("", "no report"),
    ],
)
def test_a_traceback_becomes_a_line(text, says):
    line = explain_crash(text)
    assert says in line
    assert "\n" not in line


def _fail(kind):
    import os
    import signal

    if kind == "raise":
        raise ValueError("odd")
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return kind


def _workflow(tmp_path, *kinds):
    workflow = pe.Workflow("test_wf", base_dir=str(tmp_path / "work"))
    workflow.config["execution"] = {
        "crashdump_dir": str(tmp_path),
        "crashfile_format": "txt",
        "poll_sleep_duration": "0.05",
        "create_report": "false",
    }
    for i, kind in enumerate(kinds):
        node = pe.Node(Function(function=_fail, input_names=["kind"], output_names=["o"]), f"n{i}")
        node.inputs.kind = kind
        workflow.add_nodes([node])
    return workflow


@pytest.mark.parametrize("nprocs", [1, 2])
def test_one_failure_stops_no_other(tmp_path, nprocs):
    ended = []
    workflow = _workflow(tmp_path, "raise", "fine", "also")
    error = execute(
        workflow,
        Execution(tmp_path, nprocs=nprocs),
        lambda node, status: ended.append((node.name, status)),
    )
    assert error is not None
    assert {("n0", "exception"), ("n1", "end"), ("n2", "end")} <= set(ended)
    (failure,) = read_crashes(tmp_path, {})
    assert failure.node == "n0"
    assert "ValueError: odd" in failure.message


def test_a_killed_worker_is_reported_and_costs_no_other(tmp_path):
    ended = []
    workflow = _workflow(tmp_path, "fine", "kill", "also", "more")
    execute(
        workflow,
        Execution(tmp_path, nprocs=2),
        lambda node, status: ended.append((node.name, status)),
    )
    assert {(f"n{i}", "end") for i in (0, 2, 3)} <= set(ended)
    (failure,) = read_crashes(tmp_path, {})
    assert failure.node == "n1"
    assert "memory" in failure.message


def test_an_interruption_stops_the_workers(tmp_path):
    def interrupt(node, status):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(_workflow(tmp_path, "fine", "also"), Execution(tmp_path, nprocs=2), interrupt)


def test_signals_can_be_sent_to_this_process():
    # the tests above rely on it
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
