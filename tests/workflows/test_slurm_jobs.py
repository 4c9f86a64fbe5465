"""What Slurm's commands say, acted by scripts; tests/slurm has a real cluster."""

import nipype.pipeline.engine as pe
import pytest
from nipype.interfaces.utility import Function

from qsmbids.errors import ConfigError
from qsmbids.execution import Execution
from qsmbids.workflows import slurm
from qsmbids.workflows.execute import execute, explain_crash, read_crashes
from qsmbids.workflows.slurm_jobs import (
    Job,
    SlurmBusyError,
    SlurmJobs,
    SlurmRefusedError,
    why_ended,
)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put commands on the PATH; each also notes its arguments."""
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def make(**commands: str) -> None:
        for name, body in commands.items():
            path = folder / name
            path.write_text(f'#!/bin/sh\necho "{name} $@" >> "{tmp_path}/calls"\n{body}\n')
            path.chmod(0o755)

    make(squeue="", sbatch="echo '7;ci'", scancel="", sacct="exit 1")
    return make


def _calls(tmp_path, name):
    lines = (tmp_path / "calls").read_text().splitlines()
    return [line for line in lines if line.startswith(name)]


def test_memory_and_processors_are_asked_for_unless_the_user_does(fake, tmp_path):
    SlurmJobs().submit(tmp_path / "s.sh", "step.run", 2.0, 4, after=[3, 5])
    SlurmJobs("--mem-per-cpu=1G -A 'my lab'").submit(tmp_path / "s.sh", "step.run", 2.0, 4)
    first, second = _calls(tmp_path, "sbatch")
    assert "--mem=2868M" in first  # 2 GB and a fifth, and the interpreter's 0.4
    assert "--cpus-per-task=4" in first
    assert "--dependency=afterok:3:5" in first
    assert "--mem=" not in second
    assert second.endswith("--mem-per-cpu=1G -A my lab " + str(tmp_path / "s.sh"))


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("sbatch: error: Batch job submission failed: Invalid account", SlurmRefusedError),
        ("Batch job submission failed: Job violates accounting (QOSMaxSubmit)", SlurmBusyError),
        ("slurm_receive_msg: Socket timed out on send/recv operation", SlurmBusyError),
    ],
)
def test_a_job_that_is_not_taken(fake, tmp_path, said, error):
    fake(sbatch=f"echo '{said}' >&2; exit 1")
    with pytest.raises(error, match=r"failed|timed out"):
        SlurmJobs().submit(tmp_path / "s.sh", "step.run", 1.0, 1)


def test_states_are_asked_for_together_and_a_job_may_be_gone(fake, tmp_path):
    jobs = SlurmJobs(poll_seconds=0.0)
    for number in (7, 8, 9):
        fake(sbatch=f"echo {number}")
        jobs.submit(tmp_path / "s.sh", "step.run", 1.0, 1)
    fake(squeue="echo '7|RUNNING|None'; echo '8|OUT_OF_MEMORY|OutOfMemory'")
    assert jobs.refresh()
    assert [jobs.jobs[n].state for n in (7, 8, 9)] == ["RUNNING", "OUT_OF_MEMORY", ""]
    assert [jobs.jobs[n].active for n in (7, 8, 9)] == [True, False, False]
    fake(squeue="echo 'Socket timed out' >&2; exit 1")
    assert not jobs.refresh()  # that is no news of any job
    assert jobs.jobs[7].active
    assert sum("--jobs=7,8,9" in call for call in _calls(tmp_path, "squeue")) == 1


def test_jobs_whose_number_never_arrived_are_cancelled_too(fake, tmp_path):
    jobs = SlurmJobs()
    jobs.submit(tmp_path / "s.sh", "step.run", 1.0, 1)
    token = jobs._token
    fake(squeue=f"echo '12|other.run.{token}'; echo '13|of-somebody-else'")
    jobs.cancel()
    (call,) = _calls(tmp_path, "scancel")
    assert set(call.split()[1:]) == {"7", "12"}


@pytest.mark.parametrize(
    ("state", "printed", "says"),
    [
        ("OUT_OF_MEMORY", "", "more memory than it may have (it had asked for 900 MB)"),
        ("FAILED", "slurmstepd: error: Exceeded job memory limit", "more memory"),
        ("TIMEOUT", "", "--time"),
        ("CANCELLED", "", "job 7 was cancelled"),
        ("NODE_FAIL", "", "took the machine away"),
        ("", "", "vanished"),
        ("FAILED", "x\nbash: python: Permission denied\n", "Permission denied"),
    ],
)
def test_why_a_job_ended(tmp_path, state, printed, says):
    output = tmp_path / "slurm-7.out"
    output.write_text(printed)
    line = explain_crash("Traceback\n" + why_ended(Job(7, output, 900, state)))
    assert says in line
    assert "\n" not in line


def _give(value):
    return value


def _workflow(tmp_path, value):
    workflow = pe.Workflow("test_wf", base_dir=str(tmp_path / "work"))
    workflow.config["execution"] = {
        "crashdump_dir": str(tmp_path),
        "crashfile_format": "txt",
        "poll_sleep_duration": "0.05",
        "create_report": "false",
        "local_hash_check": "true",
    }
    node = pe.Node(Function(function=_give, input_names=["value"], output_names=["o"]), "give")
    node.inputs.value = value
    workflow.add_nodes([node])
    return workflow


@pytest.mark.parametrize("plugin", ["SLURM", "SLURMGraph"])
def test_the_result_of_an_earlier_attempt_is_not_that_of_a_lost_job(
    fake, tmp_path, monkeypatch, plugin
):
    monkeypatch.setattr(slurm, "_RESULT_S", 0.1)
    assert execute(_workflow(tmp_path, 1), Execution(tmp_path), lambda *_: None) is None
    execution = Execution(tmp_path, plugin=plugin, plugin_args={"poll_seconds": 0.05})
    assert execute(_workflow(tmp_path, 1), execution, lambda *_: None) is None
    assert not _calls(tmp_path, "sbatch")  # it is done
    error = execute(_workflow(tmp_path, 2), execution, lambda *_: None)
    assert error is not None
    (failure,) = read_crashes(tmp_path, {})
    assert failure.node == "give"
    assert "vanished" in failure.message


def test_arguments_that_are_not_known(fake, tmp_path):
    execution = Execution(tmp_path, plugin="SLURM", plugin_args={"sbatch_arg": "-A lab"})
    with pytest.raises(ConfigError, match="sbatch_arg"):
        execute(_workflow(tmp_path, 1), execution, lambda *_: None)
