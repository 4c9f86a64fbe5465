"""The lesions of all runs in one table, with whose they are."""

import pandas as pd

from qsmbids.reports.group.people import age_and_sex
from qsmbids.reports.group.runs import Group

__all__ = ["LESION_COLUMNS", "collect_lesions"]

#: What the table of a lesion tells, after whose it is.
LESION_COLUMNS = (
    "age", "sex", "reference", "lesion", "index", "n_voxels", "volume_mm3", "n_mask4", "mean",
    "std", "median", "rim_mean", "core_mean", "rim_minus_core", "surroundings_mean",
    "paramagnetic_share", "diamagnetic_share",
)  # fmt: skip


def collect_lesions(group: Group) -> pd.DataFrame:
    """Return every lesion of every run under every reference.

    Returns
    -------
    DataFrame
        The cells as the tables of the runs have them, with ``age`` and ``sex`` as
        ``participants.tsv`` states them; the label of the run is the index.
    """
    rows, labels = [], []
    for run, stated in zip(group.runs, age_and_sex(group), strict=True):
        for cells in run.lesions:
            rows.append({**cells, **stated, "lesion": cells.get("name", "")})
            labels.append(run.label)
    table = pd.DataFrame(rows, index=pd.Index(labels, dtype=object), dtype=object)
    return table.reindex(columns=list(LESION_COLUMNS))
