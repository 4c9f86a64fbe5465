"""The tables of regions as a structured report: TID 1500 with volumes of a segmentation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qsmbids import __version__
from qsmbids.io.dicom_out.anatomy import Concept, anatomy_of, own_code, side_of
from qsmbids.io.dicom_out.quantities import NO_UNIT, PER_SECOND, PPM, R2STAR, SUSCEPTIBILITY
from qsmbids.io.dicom_out.series import (
    EQUIPMENT,
    NewSeries,
    coded,
    finish,
    highdicom,
    source_images,
)
from qsmbids.io.segmentation_labels import Region

__all__ = ["RegionValues", "measurement_report"]

#: What the columns of a table are; those that public schemes lack are named as in the table.
_DERIVATIONS = {
    "mean": Concept("373098007", "SCT", "Mean"),
    "std": Concept("386136009", "SCT", "Standard Deviation"),
    "median": Concept("373099004", "SCT", "Median"),
    "iqr": own_code("iqr")._replace(meaning="Interquartile range"),
    "mad": own_code("mad")._replace(meaning="Median absolute deviation"),
    "p05": own_code("p05")._replace(meaning="5th percentile"),
    "p95": own_code("p95")._replace(meaning="95th percentile"),
}
_EXCLUDED = own_code("excluded")._replace(meaning="Part of the region outside the map")
_VOLUME = Concept("118565006", "SCT", "Volume")
_CUBIC_MM = Concept("mm3", "UCUM", "cubic millimeter")
_SUM_OF_VOXELS = Concept("126030", "DCM", "Sum of segmented voxel method for volume")
_REFERENCES = {
    "wholebrain": "Relative to the mean of the brain",
    "csf": "Relative to the cerebrospinal fluid",
    "whitematter": "Relative to white matter",
    "internalcapsule": "Relative to the internal capsule",
    "region": "Relative to a region that was given",
    "unreferenced": "Without a reference",
}
_TITLE = Concept("126000", "DCM", "Imaging Measurement Report")
_PROCEDURE = Concept("363679005", "SCT", "Imaging procedure")
_DEVICE = Concept("121007", "DCM", "Device")


@dataclass(frozen=True)
class RegionValues:
    """What was measured in one region.

    Attributes
    ----------
    region : Region
    volume_mm3 : float
        Of the voxels that count.
    excluded : float
        Part of the region that does not.
    chi : dict
        By reference, column and value [ppm]; what is not known is left out.
    r2star : dict
        By column [1/s].
    """

    region: Region
    volume_mm3: float
    excluded: float
    chi: Mapping[str, Mapping[str, float]]
    r2star: Mapping[str, float]


def measurement_report(
    values: Sequence[RegionValues], segments: Any, regions: Sequence[Region], new: NewSeries
) -> Any:
    """Return tables of regions as a structured report.

    Parameters
    ----------
    values : sequence of RegionValues
        Regions without a segment are left out, for there is nothing to refer to.
    segments : pydicom.Dataset
        The segmentation.
    regions : sequence of Region
        Of the segments, the first is segment 1.
    new : NewSeries

    Returns
    -------
    pydicom.Dataset
    """
    hd = highdicom()
    number = {region.label: n for n, region in enumerate(regions, 1)}
    groups = [
        _group(one, number[one.region.label], segments, new)
        for one in values
        if one.region.label in number
    ]
    observer = hd.sr.ObserverContext(
        observer_type=coded(_DEVICE),
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=new.identifiers.of("device"),
            name=EQUIPMENT["manufacturer_model_name"],
            manufacturer_name=EQUIPMENT["manufacturer"],
            model_name=EQUIPMENT["manufacturer_model_name"],
            serial_number=EQUIPMENT["device_serial_number"],
        ),
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=coded(_PROCEDURE),
        imaging_measurements=groups,
        title=coded(_TITLE),
    )
    evidence = [segments, *source_images(p for s in new.source.stacks for p in s.planes)]
    dataset = hd.sr.ComprehensiveSR(
        [_identified(item) for item in evidence],
        content=content[0],
        is_complete=True,
        **{k: v for k, v in new.keywords().items() if k in _SR_KEYWORDS},
    )
    dataset.ManufacturerModelName = EQUIPMENT["manufacturer_model_name"]
    dataset.SoftwareVersions = __version__
    dataset.SeriesDescription = new.description
    return finish(dataset, new, own_codes=True, texts=[v.region.name for v in values])


_SR_KEYWORDS = (
    "series_instance_uid",
    "series_number",
    "sop_instance_uid",
    "instance_number",
    "manufacturer",
)


def _identified(item: Any) -> Any:
    """Return evidence with what highdicom looks at, whether or not it is known."""
    from pydicom.dataset import Dataset

    out = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        out.add(item[keyword])
    for keyword in (
        "PatientID PatientName PatientBirthDate PatientSex AccessionNumber StudyID StudyDate"
        " StudyTime ReferringPhysicianName"
    ).split():
        setattr(out, keyword, None)
    return out


def _group(one: RegionValues, segment: int, segments: Any, new: NewSeries) -> Any:
    """Return the measurements of one region."""
    hd = highdicom()
    category, kind, _ = anatomy_of(one.region)
    side = side_of(one.region)
    reference = hd.sr.ReferencedSegment(
        sop_class_uid=segments.SOPClassUID,
        sop_instance_uid=segments.SOPInstanceUID,
        segment_number=segment,
        source_series=hd.sr.SourceSeriesForSegmentation(new.source.leader.series),
    )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=str(segments.SegmentSequence[segment - 1].TrackingUID),
            identifier=str(segments.SegmentSequence[segment - 1].TrackingID),
        ),
        referenced_segment=reference,
        finding_category=coded(category),
        finding_type=coded(kind),
        finding_sites=[
            hd.sr.FindingSite(coded(kind), laterality=None if side is None else coded(side))
        ],
        measurements=_measurements(one),
    )


def _measurements(one: RegionValues) -> list[Any]:
    """Return the numbers of a region: what cannot be known is left out, never zero."""
    hd = highdicom()
    found = []
    if math.isfinite(one.volume_mm3):
        found.append(
            hd.sr.Measurement(
                name=coded(_VOLUME),
                value=round(one.volume_mm3, 3),
                unit=coded(_CUBIC_MM),
                method=coded(_SUM_OF_VOXELS),
            )
        )
    if math.isfinite(one.excluded):
        found.append(
            hd.sr.Measurement(name=coded(_EXCLUDED), value=one.excluded, unit=coded(NO_UNIT))
        )
    for reference, columns in one.chi.items():
        method = own_code(reference)._replace(meaning=_REFERENCES[reference])
        found += _statistics(SUSCEPTIBILITY, PPM, columns, method)
    found += _statistics(R2STAR, PER_SECOND, one.r2star, None)
    return found


def _statistics(
    quantity: Concept, unit: Concept, columns: Mapping[str, float], method: Concept | None
) -> list[Any]:
    hd = highdicom()
    return [
        hd.sr.Measurement(
            name=coded(quantity),
            value=columns[name],
            unit=coded(unit),
            derivation=coded(derivation),
            method=None if method is None else coded(method),
        )
        for name, derivation in _DERIVATIONS.items()
        if name in columns and math.isfinite(columns[name])
    ]
