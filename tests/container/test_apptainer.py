"""The same image under Apptainer, as a user of a cluster."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import qsmbids

from .conftest import _needed

pytestmark = pytest.mark.apptainer


@pytest.fixture(scope="module")
def apptainer():
    program, sif = _needed("QSMBIDS_TEST_APPTAINER"), _needed("QSMBIDS_TEST_SIF")

    def run(*args: object, options: tuple[object, ...] = (), code: int = 0) -> str:
        command = [program, "run", "--containall", "--cleanenv", *options, sif, *args]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run


@pytest.fixture
def folder(tmp_path_factory):
    """Return a folder that is there inside Apptainer's own tree too."""
    place = Path(_needed("QSMBIDS_TEST_FOLDER")) / "data"
    place.mkdir()
    yield place
    shutil.rmtree(place)


def test_the_version(apptainer):
    assert apptainer("--version").split() == ["qsmbids", qsmbids.__version__]


def test_one_participant_without_network_and_home(apptainer, folder, small_dataset_source):
    shutil.copytree(small_dataset_source, folder / "bids")
    for name in ("out", "work"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
    binds = [("bids", "data:ro"), ("out", "out"), ("work", "work")]
    options = [part for a, b in binds for part in ("-B", f"{folder / a}:/{b}")]
    apptainer(
        *("/data", "/out", "participant", "--participant-label", "demo", "-w", "/work"),
        options=("--net", "--network", "none", "--no-home", *options),
    )
    assert list(folder.glob("out/sub-demo/anat/*_Chimap.nii.gz"))
    assert {f.stat().st_uid for f in folder.glob("out/**/*")} == {4242}
    description = json.loads((folder / "out" / "dataset_description.json").read_text())
    assert description["GeneratedBy"][0]["Container"]["Type"] == "apptainer"
