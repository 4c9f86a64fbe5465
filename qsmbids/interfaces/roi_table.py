"""Tables of regions: their columns, and the cells in the rows of every region."""

import math
from dataclasses import dataclass

import numpy as np

from qsmbids.core.anatomy.statistics import Eroded, standard_errors
from qsmbids.core.inversion.error_of_means import MeanError
from qsmbids.core.reference.roi_statistics import RoiStatistics, roi_statistics
from qsmbids.io.segmentation_labels import Region

__all__ = [
    "CHI_STATISTICS",
    "COLUMNS",
    "INTERVAL_COLUMNS",
    "R2STAR_STATISTICS",
    "Counted",
    "describe_column",
    "interval_cells",
    "map_cells",
    "mean_errors",
    "number_cell",
    "region_table",
]

#: Columns of a table of regions: unit and meaning.
COLUMNS = {
    "index": ("", "Label of the region in the segmentation"),
    "name": ("", "Name of the region"),
    "hemisphere": ("", "L, R, or n/a for both sides or where the name does not tell"),
    "n_voxels": ("", "Voxels of the region in the segmentation on the grid of the run"),
    "volume_mm3": ("mm^3", "Volume of the region"),
    "n_mask4": ("", "Voxels of the region inside Mask 4 without holes"),
    "fraction_excluded": ("", "Part of the region outside Mask 4 without holes, 0 to 1"),
    "n_eroded": ("", "Voxels left where one is taken off all around the region (S1.6)"),
    "eroded": ("", "Whether the values are those of the eroded region: yes or no"),
    "mean": ("ppm", "Mean susceptibility"),
    "std": ("ppm", "Standard deviation over the voxels (of the population)"),
    "median": ("ppm", "Median"),
    "iqr": ("ppm", "Interquartile range, 75th less 25th percentile"),
    "mad": ("ppm", "Median absolute deviation from the median, not scaled"),
    "p05": ("ppm", "5th percentile"),
    "p95": ("ppm", "95th percentile"),
    "standard_error": ("ppm", "Standard error of the mean, whose voxels are not independent"),
    "r2star_mean": ("1/s", "Mean R2* over the same voxels"),
    "r2star_std": ("1/s", "Standard deviation of R2*"),
    "r2star_median": ("1/s", "Median of R2*"),
    "r2star_iqr": ("1/s", "Interquartile range of R2*"),
    "r2star_standard_error": ("1/s", "Standard error of the mean of R2*"),
}
#: Columns more where the errors of the map are known.
INTERVAL_COLUMNS = {
    "error_low": (
        "ppm",
        "Lower end of the interval that holds the true mean in 95 % of cases: about the mean less"
        " error_bias",
    ),
    "error_high": ("ppm", "Its upper end"),
    "error_bias": (
        "ppm",
        "Estimated bias: what the mean of the map is more than the true one, however often it is"
        " measured",
    ),
}
#: Statistics of susceptibility and of R2*, in the order of the columns.
CHI_STATISTICS = ("mean", "std", "median", "iqr", "mad", "p05", "p95")
R2STAR_STATISTICS = CHI_STATISTICS[:4]


@dataclass(frozen=True)
class Counted:
    """The regions of one segmentation, and the voxels of them that are measured."""

    regions: list[Region]
    labels: np.ndarray
    inner: Eroded

    @property
    def index(self) -> list[int]:
        """Labels of the regions, in the order of the rows."""
        return [region.label for region in self.regions]


def mean_errors(values: np.ndarray, one: Counted, inside: np.ndarray) -> list[float]:
    """Return the standard error of the mean of every region."""
    return standard_errors(values, one.inner.labels, inside, one.index)


def map_cells(
    values: np.ndarray,
    one: Counted,
    inside: np.ndarray,
    columns: tuple[str, ...],
    errors: list[float],
) -> list[list[str]]:
    """Return statistics of a map in every region, and the standard error of its mean."""
    found = roi_statistics(values, one.inner.labels, inside, one.index)
    return [
        [*(number_cell(float(getattr(found, c)[n])) for c in columns), number_cell(errors[n])]
        for n in range(len(one.regions))
    ]


def interval_cells(values: list[list[str]], errors: list[MeanError]) -> list[list[str]]:
    """Return the interval that the mean of every region tells, and its bias."""
    cells = []
    for (mean, *_), error in zip(values, errors, strict=True):
        interval = error.interval(float(mean) if mean != "n/a" else math.nan)
        cells.append([number_cell(v) for v in (*interval, error.bias)])
    return cells


def region_table(
    one: Counted, whole: RoiStatistics, voxel_mm3: float, values: list[list[list[str]]]
) -> str:
    """Return the rows as tab-separated text; what is not known is n/a."""
    columns = list(COLUMNS)
    if len(values) > 2:  # the intervals come after chi and R2*
        columns += INTERVAL_COLUMNS
    rows = ["\t".join(columns)]
    for n, region in enumerate(one.regions):
        n_voxels, label = int(whole.n_voxels[n]), region.label
        cells = [
            str(label),
            region.name,
            region.hemisphere,
            str(n_voxels),
            f"{n_voxels * voxel_mm3:.2f}",
            str(int(whole.n_mask4[n])),
            number_cell(float(whole.fraction_excluded[n])),
            str(one.inner.n_inner[label]),
            "yes" if label in one.inner.eroded else "no",
            *(cell for part in values for cell in part[n]),
        ]
        rows.append("\t".join(cells))
    return "\n".join(rows) + "\n"


def number_cell(value: float) -> str:
    """Return a number as tables have it."""
    return f"{value:.6f}" if math.isfinite(value) else "n/a"


def describe_column(units: str, description: str) -> dict[str, str]:
    """Return what a sidecar says of a column."""
    return {"Description": description, **({"Units": units} if units else {})}
