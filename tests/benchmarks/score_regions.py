"""Compare the regions of a run on a head phantom with the truth: what the map and the outline err.

    python tests/benchmarks/score_regions.py TRUTH_DIR OUTPUT_DIR [--participant demo]

Directories as for ``score_head.py``. Of every region [ppb, under the reference of the brain]: the
true mean, what the table of the run is off by, how much of that the map is off within the true
outline, and what the outline adds; then the Dice coefficient of the outlines. White matter and
capsule are labelled in part alone and have none.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from score_head import _one, _true

#: What the truth calls a region, and the template.
REGIONS = {
    "caudate": ("caudate",),
    "putamen": ("putamen",),
    "pallidum": ("pallidum-external", "pallidum-internal"),
    "thalamus": ("thalamus",),
    "rednucleus": ("red-nucleus",),
    "nigra": ("substantia-nigra",),
    "subthalamic": ("subthalamic-nucleus",),
    "dentate": ("dentate-nucleus",),
    "whitematter": ("white-matter",),
}
IN_PART = ("white-matter", "internal-capsule")


def _rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _table_mean(rows, names):
    """Return the mean of both sides, by the voxels that each was measured in."""
    chosen = [r for r in rows if r["name"].rpartition("-")[0] in names and r["mean"] != "n/a"]
    inner = [r["n_eroded"] if r["eroded"] == "yes" else r["n_mask4"] for r in chosen]
    if not chosen:
        return float("nan")
    return 1e3 * float(np.average([float(r["mean"]) for r in chosen], weights=np.float64(inner)))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("truth_dir", type=Path)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--participant", default="demo")
    args = parser.parse_args(argv)
    out = args.output_dir / f"sub-{args.participant}"
    truth, where = (_true(args.truth_dir, args.participant, n) for n in ("chi", "dseg"))
    known = {r["name"]: int(r["index"]) for r in _rows(next(args.truth_dir.rglob("*dseg.tsv")))}
    table = _rows(next(out.rglob("*seg-template_desc-wholebrain_stats.tsv")))
    index = {r["name"]: int(r["index"]) for r in table}
    labels = _one(out, "*seg-template_dseg.nii.gz")
    mask4 = _one(out, "*_desc-mask4noholes_mask.nii.gz") > 0
    chi, truth = (
        1e3 * (v - v[mask4].mean()) for v in (_one(out, "*wholebrain_Chimap.nii.gz"), truth)
    )
    print(f"{'region':<14}{'true':>8}{'table':>8}{'map':>8}{'outline':>9}{'Dice':>7}")
    wanted = {**REGIONS, "internalcapsule": ("internal-capsule",)}
    for name, names in wanted.items():
        outline = np.isin(labels, [i for n, i in index.items() if n.rpartition("-")[0] in names])
        # the truth of a head has no capsule of its own: its white matter
        region = where == known.get("whitematter" if name == "internalcapsule" else name, -1)
        if name == "internalcapsule":
            region &= outline
        if not (region & mask4).any() or not outline.any():
            continue
        mean = float(truth[region].mean())
        error = _table_mean(table, names) - mean
        of_map = float(chi[region & mask4].mean()) - mean
        dice = 2 * np.count_nonzero(region & outline) / (region.sum() + outline.sum())
        same = "" if names[0] in IN_PART else f"{dice:>7.2f}"
        print(f"{name:<14}{mean:>8.1f}{error:>+8.1f}{of_map:>+8.1f}{error - of_map:>+9.1f}{same}")


if __name__ == "__main__":
    main()
