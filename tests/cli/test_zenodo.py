"""``qsmbids-zenodo`` on a small stand-in for the record of the consensus paper."""

import hashlib
import io
import json
import re
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from qsmbids.cli.zenodo import main, plan_layout
from qsmbids.errors import InputError
from qsmbids.io import download

ARCHIVE = "QSM_Consensus_Paper_example_Data_Result_Code.zip"
DICOM = "QSM_CONSENSUS_Paper_Example_DICOM_code.zip"
RUNS = [
    ("GE", "Bipolar"),
    ("GE", "Monopolar"),
    ("PHILIPS", "BipolarCLEAR"),
    ("PHILIPS", "MonopolarSYNERGY"),
    ("SIEMENS", "Monopolar"),
]
TOP = "QSM_Consensus_Paper_Example/"


def tail(session: str, acquisition: str, echo: int, part: str, suffix="MEGRE.nii.gz") -> str:
    name = f"sub-001_ses-{session}_acq-{acquisition}_echo-{echo}_part-{part}_{suffix}"
    return f"sub-001/ses-{session}/anat/{name}"


def as_bids(suffix="MEGRE", prefix=TOP + "raw/") -> dict[str, bytes]:
    members = {prefix + "dataset_description.json": b'{"Name": "x", "BIDSVersion": "1.8.0"}'}
    for session, acquisition in RUNS:
        for part in ("real", "imag") if session == "GE" else ("mag", "phase"):
            for echo in (1, 2, 3):
                for extension in (".nii.gz", ".json"):
                    name = tail(session, acquisition, echo, part, suffix + extension)
                    members[prefix + name] = f"{name} content".encode()
    return members


def as_vendor_folders() -> dict[str, bytes]:
    """The tree of Supplementary S2.2: ``converted/GE/Bipolar/sub-...``, no description."""
    members = {}
    for name, content in as_bids(prefix="").items():
        if match := re.search(r"ses-([A-Z]+)_acq-(Bipolar|Monopolar)([A-Z]*)_", name):
            folder = "_".join(filter(None, match.groups()[1:]))
            base = name.rsplit("/", 1)[-1]
            members[f"{TOP}converted/{match[1]}/{folder}/{base}"] = content
    return members


EXTRAS = {
    TOP + "derivatives/SEPIA/GE/Bipolar/GRE/Pipeline_FANSI/Sepia_Chimap.nii.gz": b"result",
    TOP + "derivatives/SEPIA/GE/sub-001/ses-GE/anat/sub-001_ses-GE_MEGRE.nii.gz": b"4D",
    TOP + "derivatives/SEPIA/dataset_description.json": b'{"Name": "not this one"}',
    TOP + "QSM_Consensus_Paper_Example_Code/SEPIA_Pipeline_FANSI/config.m": b"% code",
    "__MACOSX/" + TOP + "raw/sub-001/ses-GE/anat/._sub-001_ses-GE_MEGRE.nii.gz": b"mac",
    TOP + "raw/sub-001/ses-GE/anat/sub-001_ses-GE_header.mat": b"MATLAB",
}


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


class _Handler(SimpleHTTPRequestHandler):
    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def zenodo(tmp_path, monkeypatch):
    """A server whose record holds the archives given; returns the address of the record."""
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    root = tmp_path / "server"
    (root / "files").mkdir(parents=True)
    _Handler.asked = []
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(root)))
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{http.server_port}"

    def publish(files: dict[str, bytes]) -> str:
        items = []
        for name, content in files.items():
            (root / "files" / name).write_bytes(content)
            items.append(
                {
                    "key": name,
                    "size": len(content),
                    "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
                    "links": {"self": f"{url}/files/{name}"},
                }
            )
        (root / "record.json").write_text(json.dumps({"id": 7410455, "files": items}))
        return f"{url}/record.json"

    publish.asked = _Handler.asked
    publish.folder = root / "files"
    yield publish
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def command(capfd):
    def call(*args):
        try:
            code = main([str(a) for a in args])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        last = out.strip().splitlines()[-1] if out.strip() else ""
        if code != 2:
            assert last.startswith("qsmbids-zenodo: ")
            assert last.endswith(f"(exit code {code})")
        return code, last, out + err

    return call


def listed(folder) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    "members", [as_bids(), as_bids("GRE"), as_bids(prefix=""), as_vendor_folders()],
    ids=["raw folder", "GRE suffix", "top", "vendor folders"],
)  # fmt: skip
def test_whatever_the_layout_the_dataset_is_the_same(zenodo, command, tmp_path, members):
    url = zenodo({ARCHIVE: zipped({**members, **EXTRAS}), DICOM: b"not fetched" * 1000})
    dest = tmp_path / "data"
    code, last, said = command(dest, "--record-url", url)
    assert code == 0, said
    images = [
        tail(s, a, echo, part, "MEGRE" + extension)
        for s, a in RUNS
        for part in (("real", "imag") if s == "GE" else ("mag", "phase"))
        for echo in (1, 2, 3)
        for extension in (".nii.gz", ".json")
    ]
    kept = [f"sourcedata/zenodo/{ARCHIVE}", "sourcedata/zenodo/record.json"]
    assert listed(dest) == sorted(["dataset_description.json", *images, *kept])
    assert "BIDSVersion" in json.loads((dest / "dataset_description.json").read_text())
    content = (dest / images[0]).read_text()
    assert content.replace("_GRE", "_MEGRE") == f"{images[0]} content"
    assert f"5 runs in {dest}" in last
    assert re.search(r"ses-GE_acq-Bipolar_MEGRE +3  imag, real", said)
    assert f"next: qsmbids {dest} " in said
    assert f"/files/{DICOM}" not in zenodo.asked


def test_a_second_call_asks_nobody(zenodo, command, tmp_path):
    url = zenodo({ARCHIVE: zipped(as_bids())})
    dest = tmp_path / "data"
    command(dest, "--record-url", url)
    asked = len(zenodo.asked)
    (dest / "sourcedata" / "zenodo" / ARCHIVE).unlink()  # may be deleted
    code, last, _ = command(dest, "--record-url", url)
    assert (code, len(zenodo.asked)) == (0, asked)
    assert "all files were there already" in last


def test_a_lost_file_comes_back_from_the_archive(zenodo, command, tmp_path):
    url = zenodo({ARCHIVE: zipped(as_bids())})
    dest = tmp_path / "data"
    command(dest, "--record-url", url)
    lost = dest / tail("SIEMENS", "Monopolar", 2, "phase")
    lost.unlink()
    code, last, _ = command(dest, "--record-url", url)
    assert code == 0
    assert "1 files written" in last
    assert lost.exists()
    assert zenodo.asked.count(f"/files/{ARCHIVE}") == 1


def test_own_files_are_not_overwritten(zenodo, command, tmp_path):
    url = zenodo({ARCHIVE: zipped(as_bids())})
    own = tmp_path / "data" / tail("GE", "Bipolar", 1, "real")
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    code, last, _ = command(tmp_path / "data", "--record-url", url)
    assert code == 1
    assert "exists with other content" in last
    assert own.read_text() == "mine"


def test_dry_run_writes_nothing(zenodo, command, tmp_path):
    url = zenodo({ARCHIVE: zipped(as_bids()), DICOM: b"x"})
    code, last, said = command(tmp_path / "data", "--record-url", url, "--dry-run")
    assert code == 0
    assert "dry run" in last
    assert re.search(rf"{DICOM}  \(not needed\)", said)
    assert not (tmp_path / "data").exists()
    assert zenodo.asked == ["/record.json"]


def test_no_such_record(zenodo, command, tmp_path):
    url = zenodo({ARCHIVE: b""})
    code, last, _ = command(tmp_path / "data", "--record-url", url + "x")
    assert code == 3
    assert "404" in last


def test_a_record_without_the_archive(zenodo, command, tmp_path):
    code, last, _ = command(tmp_path / "data", "--record-url", zenodo({DICOM: b"x"}))
    assert code == 3
    assert DICOM in last


def test_an_archive_without_bids_data(zenodo, command, tmp_path):
    url = zenodo({ARCHIVE: zipped({**EXTRAS, TOP + "raw/GE/0001.dcm": b"DICM"})})
    code, last, _ = command(tmp_path / "data", "--record-url", url)
    assert code == 3
    assert "holds no gradient echo images" in last


def test_what_is_not_a_zip(zenodo, command, tmp_path):
    code, last, _ = command(tmp_path / "data", "--record-url", zenodo({ARCHIVE: b"no zip"}))
    assert code == 3
    assert "not a zip archive" in last


def test_a_changed_file_on_the_server(zenodo, command, tmp_path):
    content = zipped(as_bids())
    url = zenodo({ARCHIVE: content})
    (zenodo.folder / ARCHIVE).write_bytes(content[:-1] + b"?")
    code, last, _ = command(tmp_path / "data", "--record-url", url)
    assert code == 1
    assert "MD5" in last
    assert listed(tmp_path / "data") == []


def test_wrong_usage(command, tmp_path):
    assert command()[0] == 2
    code, last, _ = command(tmp_path, "--record-url", "file:///etc/passwd")
    assert code == 2
    assert "address of the web" in last


def test_an_interruption_says_how_to_go_on(command, tmp_path, monkeypatch):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("qsmbids.cli.zenodo.read_record", interrupt)
    code, last, _ = command(tmp_path / "data")
    assert code == 130
    assert "goes on where it was" in last


def test_the_raw_dataset_wins_over_copies_elsewhere():
    name = tail("GE", "Bipolar", 1, "real")
    members = {"a/" + name: b"copy", **as_bids(prefix="x/y/z/")}
    with zipfile.ZipFile(io.BytesIO(zipped(members))) as archive:
        assert plan_layout(archive)[name].filename == "x/y/z/" + name


def test_members_that_would_escape():
    members = {**as_bids(), "x/../../../" + tail("GE", "Bipolar", 9, "real"): b"evil"}
    with (
        zipfile.ZipFile(io.BytesIO(zipped(members))) as archive,
        pytest.raises(InputError, match="unsafe name"),
    ):
        plan_layout(archive)


def test_the_result_is_ready_to_run(zenodo, command, qsmbids, small_dataset_source, tmp_path):
    members = {TOP + "raw/dataset_description.json": b'{"Name": "x", "BIDSVersion": "1.8.0"}'}
    for path in small_dataset_source.glob("sub-demo/anat/*"):
        for session, acquisition in (("SIEMENS", "Monopolar"), ("PHILIPS", "MonopolarCLEAR")):
            new = path.name.replace("sub-demo", f"sub-001_ses-{session}_acq-{acquisition}")
            members[f"{TOP}raw/sub-001/ses-{session}/anat/{new}"] = path.read_bytes()
    dest = tmp_path / "data"
    command(dest, "--record-url", zenodo({ARCHIVE: zipped({**members, **EXTRAS})}))
    code, last, said = qsmbids(dest, dest / "derivatives" / "qsmbids", "participant", "--dry-run")
    assert code == 0, said  # and so valid BIDS
    assert "2 to process, 0 cannot be" in last
