"""Fixtures shared by all tests."""

import fcntl
import importlib
import importlib.util
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).parent
#: Folders whose loops are compiled before whole runs need them, and those of the longest tests.
FIRST = ("core", "faults", "integration", "cli", "workflows")


def pytest_configure(config):
    """Say what the workers and the processes of the tests need, before they import anything."""
    # there is a worker for each processor already: threads that wait must not take it
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # numba compiles nothing where it may keep nothing: a package and a home that are read-only
    places = [Path(find_spec("qsmbids").origin).parent, Path(os.path.expanduser("~"))]
    if "NUMBA_CACHE_DIR" not in os.environ and not any(os.access(p, os.W_OK) for p in places):
        cache = tempfile.TemporaryDirectory(prefix="qsmbids-tests-")
        os.environ["NUMBA_CACHE_DIR"] = cache.name
        config.add_cleanup(cache.cleanup)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Keep the tests of a file in one worker, where they share what is made and compiled once.

    The rooms of ``core`` are kept together, because their methods share compiled loops. A test
    that names another group itself is left there, and slow tests go to whichever worker is free.
    """
    order = {folder: place for place, folder in enumerate(FIRST)}

    def place(item):
        return order.get(item.path.relative_to(TESTS).parts[0], len(FIRST))

    items.sort(key=place)
    for item in items:
        if not any(item.iter_markers("xdist_group")) and not any(item.iter_markers("slow")):
            group = item.path.parent if place(item) == order["core"] else item.path
            item.add_marker(pytest.mark.xdist_group(group.relative_to(TESTS).as_posix()))


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


@pytest.fixture(scope="session", autouse=True)
def _can_be_interrupted():
    """Heed SIGINT, and let the processes of the tests heed it, wherever the tests are started.

    A shell that is not interactive makes its background jobs ignore it.
    """
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)


@pytest.fixture
def command(capfd):
    """Return a command of the package, by its module, that runs in this process.

    Called, it returns exit code, last line and everything said.
    """

    def named(module: str) -> Callable[..., tuple[int, str, str]]:
        main = importlib.import_module(f"qsmbids.cli.{module}").main

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

    return named


@pytest.fixture
def qsmbids(command):
    """Run ``qsmbids`` in this process."""
    return command("run")


@pytest.fixture
def convert(command):
    """Run ``qsmbids-convert`` in this process."""
    return command("convert")


@pytest.fixture(scope="session")
def write_small_dataset():
    """Write the demo head at 2.5 mm, small enough for a run in seconds."""
    from qsmbids.io.phantom import write_phantom_dataset

    def write(folder: Path, **kwargs: object) -> Path:
        options: dict = {"shape": (38, 44, 32), "voxel_size": (2.5, 2.5, 2.5), **kwargs}
        return write_phantom_dataset(folder, **options)

    return write


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Make a folder once for all processes of this session; nobody writes to it afterwards."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def make(name: str, build: Callable[[Path], object]) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                build(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def small_dataset_source(made_once, write_small_dataset) -> Path:
    """One small dataset for the session; nobody writes to it."""
    return made_once("small-bids", write_small_dataset)


@pytest.fixture
def small_dataset(small_dataset_source, tmp_path) -> Path:
    """Return a copy of the small dataset that a test may break."""
    return Path(shutil.copytree(small_dataset_source, tmp_path / "bids"))


@pytest.fixture(scope="session")
def small_run(made_once, small_dataset_source) -> Path:
    """One finished quick run of the small dataset: ``out`` and ``work``; nobody writes to it."""
    from qsmbids.cli.run import main

    def build(folder: Path) -> None:
        arguments = [small_dataset_source, folder / "out", "participant", "--nprocs", "1"]
        options = ["--work-dir", folder / "work", "--sloppy", "--skip-bids-validation"]
        with pytest.MonkeyPatch.context() as patch:  # they take longer than the run
            patch.setattr("qsmbids.reports.run.page.make_figures", lambda *_: [])
            assert main([str(a) for a in (*arguments, *options)]) == 0

    return made_once("small-run", build)


@pytest.fixture
def begun_work(small_run, tmp_path) -> Path:
    """Return a work directory in which a run computes only what differs from the quick run."""
    return Path(shutil.copytree(small_run / "work", tmp_path / "work"))


@pytest.fixture(scope="session")
def dicom():
    """Return the module that writes small DICOM series of several vendors."""
    return _beside("dicom_fixtures")


@pytest.fixture(scope="session")
def write_coils(dicom):
    """Return the writer of DICOM of single coils."""
    return dicom.write_coils


@pytest.fixture(scope="session")
def dicom_scan():
    """Scans as DICOM in any geometry, with the output that was made from them."""
    return _beside("dicom_scan")


@pytest.fixture(scope="session")
def example():
    """Return the module that makes stand-ins for the archives of the consensus paper."""
    return _beside("example_archives")


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Return a local server of a Zenodo record, which is asked again without waiting."""
    from qsmbids.io import download

    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    with _beside("record_server").serve_record(tmp_path / "server") as served:
        yield served


def _beside(name: str):
    """Return a module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
