"""Regions of interest as a DICOM segmentation with coded anatomy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.io.dicom_out.anatomy import Concept, anatomy_of, side_of
from qsmbids.io.dicom_out.parametric_map import describe_frames, multiframe_places
from qsmbids.io.dicom_out.series import NewSeries, coded, finish, highdicom, source_images
from qsmbids.io.segmentation_labels import Region

__all__ = ["present_regions", "segmentation"]

#: Who drew the regions that were given is not known here; they were perhaps moved to this grid.
_GIVEN = "as given to qsmbids, origin not recorded"
_OWN = "qsmbids, registration of a template"
_SEGMENTATION = Concept("113076", "DCM", "Segmentation")


def present_regions(labels: npt.NDArray[np.integer], regions: Sequence[Region]) -> list[Region]:
    """Return the regions that have a voxel, in the order in which they become segments."""
    present = set(np.unique(labels).tolist()) - {0}
    return [region for region in regions if region.label in present]


def segmentation(
    labels: npt.NDArray[np.integer],
    regions: Sequence[Region],
    new: NewSeries,
    *,
    automatic: bool = False,
) -> Any:
    """Return regions as a binary segmentation, a segment each.

    Parameters
    ----------
    labels : (columns, rows, slices) ndarray of int
        In the order of the source.
    regions : sequence of Region
        Those that are present; the first is segment 1.
    new : NewSeries
    automatic : bool
        The regions are those of the template, and not given.

    Returns
    -------
    pydicom.Dataset
    """
    hd = highdicom()
    frames = np.zeros(labels.shape[::-1], dtype=np.uint16)
    turned = np.moveaxis(labels, (2, 1, 0), (0, 1, 2))
    for number, region in enumerate(regions, 1):
        frames[turned == region.label] = number
    dataset = hd.seg.Segmentation(
        source_images(new.source.leader.planes),
        frames,
        segmentation_type="BINARY",
        segment_descriptions=[_describe(n, r, new, automatic) for n, r in enumerate(regions, 1)],
        **new.keywords(),
        content_label="REGIONS",
        content_description=new.description[:64],
        **multiframe_places(new),
    )
    describe_frames(dataset, new)
    own = not all(anatomy_of(region)[2] for region in regions)
    return finish(dataset, new, own_codes=own, texts=[r.name for r in regions])


def _describe(number: int, region: Region, new: NewSeries, automatic: bool) -> Any:
    """Return what a segment is."""
    hd = highdicom()
    category, kind, _ = anatomy_of(region)
    side = side_of(region)
    described = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=region.name[:64],
        segmented_property_category=coded(category),
        segmented_property_type=coded(kind),
        algorithm_type="AUTOMATIC" if automatic else "SEMIAUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=_OWN if automatic else _GIVEN, family=coded(_SEGMENTATION), version=""
        ),
        tracking_uid=new.identifiers.of(f"region {region.label}"),
        tracking_id=f"{region.label} {region.name}"[:64],
    )
    # highdicom wants a family and a version to give the name of the algorithm; nobody knows them
    del described.SegmentationAlgorithmIdentificationSequence
    if side is not None:
        described.SegmentedPropertyTypeModifierCodeSequence = [coded(side)]
    return described
