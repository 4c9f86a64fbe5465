"""The single images of DICOM files, each with its place, and the volumes that they make."""

import contextlib
import logging
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.errors import InputError
from qsmbids.io.dicom_frames import frames_of
from qsmbids.io.dicom_out.geometry import Affine, grid_affine, slice_order

__all__ = ["IDENTITY", "Plane", "Stack", "pixels_of", "quiet", "stacks_of"]

#: Positions that are nearer to each other are those of one slice [mm].
_SAME_MM = 0.01
_PATIENT = (
    "PatientName PatientID IssuerOfPatientID TypeOfPatientID OtherPatientIDsSequence"
    " PatientBirthDate PatientBirthTime PatientSex OtherPatientNames EthnicGroup PatientComments"
    " PatientSpeciesDescription PatientBreedDescription PatientIdentityRemoved"
    " DeidentificationMethod DeidentificationMethodCodeSequence QualityControlSubject"
    " PatientAge PatientSize PatientWeight AdditionalPatientHistory MedicalAlerts Allergies"
)
_STUDY = (
    "StudyInstanceUID StudyDate StudyTime StudyID AccessionNumber StudyDescription"
    " ReferringPhysicianName IssuerOfAccessionNumberSequence ReferencedStudySequence"
    " ProcedureCodeSequence ClinicalTrialSponsorName ClinicalTrialProtocolID"
    " ClinicalTrialProtocolName ClinicalTrialSiteID ClinicalTrialSubjectID"
    " ClinicalTrialSubjectReadingID ClinicalTrialTimePointID"
    " LongitudinalTemporalInformationModified"
)
#: What an object takes over from its source: whose it is, and of which study.
IDENTITY = tuple(f"{_PATIENT} {_STUDY}".split())
_EQUIPMENT = (
    "Manufacturer InstitutionName InstitutionAddress StationName InstitutionalDepartmentName"
    " ManufacturerModelName DeviceSerialNumber SoftwareVersions"
)
_IMAGE = (
    "SOPClassUID SOPInstanceUID SeriesInstanceUID SeriesNumber InstanceNumber Modality ImageType"
    " FrameOfReferenceUID PositionReferenceIndicator PatientPosition BodyPartExamined"
    " AnatomicRegionSequence SpecificCharacterSet Rows Columns NumberOfFrames"
    " ImagePositionPatient ImageOrientationPatient PixelSpacing SliceThickness"
    " SpacingBetweenSlices EchoTime RescaleSlope RescaleIntercept AcquisitionDateTime"
    " AcquisitionDate AcquisitionTime ScanningSequence SequenceVariant ScanOptions"
    " MRAcquisitionType RepetitionTime FlipAngle EchoTrainLength MagneticFieldStrength"
    " ImagingFrequency ImagedNucleus NumberOfAverages SteadyStatePulseSequence Spoiling"
    " SegmentedKSpaceTraversal MagnetizationTransfer LossyImageCompression"
    " LossyImageCompressionRatio LossyImageCompressionMethod TimezoneOffsetFromUTC"
    " SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence ComplexImageComponent"
)
_TAGS: list[str | int] = [*f"{_PATIENT} {_STUDY} {_EQUIPMENT} {_IMAGE}".split(), 0x0043102F]
_WORDS = {
    "phase": {"P", "PHASE", "PHASE MAP", "GE1"},
    "real": {"R", "REAL", "GE2"},
    "imag": {"I", "IMAGINARY", "GE3"},
    "mag": {"M", "M_FFE", "MAGNITUDE", "GE0"},
}


@dataclass(frozen=True, eq=False)
class Plane:
    """One image of a file.

    Attributes
    ----------
    dataset : pydicom.Dataset
        Header of the file, without pixels.
    path : Path
    frame : int
        Number within the file from 0.
    position, orientation, spacing : tuple
        As DICOM writes them [mm].
    thickness : float
        Distance to the next slice, or the thickness where that is not said [mm].
    echo_time : float
        [ms].
    kind : str
        All that the header says about the kind of image.
    rescale : tuple of float
        Slope and intercept.
    """

    dataset: Any
    path: Path
    frame: int
    position: tuple[Any, ...]
    orientation: tuple[Any, ...]
    spacing: tuple[Any, ...]
    thickness: float
    echo_time: float
    kind: str
    rescale: tuple[float, float]

    @property
    def multiframe(self) -> bool:
        """Whether the file holds more images."""
        return int(self.dataset.get("NumberOfFrames") or 1) > 1 or bool(
            self.dataset.get("PerFrameFunctionalGroupsSequence")
        )

    @property
    def slice_thickness(self) -> Any:
        """Thickness as the header has it [mm], None where it does not."""
        found = _item(self.dataset, self.frame, "PixelMeasuresSequence").get("SliceThickness")
        return None if found in (None, "") else found


@dataclass(frozen=True, eq=False)
class Stack:
    """A volume of one echo and part.

    Attributes
    ----------
    planes : tuple of Plane
        In the order of the slices.
    affine : (4, 4) ndarray
        Column, row, slice to scanner RAS+ [mm].
    """

    planes: tuple[Plane, ...]
    affine: Affine

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices."""
        header = self.planes[0].dataset
        return int(header.Columns), int(header.Rows), len(self.planes)

    def backwards(self) -> "Stack":
        """Return the same volume with its slices in the opposite order."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, 2] * (len(self.planes) - 1)
        affine[:3, 2] *= -1
        return Stack(self.planes[::-1], affine)

    @property
    def derived(self) -> bool:
        """Whether it was made from other images."""
        return self.planes[0].kind.startswith("DERIVED")

    @property
    def series(self) -> str:
        """Identifier of the series."""
        return str(self.planes[0].dataset.SeriesInstanceUID)

    @property
    def number(self) -> int:
        """Number of the series, 0 where there is none."""
        text = str(self.planes[0].dataset.get("SeriesNumber") or "")
        return int(text) if text.isdigit() else 0

    @property
    def echo_time(self) -> float:
        """Echo time [ms]."""
        return self.planes[0].echo_time

    @property
    def part(self) -> str:
        """One of "mag", "phase", "real" and "imag", or "" where the header does not tell."""
        words = set(self.planes[0].kind.split("\\"))
        return next((part for part, known in _WORDS.items() if words & known), "")

    @property
    def acquired(self) -> str:
        """When the acquisition began, "" if unknown."""
        headers = [plane.dataset for plane in self.planes]
        return min((t for h in headers if (t := _time(h))), default="")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Read or write DICOM without remarks of the libraries: they quote names and dates."""
    loggers = [logging.getLogger(name) for name in ("highdicom", "pydicom")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def stacks_of(files: Sequence[Path]) -> list[Stack]:
    """Return the volumes of one series.

    Parameters
    ----------
    files : sequence of Path
        Of images.

    Returns
    -------
    list of Stack
        Of those images that are evenly spaced slices.
    """
    planes = [plane for path in files for plane in _planes(path)]
    planes.sort(key=lambda p: (int(p.dataset.get("InstanceNumber") or 0), p.frame))
    groups: dict[Any, list[Plane]] = defaultdict(list)
    for plane in planes:
        turn = tuple(round(float(v), 3) for v in plane.orientation)
        size = int(plane.dataset.Rows), int(plane.dataset.Columns)
        groups[plane.echo_time, plane.kind, turn, size].append(plane)
    found = []
    for members in groups.values():
        for one in _repetitions(members):
            order = slice_order([p.position for p in one], one[0].orientation)
            ordered = tuple(one[i] for i in order)
            try:
                affine = grid_affine(
                    [p.position for p in ordered],
                    ordered[0].orientation,
                    ordered[0].spacing,
                    ordered[0].thickness,
                )
            except ValueError:
                continue
            found.append(Stack(ordered, affine))
    return found


def pixels_of(stack: Stack, slices: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return some slices of a volume as real values, (columns, rows, slices).

    Raises
    ------
    InputError
        They are compressed in a way that cannot be read here.
    """
    import pydicom

    read: dict[Path, npt.NDArray] = {}
    out = []
    for plane in (stack.planes[i] for i in slices):
        if plane.path not in read:
            try:
                with quiet():
                    pixels = pydicom.dcmread(plane.path).pixel_array
            except Exception as error:
                raise InputError(
                    "the pixels cannot be decompressed",
                    f"series {stack.number}",
                    "Decompress the files first, for example with dcmdjpeg of DCMTK.",
                ) from error
            if not plane.multiframe:
                read.clear()
            read[plane.path] = pixels[None] if pixels.ndim == 2 else pixels
        slope, intercept = plane.rescale
        out.append(read[plane.path][plane.frame].T * slope + intercept)
    return np.stack(out, axis=-1).astype(np.float64)


def _planes(path: Path) -> Iterator[Plane]:
    """Yield the images of a file that say where they lie."""
    import pydicom

    with quiet():
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS, force=True)
        described = frames_of(header)
        for number, frame in enumerate(described):
            place = _item(header, number, "PlanePositionSequence").get("ImagePositionPatient")
            turn = _item(header, number, "PlaneOrientationSequence").get("ImageOrientationPatient")
            measures = _item(header, number, "PixelMeasuresSequence")
            spacing = measures.get("PixelSpacing")
            if not place or not turn or not spacing:
                continue
            between = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness")
            values = _item(header, number, "PixelValueTransformationSequence")
            yield Plane(
                header,
                path,
                number,
                tuple(place),
                tuple(turn),
                tuple(spacing),
                float(between or 1.0),
                frame.echo_time,
                frame.kind,
                (
                    float(values.get("RescaleSlope") or 1.0),
                    float(values.get("RescaleIntercept") or 0.0),
                ),
            )


def _item(header: Any, frame: int, group: str) -> Any:
    """Return a functional group of a frame, of all frames, or the header of a classic image."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        return header
    shared = header.get("SharedFunctionalGroupsSequence") or [{}]
    for place in (per_frame[frame], shared[0]):
        if place.get(group):
            return place.get(group)[0]
    return {}


def _repetitions(planes: Sequence[Plane]) -> Iterator[list[Plane]]:
    """Yield volumes: the first image of every slice, the second of every slice, and so on."""
    normal = np.cross(*np.asarray(planes[0].orientation, dtype=float).reshape(2, 3))
    seen: dict[int, list[Plane]] = defaultdict(list)
    places: list[float] = []
    for plane in planes:
        along = float(np.asarray(plane.position, dtype=float) @ normal)
        near = [i for i, z in enumerate(places) if abs(z - along) < _SAME_MM]
        if not near:
            places.append(along)
        seen[near[0] if near else len(places) - 1].append(plane)
    for turn in range(max(len(members) for members in seen.values())):
        yield [members[turn] for members in seen.values() if len(members) > turn]


def _time(header: Any) -> str:
    """Return date and time of the acquisition as one text of digits."""
    text = str(header.get("AcquisitionDateTime") or "") or (
        f"{header.get('AcquisitionDate') or ''}{header.get('AcquisitionTime') or ''}"
    )
    return text if text.strip("0.") else ""
