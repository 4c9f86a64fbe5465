"""How often the intervals of runs with ``--uncertainty`` hold the truth of a head phantom.

    python tests/benchmarks/bench_intervals.py TRUTH_DIR OUTPUT_DIR [--participant demo]

``TRUTH_DIR`` as for ``score_head.py``. Voxels: share of those of the brain in the support of the
map whose true value lies within 1.96 standard errors. Regions: those of the tables of the run,
with the true mean over the same voxels; bias as estimated and as it is.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import scipy.ndimage as ndi
from score_head import _one, _true

from qsmbids.core.anatomy.statistics import eroded_regions
from qsmbids.core.inversion.standard_error import HALF_95


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("truth_dir", type=Path)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--participant", default="demo")
    args = parser.parse_args(argv)
    true, brain = (_true(args.truth_dir, args.participant, n) for n in ("chi", "mask"))
    out = args.output_dir / f"sub-{args.participant}"
    chi = _one(out, "*_desc-wholebrain_Chimap.nii.gz")
    error = _one(out, "*_desc-standarderror_Chimap.nii.gz")
    support = error > 0
    true = true - true[support].mean(dtype=float)
    wrong = chi - true - (chi - true)[support].mean(dtype=float)
    inner = ndi.binary_erosion(brain > 0, iterations=3)
    for name, where in (("brain", support & (brain > 0)), ("less 3 voxels", support & inner)):
        held = np.abs(wrong[where]) <= HALF_95 * error[where]
        print(f"voxels, {name:14s} {100 * held.mean():5.1f} % held; median standard error", end="")
        print(f" {1e3 * np.median(error[where]):.1f} ppb, error rms", end="")
        print(f" {1e3 * np.sqrt(np.mean(wrong[where] ** 2)):.1f} ppb")
    held = []
    for path in sorted(out.rglob("*_seg-*_desc-wholebrain_stats.tsv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        name = path.name.replace("_desc-wholebrain_stats.tsv", "_dseg.nii.gz")
        labels = _one(out, name).astype(int)
        index = [int(row["index"]) for row in rows]
        thick = [int(row["index"]) for row in rows if row["eroded"] == "yes"]
        inner_labels = eroded_regions(labels, index, thick).labels
        for row in rows:
            region = (inner_labels == int(row["index"])) & support
            if row["error_low"] == "n/a" or not region.any():
                continue
            mean = float(true[region].mean(dtype=float))
            low, high = float(row["error_low"]), float(row["error_high"])
            held.append(low <= mean <= high)
            off = 1e3 * (float(row["mean"]) - mean)
            print(f"{row['name']:28s} true {mean:+.4f}  {low:+.4f} to {high:+.4f}", end="")
            print(f"  bias {1e3 * float(row['error_bias']):+.1f}, off {off:+.1f} ppb", end="")
            print("" if held[-1] else "  not held")
    if held:
        print(f"regions {100 * np.mean(held):5.1f} % of {len(held)} held")


if __name__ == "__main__":
    main()
