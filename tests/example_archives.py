"""Stand-ins for both archives of the consensus paper's record, in its tree and with its names.

The tree, the names and what they hold follow Supplementary II and the scripts that made the
archives; sidecars have the keys that dcm2niix writes for scanners of these vendors. The person is
the simulated head, so that the published maps are known.
"""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from qsmbids.core.phantom.head import make_phantom, multi_echo_signal, simulate_field

RESULTS = "QSM_Consensus_Paper_example_Data_Result_Code.zip"
DICOM = "QSM_CONSENSUS_Paper_Example_DICOM_code.zip"
TOP = "QSM_Consensus_Paper_Example_DICOM_Code/"

#: Session, acquisition, folder in ``converted`` and ``derivatives``, folder with DICOM, echoes.
RUNS = (
    ("GE", "Bipolar", "Bipolar", "GE/BIPOLAR_8E", 8),
    ("GE", "Monopolar", "Monopolar", "GE/MONOPOLAR_6E", 6),
    ("PHILIPS", "BipolarCLEAR", "Bipolar_CLEAR", "PHILLIPS/CLEAR/BIPOLAR_7E", 7),
    ("PHILIPS", "BipolarSYNERGY", "Bipolar_SYNERGY", "PHILLIPS/SYNERGY/BIPOLAR_7E", 7),
    ("PHILIPS", "MonopolarCLEAR", "Monopolar_CLEAR", "PHILLIPS/CLEAR/MONOPOLAR_5E", 5),
    ("PHILIPS", "MonopolarSYNERGY", "Monopolar_SYNERGY", "PHILLIPS/SYNERGY/MONOPOLAR_5E", 5),
    ("SIEMENS", "Bipolar", "Bipolar", "SIEMENS/BIPOLAR_7E", 7),
    ("SIEMENS", "Monopolar", "Monopolar", "SIEMENS/MONOPOLAR_5E", 5),
)
PARTS = {
    "GE": ("mag", "real", "imaginary"),
    "PHILIPS": ("mag", "phase"),
    "SIEMENS": ("mag", "phase"),
}
TINY = (24, 28, 20)
FOV_MM = (96.0, 112.0, 80.0)
B0 = {"GE": 3, "PHILIPS": 3, "SIEMENS": 2.89362}
FREQUENCY = {"GE": 127.77, "PHILIPS": 127.76, "SIEMENS": 123.25}

_OF_VENDOR: dict[str, dict[str, Any]] = {
    "GE": {
        "Manufacturer": "GE",
        "ManufacturersModelName": "Premier",
        "SoftwareVersions": "28",
        "ScanningSequence": "GR",
        "SequenceVariant": "NONE",
        "SeriesDescription": "QSM1MM ISO",
        "ProtocolName": "TDN_QSM1MM_ISO",
    },
    "PHILIPS": {
        "Manufacturer": "Philips",
        "ManufacturersModelName": "Ingenia",
        "SoftwareVersions": "5.7.1",
        "ScanningSequence": "GR",
        "SequenceVariant": "SP",
        "SeriesDescription": "QSM 1mm",
        "ProtocolName": "QSM_1mm",
        "PhilipsRescaleSlope": 1.53455,
        "PhilipsRescaleIntercept": -3142,
        "PhilipsScaleSlope": 651.657,
        "UsePhilipsFloatNotDisplayScaling": 1,
    },
    "SIEMENS": {
        "Manufacturer": "Siemens",
        "ManufacturersModelName": "Prisma_fit",
        "SoftwareVersions": "syngo MR E11",
        "ScanningSequence": "GR",
        "SequenceVariant": "SP",
        "SequenceName": "fl3d7r",
        "SeriesDescription": "gre_qsm",
        "ProtocolName": "gre_qsm",
        "PhaseEncodingDirection": "i",
    },
}
_TYPE = {
    "GE": {
        "mag": ["ORIGINAL", "PRIMARY", "OTHER"],
        "real": ["ORIGINAL", "PRIMARY", "OTHER", "REAL"],
        "imaginary": ["ORIGINAL", "PRIMARY", "OTHER", "IMAGINARY"],
    },
    "PHILIPS": {
        "mag": ["ORIGINAL", "PRIMARY", "M", "FFE", "M", "FFE"],
        "phase": ["ORIGINAL", "PRIMARY", "PHASE", "MAP", "P", "FFE", "PHASE"],
    },
    "SIEMENS": {
        "mag": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"],
        "phase": ["ORIGINAL", "PRIMARY", "P", "ND", "PHASE"],
    },
}


def label(session: str, acquisition: str) -> str:
    return f"sub-001_ses-{session}_acq-{acquisition}"


def echo_times(n_echoes: int) -> list[float]:
    """Echo times [s]: up to 30 ms."""
    return [round(0.004 + 0.026 * e / (n_echoes - 1), 5) for e in range(n_echoes)]


def affine_of(shape: tuple[int, int, int]) -> np.ndarray:
    """As dcm2niix writes an axial scan: first axis to the left."""
    affine = np.diag([*(f / n for f, n in zip(FOV_MM, shape, strict=True)), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine @ np.array(
        [[-1.0, 0, 0, shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )


@cache
def head(shape: tuple[int, int, int]) -> Any:
    """Phantom, total field and local field [Hz] at 3 T, in RAS."""
    phantom = make_phantom(shape, tuple(f / n for f, n in zip(FOV_MM, shape, strict=True)))
    return (phantom, *simulate_field(phantom, b0_tesla=3.0))


@cache
def signal(session: str, acquisition: str, shape: tuple[int, int, int], n: int) -> np.ndarray:
    """Complex echoes (E, X, Y, Z) in RAS, with the ramp of alternating sign where bipolar."""
    phantom, total, _ = head(shape)
    seed = [label(*run[:2]) for run in RUNS].index(label(session, acquisition)) + 1
    ramp = 1.5 if acquisition.startswith("Bipolar") else 0.0
    return multi_echo_signal(
        phantom, total, echo_times(n), b0_tesla=3.0, noise_std=0.02, bipolar_rad=ramp, seed=seed
    )


def nifti(
    numbers: np.ndarray,
    shape: tuple[int, int, int],
    slope: float | None = None,
    inter: float = 0.0,
) -> bytes:
    """Return a .nii.gz of an RAS volume, stored with the first axis to the left."""
    image = nib.Nifti1Image(numbers[::-1], affine_of(shape))
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine_of(shape), 1)
    image.set_sform(affine_of(shape), 1)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    return gzip.compress(image.to_bytes(), 1, mtime=0)


def encoded(session: str, part: str, echo: np.ndarray, shape: tuple[int, int, int]) -> bytes:
    """Return an image as dcm2niix writes it for the vendor."""
    if part == "mag":
        return nifti(np.rint(1000 * np.abs(echo)).astype(np.int16), shape)
    if session == "GE":  # the phase falls, and every second slice has the opposite sign
        stored = np.conj(echo) * (-1.0) ** np.arange(shape[2]) * 1000
        numbers = stored.real if part == "real" else stored.imag
        return nifti(np.rint(numbers).astype(np.int16), shape)
    levels = np.rint((np.angle(echo) + np.pi) / (2 * np.pi) * 4095).astype(np.int16)
    if session == "PHILIPS":  # "precise": radians
        return nifti(levels, shape, 2 * np.pi / 4095, -np.pi)
    return nifti(levels, shape, 2.0, -4096.0)


def sidecar(session: str, part: str, echo: int, n_echoes: int) -> dict[str, Any]:
    """Return what dcm2niix writes beside the image: no Units, no entity but EchoNumber."""
    return {
        "Modality": "MR",
        "MagneticFieldStrength": B0[session],
        "ImagingFrequency": FREQUENCY[session],
        **_OF_VENDOR[session],
        "PatientPosition": "HFS",
        "MRAcquisitionType": "3D",
        "ImageType": _TYPE[session][part],
        "SeriesNumber": 5,
        "AcquisitionTime": "13:12:35.000000",
        "AcquisitionNumber": 1,
        "SliceThickness": 1,
        "EchoNumber": echo,
        "EchoTime": echo_times(n_echoes)[echo - 1],
        "RepetitionTime": 0.035,
        "FlipAngle": 15,
        "ConversionSoftware": "dcm2niix",
        "ConversionSoftwareVersion": "v1.0.20220720",
    }


def converted(
    runs: Iterable[tuple] = RUNS, shape: tuple[int, int, int] = TINY
) -> dict[str, bytes]:
    """Return the members of ``converted``."""
    members = {}
    for session, acquisition, folder, _, n in runs:
        echoes = signal(session, acquisition, shape, n)
        for part in PARTS[session]:
            for echo in range(1, n + 1):
                stem = (
                    f"converted/{session}/{folder}/GRE/{label(session, acquisition)}"
                    f"_part-{part}_echo-{echo}_GRE"
                )
                members[f"{stem}.nii.gz"] = encoded(session, part, echoes[echo - 1], shape)
                members[f"{stem}.json"] = json.dumps(
                    sidecar(session, part, echo, n), indent="\t"
                ).encode()
    return members


def published(
    runs: Iterable[tuple] = RUNS,
    shape: tuple[int, int, int] = TINY,
    chi: np.ndarray | None = None,
    field: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> dict[str, bytes]:
    """Return the members of ``derivatives``; by default the truth, with the mean as zero."""
    phantom, _, local = head(shape)
    mask = phantom.mask if mask is None else mask
    chi = phantom.chi_brain if chi is None else chi
    chi = np.where(mask, chi - chi[mask].mean(), 0).astype(np.float32)
    field = np.where(mask, local if field is None else field, 0).astype(np.float32)
    as_mask = nifti(mask.astype(np.uint8), shape)
    members = {}
    for session, acquisition, folder, _, _ in runs:
        root, stem = f"derivatives/SEPIA/{session}/{folder}/GRE", label(session, acquisition)
        members[f"{root}/sepia_header.mat"] = b"MATLAB 5.0 MAT-file"
        for part in ("mag", "phase"):
            members[f"{root}/{stem}_part-{part}_GRE.nii.gz"] = b"4-D, not needed"
        for pipeline in ("Pipeline_FANSI", "Pipeline_MEDI"):
            at = f"{root}/{pipeline}/{stem}"
            members[f"{at}_Chimap.nii.gz"] = nifti(chi, shape)
            members[f"{at}_localfield.nii.gz"] = nifti(field, shape)
            members[f"{at}_fieldmap.nii.gz"] = nifti(field, shape)
            for what in ("mask_brain", "mask_localfield", "mask_QSM"):
                members[f"{at}_{what}.nii.gz"] = as_mask
            members[f"{at}_weights.nii.gz"] = b"not needed"
    return members


def results_archive(
    runs: Iterable[tuple] = RUNS, shape: tuple[int, int, int] = TINY, top: str = TOP
) -> dict[str, bytes]:
    """Return all members of the archive with data and results."""
    runs = tuple(runs)
    members = {**converted(runs, shape), **published(runs, shape)}
    members["raw/GE/Bipolar/GRE/S0501I0000000001.dcm"] = b"DICM"
    members["QSM_Consensus_Paper_Example_Code/SEPIA_Pipeline_FANSI/config.m"] = b"% code"
    return {top + name: content for name, content in members.items()}


def with_mac_files(members: dict[str, bytes]) -> dict[str, bytes]:
    """Add what macOS puts beside the members of an archive."""
    extra = {}
    for name in members:
        folder, _, base = name.rpartition("/")
        extra[f"__MACOSX/{folder}/._{base}"] = b"\0\5\x16\7 Mac OS X"
    return {**members, **extra, TOP + ".DS_Store": b"\0\0\0\1Bud1"}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive, with entries of folders as most programs write them."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        folders = {name[: m.end()] for name in members for m in re.finditer("/", name)}
        for name, content in {**dict.fromkeys(sorted(folders), b""), **members}.items():
            # one date, so that the same members make the same archive
            archive.writestr(zipfile.ZipInfo(name, (2023, 4, 3, 0, 0, 0)), content, method, 1)
    return stream.getvalue()


def write_dicom(
    dicom: Any, folder: Path, runs: Iterable[tuple], shape: tuple[int, int, int]
) -> dict[str, bytes]:
    """Write the DICOM files of runs below ``QSM_CONSENSUS_DATA`` with the module of fixtures."""
    members = {}
    for session, acquisition, _, place, n in runs:
        echoes = 1000.0 * signal(session, acquisition, shape, n)[:, ::-1, ::-1]  # to LPS
        parts = ("mag", "real", "imag") if session == "GE" else ("mag", "phase")
        series = [parts] if session in ("GE", "PHILIPS") else [[p] for p in parts]
        target = folder / place / "GRE"
        for number, some in enumerate(series, start=5):
            dicom.write_series(
                target,
                session.lower(),
                some,
                number=number,
                echo_times=echo_times(n),
                signal=echoes,
                voxel=[f / s for f, s in zip(FOV_MM, shape, strict=True)],
            )
        for path in sorted(target.rglob("*.dcm")):
            members[f"QSM_CONSENSUS_DATA/{path.relative_to(folder)}"] = path.read_bytes()
    return members


def dicom_archive(inner: dict[str, bytes], top: str = TOP) -> dict[str, bytes]:
    """Return the members of the archive with DICOM, of which one is an archive."""
    return {
        f"{top}QSM_CONSENSUS_DATA.zip": zipped(inner),
        f"{top}protocols/GE_protocol.html": b"<html>",
        f"{top}QSM_Consensus_Paper_Example_Code/README.md": b"# code",
    }


# what is laid out of them -----------------------------------------------------------------------

#: Names of BIDS for the parts.
BIDS_PARTS = {"GE": ("mag", "real", "imag"), "PHILIPS": ("mag", "phase"),
              "SIEMENS": ("mag", "phase")}  # fmt: skip


def raw_names(folder) -> list[str]:
    """Names of the raw images and sidecars."""
    return sorted(p.name for p in folder.glob("sub-*/ses-*/anat/*"))


def bids_names(run) -> list[str]:
    """BIDS names of a run, by the paper's sessions and acquisitions."""
    session, acquisition, _, _, n = run
    return sorted(
        f"sub-001_ses-{session}_acq-{acquisition}_echo-{e}_part-{part}_MEGRE{extension}"
        for part in BIDS_PARTS[session]
        for e in range(1, n + 1)
        for extension in (".nii.gz", ".json")
    )


def find_member(members, pattern) -> str:
    return next(name for name in members if re.search(pattern, name))


def laid_out_sidecar(folder, pattern) -> dict:
    return json.loads(next(folder.glob(f"sub-001/*/anat/{pattern}.json")).read_text())
