"""A small scan as a study of DICOM files in any geometry, and the output that was made from it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

MR = "1.2.840.10008.5.1.4.1.1.4"
STUDY = "1.2.826.0.1.3680043.8.498.77"
ECHO_TIMES_MS = (4.0, 12.0)
#: What must not be found anywhere but in DICOM files.
SECRETS = (
    "Müller",
    "Doe",
    "Jane",
    "PID-90125",
    "19610203",
    "Hidden Hospital",
    "SN777123",
    "ACC42",
)
VOXEL = (1.5, 1.2, 2.0)
LPS = np.diag([-1.0, -1.0, 1.0])


def rotation(about_x: float, about_y: float = 0.0, about_z: float = 0.0) -> np.ndarray:
    """Rotation [degrees] about three axes, one after the other."""
    turn = np.eye(3)
    for axis, angle in enumerate((about_x, about_y, about_z)):
        sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
        one = np.eye(3)
        i, j = [n for n in range(3) if n != axis]
        one[i, i] = one[j, j] = cosine
        one[i, j], one[j, i] = -sine, sine
        turn = one @ turn
    return turn


def axis_orders() -> list[np.ndarray]:
    """All 48 signed permutations of three axes."""
    out = []
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        matrix = np.zeros((3, 3))
        for column, (row, sign) in enumerate(zip(order, signs, strict=True)):
            matrix[row, column] = sign
        out.append(matrix)
    return out


@dataclass
class Scan:
    """A scan whose columns, rows and slices run along the columns of ``axes`` (RAS).

    ``axes`` may be left-handed: then the slices are numbered against the normal of the image.
    """

    axes: np.ndarray = field(default_factory=lambda: LPS.copy())
    shape: tuple[int, int, int] = (12, 10, 8)
    voxel: tuple[float, float, float] = VOXEL
    seed: int = 1
    study: str = STUDY

    @property
    def affine(self) -> np.ndarray:
        """Column, row, slice to scanner RAS [mm]."""
        out = np.eye(4)
        out[:3, :3] = self.axes * self.voxel
        out[:3, 3] = np.array([3.25, -11.5, 7.75]) - out[:3, :3] @ (np.array(self.shape) / 2)
        return out

    def echoes(self) -> np.ndarray:
        """Complex echoes, (E, columns, rows, slices)."""
        rng = np.random.default_rng(self.seed)
        first = rng.uniform(100, 1000, self.shape)
        phase = rng.uniform(-3, 3, self.shape)
        decay = rng.uniform(0.5, 0.9, self.shape)
        return np.stack(
            [first * decay**n * np.exp(1j * phase * (n + 1)) for n in range(len(ECHO_TIMES_MS))]
        )

    def chi(self) -> np.ndarray:
        """Susceptibility [ppm], in which no two voxels are alike."""
        rng = np.random.default_rng(self.seed + 100)
        return rng.normal(0, 0.1, self.shape).astype(np.float32)

    def write(self, folder: Path, parts: Sequence[str] = ("mag", "phase"), **tags: Any) -> Path:
        """Write a series for each part; ``tags`` are DICOM keywords."""
        for number, part in enumerate(parts, 5):
            self.write_series(folder, part, number, **tags)
        return folder

    def write_series(self, folder: Path, part: str, number: int, **tags: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        instance = 0
        for echo, signal in enumerate(self.echoes()):
            if part == "mag":
                stored = np.rint(np.abs(signal)).astype(np.uint16)
            else:
                stored = np.rint((np.angle(signal) + np.pi) / (2 * np.pi) * 4095).astype(np.uint16)
            for k in range(self.shape[2]):
                instance += 1
                d = self._header(part, number, instance, echo, k)
                for key, value in tags.items():
                    setattr(d, key, value)
                d.PixelData = np.ascontiguousarray(stored[:, :, k].T).tobytes()
                name = folder / f"{number}_{instance:03d}.dcm"
                pydicom.dcmwrite(name, d, enforce_file_format=True)

    def _header(self, part: str, number: int, instance: int, echo: int, k: int) -> Dataset:
        d = Dataset()
        d.SpecificCharacterSet = "ISO_IR 100"
        d.PatientName, d.PatientID, d.PatientBirthDate = "Müller^Jane", "PID-90125", "19610203"
        d.PatientSex, d.PatientWeight, d.ReferringPhysicianName = "F", "61", "Doe^Ref"
        d.InstitutionName, d.DeviceSerialNumber = "Hidden Hospital", "SN777123"
        d.StudyInstanceUID, d.SeriesInstanceUID = self.study, f"{self.study}.{number}"
        d.StudyDate, d.StudyTime, d.StudyID, d.AccessionNumber = "20240229", "131415", "1", "ACC42"
        d.SOPClassUID, d.SOPInstanceUID = MR, f"{self.study}.{number}.{instance}"
        d.FrameOfReferenceUID = f"{self.study}.1"
        d.Modality, d.Manufacturer, d.ManufacturerModelName = "MR", "SIEMENS", "Model"
        d.SeriesNumber, d.InstanceNumber, d.AcquisitionNumber = number, instance, 1
        d.SeriesDescription, d.PatientPosition = "qsm", "HFS"
        d.PositionReferenceIndicator = ""
        d.AcquisitionDate, d.AcquisitionTime = "20240229", "131500"
        d.ImageType = ["ORIGINAL", "PRIMARY", "M" if part == "mag" else "P", "ND"]
        d.ScanningSequence, d.SequenceVariant, d.ScanOptions = "GR", "SP", ""
        d.MRAcquisitionType, d.MagneticFieldStrength = "3D", "3"
        d.RepetitionTime, d.FlipAngle, d.EchoTrainLength = "30", "15", len(ECHO_TIMES_MS)
        d.EchoTime, d.EchoNumbers = f"{ECHO_TIMES_MS[echo]:g}", echo + 1
        d.ImagingFrequency = "123.25"
        place = LPS @ (self.affine @ [0, 0, k, 1])[:3]
        turn = LPS @ self.axes[:, :2]
        d.ImagePositionPatient = [f"{v:.9f}" for v in place]
        d.ImageOrientationPatient = [f"{v:.12f}" for v in turn.T.ravel()]
        d.PixelSpacing = [self.voxel[1], self.voxel[0]]
        d.SliceThickness = d.SpacingBetweenSlices = self.voxel[2]
        d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
        d.Columns, d.Rows = self.shape[:2]
        d.BitsAllocated = d.BitsStored = 16
        d.HighBit, d.PixelRepresentation = 15, 0
        d.file_meta = FileMetaDataset()
        d.file_meta.MediaStorageSOPClassUID = MR
        d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID
        d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return d

    def write_output(
        self, out: Path, order: np.ndarray | None = None, label: str = "sub-01", **images: Any
    ) -> Path:
        """Write what a run leaves behind, with the axes of the files in any ``order``.

        ``images`` are more arrays by file name after the label, in the order of the slices.
        """
        words = [w for w in label.split("_") if w.startswith(("sub-", "ses-"))]
        folder = out.joinpath(*words)
        magnitude = np.sqrt((np.rint(np.abs(self.echoes())) ** 2).sum(0)).astype(np.float32)
        chi = self.chi()
        files = {
            f"fmap/{label}_magnitude": magnitude,
            f"anat/{label}_desc-wholebrain_Chimap": chi,
            f"anat/{label}_R2starmap": (40 + 100 * chi).clip(0).astype(np.float32),
            f"anat/{label}_desc-swi_T2starw": (1 + chi).clip(0).astype(np.float32),
            **{f"anat/{label}_{name}": array for name, array in images.items()},
        }
        for name, array in files.items():
            turned, affine = stored_in(array, self.affine, np.eye(3) if order is None else order)
            path = folder / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = nib.Nifti1Image(turned, affine)
            image.set_sform(affine, 1)
            image.set_qform(affine, 1)
            image.to_filename(path)
            sidecar = {
                "Description": "Magnetic susceptibility, zero at the mean of the brain",
                "QsmbidsVersion": "0.1.0",
                "MagneticFieldStrength": 3.0,
                "EchoTime": [te / 1000 for te in ECHO_TIMES_MS],
                "Unwrapping": {"Name": "ROMEO"},
                "BackgroundRemoval": {"Name": "V-SHARP"},
                "DipoleInversion": {"Name": "FANSI"},
                "ReferenceRegion": "brain (Mask 4)",
            }
            (folder / f"{name}.json").write_text(json.dumps(sidecar))
        return out


def stored_in(
    array: np.ndarray, affine: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return an image with its axes exchanged and flipped: old axes are ``order`` of the new."""
    change = np.eye(4)
    change[:3, :3] = order
    axes = [int(np.argmax(np.abs(order[:, new]))) for new in range(3)]
    out = array.transpose(axes)
    for new, old in enumerate(axes):
        if order[old, new] < 0:
            out = np.flip(out, new)
            change[old, 3] = array.shape[old] - 1
    return np.ascontiguousarray(out), affine @ change
