"""Jobs of a Slurm cluster: submit, watch, explain, cancel."""

import contextlib
import logging
import math
import os
import re
import shlex
import subprocess
import time
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from qsmbids.errors import ConfigError

__all__ = ["Job", "SlurmBusyError", "SlurmJobs", "SlurmRefusedError", "why_ended"]

logger = logging.getLogger("qsmbids")

#: What the line begins with that says why a job ended.
JOB_ENDED = "SlurmJobEnded: "

#: States that a job leaves again; "" is not known yet.
_ACTIVE = frozenset(
    "PENDING CONFIGURING RUNNING COMPLETING RESIZING REQUEUED REQUEUE_FED REQUEUE_HOLD"
    " RESV_DEL_HOLD SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED SUSPENDED".split()
)
#: Reasons to wait that need no word to the user.
_ORDINARY = ("None", "Priority", "Resources", "Dependency", "BeginTime", "JobArrayTaskLimit")
#: What sbatch says when it may take the job later.
_LATER = re.compile(
    r"timed out|temporarily|try again|not available at the moment|contact slurm controller"
    r"|connection refused|MaxSubmit|submit limit",
    re.IGNORECASE,
)
#: Kept small: a controller is shared by everybody.
_SLOWEST_POLL_S = 10.0
#: A job's own Python with everything that it imports needs more than a worker that shares [GB].
_PROCESS_GB = 0.4
_MARGIN = 1.2


class SlurmBusyError(Exception):
    """Slurm cannot take a job now, but may later."""


class SlurmRefusedError(Exception):
    """Slurm will never take this job."""


@dataclass
class Job:
    """One job.

    Attributes
    ----------
    number : int
        Slurm's job id.
    output : Path
        What the job printed.
    memory_mb : int or None
        Asked for; None where the user's own arguments say it.
    state, reason : str
        As ``squeue`` gave them last; the state is "" when Slurm knows the job no more.
    """

    number: int
    output: Path
    memory_mb: int | None
    state: str = "PENDING"
    reason: str = "None"
    told: str = ""

    @property
    def active(self) -> bool:
        """Whether the job waits or runs."""
        return self.state in _ACTIVE


class SlurmJobs:
    """Submits jobs and knows what became of them.

    Parameters
    ----------
    sbatch_args : str
        The user's arguments; what they say wins over what is asked for here.
    poll_seconds : float
        Least time between two questions to Slurm [s]; it grows while nothing happens.

    Raises
    ------
    ConfigError
        The arguments cannot be taken apart, or there is no Slurm.
    """

    def __init__(self, sbatch_args: str = "", poll_seconds: float = 1.0) -> None:
        try:
            self._arguments = shlex.split(sbatch_args)
        except ValueError as error:
            raise ConfigError(f"cannot be understood ({error})", "sbatch_args") from error
        self._fastest = self._interval = poll_seconds
        self._asked = 0.0
        self._token = f"qsmbids-{uuid.uuid4().hex[:8]}"
        self.jobs: dict[int, Job] = {}
        self._run(["squeue", "--version"])

    def submit(
        self, script: Path, name: str, mem_gb: float, cpus: int, after: Iterable[int] = ()
    ) -> int:
        """Submit a script and return the job id.

        Parameters
        ----------
        script : Path
            Its output is written beside it.
        name : str
            Of the step and the run, as ``squeue`` shows it.
        mem_gb : float
            Estimate of the step's own memory [GB].
        cpus : int
            Threads.
        after : iterable of int
            Jobs that must have succeeded before.

        Raises
        ------
        SlurmBusyError
            The job may be taken later.
        SlurmRefusedError
            It will not; the message is Slurm's.
        """
        own_memory = any(a.startswith("--mem") for a in self._arguments)
        memory = None if own_memory else math.ceil(1024 * (_MARGIN * mem_gb + _PROCESS_GB))
        output = script.with_name("slurm-%j.out")
        command = ["sbatch", "--parsable", f"--job-name={name}.{self._token}"]
        command += [f"--output={output}", f"--cpus-per-task={cpus}", "--open-mode=append"]
        command += [] if memory is None else [f"--mem={memory}M"]
        dependency = ":".join(str(number) for number in after)
        if dependency:
            command += [f"--dependency=afterok:{dependency}", "--kill-on-invalid-dep=yes"]
        done = self._run([*command, *self._arguments, str(script)])
        if done.returncode:
            said = " ".join(done.stderr.split()) or f"sbatch ended with {done.returncode}"
            raise (SlurmBusyError if _LATER.search(said) else SlurmRefusedError)(said)
        number = int(done.stdout.strip().splitlines()[-1].split(";")[0])
        self.jobs[number] = Job(number, Path(str(output).replace("%j", str(number))), memory)
        self._interval = self._fastest
        return number

    def refresh(self) -> bool:
        """Ask for the state of all active jobs, unless that was done just now; tell whether."""
        active = [job for job in self.jobs.values() if job.active]
        if not active or time.monotonic() < self._asked + self._interval:
            return False
        found = self._ask(active)
        self._asked = time.monotonic()
        if found is None:
            return False
        changed = False
        for job in active:
            state, reason = found.get(job.number, ("", ""))
            state = state or self._accounted(job.number)
            changed = changed or state != job.state
            job.state, job.reason = state, reason
            if state == "PENDING" and reason not in _ORDINARY and reason != job.told:
                logger.warning("Slurm holds job %d back: %s", job.number, reason)
                job.told = reason
        self._interval = self._fastest if changed else min(1.3 * self._interval, _SLOWEST_POLL_S)
        return True

    def forget(self, number: int) -> None:
        """Drop a job that has been dealt with."""
        self.jobs.pop(number, None)

    def cancel(self) -> None:
        """Cancel every job that was submitted here, even one whose id never arrived."""
        numbers = {str(job.number) for job in self.jobs.values() if job.active}
        with contextlib.suppress(ConfigError):
            listed = self._run(["squeue", "--noheader", f"--user={os.getuid()}", "-o", "%A|%j"])
            for line in listed.stdout.splitlines():
                number, _, name = line.strip().partition("|")
                if name.endswith(self._token):
                    numbers.add(number)
            if numbers:
                self._run(["scancel", *sorted(numbers)])
        self.jobs.clear()

    def _ask(self, active: Collection[Job]) -> dict[int, tuple[str, str]] | None:
        """Return state and reason of those jobs that Slurm knows; None if it does not answer."""
        numbers = [str(job.number) for job in active]
        found = {}
        for start in range(0, len(numbers), 500):
            some = ",".join(numbers[start : start + 500])
            done = self._run(
                ["squeue", "--noheader", "--states=all", "-o", "%A|%T|%r", f"--jobs={some}"]
            )
            if done.returncode and "Invalid job id" not in done.stderr:
                logger.debug("squeue: %s", done.stderr.strip())
                return None
            for line in done.stdout.splitlines():
                number, state, reason = line.strip().split("|", 2)
                found[int(number)] = state, reason
        return found

    def _accounted(self, number: int) -> str:
        """Return the state of a job that the controller has forgotten, from the accounts."""
        try:
            done = self._run(["sacct", "-n", "-X", "-P", "-o", "State", "-j", str(number)])
        except ConfigError:
            return ""
        return done.stdout.split()[0] if done.returncode == 0 and done.stdout.split() else ""

    @staticmethod
    def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command of Slurm outside of the job that this process may itself be in."""
        environment = {
            k: v
            for k, v in os.environ.items()
            if k == "SLURM_CONF" or not k.startswith(("SLURM_", "SQUEUE_"))
        }
        try:
            return subprocess.run(  # noqa: S603 (a list of arguments, no shell)
                command, capture_output=True, text=True, check=False, env=environment
            )
        except OSError as error:
            raise ConfigError(
                f"{command[0]} cannot be started ({error.strerror})",
                "--use-plugin",
                "Run where Slurm's commands are; in a container, use a job array instead.",
            ) from error


def why_ended(job: Job) -> str:
    """Return one line that says why a job left no result."""
    try:
        printed = job.output.read_text("utf-8", errors="replace")
    except OSError:
        printed = ""
    number, state = job.number, job.state
    # without control groups Slurm only says so in the job's output
    memory = re.search(r"memory limit|oom.kill|out of memory|Unable to allocate", printed, re.I)
    if state == "OUT_OF_MEMORY" or memory:
        asked = f" (it had asked for {job.memory_mb} MB)" if job.memory_mb else ""
        said = (
            f"Slurm killed job {number} because it used more memory than it may have{asked}."
            " Give more with sbatch_args: '--mem=8G' in the file of --use-plugin"
        )
    elif state in ("TIMEOUT", "DEADLINE"):
        said = (
            f"Slurm ended job {number} at its time limit."
            " Give more with sbatch_args: '--time=2:00:00' in the file of --use-plugin"
        )
    elif state == "CANCELLED":
        said = f"job {number} was cancelled ({job.reason}). Run again to go on"
    elif state in ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED"):
        said = f"Slurm took the machine away from job {number} ({state}). Run again to go on"
    elif not state:
        said = f"job {number} vanished from Slurm without a result. Run again to go on"
    else:
        filled = [line.strip() for line in printed.splitlines() if line.strip()]
        last = filled[-1] if filled else "it printed nothing"
        said = f"job {number} ended as {state} without a result: {last}"
    return f"{JOB_ENDED}{said}\n"
