"""Two Slurm nodes on this machine; ``.ci/slurm`` starts them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

#: The tests' own copy of the program, wherever a job starts.
_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def slurm():
    """Skip where no cluster was started; return what lists the jobs that wait or run."""
    if "QSMBIDS_TEST_SLURM" not in os.environ:
        pytest.skip("QSMBIDS_TEST_SLURM is not set: started by .ci/slurm only")

    def jobs() -> list[tuple[str, str]]:
        said = subprocess.run(
            ["squeue", "-h", "-o", "%A %j"], capture_output=True, text=True, check=True
        ).stdout
        return [
            (number, name)
            for number, _, name in (s.partition(" ") for s in said.split("\n"))
            if number
        ]

    return jobs


@pytest.fixture(scope="session")
def environment(slurm) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_ROOT)}


@pytest.fixture(scope="session")
def command():
    """Return the words of a run whose every part is small."""

    def build(bids: Path, out: Path, *options: object) -> list[str]:
        words = [sys.executable, "-m", "qsmbids", bids, out, "participant", *options]
        return [*map(str, words), "--skip-bids-validation", "--sloppy"]

    return build


@pytest.fixture
def start(environment, command, tmp_path):
    """Start a run with a plugin; what it says goes to ``said.log``."""
    started = []

    def begin(bids: Path, plugin: str, arguments: str = "", *options: object) -> subprocess.Popen:
        plugin_file = tmp_path / "plugin.yml"
        plugin_file.write_text(
            f"plugin: {plugin}\nplugin_args:\n  poll_seconds: 0.3\n  {arguments}\n"
        )
        with (tmp_path / "said.log").open("a") as log:
            words = command(
                bids, tmp_path / "out", "--use-plugin", plugin_file, "--nprocs", 2,
                "-w", tmp_path / "work", *options,
            )  # fmt: skip
            started.append(subprocess.Popen(words, stdout=log, stderr=log, env=environment))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def said(tmp_path):
    return lambda: (tmp_path / "said.log").read_text()


@pytest.fixture(scope="session")
def until():
    """Wait until something is true."""

    def wait(true, seconds: float = 60.0) -> object:
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if value := true():
                return value
            time.sleep(0.1)
        raise AssertionError("did not happen")

    return wait


@pytest.fixture(scope="session")
def maps():
    """Return the images of an output folder."""
    import nibabel as nib

    def read(out: Path) -> dict[str, np.ndarray]:
        found = sorted(out.glob("sub-*/*/*.nii.gz"))
        return {str(p.relative_to(out)): np.asarray(nib.load(p).dataobj) for p in found}

    return read


@pytest.fixture(scope="session")
def reference(slurm, small_dataset_source, command, environment, tmp_path_factory, maps):
    """Return the maps of a run without Slurm, one step after another on one thread."""
    folder = tmp_path_factory.mktemp("linear")
    words = command(small_dataset_source, folder / "out", "--nprocs", 1, "-w", folder / "work")
    subprocess.run(words, env=environment, check=True, capture_output=True)
    return maps(folder / "out")
