"""Runs of the small dataset in processes of their own, into which faults are injected."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

HERE = Path(__file__).parent
PACKAGE_ROOT = HERE.parents[1]
CHI = "sub-demo/anat/sub-demo_desc-wholebrain_Chimap.nii.gz"


@dataclass
class Said:
    """What a finished process left: exit code, last line, and everything it said."""

    code: int
    text: str
    last: str = field(init=False)

    def __post_init__(self):
        lines = [s for s in self.text.splitlines() if s.startswith("qsmbids: ")]
        self.last = lines[-1] if lines else ""

    def check(self, code):
        """Assert that the exit code is this and the last line agrees; no traceback is shown."""
        assert self.code == code, self.text[-3000:]
        assert self.last.endswith(f"(exit code {code})"), self.text[-3000:]
        assert "Traceback" not in self.text, self.text[-3000:]
        return self


class _Hangs(BaseException):
    """Goes through whatever takes the errors of a step."""


@contextlib.contextmanager
def _no_hang(seconds, text):
    """Fail after so many seconds."""

    def stop(*_):
        raise _Hangs

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    except _Hangs:
        raise AssertionError(f"hangs: {text.getvalue()[-2000:]}") from None
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Job:
    """One dataset, output and work directory, on which the command line is run again and again."""

    def __init__(self, folder, bids, *options):
        self.bids, self.out, self.work = bids, folder / "out", folder / "work"
        self.options = options

    def command(self, *options):
        """Return the command line."""
        given = [self.bids, self.out, "participant", "--work-dir", self.work]
        given += ["--sloppy", "--skip-bids-validation", "--output-level", "minimal"]
        given += [*self.options, *options]
        return [sys.executable, "-m", "qsmbids", *map(str, given)]

    def start(self, *options, fault="", once=None, to=subprocess.PIPE, **popen):
        """Start a process, with a fault if one is named."""
        variables = {**os.environ, "QSMBIDS_FAULT": fault, "OMP_NUM_THREADS": "1"}
        variables["PYTHONPATH"] = f"{HERE}{os.pathsep}{PACKAGE_ROOT}"
        if once is not None:
            variables["QSMBIDS_FAULT_ONCE"] = str(once)
        return subprocess.Popen(
            self.command(*options), stdout=to, stderr=subprocess.STDOUT, text=True,
            env=variables, cwd=self.out.parent, **popen,
        )  # fmt: skip

    def run(self, *options, timeout=180, **how):
        """Run to the end: in this process, where nothing is injected and no pool is asked for."""
        if not how and "--nprocs" not in options:
            return self._run_here(*options, timeout=timeout)
        process = self.start(*options, **how)
        try:
            text, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"hangs: {process.communicate()[0][-2000:]}") from None
        return Said(process.returncode, text)

    def _run_here(self, *options, timeout):
        from qsmbids.cli.run import main

        text = io.StringIO()
        with (
            contextlib.redirect_stdout(text),
            contextlib.redirect_stderr(text),
            contextlib.chdir(self.out.parent),
            pytest.MonkeyPatch.context() as patch,
            _no_hang(timeout, text),
        ):
            patch.setattr("qsmbids.reports.run.page.make_figures", lambda *_, **__: [])
            code = main(self.command(*options)[3:])
        return Said(code, text.getvalue())

    def steps(self):
        """Return the folders of the steps by name."""
        return {p.parent.name: p.parent for p in self.work.glob("qsmbids_*_wf/*/*/_node.pklz")}

    def forget(self, node):
        """Remove what a step left, so that it and what follows are computed again."""
        for folder in self.work.glob(f"qsmbids_*_wf/*/{node}"):
            shutil.rmtree(folder)

    def maps(self):
        """Return the checksum of every image; each opens and has its sidecar."""
        assert not list(self.out.rglob("*.tmp"))
        sums = {}
        for path in sorted(self.out.rglob("*.nii.gz")):
            assert np.isfinite(np.asarray(nib.load(path).dataobj)).all()
            json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
            sums[str(path.relative_to(self.out))] = hashlib.sha256(path.read_bytes()).hexdigest()
        return sums

    def status(self):
        """Return the entries of the summary by run."""
        summary = json.loads((self.out / "logs" / "summary.json").read_text())
        return {entry["run"]: entry for entry in summary["runs"]}


@pytest.fixture(scope="session")
def finished_source(tmp_path_factory, small_dataset_source):
    """One finished job and its maps; the tests of this folder share it per worker."""
    folder = tmp_path_factory.mktemp("finished")
    job = Job(folder, small_dataset_source, "--nprocs", "1")
    job.run(timeout=600).check(0)
    return job, job.maps()


@pytest.fixture(scope="session")
def truth(finished_source):
    """Return the maps as they must be after every fault."""
    return finished_source[1]


@pytest.fixture
def job(small_dataset, tmp_path):
    """Return a job of its own on a copy of the small dataset, nothing done yet."""
    return Job(tmp_path, small_dataset, "--nprocs", "1")
