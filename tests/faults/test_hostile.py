"""Input that was made to do harm: absurd sizes, paths that lead elsewhere, HTML in metadata."""

import gzip
import json
import re
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qsmbids.errors import InputError
from qsmbids.io.nifti import read_volume
from qsmbids.io.nifti_header import read_header

HERE = Path(__file__).parent
ANAT = "sub-demo/anat/sub-demo_echo-{}_part-{}_MEGRE{}"


@pytest.fixture
def dry(qsmbids, small_dataset, tmp_path):
    """Do a dry run on the dataset; nothing may be written."""

    def call(*options):
        out = tmp_path / "out"
        code, last, said = qsmbids(
            small_dataset, out, "participant", "--dry-run", "--skip-bids-validation", *options
        )
        assert not out.exists()
        assert "Traceback" not in said
        assert last.endswith(f"(exit code {code})")
        return code, last, said

    call.bids = small_dataset
    return call


def _with_matrix(bids, size, n_zeros):
    """Give every image a header of this matrix, and zeros that compress a thousandfold."""
    for path in bids.glob("sub-demo/anat/*.nii.gz"):
        raw = bytearray(gzip.decompress(path.read_bytes())[:352])
        struct.pack_into("<3h", raw, 42, *size)
        struct.pack_into("<2h", raw, 70, 4, 16)
        path.write_bytes(gzip.compress(bytes(raw) + bytes(n_zeros), 1))


@pytest.mark.parametrize("size", [(32767, 32767, 32767), (-1, 48, 40), (32767, 32767, 1)])
def test_absurd_matrices_are_refused_by_their_header(dry, size):
    _with_matrix(dry.bids, size, 1 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, _, said = dry()
    assert code == 3
    assert "MEGRE.nii.gz" in said
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_what_cannot_be_in_memory_is_refused_before_it_is_read(dry):
    _with_matrix(dry.bids, (512, 512, 512), 1 << 20)
    for path in dry.bids.glob("sub-demo/anat/*.nii.gz"):  # a file in which so much could be
        path.write_bytes(path.read_bytes() + bytes(300_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, _, said = dry("--mem", "4G")
    assert code == 3
    assert re.search(
        r"512 x 512 x 512 voxels need about \d+ GB of memory, and there are 4.0", said
    )
    assert "--mem" in said
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_gzip_bomb_is_unpacked_no_further_than_the_volume(tmp_path):
    header = bytearray(352)
    struct.pack_into("<i8h", header, 0, 348, *([0] * 8))
    struct.pack_into("<8h", header, 40, 3, 8, 8, 8, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(bytes(header) + bytes(200 << 20), 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_volume(path).array.shape == (8, 8, 8)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_a_member_that_is_no_file_is_refused(tmp_path):
    (tmp_path / "x.nii").mkdir()
    with pytest.raises(InputError, match="folder"):
        read_header(tmp_path / "x.nii")
    with pytest.raises(InputError):
        read_header("/dev/zero")


SCRIPT = "<script>alert(1)</script>"
EVIL = (
    "../../../evil", "/etc/passwd", "a\x00b", "line\nbreak", "x" * 5000, SCRIPT,
    "$(touch evil)", "`touch evil`", "{{7*7}}", "%s%n", "\u202egnp.exe", {"a": ["../evil"]},
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2))
def test_metadata_never_become_paths_or_markup(job, truth, number):
    values = EVIL[number::2]
    keys = (
        "Manufacturer", "ManufacturersModelName", "ImageType", "SeriesDescription",
        "PulseSequenceDetails", "SoftwareVersions", "ConversionSoftware", "ProtocolName",
        "ReceiveCoilName", "SequenceName", "ScanningSequence", "MRAcquisitionType", "FlipAngle",
        "RepetitionTime", "PartialFourier", "PixelBandwidth", "SliceThickness",
    )  # fmt: skip
    for echo in range(1, 6):
        for part in ("mag", "phase"):
            path = job.bids / ANAT.format(echo, part, ".json")
            evil = {key: values[i % len(values)] for i, key in enumerate(keys)}
            path.write_text(json.dumps(json.loads(path.read_text()) | evil))
    description = json.loads((job.bids / "dataset_description.json").read_text())
    description |= {"Name": SCRIPT, "License": "../x", "Authors": [SCRIPT]}
    (job.bids / "dataset_description.json").write_text(json.dumps(description))
    (job.bids / "participants.tsv").write_text(f"participant_id\tage\nsub-demo\t{SCRIPT}\n")
    said = job.run("--phase-sign=+1").check(0)
    assert "without a report" not in said.last, said.text
    page = (job.out / "sub-demo.html").read_text()
    assert SCRIPT not in page
    known = {job.bids, job.out, job.work}
    assert {p for p in job.out.parent.iterdir() if p.is_dir()} <= known
    assert not list(job.out.parent.rglob("*evil*"))
    assert set(job.maps()) == set(truth)


NAMES = (
    "..",
    "a b",
    "$(touch x)",
    ";ls",
    "<b>",
    "\n",
    "x" * 180,
    "%2e%2e",
    "\u202e",
    "*",
    "é",
    "'",
)


@pytest.mark.parametrize("label", NAMES)
def test_strange_labels_are_neither_followed_nor_a_crash(dry, label):
    for path in list((dry.bids / "sub-demo/anat").iterdir()):
        path.rename(path.with_name(path.name.replace("sub-demo_", f"sub-demo_acq-{label}_")))
    code, _, said = dry()
    assert code in (0, 3), said
    assert "internal error" not in said


@pytest.mark.parametrize("option", ["--participant-label", "--session-label"])
@pytest.mark.parametrize("label", ["../../etc", "/etc", "*", "", "a/b", "x" * 5000])
def test_strange_labels_on_the_command_line_name_nobody(dry, option, label):
    code, _, said = dry(option, label)
    assert code in (2, 3), said


@pytest.mark.parametrize(
    "change",
    [
        {"Rows": 65535, "Columns": 65535},
        {"Rows": 0, "Columns": 0},
        {"NumberOfFrames": 1_000_000},
        {"NumberOfFrames": -1},
        {"BitsAllocated": 1},
        {"BitsAllocated": 64, "BitsStored": 64, "HighBit": 63},
        {"SamplesPerPixel": 3},
        {"EchoTime": "1e308"},
        {"PixelSpacing": [0, 0]},
        {"PixelSpacing": ["1e-30", "1e30"]},
        {"SeriesDescription": "../../../evil"},
        {"SeriesNumber": 2147483647, "ProtocolName": "/etc/passwd"},
    ],
    ids=str,
)
def test_absurd_dicom_ends_in_plain_words(dicom, convert, tmp_path, change):
    import pydicom

    folder = tmp_path / "dicom"
    for number, part in ((1, "mag"), (2, "phase")):
        dicom.write_series(folder, "siemens", [part], number=number, echo_times=(0.005, 0.01))
    for path in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        for key, value in change.items():
            setattr(dataset, key, value)
        pydicom.dcmwrite(path, dataset)
    _convert_or_refuse(convert, folder, tmp_path)


@pytest.mark.parametrize("cut", [0, 100, 132, 400, 1500])
def test_dicom_of_the_wrong_length_ends_in_plain_words(dicom, convert, tmp_path, cut):
    folder = tmp_path / "dicom"
    for number, part in ((1, "mag"), (2, "phase")):
        dicom.write_series(folder, "siemens", [part], number=number, echo_times=(0.005, 0.01))
    for path in folder.rglob("*.dcm"):
        path.write_bytes(path.read_bytes()[:cut])
    _convert_or_refuse(convert, folder, tmp_path)


def _convert_or_refuse(convert, folder, tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    code, last, said = convert(folder, tmp_path / "bids", "--participant-label", "01")
    assert code in (0, 3), said
    assert "Traceback" not in said
    assert last.endswith(f"(exit code {code})")
    assert {p.name for p in tmp_path.iterdir()} <= {"dicom", "bids"}
    images = list((tmp_path / "bids").rglob("*.nii.gz"))
    assert bool(images) == (code == 0)
    for path in images:
        assert np.isfinite(read_volume(path).array).all()
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert max(after - before, 0) < 4 << 20  # kB: dcm2niix too


@pytest.mark.slow
def test_fuzzing_finds_nothing():
    """For 25 s here; ``python tests/faults/fuzz.py --minutes 10`` for longer."""
    command = [sys.executable, "-W", "ignore", str(HERE / "fuzz.py"), "--minutes", "0.4"]
    said = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, timeout=300,
        cwd=HERE.parents[1], env={"PYTHONPATH": str(HERE.parents[1]), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert said.returncode == 0, said.stdout[-5000:] + said.stderr[-2000:]
    total = int(re.search(r"^(\d+) inputs, 0 failures", said.stdout, re.MULTILINE)[1])
    assert total > 50
