"""How often the intervals of runs with ``--uncertainty`` hold the truth of a head phantom.

    python tests/benchmarks/bench_intervals.py run TRUTH_DIR OUTPUT_DIR [--participant demo]
    python tests/benchmarks/bench_intervals.py campaign TRUTH_DIR [TRUTH_DIR ...] [--number 40]

``TRUTH_DIR`` as for ``score_head.py``. Voxels: share of those of the brain in the support of the
map whose true value lies within 1.96 standard errors. Regions: those of the tables of a run, and
in a campaign the tissues of the truth, with the true mean over the same voxels; bias as estimated
and as it is.

``campaign`` deforms the truth anew for each realisation (``warped_heads.py``) and inverts the
local field of V-SHARP, which is given, too, so that what it took is put back as in a run: clean,
noisy and with model error in turn, no pipeline; with ``--images`` also a magnitude and R2*, whose
edges are used as in a run. ``--save`` keeps what a calibration needs; an interrupted campaign goes
on from there.
"""

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np
import scipy.ndimage as ndi
from score_head import _one, _true
from warped_heads import B0, ECHOES, KINDS, read_truth, warped_head

from qsmbids.core.anatomy.statistics import eroded_regions
from qsmbids.core.inversion.adaptive_inversion import adaptive_inversion
from qsmbids.core.inversion.error_of_means import ErrorOfMeans
from qsmbids.core.inversion.image_edges import even_out
from qsmbids.core.inversion.standard_error import HALF_95, standard_error
from qsmbids.methods.background.vsharp import METHOD as VSHARP
from qsmbids.methods.background.vsharp import Vsharp

#: Labels that are no tissue: fluid, veins and lesions, by their names.
NOT_TISSUE = ("csf", "vein", "haemorrhage", "calcification", "air", "bone", "skull", "scalp",
              "muscle", "fat", "eye")  # fmt: skip
LEAST_VOXELS = 15
#: V-SHARP as the preset has it: what it takes is put back by the inversion.
LEFT_OUT = Vsharp(put_back=False)
#: Standard errors at which coverage is kept, over those of the twins.
FACTORS = np.round(np.arange(0.8, 2.61, 0.1), 1).tolist()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    run = kinds.add_parser("run")
    run.add_argument("truth_dir", type=Path)
    run.add_argument("output_dir", type=Path)
    campaign = kinds.add_parser("campaign")
    campaign.add_argument("truth_dirs", type=Path, nargs="+")
    campaign.add_argument("--number", type=int, default=40, help="realisations")
    campaign.add_argument("--voxel", type=float, default=2.5, help="[mm]")
    campaign.add_argument("--images", action="store_true", help="give the inversion images, too")
    campaign.add_argument("--save", type=Path, help="JSON of every realisation")
    campaign.add_argument("--threads", type=int, default=1)
    for kind in (run, campaign):
        kind.add_argument("--participant", default="demo")
    args = parser.parse_args(argv)
    if args.kind == "run":
        of_run(args.truth_dir, args.output_dir, args.participant)
        return
    done = json.loads(args.save.read_text()) if args.save and args.save.exists() else []
    for number in range(len(done), args.number):
        done.append(realisation(args, number))
        if args.save:
            args.save.write_text(json.dumps(done))
    summary(done)


def realisation(args, number):
    """Return what the intervals of one realisation hold, printed."""
    folder = args.truth_dirs[number % len(args.truth_dirs)]
    name = list(KINDS)[number % len(KINDS)]
    table = next(folder.rglob("*dseg.tsv")).read_text().splitlines()[1:]
    labels = {row.split("\t")[1]: int(row.split("\t")[0]) for row in table}
    kind = KINDS[name]
    head = warped_head(read_truth(folder, args.participant), kind, 1000 + number, args.voxel)
    began = time.process_time()
    result = adaptive_inversion(
        head.local, head.support, head.weights, head.voxel, B0,
        centre_frequency=head.frequency, echo_time=ECHOES[-1], n_threads=args.threads,
        removal=VSHARP.again(LEFT_OUT, head.support, head.voxel, args.threads),
        images=[even_out(head.magnitude, head.support, head.voxel), head.r2star]
        if args.images
        else [],
    )  # fmt: skip
    inverted = time.process_time()
    sure = standard_error(result, head.voxel)
    took = inverted - began, time.process_time() - inverted
    support = head.support
    wrong = result.chi - head.chi
    wrong -= wrong[support].mean(dtype=float)
    tissues = {n: k for n, k in labels.items() if n not in NOT_TISSUE}
    where = support & head.brain & np.isin(head.labels, list(tissues.values()))
    ratio = np.abs(wrong[where]) / np.maximum(sure.total_ppm[where] / sure.factor, 1e-9)
    regions = {}
    errors = ErrorOfMeans(sure.errors, sure.factor, head.voxel)
    for tissue, label in tissues.items():
        region = support & (head.labels == label)
        if np.count_nonzero(region) < LEAST_VOXELS:
            continue
        means = [float(w[region].mean(dtype=float)) for w in sure.errors]
        error, bias = errors.of(region)
        regions[tissue] = {
            "off": float(wrong[region].mean(dtype=float)), "error": error, "bias": bias,
            "twins": means,
        }  # fmt: skip
    found = {
        "kind": name,
        "head": folder.parents[1].name,
        "held": float(np.mean(ratio <= HALF_95 * sure.factor)),
        "factor": sure.factor,
        "held_by_factor": [float(np.mean(ratio <= HALF_95 * f)) for f in FACTORS],
        "brain": float(np.mean((np.abs(wrong) <= HALF_95 * sure.total_ppm)[support & head.brain])),
        "error_ppb": 1e3 * float(np.median(sure.total_ppm[where])),
        "chance_ppb": 1e3 * float(np.median(sure.chance_ppm[where])),
        "rms_ppb": 1e3 * float(np.sqrt(np.mean(wrong[where] ** 2))),
        "seconds": took,
        "edge_shares": list(result.edge_shares),
        "regions": regions,
    }
    n_held = sum(_held(r) for r in regions.values())
    print(
        f"{number:3d} {name:12s} voxels {100 * found['held']:5.1f} %, median standard error"
        f" {found['error_ppb']:4.1f} ppb, error rms {found['rms_ppb']:4.1f} ppb, means {n_held} of"
        f" {len(regions)}, inversion {took[0]:.0f} s, twins {took[1]:.0f} s",
        flush=True,
    )
    return found


def _held(region):
    return abs(region["off"] - region["bias"]) <= HALF_95 * region["error"]


def summary(done):
    """Print coverage and bias of a campaign as tables."""
    print("\n| kind | realisations | voxels held % (least, most) | means held % | of |"
          " off, rms ppb | less bias | as stated | chance | twins over inversion |")  # fmt: skip
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name in (*KINDS, "all"):
        some = [one for one in done if name in (one["kind"], "all")]
        if not some:
            continue
        held = [100 * one["held"] for one in some]
        means = [r for one in some for r in one["regions"].values()]
        share = np.mean([_held(r) for r in means])
        spread = np.sqrt(share * (1 - share) / len(means))
        off = np.sqrt(np.mean([r["off"] ** 2 for r in means]))
        left = np.sqrt(np.mean([(r["off"] - r["bias"]) ** 2 for r in means]))
        stated = np.sqrt(np.mean([r["error"] ** 2 for r in means]))
        chance = np.sqrt(np.mean([np.var(r["twins"], ddof=1) for r in means]))
        times = np.sum([one["seconds"] for one in some], axis=0)
        print(
            f"| {name} | {len(some)} | {np.mean(held):.1f} ({min(held):.1f}, {max(held):.1f}) |"
            f" {100 * share:.1f} ± {100 * spread:.1f} | {len(means)} | {1e3 * off:.1f} |"
            f" {1e3 * left:.1f} | {1e3 * stated:.1f} | {1e3 * chance:.1f} |"
            f" {times[1] / times[0]:.1f} |"
        )
    print("\n| region | mean off ppb | SD | bias of twins ppb | held |\n|---|--:|--:|--:|--:|")
    for tissue in dict.fromkeys(t for one in done for t in one["regions"]):
        some = [one["regions"][tissue] for one in done if tissue in one["regions"]]
        off = 1e3 * np.array([r["off"] for r in some])
        bias = 1e3 * np.mean([r["bias"] for r in some])
        held = sum(_held(r) for r in some)
        print(f"| {tissue} | {off.mean():+.1f} | {off.std(ddof=min(1, len(off) - 1)):.1f} |"
              f" {bias:+.1f} | {held} of {len(some)} |")  # fmt: skip


def of_run(truth_dir, output_dir, participant):
    """Print what the intervals of a run hold."""
    true, brain = (_true(truth_dir, participant, n) for n in ("chi", "mask"))
    out = output_dir / f"sub-{participant}"
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
