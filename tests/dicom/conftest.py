"""A DICOM archive on this machine: Orthanc on loopback; ``.ci/dicom`` installs it."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

_DCMTK = Path("/usr/bin")  # pynetdicom has programs of the same names
_STORAGE = (
    "1.2.840.10008.5.1.4.1.1.4",  # MR image
    "1.2.840.10008.5.1.4.1.1.30",  # parametric map
    "1.2.840.10008.5.1.4.1.1.66.4",  # segmentation
    "1.2.840.10008.5.1.4.1.1.88.33",  # comprehensive SR
)


@dataclass
class Archive:
    """A running server."""

    dicom_port: int
    http_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def rest(self, path: str):
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
            return json.load(answer)

    def store(self, folder: Path) -> None:
        """Send all files below a folder with DCMTK; any that is refused is an error."""
        subprocess.run(
            [_DCMTK / "storescu", "-aec", "ORTHANC", "--scan-directories", "--recurse",
             "--required", "127.0.0.1", str(self.dicom_port), folder],
            check=True, capture_output=True,
        )  # fmt: skip

    def store_all(self, files) -> list[int]:
        """Send files one by one with pynetdicom; return the states."""
        from pynetdicom import AE

        client = AE()
        for kind in _STORAGE:
            client.add_requested_context(kind, "1.2.840.10008.1.2.1")
        link = client.associate("127.0.0.1", self.dicom_port, ae_title="ORTHANC")
        assert link.is_established
        states = [link.send_c_store(path).Status for path in files]
        link.release()
        return states

    def query(self, level: str, **keys: str) -> list[pydicom.Dataset]:
        """Return what a C-FIND finds."""
        from pynetdicom import AE

        client = AE()
        find = "1.2.840.10008.5.1.4.1.2.2.1"
        client.add_requested_context(find)
        link = client.associate("127.0.0.1", self.dicom_port, ae_title="ORTHANC")
        wanted = pydicom.Dataset()
        wanted.QueryRetrieveLevel = level
        for key, value in keys.items():
            setattr(wanted, key, value)
        found = [data for _, data in link.send_c_find(wanted, find) if data is not None]
        link.release()
        return found

    def retrieve(self, study: str, folder: Path) -> list[Path]:
        """Get a study by C-GET and return the files."""
        from pynetdicom import AE, build_role, evt

        files: list[Path] = []

        def keep(event):
            data = event.dataset
            data.file_meta = event.file_meta
            files.append(folder / f"{len(files):05d}.dcm")
            pydicom.dcmwrite(files[-1], data, enforce_file_format=True)
            return 0x0000

        client = AE()
        get = "1.2.840.10008.5.1.4.1.2.2.3"
        client.add_requested_context(get)
        for kind in _STORAGE:
            client.add_requested_context(kind, "1.2.840.10008.1.2.1")
        link = client.associate(
            "127.0.0.1",
            self.dicom_port,
            ae_title="ORTHANC",
            ext_neg=[build_role(kind, scp_role=True) for kind in _STORAGE],
            evt_handlers=[(evt.EVT_C_STORE, keep)],
        )
        wanted = pydicom.Dataset()
        wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", study
        folder.mkdir(parents=True)
        states = [state.Status for state, _ in link.send_c_get(wanted, get)]
        link.release()
        assert states[-1] == 0
        return files


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """Start Orthanc for the tests; skip where it is not installed."""
    program = shutil.which("Orthanc", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None or not (_DCMTK / "storescu").exists():
        pytest.skip("Orthanc or DCMTK is not installed: .ci/dicom does it")
    folder = tmp_path_factory.mktemp("orthanc")
    ports = _free_port(), _free_port()
    settings = {
        "Name": "test", "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"), "DicomPort": ports[0], "HttpPort": ports[1],
        "HttpBindAddresses": ["127.0.0.1"], "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True, "Plugins": [],
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("w") as log:
        server = subprocess.Popen([program, folder / "orthanc.json"], stdout=log, stderr=log)
    try:
        found = Archive(*ports)
        for _ in range(300):
            try:
                found.rest("/system")
                break
            except (urllib.error.URLError, ConnectionError):
                assert server.poll() is None, (folder / "orthanc.log").read_text()
                time.sleep(0.1)
        yield found
    finally:
        server.terminate()
        server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
