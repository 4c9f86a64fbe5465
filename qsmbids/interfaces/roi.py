"""Segmentations on the grid of a run, and the susceptibility of their regions (section 8)."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from qsmbids.core.maths.resample import resample_labels
from qsmbids.core.reference.roi_statistics import RoiStatistics, roi_statistics
from qsmbids.errors import InputError
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.interfaces.registration import to_voxel
from qsmbids.io.masks import conform
from qsmbids.io.nifti import Volume, read_volume, write_text, write_volume
from qsmbids.io.segmentation_labels import Region, with_unnamed
from qsmbids.io.segmentations import label_values
from qsmbids.io.transforms import IDENTITY, read_t1w_transform

#: Columns of a table of regions: unit and meaning.
COLUMNS = {
    "index": ("", "Label of the region in the segmentation"),
    "name": ("", "Name of the region"),
    "hemisphere": ("", "L, R, or n/a for both sides or where the name does not tell"),
    "n_voxels": ("", "Voxels of the region in the segmentation on the grid of the run"),
    "n_mask4": ("", "Voxels of the region that count: inside Mask 4 without holes"),
    "fraction_excluded": ("", "Part of the region outside Mask 4 without holes, 0 to 1"),
    "mean": ("ppm", "Mean susceptibility"),
    "std": ("ppm", "Standard deviation over the voxels (of the population)"),
    "median": ("ppm", "Median"),
    "iqr": ("ppm", "Interquartile range, 75th less 25th percentile"),
    "mad": ("ppm", "Median absolute deviation from the median, not scaled"),
    "p05": ("ppm", "5th percentile"),
    "p95": ("ppm", "95th percentile"),
}
#: Maps that can be measured, by the ``desc`` of their tables.
REFERENCES = ("wholebrain", "csf", "region", "unreferenced")
#: A region of which more is lost is no longer that region.
LARGEST_EXCLUDED = 0.5


def _regions_trait() -> Any:
    return traits.List(
        traits.List(traits.Tuple(traits.Int, traits.Str, traits.Str)),
        mandatory=True,
        desc="per segmentation: index, name and hemisphere of the regions that have a name",
    )


class _BringSegmentationInputs(BaseInterfaceInputSpec):
    segmentations = traits.List(File(exists=True), mandatory=True, desc="images of labels")
    spaces = traits.List(traits.Enum("MEGRE", "T1w"), mandatory=True, desc="where each lies")
    regions = _regions_trait()
    like = File(exists=True, mandatory=True, desc="image of the run")
    transform = File(exists=True, desc="from T1w to MEGRE, as ITK or ANTs write it")
    identity = traits.Bool(False, usedefault=True, desc="both lie in the same scanner space")


class _BringSegmentationOutputs(RecordSpec):
    labels = traits.List(File(exists=True), desc="on the grid of the run")
    tables = traits.List(File(exists=True), desc="index and name of each label")


class BringSegmentation(Step):
    """Bring segmentations onto the grid of the run: ``core.maths.resample.resample_labels``.

    One that lies there already is only flipped to the order of the axes.
    """

    input_spec = _BringSegmentationInputs
    output_spec = _BringSegmentationOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        like = read_volume(inputs.like)
        files, tables, notes, warnings = [], [], [], []
        for number, (path, space, named) in enumerate(
            zip(inputs.segmentations, inputs.spaces, inputs.regions, strict=True), 1
        ):
            segmentation = read_volume(path, np.float64)  # exact for every label
            segmentation = segmentation._replace(array=label_values(segmentation.array, path))
            labels = self._labels(segmentation, like, path, space)
            present = set(np.unique(labels).tolist()) - {0}
            if not present:
                raise InputError(
                    "no region lies where the run is",
                    path,
                    "Check the space of the segmentation, and its transform.",
                )
            how = "as given" if space == "MEGRE" else "from T1w space"
            text = f"segmentation {Path(path).name}: {how}, {len(present)} labels"
            if lost := set(np.unique(segmentation.array).tolist()) - present - {0}:
                text += f"; {len(lost)} lost on the grid of the run"
                warnings.append(
                    f"{Path(path).name}: labels {_some(lost)} have no voxel on the run's grid"
                )
            notes.append(text)
            image = self._path(runtime, f"labels-{number}.nii")
            files.append(str(write_volume(image, labels.astype(np.int32), like.affine)))
            regions = with_unnamed((Region(*r) for r in named), present)
            rows = [f"{region.label}\t{region.name}\n" for region in regions]
            table = self._path(runtime, f"labels-{number}.tsv")
            tables.append(str(write_text(table, "index\tname\n" + "".join(rows))))
        self._results |= {"labels": files, "tables": tables}
        metadata: dict[str, Any] = {
            "SegmentationFiles": [Path(p).name for p in inputs.segmentations]
        }
        if "T1w" in inputs.spaces:
            metadata["SegmentationInterpolation"] = "trilinear vote of each label"
            metadata["SegmentationTransform"] = (
                IDENTITY if inputs.identity else Path(inputs.transform).name
            )
        self._results["record"] = record(*notes, warnings=warnings, **metadata)
        return runtime

    def _labels(self, segmentation: Volume, like: Volume, path: str, space: str) -> np.ndarray:
        if space == "MEGRE":
            return conform(segmentation, like, path)
        if self.inputs.identity:
            transform = np.eye(4)
        elif isinstance(self.inputs.transform, str):
            transform = read_t1w_transform(self.inputs.transform)
        else:
            raise InputError(
                "lies in T1w space", path, "Give --t1w or --t1w-transform, or resample it."
            )
        return resample_labels(
            segmentation.array, to_voxel(transform, like, segmentation), like.array.shape
        )


class _MeasureRoisInputs(BaseInterfaceInputSpec):
    labels = traits.List(File(exists=True), mandatory=True, desc="on the grid of the run")
    names = traits.List(traits.Str, mandatory=True, desc="of the segmentations, for the log")
    regions = _regions_trait()
    only_named = traits.List(traits.Bool, mandatory=True, desc="leave labels without a name out")
    mask = File(exists=True, mandatory=True, desc="Mask 4 without holes")
    support = File(exists=True, mandatory=True, desc="of chi, which may be smaller")
    wholebrain = File(exists=True, desc="chi [ppm] under this reference")
    csf = File(exists=True, desc="likewise; undefined where no fluid was found")
    region = File(exists=True, desc="likewise")
    unreferenced = File(exists=True, desc="chi [ppm] without a reference")


class _MeasureRoisOutputs(RecordSpec):
    wholebrain = traits.List(File(exists=True), desc="a table per segmentation")
    csf = traits.List(File(exists=True))
    region = traits.List(File(exists=True))
    unreferenced = traits.List(File(exists=True))


class MeasureRois(Step):
    """Measure chi over every region under every reference (8.b, 8.d, 8.f)."""

    input_spec = _MeasureRoisInputs
    output_spec = _MeasureRoisOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        inside = read_volume(inputs.mask, np.uint8).array > 0
        inside &= read_volume(inputs.support, np.uint8).array > 0
        segmentations = [read_volume(path, np.int32).array for path in inputs.labels]
        regions = []
        for labels, named, only in zip(
            segmentations, inputs.regions, inputs.only_named, strict=True
        ):
            known = [Region(*r) for r in named]
            regions.append(known if only else with_unnamed(known, np.unique(labels).tolist()))
        notes: list[str] = []
        warnings: list[str] = []
        for name in REFERENCES:
            path = getattr(inputs, name)
            if not isinstance(path, str):
                continue
            chi = read_volume(path).array
            tables = []
            each = zip(inputs.names, segmentations, regions, strict=True)
            for number, (title, labels, wanted) in enumerate(each, 1):
                statistics = roi_statistics(chi, labels, inside, [r.label for r in wanted])
                table = self._path(runtime, f"{name}-{number}.tsv")
                tables.append(str(write_text(table, _table(wanted, statistics))))
                if len(notes) < number:  # the same under every reference
                    notes.append(_summary(title, wanted, statistics))
                    warnings += _lost(title, wanted, statistics)
            self._results[name] = tables
        self._results["record"] = record(
            *notes, warnings=warnings, **{name: _describe(*c) for name, c in COLUMNS.items()}
        )
        return runtime


def _table(regions: list[Region], statistics: RoiStatistics) -> str:
    """Return the rows as tab-separated text; what is not known is n/a."""
    rows = ["\t".join(COLUMNS)]
    for number, region in enumerate(regions):
        counts = [str(int(n[number])) for n in (statistics.n_voxels, statistics.n_mask4)]
        numbers = [_number(float(n[number])) for n in statistics[2:]]
        rows.append(
            "\t".join([str(region.label), region.name, region.hemisphere, *counts, *numbers])
        )
    return "\n".join(rows) + "\n"


def _number(value: float) -> str:
    return f"{value:.6f}" if math.isfinite(value) else "n/a"


def _describe(units: str, description: str) -> dict[str, str]:
    return {"Description": description, **({"Units": units} if units else {})}


def _summary(title: str, regions: list[Region], statistics: RoiStatistics) -> str:
    measured = int(np.count_nonzero(statistics.n_mask4))
    return f"regions of {title}: {measured} of {len(regions)} measured inside Mask 4"


def _lost(title: str, regions: list[Region], statistics: RoiStatistics) -> list[str]:
    """Name the regions of which little is left."""
    names = [
        region.name
        for region, part in zip(regions, statistics.fraction_excluded, strict=True)
        if part > LARGEST_EXCLUDED
    ]
    if not names:
        return []
    return [f"{title}: more than half of {_some(names)} lies outside Mask 4 and was left out"]


def _some(items: Any, limit: int = 8) -> str:
    words = [str(i) for i in (sorted(items) if isinstance(items, set) else items)]
    more = f" and {len(words) - limit} more" if len(words) > limit else ""
    return ", ".join(words[:limit]) + more
