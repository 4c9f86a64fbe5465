"""Multi-frame DICOM as scanners write it, with frames in any order, made with pydicom.

Headers follow public files: Siemens XA30 (native enhanced and "interoperability" export), Philips
5.7, and the attributes that the standard demands of any Enhanced MR Image. Arrays are (E, X, Y, Z)
along the DICOM axes left, posterior, superior.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"
CLASSIC = "1.2.840.10008.5.1.4.1.1.4"
STUDY = "1.2.826.0.1.3680043.8.498.2"
COMPONENT = {"mag": "MAGNITUDE", "phase": "PHASE", "real": "REAL", "imag": "IMAGINARY"}
LETTER = {"mag": "M", "phase": "P", "real": "R", "imag": "I"}
SIEMENS, PHILIPS, GE = "Siemens Healthineers", "Philips", "GE MEDICAL SYSTEMS"


@dataclass(frozen=True)
class Stored:
    """An image as it is stored, and the slope and intercept that make it what it is."""

    numbers: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0


def circle(signal: np.ndarray, slope: float = 2.0, intercept: float = -4096.0) -> Stored:
    """Phase in 4096 levels, from -4096 to 4094 or in milliradians."""
    levels = np.rint((np.angle(signal) + np.pi) / (2 * np.pi) * 4095)
    return Stored(levels.astype(np.uint16), slope, intercept)


def stored(maker: str, part: str, signal: np.ndarray) -> Stored:
    """Return one volume (X, Y, Z) as a maker stores it."""
    if maker == GE:
        turned = np.conj(signal) * (-1.0) ** np.arange(signal.shape[2])
        value = {
            "mag": np.abs, "phase": lambda c: 1000 * np.angle(c), "real": np.real, "imag": np.imag
        }[part](turned)  # fmt: skip
        return Stored(np.rint(value).astype(np.int16))
    if part == "phase":
        return circle(signal, 6284 / 4095, -3142.0) if maker == PHILIPS else circle(signal)
    if part == "mag":
        return Stored(np.rint(np.abs(signal)).astype(np.uint16))
    value = np.rint(getattr(signal, part) + 2048).clip(0, 4095).astype(np.uint16)
    return Stored(value, 1.0, -2048.0)


def items(**values: Any) -> Items:
    """Return a sequence of one item."""
    item = Dataset()
    for key, value in values.items():
        setattr(item, key, value)
    return Items([item])


@dataclass
class Scan:
    """A scan and how its maker writes it.

    Attributes
    ----------
    signal : ndarray
        (E, X, Y, Z).
    echo_times : sequence of float
        [s].
    maker, software, sequence, description : str
    voxel : sequence of float
        [mm].
    tags : dict
        Further DICOM keywords of every file.
    """

    signal: np.ndarray
    echo_times: Sequence[float]
    maker: str = SIEMENS
    software: str = "syngo MR XA30"
    sequence: str = "*fl3d3r"
    description: str = "qsm"
    voxel: Sequence[float] = (1.5, 1.25, 2.0)
    tesla: float = 3.0

    def images(self, parts: Sequence[str]) -> list[tuple[str, int, int]]:
        """Part, echo and slice of all images, as a scanner sorts them."""
        n_echoes, n_slices = self.signal.shape[0], self.signal.shape[3]
        return [(p, e, k) for e in range(n_echoes) for k in range(n_slices) for p in parts]

    def write(
        self,
        folder: Path,
        parts: Sequence[str] = ("mag", "phase"),
        *,
        number: int = 5,
        files: str = "one",
        shuffled: int | None = None,
        lost: Collection[tuple[str, int, int]] = (),
        **options: Any,
    ) -> Path:
        """Write enhanced objects of one series.

        ``files`` is "one", or a file for each "echo", "part", "slab" (half the slices) or "frame";
        ``shuffled`` the seed of the order of the frames; ``lost`` are frames that are not there.
        """
        images = [image for image in self.images(parts) if image not in lost]
        if shuffled is not None:
            np.random.default_rng(shuffled).shuffle(images)
            images = [(str(p), int(e), int(k)) for p, e, k in images]
        half = self.signal.shape[3] // 2
        key = {
            "one": lambda i: 0,
            "echo": lambda i: i[1],
            "part": lambda i: i[0],
            "slab": lambda i: (i[1], i[2] >= half),
            "frame": lambda i: i,
        }[files]
        uid = generate_uid()
        for n, own in enumerate(sorted({key(i) for i in images}), 1):
            chosen = [i for i in images if key(i) == own]
            self._write_object(folder / f"{number:03d}_{n}.dcm", chosen, uid, number, n, options)
        return folder

    def _write_object(
        self,
        path: Path,
        images: Sequence[tuple[str, int, int]],
        uid: str,
        number: int,
        instance: int,
        options: dict[str, Any],
    ) -> None:
        d = self._header(uid, number, instance)
        parts = list(dict.fromkeys(part for part, _, _ in images))
        d.ComplexImageComponent = COMPONENT[parts[0]] if len(parts) == 1 else "MIXED"
        d.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
        if self.maker == PHILIPS:
            d.ImageType = ["ORIGINAL", "PRIMARY", "T1", "MIXED" if len(parts) > 1 else "NONE"]
        d.PulseSequenceName, d.EchoPulseSequence = self.sequence, "GRADIENT"
        volumes = {
            (p, e): stored(self.maker, p, self.signal[e]) for p, e in {i[:2] for i in images}
        }
        d.SharedFunctionalGroupsSequence = Items([self._shared()])
        d.PerFrameFunctionalGroupsSequence = Items(
            [self._frame(image, volumes[image[:2]], options) for image in images]
        )
        d.NumberOfFrames = len(images)
        pointers = []
        for tag, group in (
            (0x00209056, 0x00209111),
            (0x00209057, 0x00209111),
            (0x00189082, 0x00189114),
        ):
            pointer = Dataset()
            pointer.DimensionOrganizationUID = f"{STUDY}.9"
            pointer.DimensionIndexPointer, pointer.FunctionalGroupPointer = tag, group
            pointers.append(pointer)
        d.DimensionOrganizationSequence = items(DimensionOrganizationUID=f"{STUDY}.9")
        d.DimensionIndexSequence = Items(pointers)
        signed = any(v.numbers.dtype == np.int16 for v in volumes.values())
        pixels = np.stack([volumes[p, e].numbers[:, :, k].T for p, e, k in images])
        save(d, path, pixels.astype(np.int16 if signed else np.uint16), ENHANCED)

    def _frame(self, image: tuple[str, int, int], volume: Stored, options: dict) -> Dataset:
        part, echo, k = image
        f = Dataset()
        f.MREchoSequence = items(EffectiveEchoTime=self.echo_times[echo] * 1000)
        kind = ["ORIGINAL", "PRIMARY", LETTER[part], "NONE"]
        if self.maker == PHILIPS:
            kind = ["ORIGINAL", "PRIMARY", "T1", LETTER[part]]
        elif self.maker == GE:
            kind = ["ORIGINAL", "PRIMARY", "T2_STAR", "NONE"]
        f.MRImageFrameTypeSequence = items(
            FrameType=options.get("frame_type", {}).get(part, kind),
            ComplexImageComponent=COMPONENT[part],
            PixelPresentation="MONOCHROME", VolumetricProperties="VOLUME",
            VolumeBasedCalculationTechnique="NONE", AcquisitionContrast="T2_STAR",
        )  # fmt: skip
        f.FrameContentSequence = items(
            StackID="1",
            InStackPositionNumber=k + 1,
            TemporalPositionIndex=1,
            DimensionIndexValues=[1, k + 1, echo + 1],
        )
        f.PlanePositionSequence = items(ImagePositionPatient=self._place(k))
        f.PixelValueTransformationSequence = items(
            RescaleSlope=f"{volume.slope:.14g}",
            RescaleIntercept=volume.intercept,
            RescaleType="US",
        )
        if self.maker == SIEMENS:
            inner = Dataset()
            inner.add_new(0x00210011, "LO", "SIEMENS MR SDI 02")
            words = options.get("image_type_mr", {}).get(part, ["DIS2D"])
            inner.add_new(0x00211175, "CS", ["ORIGINAL", "PRIMARY", LETTER[part], *words])
            f.add_new(0x00210011, "LO", "SIEMENS MR SDI 02")
            f.add_new(0x002111FE, "SQ", Items([inner]))
        if self.maker == PHILIPS:
            self._add_philips(f, part, echo, volume, options)
        return f

    def _add_philips(
        self, f: Dataset, part: str, echo: int, volume: Stored, options: dict
    ) -> None:
        units = ("mrad", "milliradian") if part == "phase" else ("1", "no units")
        code = Dataset()
        code.CodeValue, code.CodeMeaning = units
        code.CodingSchemeDesignator = "UCUM"
        if options.get("real_world", True):
            f.RealWorldValueMappingSequence = items(
                RealWorldValueFirstValueMapped=0,
                RealWorldValueLastValueMapped=4095,
                RealWorldValueIntercept=volume.intercept,
                RealWorldValueSlope=volume.slope,
                LUTExplanation="Real World Value Mapping",
                LUTLabel="Philips",
                MeasurementUnitsCodeSequence=Items([code]),
            )
        word = {"mag": "M_FFE", "phase": "PHASE MAP", "real": "R_FFE", "imag": "I_FFE"}[part]
        inner = Dataset()
        inner.ImageType = ["ORIGINAL", "PRIMARY", word, LETTER[part], "FFE"]
        inner.ScanningSequence, inner.MRAcquisitionType = "GR", "3D"
        inner.EchoTime, inner.EchoNumbers = f"{1000 * self.echo_times[echo]:.6g}", echo + 1
        inner.RescaleSlope, inner.RescaleIntercept = f"{volume.slope:.14g}", volume.intercept
        inner.RescaleType = "mrad" if part == "phase" else "normalized"
        inner.add_new(0x20050010, "LO", "Philips MR Imaging DD 001")
        slopes = options.get("scale_slope", {})
        precise = 1000 / volume.slope if part == "phase" else 1 / (4 * volume.slope)
        inner.add_new(0x2005100E, "FL", slopes.get(part, precise))
        f.add_new(0x20050014, "LO", "Philips MR Imaging DD 005")
        f.add_new(0x2005140F, "SQ", Items([inner]))

    def _shared(self) -> Dataset:
        d = Dataset()
        d.PlaneOrientationSequence = items(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
        d.PixelMeasuresSequence = items(
            PixelSpacing=[self.voxel[1], self.voxel[0]],
            SliceThickness=self.voxel[2],
            SpacingBetweenSlices=self.voxel[2],
        )
        d.MRTimingAndRelatedParametersSequence = items(
            RepetitionTime=40.0, FlipAngle=15.0, EchoTrainLength=len(self.echo_times)
        )
        d.MRImagingModifierSequence = items(TransmitterFrequency=self.tesla * 42.577)
        return d

    def write_classic(
        self,
        folder: Path,
        part: str,
        number: int,
        image_type: Sequence[str],
        echoes: Sequence[int] | None = None,
        *,
        uid: str = "",
        first: int = 1,
        **tags: Any,
    ) -> Path:
        """Write a volume of each echo as classic files of one series."""
        uid, instance = uid or generate_uid(), first - 1
        for echo in range(len(self.echo_times)) if echoes is None else echoes:
            volume = stored(self.maker, part, self.signal[echo])
            for k in range(self.signal.shape[3]):
                instance += 1
                d = self._header(uid, number, instance)
                d.ImageType = list(image_type)
                d.ScanningSequence, d.SequenceVariant, d.SequenceName = "GR", "SP", self.sequence
                d.EchoTime, d.EchoNumbers = f"{1000 * self.echo_times[echo]:.6g}", echo + 1
                d.EchoTrainLength = len(self.echo_times)
                d.RepetitionTime, d.FlipAngle = "40", "15"
                d.ImagingFrequency = f"{self.tesla * 42.577:.6f}"
                d.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
                d.ImagePositionPatient = self._place(k)
                d.SliceLocation = f"{k * self.voxel[2]:.4f}"
                d.SliceThickness = d.SpacingBetweenSlices = self.voxel[2]
                d.PixelSpacing = [self.voxel[1], self.voxel[0]]
                if (volume.slope, volume.intercept) != (1.0, 0.0):
                    d.RescaleSlope = f"{volume.slope:.12g}"
                    d.RescaleIntercept = volume.intercept
                for key, value in tags.items():
                    if key.startswith("x"):
                        creator, vr, content = value
                        tag = int(key[1:], 16)
                        d.add_new((tag & 0xFFFF0000) + (tag >> 8 & 0xFF), "LO", creator)
                        d.add_new(tag, vr, content)
                    else:
                        setattr(d, key, value)
                save(
                    d,
                    folder / f"{number:05d}_{instance:05d}.dcm",
                    volume.numbers[:, :, k].T,
                    CLASSIC,
                )
        return folder

    def _place(self, k: int) -> list[float]:
        x, y, z = (
            -v * (n - 1) / 2 for v, n in zip(self.voxel, self.signal.shape[1:], strict=True)
        )
        return [x, y, z + k * self.voxel[2]]

    def _header(self, uid: str, number: int, instance: int) -> Dataset:
        d = Dataset()
        d.PatientName, d.PatientID, d.PatientPosition = "Doe^Jane", "SECRET42", "HFS"
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = STUDY, uid, f"{STUDY}.1"
        d.StudyDate = d.SeriesDate = d.AcquisitionDate = "20240229"
        d.AcquisitionTime = "131415.16"
        d.Modality, d.Manufacturer, d.SoftwareVersions = "MR", self.maker, self.software
        d.SeriesNumber, d.InstanceNumber, d.AcquisitionNumber = number, instance, 1
        d.SeriesDescription = d.ProtocolName = self.description
        d.MagneticFieldStrength, d.MRAcquisitionType = self.tesla, "3D"
        d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
        d.BitsAllocated = d.BitsStored = 16
        d.HighBit = 15
        return d


def save(d: Dataset, path: Path, pixels: np.ndarray, sop_class: str) -> None:
    """Write a file of explicit little endian."""
    d.SOPClassUID, d.SOPInstanceUID = sop_class, generate_uid()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, d.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.PixelRepresentation = int(pixels.dtype == np.int16)
    d.Rows, d.Columns = pixels.shape[-2:]
    d.PixelData = np.ascontiguousarray(pixels).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    file = FileDataset(str(path), d, file_meta=meta, preamble=bytes(128))
    pydicom.dcmwrite(path, file, enforce_file_format=True)
