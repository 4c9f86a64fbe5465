"""Recognise what a converted image is: which part of which echo, or why it is of no use.

dcm2niix writes one NIfTI file and one sidecar per echo and part. Only gradient echo images with
phase make a susceptibility map.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError

from qsmbids.io.dicom_frames import is_map

__all__ = [
    "COIL_KEY",
    "COMPONENT_KEY",
    "IS_DIFFERENCE",
    "PARTS",
    "TOKENS",
    "Candidate",
    "ConvertedImage",
    "image_type",
    "other_contrast",
    "recognise",
]

#: In a sidecar: the part of the complex signal, where the DICOM header tells.
COMPONENT_KEY = "ComplexImageComponent"
#: In a sidecar: the receive coil, where every coil has images of its own.
COIL_KEY = "SingleCoil"
PARTS = ("mag", "phase", "real", "imag")
FEWEST_SLICES = 4
IS_DIFFERENCE = "the phase difference of two echoes; the phase of each echo is needed"
_FILE_ENDINGS = {"ph": "phase", "real": "real", "imaginary": "imag", "fieldmaphz": "map"}
#: Words of ImageType for the parts.
TOKENS = {
    "P": "phase",
    "PHASE": "phase",
    "R": "real",
    "REAL": "real",
    "I": "imag",
    "IMAGINARY": "imag",
    "M": "mag",
    "MAGNITUDE": "mag",
}
#: Words by which scanners tell the series of one scan apart.
_PART_WORDS = re.compile(
    r"(?:(?<=[_\W])|^)(?:mag(?:nitude)?|pha(?:se)?|ph|real?|im(?:ag(?:inary)?)?|[mpri])(?=[_\W]|$)",
    re.IGNORECASE,
)
#: Names that Siemens and others give to what they made of a gradient echo for reading.
_FOR_READING = re.compile(r"(?<![a-z])(?:swi_images|m(?:in)?ip)(?![a-z])")
#: Words by which the series of one echo each are told apart: "e2", "echo_2", "TE=9.5ms".
_ECHO_WORDS = re.compile(
    r"(?:(?<=[_\W])|^)(?:echo|te|e)[_\W]?\d+(?:[.,]\d+)?(?:[_\W]?ms)?(?=[_\W]|$)", re.IGNORECASE
)
_CORRECTIONS = ("ND", "DIS2D", "DIS3D")


@dataclass(frozen=True)
class ConvertedImage:
    """A NIfTI file of dcm2niix, its sidecar, and the index of the DICOM series it is from.

    ``problem`` says what is wrong with the slices, if anything is.
    """

    path: Path
    sidecar: dict[str, Any]
    series: int
    problem: str = ""


@dataclass(frozen=True)
class Candidate:
    """A gradient echo image whose part is known."""

    image: ConvertedImage
    part: str
    echo_time: float
    shape: tuple[int, ...]
    affine: npt.NDArray[np.float64]
    coil: str = ""
    """The one receive coil, "" where they were combined."""

    @property
    def slot(self) -> tuple[str, int]:
        """What there is once per run: part and echo time [us]."""
        return self.part, round(self.echo_time * 1e6)

    def text(self, key: str) -> str:
        """Return a text of the sidecar, "" where there is none."""
        return str(self.image.sidecar.get(key) or "")

    def number(self, key: str) -> float | None:
        """Return a number of the sidecar, None where there is none."""
        value = self.image.sidecar.get(key)
        return float(value) if isinstance(value, int | float) else None

    @property
    def label(self) -> str:
        """Series description without the words for the part, letters and digits only."""
        return _plain(_PART_WORDS.sub("", self._name))

    @property
    def scan_name(self) -> str:
        """The label without the words for the echo, for scans whose echoes are a series each."""
        return _plain(_PART_WORDS.sub("", _ECHO_WORDS.sub("", self._name)))

    @property
    def _name(self) -> str:
        return self.text("SeriesDescription") or self.text("ProtocolName")

    @property
    def correction(self) -> str:
        """How Siemens corrected the gradient distortion: ND (not), DIS2D, DIS3D; "" if unknown."""
        tokens = image_type(self.image.sidecar)
        return next((word for word in reversed(_CORRECTIONS) if word in tokens), "")


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", text)


def image_type(sidecar: dict[str, Any]) -> list[str]:
    """Return the words for the kind of image, upper case; XA keeps some in a field of its own."""
    words: list[str] = []
    for key in ("ImageTypeText", "ImageType"):
        value = sidecar.get(key)
        if isinstance(value, str):  # as DICOM has it
            value = value.split("\\")
        if isinstance(value, list | tuple):
            words.extend(str(word).upper() for word in value)
    return words


def recognise(image: ConvertedImage) -> Candidate | str:
    """Return what an image is, or why it is of no use.

    Parameters
    ----------
    image : ConvertedImage

    Returns
    -------
    Candidate or str
    """
    sidecar, part = image.sidecar, _part(image)
    reason = other_contrast(sidecar, part)
    if reason:
        return reason
    try:
        header = nib.load(image.path)
    except (OSError, ValueError, ImageFileError) as error:
        return f"the converted image cannot be read ({error})"
    echo_time = sidecar.get("EchoTime")
    if not isinstance(echo_time, int | float) or not 0 < echo_time < 0.5:
        if echo_time:
            return f"EchoTime is {echo_time!r} s, which no gradient echo has"
        return (
            "EchoTime is missing: lost when the headers were made anonymous (export it again with"
            " its echo times), or a calculated image"
        )
    shape = tuple(int(n) for n in header.shape)
    if image.problem:
        return image.problem
    if len(shape) != 3:
        volumes = " x ".join(str(n) for n in shape[3:])
        return f"{volumes} volumes of one echo (repetitions or coils); one is needed"
    if min(shape) < FEWEST_SLICES:
        return f"only {min(shape)} slices, a localiser or a test"
    affine = np.asarray(header.affine, dtype=float)
    return Candidate(image, part, float(echo_time), shape, affine, _coil(image))


def _coil(image: ConvertedImage) -> str:
    """Return the receive coil of an image, "" where the coils were combined."""
    if coil := image.sidecar.get(COIL_KEY):
        return str(coil)
    named = re.search(r"_c([A-Z0-9]+)(?:_|\.|$)", image.path.name)  # dcm2niix, of a series of one
    return named[1] if named else ""


def _part(image: ConvertedImage) -> str:
    """Return the part, or "map" for a field map.

    The header of the scanner wins, then the name that dcm2niix gave, then the last word of
    ImageType that tells.
    """
    endings = image.path.name.split(".")[0].split("_")
    told = TOKENS.get(str(image.sidecar.get(COMPONENT_KEY) or "").upper())
    if told and "fieldmaphz" not in endings:
        return told
    for ending in reversed(endings):
        if ending in _FILE_ENDINGS:
            return _FILE_ENDINGS[ending]
    tokens = image_type(image.sidecar)
    return next((TOKENS[t] for t in reversed(tokens) if t in TOKENS), "mag")


def other_contrast(sidecar: dict[str, Any], part: str) -> str:
    """Return why an image is no part of a gradient echo scan, "" if it may be one."""
    tokens = set(image_type(sidecar))
    sequence = str(sidecar.get("ScanningSequence") or "").upper()
    technique = set(re.split(r"[\\/_,\s\[\]']+", sequence)) - {""}
    name = str(sidecar.get("SequenceName") or "").lower()
    text = f"{sidecar.get('SeriesDescription', '')} {sidecar.get('ProtocolName', '')}".lower()
    units = str(sidecar.get("Units") or "").lower()
    if technique & {"EP"} or re.search(r"ep2d|epfid|epise|^\*?ep_|fepi", name):
        return "echo planar, not a spoiled gradient echo"
    if part == "map" or units == "hz" or tokens & {"FIELDMAPHZ", "B0", "B0 MAP", "FIELD_MAP"}:
        return "a field map in Hz, not the phase of an echo"
    if is_map(tokens):
        return "a map that the scanner calculated, not an echo"
    two = {"EchoTime1", "EchoTime2"} <= set(sidecar)
    if part == "phase" and two and "EchoTime" not in sidecar:
        return IS_DIFFERENCE
    if "LOCALIZER" in tokens or re.search(r"\b(localizer|scout|survey|aahead)", text):
        return "a localiser"
    if technique & {"SE"} and "GR" not in technique:
        return "a spin echo, whose phase holds no field"
    if technique & {"IR"}:
        return "inversion prepared, not a spoiled gradient echo"
    made = {"MNIP", "MINIP", "MIP", "MPR", "SWIP", "PROJECTION IMAGE"}
    if part != "phase":  # that of SWI is phase, as a rule filtered
        made.add("SWI")
    if tokens & made or _FOR_READING.search(text):
        return "susceptibility weighted or projected by the scanner"
    return ""
