"""Small DICOM series as the scanners of several vendors write them, made with pydicom.

Arrays are (X, Y, Z) along the DICOM axes left, posterior, superior, so that what is at a large
first index is on the left of the person.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SHAPE = (24, 28, 12)
VOXEL = (1.5, 1.25, 2.0)
ECHO_TIMES = (0.005, 0.010, 0.015)
STUDY = "1.2.826.0.1.3680043.8.498.1"
CLASSIC = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"
MAKERS = {"siemens": "SIEMENS", "philips": "Philips Medical Systems", "ge": "GE MEDICAL SYSTEMS"}
MAKERS |= {"uih": "UIH", "canon": "CANON_MEC"}
RAW_KIND = {"mag": 0, "phase": 1, "real": 2, "imag": 3}
OBLIQUE = (0.9848, 0.0, -0.1736, 0.0, 1.0, 0.0)


def make_signal(shape=SHAPE, echo_times=ECHO_TIMES, seed=1) -> np.ndarray:
    """Complex echoes (E, X, Y, Z): a ball, a bright mark left, anterior, superior, noise."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    x, y, z = grid
    magnitude = np.where((grid**2).sum(0) < 0.8, 300.0, 0.0)
    magnitude[(np.abs(x - 0.5) < 0.2) & (np.abs(y + 0.4) < 0.2) & (np.abs(z - 0.4) < 0.25)] = 900
    field = 40 * x + 60 * y * z + 30 * z
    echoes = [
        magnitude * np.exp(-20 * te) * np.exp(1j * (2 * np.pi * field * te + 0.7 * x))
        for te in echo_times
    ]
    noise = rng.normal(size=(2, len(echo_times), *shape))
    return np.stack(echoes) + 5 * (noise[0] + 1j * noise[1])


def _common(maker: str, number: int, description: str, protocol: str, uid: str) -> Dataset:
    d = Dataset()
    d.PatientName, d.PatientID, d.PatientBirthDate = "Doe^Jane", "SECRET42", "19610203"
    d.PatientSex, d.PatientWeight, d.ReferringPhysicianName = "F", "61", "Smith^Doc"
    d.InstitutionName, d.StationName, d.DeviceSerialNumber = "Hidden Hospital", "MRX9", "777123"
    d.StudyDate = d.SeriesDate = d.AcquisitionDate = "20240229"
    d.AcquisitionTime, d.StudyInstanceUID, d.SeriesInstanceUID = "131415.16", STUDY, uid
    d.FrameOfReferenceUID = STUDY + ".1"
    d.Modality, d.Manufacturer, d.ManufacturerModelName = "MR", MAKERS[maker], "Model"
    d.SoftwareVersions, d.SeriesNumber, d.SeriesDescription = "1", number, description
    d.ProtocolName, d.MagneticFieldStrength, d.BodyPartExamined = protocol, 3, "BRAIN"
    d.PatientPosition, d.ImageComments = "HFS", "asked for by Smith"
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.BitsAllocated = d.BitsStored = 16
    d.HighBit = 15
    return d


def _save(d: Dataset, path: Path, pixels: np.ndarray, sop_class: str) -> None:
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


def encode(
    maker: str, part: str, echo: np.ndarray, unsigned: bool = False
) -> tuple[np.ndarray, float, float]:
    """Stored numbers (X, Y, Z), rescale slope and intercept."""
    if part in ("real", "imag"):
        sign = (-1.0) ** np.arange(echo.shape[2])  # GE
        stored = np.conj(echo) * sign
        return np.rint(getattr(stored, part)).astype(np.int16), 1.0, 0.0
    if part == "mag":
        return np.rint(np.abs(echo)).astype(np.uint16), 1.0, 0.0
    angle = np.angle(echo)
    if maker == "ge":
        return np.rint(angle * 1000).astype(np.int16), 1.0, 0.0
    levels = np.rint((angle + np.pi) / (2 * np.pi) * 4095).astype(np.uint16)
    if unsigned:
        return levels, 1.0, 0.0
    return (levels, 6284 / 4095, -3142.0) if maker == "philips" else (levels, 2.0, -4096.0)


def image_type(maker: str, part: str) -> list[str]:
    if maker == "ge":
        return ["ORIGINAL", "PRIMARY", "OTHER"]
    letter = {"mag": "M", "phase": "P", "real": "R", "imag": "I"}[part]
    if maker != "philips":
        return ["ORIGINAL", "PRIMARY", letter, "ND"]
    return ["ORIGINAL", "PRIMARY", "PHASE MAP" if part == "phase" else "M_FFE", letter, "FFE"]


def write_series(
    folder: Path,
    maker: str = "siemens",
    parts: Sequence[str] = ("mag",),
    *,
    number: int = 1,
    description: str = "qsm",
    protocol: str = "qsm",
    echo_times: Sequence[float] = ECHO_TIMES,
    signal: np.ndarray | None = None,
    voxel: Sequence[float] = VOXEL,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    scale_slope: float | None = None,
    unsigned: bool = False,
    extension: str = ".dcm",
    **tags: Any,
) -> Path:
    """Write one classic series, one file per slice; other arguments are DICOM keywords.

    ``scale_slope`` is Philips' own, 0 for none; ``unsigned`` phase is 0..4095 without rescaling.
    """
    signal = make_signal(echo_times=echo_times) if signal is None else signal
    uid, instance = generate_uid(), 0
    normal = np.cross(orientation[:3], orientation[3:])
    origin = -sum(
        np.asarray(axis) * v * (n - 1) / 2
        for axis, v, n in zip(
            (orientation[:3], orientation[3:], normal), voxel, signal.shape[1:], strict=True
        )
    )
    for echo, te in enumerate(echo_times):
        for part in parts:
            numbers, slope, intercept = encode(maker, part, signal[echo], unsigned)
            for k in range(numbers.shape[2]):
                instance += 1
                d = _common(maker, number, description, protocol, uid)
                d.ImageType = image_type(maker, part)
                d.InstanceNumber, d.AcquisitionNumber = instance, 1
                d.ScanningSequence, d.SequenceVariant, d.MRAcquisitionType = "GR", "SP", "3D"
                d.SequenceName = "fl3d3r"
                d.EchoTime, d.RepetitionTime, d.FlipAngle = str(round(te * 1000, 4)), "30", "15"
                d.EchoNumbers, d.EchoTrainLength = echo + 1, len(echo_times)
                d.ImagingFrequency = "123.25"
                d.ImageOrientationPatient = [f"{v:.6g}" for v in orientation]
                d.ImagePositionPatient = [f"{v:.6f}" for v in origin + normal * voxel[2] * k]
                d.SliceLocation = f"{k * voxel[2]:.4f}"
                d.SliceThickness = d.SpacingBetweenSlices = voxel[2]
                d.PixelSpacing = [voxel[1], voxel[0]]
                if maker != "ge" and not unsigned:
                    d.RescaleSlope, d.RescaleIntercept = f"{slope:.12g}", intercept
                if maker == "philips" and scale_slope != 0:
                    block = d.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
                    precise = scale_slope or 1000 / slope
                    block.add_new(0x0E, "FL", precise if part == "phase" else 1.0)
                if maker == "ge":
                    block = d.private_block(0x0043, "GEMS_PARM_01", create=True)
                    block.add_new(0x2F, "SS", RAW_KIND[part])
                for key, value in tags.items():
                    setattr(d, key, value)
                name = f"{number:03d}_{instance:05d}{extension}"
                _save(d, folder / name, numbers[:, :, k].T, CLASSIC)
    return folder


def write_enhanced(
    folder: Path,
    maker: str = "siemens",
    parts: Sequence[str] = ("mag",),
    *,
    number: int = 1,
    description: str = "qsm",
    protocol: str = "qsm",
    echo_times: Sequence[float] = ECHO_TIMES,
    signal: np.ndarray | None = None,
    voxel: Sequence[float] = VOXEL,
    per_echo: bool = False,
    scale_slope: float | None = None,
) -> Path:
    """Write one enhanced series: all echoes and parts in one file, or one file per echo.

    ``scale_slope`` is that of Philips for the phase, none if left out.
    """
    signal = make_signal(echo_times=echo_times) if signal is None else signal
    uid, words = generate_uid(), {"mag": "MAGNITUDE", "phase": "PHASE"}
    echoes = range(len(echo_times))
    for file, chosen in enumerate([[e] for e in echoes] if per_echo else [list(echoes)]):
        d = _common(maker, number, description, protocol, uid)
        d.ImageType = ["ORIGINAL", "PRIMARY", "T2_STAR", "NONE"]
        d.ComplexImageComponent = words[parts[0]] if len(parts) == 1 else "MIXED"
        d.InstanceNumber, d.AcquisitionNumber = file + 1, 1
        d.PulseSequenceName, d.EchoPulseSequence, d.MRAcquisitionType = "fl3d", "GRADIENT", "3D"
        d.SharedFunctionalGroupsSequence = Items([_shared(voxel)])
        frames, stack = [], []
        for part in parts:
            for k in range(signal.shape[3]):
                for echo in chosen:
                    numbers, slope, intercept = encode(maker, part, signal[echo])
                    stack.append(numbers[:, :, k].T)
                    f = _frame(voxel, signal.shape[1:], k, echo, parts.index(part))
                    f.MREchoSequence = _group(EffectiveEchoTime=echo_times[echo] * 1000)
                    f.MRImageFrameTypeSequence = _group(
                        FrameType=image_type(maker, part)[:4] if len(parts) > 1 else d.ImageType,
                        ComplexImageComponent=words[part],
                    )
                    f.PixelValueTransformationSequence = _group(
                        RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US"
                    )
                    if scale_slope is not None:
                        _add_scale_slope(f, scale_slope if part == "phase" else 1.0)
                    frames.append(f)
        d.PerFrameFunctionalGroupsSequence = Items(frames)
        d.NumberOfFrames = len(frames)
        organisation = Dataset()
        organisation.DimensionOrganizationUID = STUDY + ".9"
        d.DimensionOrganizationSequence = Items([organisation])
        pointers = []
        # in-stack position, effective echo time, complex component
        for tag, group in (
            (0x00209057, 0x00209111),
            (0x00189082, 0x00189114),
            (0x00089208, 0x00189226),
        ):
            pointer = Dataset()
            pointer.DimensionOrganizationUID = STUDY + ".9"
            pointer.DimensionIndexPointer = tag
            pointer.FunctionalGroupPointer = group
            pointers.append(pointer)
        d.DimensionIndexSequence = Items(pointers)
        _save(d, folder / f"{number:03d}_{file}.dcm", np.stack(stack), ENHANCED)
    return folder


def _add_scale_slope(frame: Dataset, scale_slope: float) -> None:
    """Add the private sequence in which Philips keeps the tags of the classic image."""
    inner = Dataset()
    inner.add_new(0x20050010, "LO", "Philips MR Imaging DD 001")
    inner.add_new(0x2005100E, "FL", scale_slope)
    frame.add_new(0x20050014, "LO", "Philips MR Imaging DD 005")
    frame.add_new(0x2005140F, "SQ", Items([inner]))


def _group(**values: Any) -> Items:
    d = Dataset()
    for key, value in values.items():
        setattr(d, key, value)
    return Items([d])


def _shared(voxel: Sequence[float]) -> Dataset:
    d = Dataset()
    d.PlaneOrientationSequence = _group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    d.PixelMeasuresSequence = _group(
        PixelSpacing=[voxel[1], voxel[0]], SliceThickness=voxel[2], SpacingBetweenSlices=voxel[2]
    )
    d.MRTimingAndRelatedParametersSequence = _group(
        RepetitionTime=30.0, FlipAngle=15.0, EchoTrainLength=3
    )
    d.MRImagingModifierSequence = _group(TransmitterFrequency=123.25)
    return d


def _frame(
    voxel: Sequence[float], shape: Sequence[int], k: int, echo: int, component: int
) -> Dataset:
    """Place and indices of a frame."""
    f = Dataset()
    f.FrameContentSequence = _group(
        StackID="1",
        InStackPositionNumber=k + 1,
        DimensionIndexValues=[k + 1, echo + 1, component + 1],
    )
    origin = [-v * (n - 1) / 2 for v, n in zip(voxel, shape, strict=True)]
    f.PlanePositionSequence = _group(
        ImagePositionPatient=[origin[0], origin[1], origin[2] + k * voxel[2]]
    )
    return f


def write_coils(
    folder: Path,
    coils: Sequence[np.ndarray],
    echo_times: Sequence[float],
    *,
    told: str = "name",
    names: Sequence[str] | None = None,
    **options: Any,
) -> Path:
    """Write magnitude and phase of every coil as Siemens saves them uncombined: a series a part.

    A coil is ``told`` by its name, or by the loops of the reconstruction under the name of the
    whole coil, which have a tag of their own or stand in the image header.
    """
    for number, part in enumerate(("mag", "phase"), 1):
        series = generate_uid()
        for c, signal in enumerate(coils):
            own = folder / f"{number}-{c + 1}"
            write_series(
                own, parts=(part,), number=number, echo_times=echo_times, signal=signal, **options
            )
            for path in own.iterdir():
                d = pydicom.dcmread(path)
                d.SeriesInstanceUID = series
                d.InstanceNumber = int(d.InstanceNumber) * len(coils) + c
                block = d.private_block(0x0051, "SIEMENS MR HEADER", create=True)
                name = names[c] if names else f"H{c + 1}"
                block.add_new(0x0F, "LO", name if told == "name" else "HeadNeck_64")
                loops = f"{c + 1}_1_1_1_1_1_160_1_1_1_1_1_277"
                if told == "loops":
                    d.private_block(0x0021, "SIEMENS MR SDS 01", create=True)  # (0021,10xx)
                    block = d.private_block(0x0021, "SIEMENS MR SDI 02", create=True)
                    block.add_new(0x06, "LO", loops)
                elif told == "header":
                    block = d.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
                    header = b"SV10\4\3\2\1ICE_Dims" + bytes(76) + loops.encode() + bytes(5)
                    block.add_new(0x10, "OB", header + bytes(len(header) % 2))
                d.save_as(path)
    return folder
