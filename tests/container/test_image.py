"""What the image is: small, labelled, without a fixed user, and without what it does not need."""

import shutil
import subprocess
from pathlib import Path

import pytest

import qsmbids

from .conftest import HARDENED

pytestmark = pytest.mark.container


def test_the_dockerfile_is_clean():
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    dockerfile = Path(__file__).parents[2] / "Dockerfile"
    done = subprocess.run([hadolint, dockerfile], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_labels_user_and_entry_point(inspected):
    config = inspected["Config"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "qsmbids"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] == qsmbids.__version__
    assert config["Entrypoint"] == ["qsmbids"]
    assert config["User"] == "1000:1000"  # numeric, as clusters that refuse root want it


def test_it_is_small(inspected):
    # readers of compressed DICOM and highdicom have 70 MB of it
    assert inspected["Size"] < 1.3e9


def test_it_runs_with_nothing_granted(engine, image):
    said = engine("run", "--rm", *HARDENED, image, "--version").stdout
    assert said.split() == ["qsmbids", qsmbids.__version__]


def test_there_is_no_installer_and_no_fsl(engine, image):
    look = "ls -A /opt/fsl; command -v pip gcc git curl; ls -A /etc/xdg/pip 2>/dev/null; true"
    assert engine("run", "--rm", "--entrypoint", "sh", image, "-c", look).stdout == ""


def test_maps_can_be_written_as_dicom_and_compressed_files_read(engine, image):
    look = "import highdicom, gdcm; print(gdcm.Version.GetVersion().split('.')[0])"
    said = engine("run", "--rm", "--entrypoint", "python3", image, "-c", look).stdout
    assert said.strip() == "3"
    said = engine("run", "--rm", "--entrypoint", "qsmbids-dicom", image, "--help").stdout
    assert "--source" in said


def test_byte_code_is_inside(engine, image):
    count = (
        "import pathlib; r = pathlib.Path('/opt/qsmbids/lib'); print(len(list(r.rglob('*.py'))),"
    )
    count += " len(list(r.rglob('*.pyc'))))"
    said = engine("run", "--rm", "--entrypoint", "python3", image, "-c", count).stdout
    sources, compiled = map(int, said.split())
    assert sources > 1000
    assert compiled > 0.99 * sources  # some packages ship tests that no Python can read
