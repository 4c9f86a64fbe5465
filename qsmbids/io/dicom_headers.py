"""Read what sorts DICOM files into series.

Headers are written by many hands: whatever is wrong in one file makes that file damaged and
nothing else. Names of patients are read to be compared, for two in one folder are a mistake.
"""

import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsmbids.io.dicom_frames import Frame, frames_of

__all__ = ["Header", "is_bare_dicom", "read_header"]

#: Siemens: the receive coil, or all of them ("HEA;HEP").
_COIL_TAGS = (0x0051100F, 0x0021114F)
#: Siemens: loops of the reconstruction, "X_1_1_..." or "5_1_1_..." for the coil 5, in a tag of
#: their own or within the image header.
_LOOPS, _IMAGE_HEADER = 0x00211106, 0x00291010
_COIL_LOOP = re.compile(r"\s*(\d+)_\d+_\d+_")
_HEADER_LOOPS = re.compile(rb"ICE_Dims.{1,200}?([X\d]+(?:_\d+)+)", re.DOTALL)
_TAGS: list[str | int] = [
    *(
        "SOPInstanceUID SeriesInstanceUID StudyInstanceUID PatientID PatientName Modality"
        " SeriesNumber SeriesDescription ProtocolName Manufacturer NumberOfFrames Rows Columns"
        " LossyImageCompression ComplexImageComponent BitsAllocated SamplesPerPixel EchoTime"
        " ImageType ConcatenationUID InConcatenationNumber InConcatenationTotalNumber"
        " AcquisitionDateTime AcquisitionDate AcquisitionTime"
        " ImagePositionPatient ImageOrientationPatient"
        " SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence SpecificCharacterSet"
    ).split(),
    0x0043102F,  # GE: magnitude, phase, real or imaginary
    *_COIL_TAGS,
    _LOOPS,
    _IMAGE_HEADER,
]
#: Transfer syntaxes of plain numbers: implicit and explicit little endian, explicit big endian.
_PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
#: Those that always lose something: JPEG baseline and extended, JPEG-LS nearly without loss.
_LOSSY = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 81))


@dataclass(frozen=True)
class Header:
    """What one DICOM file says.

    Attributes
    ----------
    path : Path
    instance, series, study, patient : str
        Identifiers, to be compared only.
    modality, description, manufacturer : str
    number : int
        Of the series, 0 where there is none.
    acquired : str
        When the acquisition began, "" if unknown.
    rows : int
        0 where there is no image.
    enhanced : bool
        The file describes its frames one by one; it may hold a single one.
    frames : tuple of Frame
    concatenation : tuple of str and int
        Of an object in several files: identifier, number of this file and how many there are.
        ("", 1, 1) for others.
    syntax : str
        Transfer syntax, "" if unknown.
    lossy : bool
        The pixels were compressed with loss at some time.
    coil : str
        What the scanner calls the receive coils of the image, "" if it does not say.
    """

    path: Path
    instance: str
    series: str
    study: str
    patient: str
    modality: str
    description: str
    manufacturer: str
    number: int
    acquired: str
    rows: int
    enhanced: bool
    frames: tuple[Frame, ...]
    concatenation: tuple[str, int, int] = ("", 1, 1)
    syntax: str = ""
    lossy: bool = False
    coil: str = ""


def read_header(path: Path) -> Header | None:
    """Read one file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Header or None
        None for what is not DICOM, or no member of a series.

    Raises
    ------
    ValueError
        The file is damaged.
    """
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values in tags that nobody asked for
            with path.open("rb") as file:
                bare = is_bare_dicom(file.read(8))
                file.seek(0)
                dataset = pydicom.dcmread(
                    file, stop_before_pixels=True, specific_tags=_TAGS, force=bare
                )
                n_bytes = path.stat().st_size - file.tell()
            if dataset.get("SeriesInstanceUID") is None:
                return None  # a DICOMDIR or the like
            return _header(path, dataset, n_bytes)
    except pydicom.errors.InvalidDicomError:
        return None
    except Exception as error:  # whatever pydicom, or a number that is none, makes of it
        raise ValueError(f"damaged ({error})") from error


def is_bare_dicom(head: bytes) -> bool:
    """Tell whether a file begins with the first elements of DICOM, as old archives export it.

    Those of groups 2 and 8, each with a short number, in little endian.
    """
    group, element, length = struct.unpack("<HHI", head) if len(head) == 8 else (0, 0, 0)
    explicit = head[4:6] in (b"UL", b"CS", b"UI", b"OB", b"DA", b"SH", b"LO")
    return group in (2, 8) and element < 0x40 and (explicit or length < 128)


def _header(path: Path, dataset: Any, n_bytes: int) -> Header:
    def text(key: str) -> str:
        return str(dataset.get(key) or "")

    n_frames = int(dataset.get("NumberOfFrames") or 1)
    rows = int(dataset.get("Rows") or 0)
    frames = tuple(frames_of(dataset))
    if n_frames != len(frames) > 1:
        raise ValueError("some frames have no description")
    if rows and text("Modality") == "MR":
        _check_size(dataset, rows * n_frames, n_bytes)
    number = text("SeriesNumber")
    acquired = text("AcquisitionDateTime") or text("AcquisitionDate") + text("AcquisitionTime")
    return Header(
        path,
        text("SOPInstanceUID") or str(path),
        text("SeriesInstanceUID"),
        text("StudyInstanceUID"),
        f"{text('PatientID')} {text('PatientName')}",
        text("Modality"),
        _printable(dataset.get("SeriesDescription") or dataset.get("ProtocolName")),
        _printable(dataset.get("Manufacturer")),
        int(number) if number.isdigit() else 0,
        acquired if acquired.strip("0.") else "",
        rows,
        n_frames > 1 or bool(dataset.get("PerFrameFunctionalGroupsSequence")),
        frames if len(frames) == n_frames else frames * n_frames,
        (
            text("ConcatenationUID"),
            int(dataset.get("InConcatenationNumber") or 1),
            int(dataset.get("InConcatenationTotalNumber") or 1),
        ),
        _syntax(dataset),
        text("LossyImageCompression") == "01" or _syntax(dataset) in _LOSSY,
        _coil(dataset),
    )


def _coil(dataset: Any) -> str:
    """Return the number of a coil by the loops of the reconstruction, else what it is called."""
    loops = str(dataset[_LOOPS].value) if _LOOPS in dataset else _loops(dataset)
    if number := _COIL_LOOP.match(loops):
        return number[1]
    values = (dataset[tag].value for tag in _COIL_TAGS if tag in dataset)
    return next((_printable(value) for value in values if isinstance(value, str)), "")


def _loops(dataset: Any) -> str:
    header = dataset[_IMAGE_HEADER].value if _IMAGE_HEADER in dataset else b""
    found = _HEADER_LOOPS.search(header) if isinstance(header, bytes) else None
    return found[1].decode() if found else ""


def _syntax(dataset: Any) -> str:
    return str(dataset.file_meta.get("TransferSyntaxUID") or "")


def _check_size(dataset: Any, n_rows: int, n_bytes: int) -> None:
    """Refuse a file that is shorter than its pixels: dcm2niix would go without the image."""
    if str(dataset.file_meta.get("TransferSyntaxUID") or _PLAIN[0]) in _PLAIN:
        samples = int(dataset.get("SamplesPerPixel") or 1) * int(dataset.get("Columns") or 0)
        if n_bytes < int(dataset.get("BitsAllocated") or 0) * samples * n_rows / 8:
            raise ValueError("cut off")


def _printable(text: Any) -> str:
    return "".join(c if c.isprintable() else " " for c in str(text or "")).strip()
