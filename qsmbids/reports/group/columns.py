"""What the columns of the group's tables mean, as the JSON file beside each says it."""

from collections.abc import Iterable, Mapping
from typing import Any

from qsmbids.reports.group.runs import IDENTITY
from qsmbids.reports.group.values import LIMIT

__all__ = ["R2STAR", "SPREAD", "explained"]

#: Statistics of a region.
SPREAD = ("mean", "std", "median", "iqr", "mad", "p05", "p95")
#: Statistics of R2* over the same voxels.
R2STAR = tuple(f"r2star_{name}" for name in ("mean", "std", "median", "iqr", "standard_error"))

_WORDS: dict[str, str] = {
    "participant_id": "Participant",
    "session_id": "Session",
    "acquisition": "Acquisition label of the file names",
    "run": "Run label of the file names",
    "run_label": "The run as its file names begin",
    "segmentation": "Label of the segmentation; 'reference regions' for those",
    "reference": "Region whose mean susceptibility is zero",
    "roi": "Region, with its side where the name does not say it",
    "region": "Reference region that is described",
    "age": "Age of the participant, as participants.tsv states it",
    "sex": "Sex of the participant, as participants.tsv states it",
    "structure": "Region without its side",
    "volume_mm3": "Volume of the region",
    "n_eroded": "Voxels of the region without its outermost ones",
    "eroded": "Whether the values are those of the region without its outermost voxels",
    "standard_error": "Standard error of the mean, whose voxels are not independent",
    "r2star_mean": "Mean R2* over the same voxels",
    "r2star_std": "Standard deviation of R2*",
    "r2star_median": "Median of R2*",
    "r2star_iqr": "Interquartile range of R2*",
    "r2star_standard_error": "Standard error of the mean of R2*",
    "left_less_right": "Mean of the structure on the left, less that on the right",
    "index": "Number of the region in the segmentation",
    "hemisphere": "Side of the region",
    "n_voxels": "Voxels of the region",
    "n_mask4": "Voxels of the region inside Mask 4 without holes: those that count",
    "fraction_excluded": "Share of the region that does not count",
    "volume_ml": "Volume of the region",
    "mean": "Mean susceptibility",
    "std": "Standard deviation over the voxels",
    "median": "Median susceptibility",
    "iqr": "Interquartile range over the voxels",
    "mad": "Median absolute deviation over the voxels",
    "p05": "5th percentile over the voxels",
    "p95": "95th percentile over the voxels",
    "reference_value": "Mean of the reference region before referencing, which was subtracted",
    "robust_z": "(mean - median of the runs) / (1.4826 MAD of the runs), over the runs with the"
    " same acquisition and reconstruction label; n/a for fewer than 5",
    "outlier": f"Whether robust_z is beyond {LIMIT:g} in either direction",
    "status": "What became of the run",
    "step": "Step that failed",
    "message": "Why it failed or is missing",
    "report": "Page of the run",
    "version": "Version of qsmbids that made it",
    "preset": "Preset of its settings",
    "main_reference": "Reference that its settings ask for",
    "warnings": "Number of warnings in its sidecars",
    "suggested": "What the numbers suggest: include or not",
    "flags": "What speaks against the run",
    "include": "Decision of the author; begins as suggested and stays when it is edited",
    "reason": "Its reason, to be edited; begins as the flags and stays when it is edited",
}
#: Columns that mean something else in one table.
_HERE: dict[str, dict[str, str]] = {
    "lesions": {
        "lesion": "Name of the lesion",
        "index": "Label of the lesion in the image of lesions",
        "n_voxels": "Voxels of the lesion",
        "volume_mm3": "Volume of the lesion",
        "n_mask4": "Voxels of the lesion inside Mask 4 without holes: those that count",
        "rim_mean": "Mean over the outermost voxels of the lesion",
        "core_mean": "Mean over the other voxels",
        "rim_minus_core": "Rim less core; positive of a paramagnetic rim",
        "surroundings_mean": "Mean over a shell around the lesion, without other lesions",
        "paramagnetic_share": "Share of its voxels above zero",
        "diamagnetic_share": "Share of its voxels below zero",
    }
}
_UNITS = {
    "volume_ml": "ml",
    "volume_mm3": "mm^3",
    "age": "year",
    **dict.fromkeys((*SPREAD, "reference_value", "standard_error", "left_less_right"), "ppm"),
    **dict.fromkeys(("rim_mean", "core_mean", "rim_minus_core", "surroundings_mean"), "ppm"),
    **dict.fromkeys(R2STAR, "1/s"),
}
_LEVELS: dict[str, dict[str, str]] = {
    "status": {
        "ok": "There is a map",
        "failed": "A step failed or was interrupted",
        "missing": "There are raw data but no map",
    },
    "suggested": {"yes": "Nothing speaks against it", "check": "See the flags", "no": "No map"},
}
#: Columns that are not known beforehand, by the table.
_OTHERS = {
    "iqms": "Image quality measure; desc-iqms_stats.json of the run tells what it means",
    "acquisition": "{} of the raw metadata",
    "runs": "Setting {}",
}


def explained(
    table: str, columns: Iterable[str], units: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Return the entries of the JSON file of a table, those of its identity first.

    Parameters
    ----------
    table : str
        "chi", "references", "lesions", "iqms", "acquisition", "runs" or "exclusions".
    columns : iterable of str
    units : mapping
        Of columns that are not known beforehand.
    """
    entries: dict[str, dict[str, Any]] = {}
    for column in dict.fromkeys((*IDENTITY, *columns)):
        text = _HERE.get(table, {}).get(column) or _WORDS.get(column)
        text = text or _OTHERS[table].format(column)
        entries[column] = {"Description": text}
        if unit := units.get(column) or _UNITS.get(column):
            entries[column]["Units"] = unit
        if column in _LEVELS:
            entries[column]["Levels"] = _LEVELS[column]
    return entries
