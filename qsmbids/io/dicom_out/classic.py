"""A map as single-frame MR images, for viewers that read no Parametric Map.

Stored numbers are signed and zero stays zero. Of susceptibility, a number is 1 ppb wherever the
map fits, so that a viewer that does not know the rescaling of MR images shows the same value.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.io.dicom_out.anatomy import Concept
from qsmbids.io.dicom_out.planes import Plane
from qsmbids.io.dicom_out.quantities import Quantity
from qsmbids.io.dicom_out.series import EQUIPMENT, NewSeries, code_item, finish, references

__all__ = ["classic_images", "storage_step"]

_MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_LARGEST = 32767
#: What the acquisition of all images of the run has in common.
_ACQUISITION = (
    "MRAcquisitionType RepetitionTime FlipAngle EchoTrainLength MagneticFieldStrength"
    " ImagingFrequency ImagedNucleus NumberOfAverages ScanOptions BodyPartExamined"
    " AnatomicRegionSequence PatientPosition FrameOfReferenceUID PositionReferenceIndicator"
    " LossyImageCompressionRatio LossyImageCompressionMethod"
).split()


def storage_step(values: npt.NDArray, quantity: Quantity) -> float:
    """Return the step of stored numbers: 1, 2 or 5 times a power of ten of the usual one.

    Examples
    --------
    >>> from qsmbids.io.dicom_out.quantities import quantity_of
    >>> storage_step(np.array([-0.5, 3.0]), quantity_of("Chimap", "csf"))  # ppb
    1.0
    >>> storage_step(np.array([50.0]), quantity_of("Chimap", "csf"))
    2.0
    """
    finite = values[np.isfinite(values)]
    largest = float(np.abs(finite).max()) * quantity.factor if finite.size else 0.0
    step, number = quantity.step, 0
    while largest / step > _LARGEST:
        number += 1
        step = quantity.step * (1, 2, 5)[number % 3] * 10 ** (number // 3)
    return step


def classic_images(
    values: npt.NDArray[np.float32], quantity: Quantity, new: NewSeries
) -> list[Any]:
    """Return a map as MR images, one per slice.

    Parameters
    ----------
    values : (columns, rows, slices) ndarray of float32
        In the order of the source; what is not finite is stored as 0.
    quantity : Quantity
    new : NewSeries

    Returns
    -------
    list of pydicom.Dataset
    """
    step = storage_step(values, quantity)
    scaled = np.nan_to_num(values.astype(np.float64) * quantity.factor, nan=0, posinf=0, neginf=0)
    stored = np.rint(scaled / step).astype("<i2")
    images = []
    for number in range(stored.shape[2]):
        planes = new.source.at_slice(number)
        image = _blank(new, number + 1)
        _add_derivation(image, quantity, new, planes)
        _add_place(image, planes[0], number, new)
        _add_pixels(image, stored[:, :, number].T, step, quantity)
        images.append(finish(image, new))
    return images


def _blank(new: NewSeries, number: int) -> Any:
    """Return an image with all that does not depend on the slice."""
    from pydicom.dataset import Dataset, FileMetaDataset

    image = Dataset()
    image.SOPClassUID = _MR_IMAGE_STORAGE
    image.SOPInstanceUID = new.identifiers.instance(number)
    image.SeriesInstanceUID = new.identifiers.series
    image.SeriesNumber, image.InstanceNumber = new.number, number
    image.SeriesDescription, image.Modality = new.description, "MR"
    image.Manufacturer = EQUIPMENT["manufacturer"]
    image.ManufacturerModelName = EQUIPMENT["manufacturer_model_name"]
    image.SoftwareVersions = EQUIPMENT["software_versions"]
    image.AcquisitionNumber = None
    header = new.source.header
    for keyword in ("SequenceVariant", "ScanOptions", "MRAcquisitionType", "EchoTrainLength"):
        setattr(image, keyword, None)
    for keyword in ("RepetitionTime", "PatientPosition", "PositionReferenceIndicator"):
        setattr(image, keyword, None)
    for keyword in _ACQUISITION:
        if keyword in header:
            image.add(header[keyword])
    image.ScanningSequence = header.get("ScanningSequence") or "GR"  # nothing else is processed
    image.SequenceVariant = header.get("SequenceVariant") or _variant(header)
    image.EchoTime = None  # of all echoes
    image.LossyImageCompression = header.get("LossyImageCompression") or "00"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _MR_IMAGE_STORAGE
    meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    meta.TransferSyntaxUID = _EXPLICIT_LITTLE_ENDIAN
    image.file_meta = meta
    return image


def _variant(header: Any) -> list[str] | str:
    """Return the variant of the sequence as enhanced images tell it."""
    words = []
    if str(header.get("SegmentedKSpaceTraversal") or "SINGLE") != "SINGLE":
        words.append("SK")
    if str(header.get("MagnetizationTransfer") or "NONE") != "NONE":
        words.append("MTC")
    if str(header.get("SteadyStatePulseSequence") or "NONE") != "NONE":
        words.append("SS")
    if str(header.get("Spoiling") or "NONE") != "NONE":
        words.append("SP")
    return words or "NONE"


def _add_derivation(image: Any, quantity: Quantity, new: NewSeries, planes: list[Plane]) -> None:
    """Say what kind of image it is, how it was made, and of what."""
    image.ImageType = ["DERIVED", "SECONDARY", *quantity.image_type]
    image.DerivationDescription = new.text
    image.SourceImageSequence = references(planes)
    image.BurnedInAnnotation = "NO"


def _add_place(image: Any, plane: Plane, number: int, new: NewSeries) -> None:
    """Put the slice where its source lies, in the very numbers of the source."""
    image.ImagePositionPatient = list(plane.position)
    image.ImageOrientationPatient = list(plane.orientation)
    image.PixelSpacing = list(plane.spacing)
    first = np.asarray(new.source.leader.planes[0].position, dtype=float)
    step = float(np.linalg.norm(new.source.affine[:3, 2]))
    thickness = plane.slice_thickness
    image.SliceThickness = f"{step:.6g}" if thickness is None else thickness
    image.SpacingBetweenSlices = f"{step:.10g}"
    along = np.linalg.norm(np.asarray(plane.position, dtype=float) - first)
    image.SliceLocation = f"{along:.6f}"


def _add_pixels(
    image: Any, stored: npt.NDArray[np.int16], step: float, quantity: Quantity
) -> None:
    """Add the numbers, what they mean, and the window."""
    from pydicom.dataset import Dataset

    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = stored.shape
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.PixelRepresentation = 1
    image.RescaleSlope, image.RescaleIntercept = f"{step:.10g}", "0"
    image.RescaleType = "US" if quantity.concept is None else quantity.stored_unit.meaning
    low, high = quantity.window
    image.WindowCenter, image.WindowWidth = f"{(low + high) / 2:g}", f"{high - low:g}"
    image.WindowCenterWidthExplanation = quantity.window_name
    image.VOILUTFunction = "LINEAR_EXACT"
    mapping = Dataset()
    mapping.RealWorldValueFirstValueMapped = -_LARGEST - 1
    mapping.RealWorldValueLastValueMapped = _LARGEST
    mapping["RealWorldValueFirstValueMapped"].VR = "SS"
    mapping["RealWorldValueLastValueMapped"].VR = "SS"
    mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = 0.0, step
    mapping.LUTExplanation, mapping.LUTLabel = quantity.title[:64], "REAL"
    mapping.MeasurementUnitsCodeSequence = [code_item(quantity.stored_unit)]
    if quantity.concept is not None:
        mapping.QuantityDefinitionSequence = [_quantity_item(quantity.concept)]
    image.RealWorldValueMappingSequence = [mapping]
    image.PixelData = np.ascontiguousarray(stored).tobytes()
    image["PixelData"].VR = "OW"


def _quantity_item(concept: Concept) -> Any:
    """Return the name of the quantity as a content item of a coded value."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ValueType = "CODE"
    item.ConceptNameCodeSequence = [code_item(Concept("246205007", "SCT", "Quantity"))]
    item.ConceptCodeSequence = [code_item(concept)]
    return item
