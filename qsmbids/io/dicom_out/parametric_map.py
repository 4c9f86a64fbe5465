"""A map as one Parametric Map: its float32 values as they are, with quantity and unit."""

from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.io.dicom_out.planes import Plane
from qsmbids.io.dicom_out.quantities import Quantity
from qsmbids.io.dicom_out.series import (
    NewSeries,
    coded,
    finish,
    highdicom,
    references,
    series_references,
    source_images,
)

__all__ = ["describe_frames", "multiframe_places", "parametric_map"]


def parametric_map(values: npt.NDArray[np.float32], quantity: Quantity, new: NewSeries) -> Any:
    """Return a map as a Parametric Map.

    Parameters
    ----------
    values : (columns, rows, slices) ndarray of float32
        In the order of the source.
    quantity : Quantity
    new : NewSeries

    Returns
    -------
    pydicom.Dataset
    """
    hd = highdicom()
    source = new.source
    frames = np.ascontiguousarray(np.moveaxis(values, (2, 1, 0), (0, 1, 2)), dtype=np.float32)
    low, high = (end / quantity.factor for end in quantity.window)
    window = hd.VOILUTTransformation(
        window_center=(low + high) / 2,
        window_width=high - low,
        window_explanation=quantity.window_name,
        voi_lut_function="LINEAR_EXACT",  # by the standard, the others need a width of 1
    )
    finite = frames[np.isfinite(frames)]
    ends = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="REAL",
        lut_explanation=quantity.title[:64],
        unit=coded(quantity.unit),
        value_range=ends,
        slope=1.0,
        intercept=0.0,
        quantity_definition=None if quantity.concept is None else coded(quantity.concept),
    )
    dataset = hd.pm.ParametricMap(
        source_images(source.leader.planes),
        frames,
        **new.keywords(),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[window],
        content_label="MAP",
        content_description=new.description[:64],
        content_qualification="RESEARCH",
        image_flavor="VOLUME",
        derived_pixel_contrast=quantity.contrast,
        **multiframe_places(new),
    )
    dataset.Modality = "MR"
    describe_frames(dataset, new)
    return finish(dataset, new)


def multiframe_places(new: NewSeries) -> dict[str, Any]:
    """Return where the frames of an object lie: exactly where the slices of the source do."""
    hd = highdicom()
    planes = new.source.leader.planes
    steps = np.diff([p.position for p in planes], axis=0).astype(float)
    between = float(np.linalg.norm(steps.mean(axis=0))) if len(steps) else planes[0].thickness
    thickness = planes[0].slice_thickness
    return {
        "pixel_measures": hd.PixelMeasuresSequence(
            pixel_spacing=[float(v) for v in planes[0].spacing],
            slice_thickness=float(between if thickness is None else thickness),
            spacing_between_slices=between,
        ),
        "plane_orientation": hd.PlaneOrientationSequence(
            "PATIENT", [float(v) for v in planes[0].orientation]
        ),
        "plane_positions": [
            hd.PlanePositionSequence("PATIENT", [float(v) for v in plane.position])
            for plane in planes
        ],
    }


def describe_frames(dataset: Any, new: NewSeries) -> None:
    """Say of each frame how it was derived, and of which images of its own slice.

    highdicom would do so for the series that it is given, which cannot be all echoes and parts.
    """
    every = references([plane for stack in new.source.stacks for plane in stack.planes])
    dataset.SourceImageSequence = every
    dataset.ReferencedSeriesSequence = series_references(new.source)
    slices = {_key(p.position): n for n, p in enumerate(new.source.leader.planes)}
    for group in dataset.PerFrameFunctionalGroupsSequence:
        position = group.PlanePositionSequence[0].ImagePositionPatient
        planes: list[Plane] = new.source.at_slice(slices[_key(position)])
        for item in group.get("DerivationImageSequence") or []:
            item.DerivationDescription = new.text
            item.SourceImageSequence = references(planes)


def _key(position: Any) -> tuple[float, ...]:
    return tuple(round(float(v), 3) for v in position)
