"""What all objects of a new series have in common: whose it is, what made it, and its sources."""

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from qsmbids import __version__
from qsmbids.errors import ConfigError
from qsmbids.io.dicom_out.anatomy import OWN_SCHEME, Concept
from qsmbids.io.dicom_out.identifiers import Identifiers
from qsmbids.io.dicom_out.planes import IDENTITY, Plane
from qsmbids.io.dicom_out.source import Source

__all__ = [
    "EQUIPMENT",
    "NewSeries",
    "code_item",
    "coded",
    "finish",
    "highdicom",
    "references",
    "series_references",
    "source_images",
    "stub",
]

#: The program as the device that made the objects.
EQUIPMENT = {
    "manufacturer": "qsmbids developers",
    "manufacturer_model_name": "qsmbids",
    "software_versions": __version__,
    "device_serial_number": __version__,  # of a program, its release
}
_PURPOSE = Concept("121322", "DCM", "Source image for image processing operation")
#: What highdicom wants to be there, and which is then replaced by what the source really says.
_WANTED = (
    "PatientID PatientName PatientBirthDate PatientSex AccessionNumber StudyID StudyDate StudyTime"
    " ReferringPhysicianName"
).split()
_STUB = (
    "SOPClassUID SOPInstanceUID SeriesInstanceUID StudyInstanceUID Rows Columns NumberOfFrames"
    " FrameOfReferenceUID PositionReferenceIndicator Modality ImagePositionPatient"
    " ImageOrientationPatient PixelSpacing SliceThickness ImageType LossyImageCompression"
    " LossyImageCompressionRatio LossyImageCompressionMethod SharedFunctionalGroupsSequence"
    " PerFrameFunctionalGroupsSequence Manufacturer InstitutionName InstitutionAddress StationName"
    " InstitutionalDepartmentName ManufacturerModelName DeviceSerialNumber SoftwareVersions"
).split()


@dataclass(frozen=True)
class NewSeries:
    """A series that is to be made.

    Attributes
    ----------
    source : Source
    identifiers : Identifiers
    number : int
    description : str
        At most 64 characters.
    text : str
        The methods in short.
    made : datetime
        When the values were computed.
    """

    source: Source
    identifiers: Identifiers
    number: int
    description: str
    text: str
    made: datetime

    def keywords(self, instance: int = 1) -> dict[str, Any]:
        """Return what the constructors of highdicom have in common."""
        return {
            "series_instance_uid": self.identifiers.series,
            "series_number": self.number,
            "sop_instance_uid": self.identifiers.instance(instance),
            "instance_number": instance,
            "series_description": self.description,
            **EQUIPMENT,
        }


def highdicom() -> Any:
    """Return the module highdicom.

    Raises
    ------
    ConfigError
        It is not installed.
    """
    try:
        return importlib.import_module("highdicom")
    except ImportError as error:
        raise ConfigError(
            "maps as DICOM need highdicom, which is not installed",
            fix='Run: pip install "qsmbids[dicom]"',
        ) from error


def code_item(concept: Concept) -> Any:
    """Return an item of a code sequence."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = concept
    return item


def coded(concept: Concept) -> Any:
    """Return a concept as highdicom takes it."""
    hd = highdicom()
    return hd.sr.CodedConcept(concept.value, concept.scheme, concept.meaning)


def stub(plane: Plane) -> Any:
    """Return a source image as highdicom wants to see it, without the identity."""
    from pydicom.dataset import Dataset

    out = Dataset()
    for keyword in _STUB:
        if keyword in plane.dataset:
            out.add(plane.dataset[keyword])
    for keyword in _WANTED:
        setattr(out, keyword, None)
    return out


def source_images(planes: Iterable[Plane]) -> list[Any]:
    """Return each file of some images once."""
    files = {str(plane.dataset.SOPInstanceUID): plane for plane in planes}
    return [stub(plane) for plane in files.values()]


def references(planes: Sequence[Plane]) -> list[Any]:
    """Return the items of a source image sequence, with frames of multi-frame files."""
    from pydicom.dataset import Dataset

    frames: dict[str, list[Plane]] = {}
    for plane in planes:
        frames.setdefault(str(plane.dataset.SOPInstanceUID), []).append(plane)
    items = []
    for uid, members in frames.items():
        item = Dataset()
        item.ReferencedSOPClassUID = members[0].dataset.SOPClassUID
        item.ReferencedSOPInstanceUID = uid
        if members[0].multiframe:
            item.ReferencedFrameNumber = sorted(plane.frame + 1 for plane in members)
        item.PurposeOfReferenceCodeSequence = [code_item(_PURPOSE)]
        item.SpatialLocationsPreserved = "YES"
        items.append(item)
    return items


def series_references(source: Source) -> list[Any]:
    """Return the items of a referenced series sequence: all files of each series."""
    from pydicom.dataset import Dataset

    files: dict[str, dict[str, str]] = {}
    for plane in (plane for stack in source.stacks for plane in stack.planes):
        header = plane.dataset
        own = files.setdefault(str(header.SeriesInstanceUID), {})
        own[str(header.SOPInstanceUID)] = str(header.SOPClassUID)
    out = []
    for series, members in files.items():
        listed = []
        for uid, sop_class in members.items():
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
            listed.append(item)
        one = Dataset()
        one.SeriesInstanceUID, one.ReferencedInstanceSequence = series, listed
        out.append(one)
    return out


def finish(
    dataset: Any, new: NewSeries, *, own_codes: bool = False, texts: Iterable[str] = ()
) -> Any:
    """Give an object the identity of its source, and the times and identifiers of its content.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Changed in place: what libraries fill with the present time or at random becomes what
        follows from the content.
    new : NewSeries
    own_codes : bool
        It has codes of this program.
    texts : iterable of str
        What it says beside the words of the source and of this program.

    Returns
    -------
    pydicom.Dataset
    """
    header = new.source.header
    for keyword in IDENTITY:
        if keyword in dataset:
            del dataset[keyword]
        if keyword in header:
            dataset.add(header[keyword])
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", *_WANTED):
        if keyword not in dataset:  # type 2: there, but empty
            setattr(dataset, keyword, None)
    for keyword in ("BodyPartExamined", "PatientPosition"):
        if keyword in header and "FrameOfReferenceUID" in dataset:
            dataset.add(header[keyword])
    if "BodyPartExamined" not in dataset and dataset.Modality == "MR":
        dataset.Laterality = None  # of a body part that is not said, it has to be there
    dataset.SpecificCharacterSet = _character_set(header.get("SpecificCharacterSet"), texts)
    date, time = new.made.strftime("%Y%m%d"), new.made.strftime("%H%M%S")
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = date, time
    if "ContentDate" in dataset:
        dataset.ContentDate, dataset.ContentTime = date, time
    for item in dataset.get("ContributingEquipmentSequence") or []:
        if "ContributionDateTime" in item:
            item.ContributionDateTime = date + time
    if own_codes:
        dataset.CodingSchemeIdentificationSequence = [_own_scheme()]
    organisation = new.identifiers.of("dimensions")
    for name in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(name) or []:
            if "DimensionOrganizationUID" in item:
                item.DimensionOrganizationUID = organisation
    return dataset


def _character_set(of_source: Any, texts: Iterable[str]) -> Any:
    """Return the character set of the source, or UTF-8 where that cannot hold the texts."""
    from pydicom.charset import python_encoding

    first = of_source if isinstance(of_source, str) else next(iter(of_source or ()), "")
    try:
        for text in texts:
            text.encode("ascii" if not first else python_encoding.get(first, "ascii"))
    except UnicodeEncodeError:
        return "ISO_IR 192"
    return of_source


def _own_scheme() -> Any:
    """Return who is responsible for the codes that no public scheme has."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodingSchemeDesignator = OWN_SCHEME
    item.CodingSchemeName = "Regions and references as qsmbids names them"
    item.CodingSchemeResponsibleOrganization = "The qsmbids developers"
    return item
