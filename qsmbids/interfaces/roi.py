"""Segmentations on the grid of a run, and the susceptibility of their regions (section 8)."""

from pathlib import Path
from typing import Any

import numpy as np

from qsmbids.core.anatomy.statistics import eroded_regions
from qsmbids.core.inversion.error_of_means import ErrorOfMeans, MeanError
from qsmbids.core.maths.resample import resample_labels
from qsmbids.core.reference.kinds import REFERENCES, UNREFERENCED
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
from qsmbids.interfaces.roi_table import (
    CHI_STATISTICS,
    COLUMNS,
    INTERVAL_COLUMNS,
    R2STAR_STATISTICS,
    Counted,
    describe_column,
    interval_cells,
    map_cells,
    mean_errors,
    region_table,
)
from qsmbids.io.masks import conform
from qsmbids.io.nifti import Volume, read_volume, write_text, write_volume
from qsmbids.io.segmentation_labels import Region, with_unnamed
from qsmbids.io.segmentations import label_values
from qsmbids.io.transforms import IDENTITY, read_t1w_transform

#: Maps that can be measured, by the ``desc`` of their tables.
MEASURED = (*REFERENCES, UNREFERENCED)
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
    may_be_empty = traits.Bool(False, usedefault=True, desc="a head without lesions is no mistake")


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
            if not present and not inputs.may_be_empty:
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


class MeasuredMapsSpec(BaseInterfaceInputSpec):
    """Inputs of every step that measures chi under all references."""

    mask = File(exists=True, mandatory=True, desc="Mask 4 without holes")
    support = File(exists=True, mandatory=True, desc="of chi, which may be smaller")
    wholebrain = File(exists=True, desc="chi [ppm] under this reference")
    csf = File(exists=True, desc="likewise; undefined where no fluid was found")
    whitematter = File(exists=True, desc="likewise; undefined where no template fitted")
    internalcapsule = File(exists=True, desc="likewise")
    region = File(exists=True, desc="likewise")
    unreferenced = File(exists=True, desc="chi [ppm] without a reference")


class _MeasureRoisInputs(MeasuredMapsSpec):
    labels = traits.List(File(exists=True), desc="on the grid of the run; a template may not fit")
    names = traits.List(traits.Str, mandatory=True, desc="of the segmentations, for the log")
    regions = _regions_trait()
    only_named = traits.List(traits.Bool, mandatory=True, desc="leave labels without a name out")
    thick = traits.List(
        traits.List(traits.Int),
        desc="per segmentation: regions without their outermost voxels (S1.6)",
    )
    r2star = File(exists=True, desc="[1/s]")
    errors = traits.List(File(exists=True), desc="simulated ones of chi [ppm]")
    error_factor = traits.Float(desc="errors of chi over the simulated, which come with it")
    reference_wholebrain = File(exists=True, desc="voxels of that reference, for errors")
    reference_csf = File(exists=True, desc="likewise")
    reference_whitematter = File(exists=True, desc="likewise")
    reference_internalcapsule = File(exists=True, desc="likewise")
    reference_region = File(exists=True, desc="likewise")


class _MeasureRoisOutputs(RecordSpec):
    wholebrain = traits.List(File(exists=True), desc="a table per segmentation")
    csf = traits.List(File(exists=True))
    whitematter = traits.List(File(exists=True))
    internalcapsule = traits.List(File(exists=True))
    region = traits.List(File(exists=True))
    unreferenced = traits.List(File(exists=True))


class MeasureRois(Step):
    """Measure chi and R2* over every region under every reference (8.b, 8.d, 8.f, S1.6)."""

    input_spec = _MeasureRoisInputs
    output_spec = _MeasureRoisOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        if not isinstance(inputs.labels, list) or not inputs.labels:
            self._results["record"] = record()
            return runtime
        mask = read_volume(inputs.mask, np.uint8)
        inside = mask.array > 0
        inside &= read_volume(inputs.support, np.uint8).array > 0
        counted = self._counted()
        voxel_mm3 = float(np.prod(mask.voxel_size))
        r2star = self._of_r2star(counted, inside)
        notes: list[str] = []
        warnings: list[str] = []
        wholes: list[RoiStatistics] = []
        errors: ErrorOfMeans | None = None
        for name in MEASURED:
            path = getattr(inputs, name)
            if not isinstance(path, str):
                continue
            chi = read_volume(path).array
            if not wholes:  # the same under every reference, which adds a constant
                wholes = [roi_statistics(chi, one.labels, inside, one.index) for one in counted]
                spread = [mean_errors(chi, one, inside) for one in counted]
                errors = self._errors()
            intervals = self._intervals(errors, counted, inside, name)
            tables = []
            for number, one in enumerate(counted):
                table = self._path(runtime, f"{name}-{number + 1}.tsv")
                values = [
                    map_cells(chi, one, inside, CHI_STATISTICS, spread[number]),
                    r2star[number],
                ]
                if intervals:
                    values.append(interval_cells(values[0], intervals[number]))
                text = region_table(one, wholes[number], voxel_mm3, values)
                tables.append(str(write_text(table, text)))
            self._results[name] = tables
        for title, one, whole in zip(inputs.names, counted, wholes, strict=False):
            notes.append(_summary(title, one.regions, whole))
            warnings += _lost(title, one.regions, whole)
        columns = COLUMNS | (INTERVAL_COLUMNS if errors is not None else {})
        self._results["record"] = record(
            *notes, warnings=warnings, **{name: describe_column(*c) for name, c in columns.items()}
        )
        return runtime

    def _errors(self) -> ErrorOfMeans | None:
        """Return what the simulated errors tell, where there are some."""
        if not isinstance(self.inputs.errors, list) or not self.inputs.errors:
            return None
        volumes = [read_volume(path) for path in self.inputs.errors]
        errors = np.stack([v.array for v in volumes])
        return ErrorOfMeans(errors, float(self.inputs.error_factor), volumes[0].voxel_size)

    def _intervals(
        self, errors: ErrorOfMeans | None, counted: list[Counted], inside: np.ndarray, name: str
    ) -> list[list[MeanError]]:
        """Return standard error and bias of the mean of every region under a reference."""
        path = getattr(self.inputs, f"reference_{name}", None)
        if errors is None or not isinstance(path, str):  # without reference nothing is known
            return []
        reference = (read_volume(path, np.uint8).array > 0) & inside
        means = errors.relative_to(reference)
        return [
            [means.of((one.inner.labels == label) & inside) for label in one.index]
            for one in counted
        ]

    def _counted(self) -> list[Counted]:
        inputs = self.inputs
        thick = inputs.thick if isinstance(inputs.thick, list) else []
        counted = []
        for number, path in enumerate(inputs.labels):
            labels = read_volume(path, np.int32).array
            regions = [Region(*r) for r in inputs.regions[number]]
            if not inputs.only_named[number]:
                regions = with_unnamed(regions, np.unique(labels).tolist())
            wanted = thick[number] if number < len(thick) else []
            inner = eroded_regions(labels, [r.label for r in regions], wanted)
            counted.append(Counted(regions, labels, inner))
        return counted

    def _of_r2star(self, counted: list[Counted], inside: np.ndarray) -> list[list[list[str]]]:
        """Return the columns of R2* of every segmentation."""
        if not isinstance(self.inputs.r2star, str):
            return [[["n/a"] * (len(R2STAR_STATISTICS) + 1)] * len(one.regions) for one in counted]
        r2star = read_volume(self.inputs.r2star).array
        known = inside & np.isfinite(r2star) & (r2star > 0)
        return [
            map_cells(r2star, one, known, R2STAR_STATISTICS, mean_errors(r2star, one, known))
            for one in counted
        ]


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
