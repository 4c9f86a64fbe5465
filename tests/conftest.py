"""Fixtures shared by all tests."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_state_of_the_user(tmp_path_factory):
    """Keep what a conversion notes for the user out of the folder of whoever runs the tests."""
    patch = pytest.MonkeyPatch()
    patch.setenv("QSMBIDS_STATE_DIR", str(tmp_path_factory.mktemp("state")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder with real scans and reference results beside the checkout; absent for most people."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the reference data are not beside this checkout")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)


@pytest.fixture
def qsmbids(capfd):
    """Run the command line in this process; returns exit code, last line and everything said."""
    from qsmbids.cli.run import main

    def call(*args: object) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            code = main([str(a) for a in args])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        last = out.strip().splitlines()[-1] if out.strip() else ""
        return code, last, out + err

    return call


@pytest.fixture(scope="session")
def write_small_dataset():
    """Write the demo head at 2 mm, small enough for a run in seconds."""
    from qsmbids.io.phantom import write_phantom_dataset

    def write(folder: Path, **kwargs: object) -> Path:
        options: dict = {"shape": (48, 56, 40), "voxel_size": (2.0, 2.0, 2.0), **kwargs}
        return write_phantom_dataset(folder, **options)

    return write


@pytest.fixture(scope="session")
def small_dataset_source(tmp_path_factory, write_small_dataset) -> Path:
    """One small dataset for the session; nobody writes to it."""
    return write_small_dataset(tmp_path_factory.mktemp("small") / "bids")


@pytest.fixture
def small_dataset(small_dataset_source, tmp_path) -> Path:
    """Return a copy of the small dataset that a test may break."""
    return Path(shutil.copytree(small_dataset_source, tmp_path / "bids"))


@pytest.fixture(scope="session")
def dicom():
    """Return the module that writes small DICOM series of several vendors."""
    path = Path(__file__).with_name("dicom_fixtures.py")
    spec = importlib.util.spec_from_file_location("dicom_fixtures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
