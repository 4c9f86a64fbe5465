"""The DICOM objects of one run: maps, segmentations and tables of regions."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids import __version__
from qsmbids.core.reference.kinds import REFERENCES, UNREFERENCED
from qsmbids.core.reference.roi_statistics import RoiStatistics, roi_statistics
from qsmbids.errors import InputError
from qsmbids.io.dicom_out.classic import classic_images
from qsmbids.io.dicom_out.geometry import in_order_of
from qsmbids.io.dicom_out.identifiers import Identifiers
from qsmbids.io.dicom_out.methods import derivation_text
from qsmbids.io.dicom_out.outputs import RunOutputs, read_sidecar
from qsmbids.io.dicom_out.parametric_map import parametric_map
from qsmbids.io.dicom_out.quantities import quantity_of
from qsmbids.io.dicom_out.report import RegionValues, measurement_report
from qsmbids.io.dicom_out.segmentation import present_regions, segmentation
from qsmbids.io.dicom_out.series import NewSeries
from qsmbids.io.dicom_out.source import Source
from qsmbids.io.nifti import read_volume
from qsmbids.io.segmentation_labels import Region, read_regions, with_unnamed
from qsmbids.io.tables import read_rows

__all__ = ["FORMS", "RunObjects"]

#: Forms of maps, with the place of their series among the new numbers.
FORMS = {"parametric-map": 1, "classic": 21}
_SEGMENTATIONS, _REPORTS = 41, 61
_REFERENCES = (*REFERENCES, UNREFERENCED)


@dataclass(frozen=True)
class RunObjects:
    """What becomes of a run.

    Attributes
    ----------
    run : RunOutputs
    source : Source
    first_number : int
        Of the new series; a hundred follow.
    """

    run: RunOutputs
    source: Source
    first_number: int

    def series(self, forms: tuple[str, ...]) -> Iterator[tuple[str, list[Any]]]:
        """Yield the name of each new series, and its objects."""
        yield from self._maps(forms)
        for place, (name, path) in enumerate(sorted(self.run.segmentations.items())):
            yield from self._regions(place, name, path)

    def _maps(self, forms: tuple[str, ...]) -> Iterator[tuple[str, list[Any]]]:
        for place, ((suffix, desc), path) in enumerate(sorted(self.run.maps.items())):
            sidecar = read_sidecar(path)
            quantity = quantity_of(suffix, desc, _number(sidecar.get("MagneticFieldStrength")))
            if quantity is None:
                continue
            values = self._on_source(path, np.float32)
            text = derivation_text(sidecar, relaxation=suffix == "R2starmap")
            name = f"desc-{desc}_{suffix}" if desc else suffix
            for form in forms:
                new = self._new(FORMS[form] + place, f"{name} {form}", values, text, path)
                unit = quantity.unit if form == "parametric-map" else quantity.stored_unit
                shown = f" [{unit.meaning}]" if quantity.concept is not None else ""
                new = replace(new, description=f"{quantity.title}{shown}")
                if form == "parametric-map":
                    yield f"{name}_{form}", [parametric_map(values, quantity, new)]
                else:
                    yield f"{name}_{form}", classic_images(values, quantity, new)

    def _regions(self, place: int, name: str, path: Path) -> Iterator[tuple[str, list[Any]]]:
        labels = self._on_source(path, np.int32)
        table = path.with_name(path.name.partition(".")[0] + ".tsv")
        known = read_regions(table) if table.is_file() else []
        regions = present_regions(labels, with_unnamed(known, np.unique(labels).tolist()))
        if not regions:
            return
        sidecar = read_sidecar(path)
        text = derivation_text(sidecar)
        names = [f"{region.label} {region.name}" for region in regions]
        what = f"seg-{name}_dseg {' '.join(names)}"
        new = self._new(_SEGMENTATIONS + place, what, labels, text, path)
        new = replace(new, description=f"Regions {name}"[:64])
        own = "RegionAtlas" in sidecar
        segments = segmentation(labels, regions, new, automatic=own)
        yield f"seg-{name}_dseg", [segments]
        values = self._values(name, labels, regions)
        if values:
            new = self._new(_REPORTS + place, f"{what} {values}", labels, text, path)
            new = replace(new, description=f"Susceptibility of regions {name}"[:64])
            yield f"seg-{name}_stats", [measurement_report(values, segments, regions, new)]

    def _values(
        self, name: str, labels: npt.NDArray[np.int32], regions: list[Region]
    ) -> list[RegionValues]:
        """Return what the tables say of each region, and R2* of the same voxels."""
        tables = {
            ref: {int(row["index"]): row for row in _rows(self.run.statistics[name, ref])}
            for ref in _REFERENCES
            if (name, ref) in self.run.statistics
        }
        r2star = self._r2star(labels, regions)
        voxel_mm3 = abs(float(np.linalg.det(self.source.affine[:3, :3])))
        values = []
        for number, region in enumerate(regions):
            label = region.label
            rows = {ref: table[label] for ref, table in tables.items() if label in table}
            if not rows:
                continue
            first = next(iter(rows.values()))
            values.append(
                RegionValues(
                    region,
                    _cell(first, "n_mask4") * voxel_mm3,
                    _cell(first, "fraction_excluded"),
                    {ref: {key: _cell(row, key) for key in row} for ref, row in rows.items()},
                    _rates(first) or ({} if r2star is None else _at(r2star, number)),
                )
            )
        return values

    def _r2star(
        self, labels: npt.NDArray[np.int32], regions: list[Region]
    ) -> RoiStatistics | None:
        path, support = self.run.maps.get(("R2starmap", "")), self.run.support
        if path is None or support is None:
            return None
        inside = self._on_source(support, np.bool_)
        found = self._on_source(path, np.float32)
        return roi_statistics(found, labels, inside, [region.label for region in regions])

    def _on_source(self, path: Path, dtype: npt.DTypeLike) -> npt.NDArray:
        """Return an image in the order of the source: columns, rows, slices."""
        volume = read_volume(path, dtype)
        source = self.source
        return in_order_of(volume.array, volume.affine, source.shape, source.affine, str(path))

    def _new(
        self, number: int, what: str, values: npt.NDArray, text: str, path: Path
    ) -> NewSeries:
        """Return a series whose identifiers follow from all that is in it."""
        files = {str(p.dataset.SOPInstanceUID) for s in self.source.stacks for p in s.planes}
        study = str(self.source.header.get("StudyInstanceUID"))
        of = Identifiers(study, sorted(files), what, values, text, __version__)
        made = datetime.fromtimestamp(int(path.stat().st_mtime))
        return NewSeries(self.source, of, self.first_number + number - 1, what[:64], text, made)


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        rows = read_rows(table)
        return [row for row in rows if row["index"].lstrip("-").isdigit()]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot be read ({type(error).__name__})", str(table)) from error


def _cell(row: Mapping[str, str], key: str) -> float:
    """Return a number of a table, NaN for what is none."""
    try:
        return float(row.get(key, "n/a"))
    except ValueError:
        return math.nan


def _rates(row: Mapping[str, str]) -> dict[str, float]:
    """Return what a table says of R2*, whose voxels are then those of its susceptibility."""
    found = {key: _cell(row, f"r2star_{key}") for key in ("mean", "std", "median", "iqr")}
    return {key: value for key, value in found.items() if math.isfinite(value)}


def _at(found: RoiStatistics, number: int) -> dict[str, float]:
    columns = ("mean", "std", "median", "iqr", "mad", "p05", "p95")
    return {key: round(float(getattr(found, key)[number]), 6) for key in columns}


def _number(value: Any) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if usable else None
