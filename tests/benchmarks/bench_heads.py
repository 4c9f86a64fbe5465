"""Chains from the total field to the map over many heads: scores, and what a protocol changes.

    python tests/benchmarks/bench_heads.py BIDS_DIR:OUTPUT_DIR [...] [--backgrounds vsharp,lbv]
        [--inversions fansi-joint,huber] [--save rows.json] [--protocols protocols.tsv]

Each pair is a head phantom with its truth, and a finished run on it (output level ``standard``)
whose total field, masks and weights are taken: raw BIDS in, whatever its inversion was. Voxels
that are whole turns off have no weight, as in a run.

NRMSE of the core, the true brain less three voxels, and of the whole of it; a voxel without a
value counts as 0. Nuclei are means over the voxels of the truth that have a value, relative to the
mean of those. Seconds are those of the processor, removal and inversion. ``--save`` keeps the rows
and goes on where they end. ``--own NAME`` scores the map of the run itself, under this name, with
the seconds that its inversion took: once for all runs with the same settings.

``--protocols`` names a table (head, and any factors: tesla, tilt, snr, readout, echoes): the
spread of each nucleus over the heads, which are scans of one, and how much of it each factor
accounts for in a least-squares fit of main effects.
"""

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np
import scipy.ndimage as ndi
from bench_methods import BACKGROUNDS, INVERSIONS, NUCLEI, read_head
from score_head import _one, _true

from qsmbids.core.background.lbv import lbv
from qsmbids.core.background.pdf import pdf
from qsmbids.core.masks.masking import mask_with_holes
from qsmbids.core.masks.wrong_turns import find_wrong_turns
from qsmbids.core.quality.xsim import xsim


def _then_pdf(scan, n):
    local, mask = BACKGROUNDS["vsharp"](scan, n)
    found = pdf(local, mask, scan.voxel, scan.b0, weights=scan.weights, n_threads=n)
    return found.local_field, mask


def _unpeeled(scan, _):
    found = lbv(scan.field, scan.mask, scan.voxel, peel=0)
    return found.local_field, found.mask


REMOVALS = {
    "vsharp": BACKGROUNDS["vsharp"],
    "vsharp-pdf": _then_pdf,
    "pdf": BACKGROUNDS["pdf"],
    "lbv": BACKGROUNDS["lbv"],
    "lbv-peel-0": _unpeeled,
    "true": BACKGROUNDS["true"],
}
COLUMNS = ("core", "whole", "xsim", "slope", "nuclei", "worst", "coverage", "seconds")
TITLES = (
    "NRMSE core %",
    "whole %",
    "XSIM",
    "slope",
    "nuclei slope",
    "worst ppb",
    "coverage %",
    "s",
)
FORMATS = ("{:.1f}", "{:.1f}", "{:.3f}", "{:.3f}", "{:.3f}", "{:.0f}", "{:.1f}", "{:.0f}")


def read_pair(pair, participant):
    """Return a head as ``bench_methods`` has it, its Mask 2, and its name."""
    bids, out = (Path(part) for part in pair.split(":"))
    scan = read_head(bids, out, participant)
    reliable = _one(out / f"sub-{participant}", "*_desc-mask2_mask.nii.gz") > 0
    truth = bids / "derivatives" / "truth"
    table = (row.split("\t") for row in next(truth.rglob("*dseg.tsv")).read_text().splitlines())
    labels = _true(truth, participant, "dseg")
    names = (*NUCLEI, "subthalamic")
    scan.regions = {n: labels == int(i) for i, n, *_ in list(table)[1:] if n in names}
    scan.regions = {n: where for n, where in scan.regions.items() if where.any()}
    return scan, reliable, bids.name


def read_own(out, participant):
    """Return the map of a run and the processor seconds of its inversion."""
    chi = _one(out / f"sub-{participant}", "*_desc-wholebrain_Chimap.nii.gz")
    runs = json.loads((out / "logs" / "summary.json").read_text())["runs"]
    steps = next(r["steps"] for r in runs if r["run"].startswith(f"sub-{participant}"))
    took = [s["cpu_seconds"] for s in steps if s["step"].startswith("invert_")]
    return chi, sum(took) if took else float("nan")


def measured(scan, chi, support):
    """Return the scores of a map, and its nuclei beside the true ones [ppb]."""
    found = np.where(support, chi - chi[support].mean(dtype=float), 0)
    known = support & scan.brain
    row = {"coverage": 100 * float(known[scan.brain].mean())}
    for name, where in (
        ("core", ndi.binary_erosion(scan.brain, iterations=3)), ("whole", scan.brain),
    ):  # fmt: skip
        a, b = (v[where] - v[where].mean(dtype=float) for v in (scan.chi, found))
        row[name] = 100 * float(np.linalg.norm(b - a) / np.linalg.norm(a))
        if name == "core":
            row["slope"] = float(np.polyfit(a, b, 1)[0])
            maps = [np.where(where, v - v[where].mean(dtype=float), 0) for v in (found, scan.chi)]
            row["xsim"] = xsim(*maps, where)
    means = [
        [float(v[known & where].mean(dtype=float) - v[known].mean(dtype=float)) for where in
         scan.regions.values() if (known & where).any()] for v in (scan.chi, found)
    ]  # fmt: skip
    true, here = np.array(means)
    row["nuclei"] = float(np.polyfit(true, here, 1)[0])
    row["worst"] = 1e3 * float(np.abs(here - true).max())
    kept = [n for n, where in scan.regions.items() if (known & where).any()]
    row["means"] = dict(zip(kept, (1e3 * here).tolist(), strict=True))
    row["true"] = dict(zip(kept, (1e3 * true).tolist(), strict=True))
    return row


def rows_of(pair, args, known):
    """Yield the rows of a head that are not known yet."""
    wanted = [(b, i) for b in args.backgrounds.split(",") for i in args.inversions.split(",")]
    if args.own:
        wanted = [("run", args.own)]
    name = Path(pair.split(":")[0]).name
    wanted = [w for w in wanted if (name, *w) not in known]
    if not wanted:
        return
    scan, reliable, name = read_pair(pair, args.participant)
    if args.own:
        row = {"head": name, "background": "run", "inversion": args.own}
        chi, seconds = read_own(Path(pair.split(":")[1]), args.participant)
        yield {**row, **measured(scan, chi, chi != 0), "seconds": seconds}
        return
    weights = scan.weights
    for background in dict.fromkeys(b for b, _ in wanted):
        began = time.process_time()
        local, mask = REMOVALS[background](scan, args.threads)
        removal = time.process_time() - began
        off = find_wrong_turns(local, mask, mask_with_holes(mask, reliable), weights, scan.times)
        scan.weights = np.where(off, np.float32(0), weights)
        for inversion in [i for b, i in wanted if b == background]:
            began = time.process_time()
            chi, support = INVERSIONS[inversion](scan, local, mask, args.threads)
            seconds = removal + time.process_time() - began
            row = {"head": name, "background": background, "inversion": inversion}
            yield {**row, **measured(scan, chi, support & mask), "seconds": seconds}
        scan.weights = weights


def table(rows):
    """Print every row, and the means over heads of every chain that all heads have."""
    print("| head | background | inversion | " + " | ".join(TITLES) + " |")
    print("|---|---|---|" + "--:|" * len(TITLES))
    for row in rows:
        _line(row["head"], row["background"], row["inversion"], [row[c] for c in COLUMNS])
    heads = dict.fromkeys(r["head"] for r in rows)
    for chain in dict.fromkeys((r["background"], r["inversion"]) for r in rows):
        some = [r for r in rows if (r["background"], r["inversion"]) == chain]
        if len(some) == len(heads) > 1:
            _line(f"mean of {len(some)}", *chain, [np.mean([r[c] for r in some]) for c in COLUMNS])


def _line(head, background, inversion, values):
    cells = [f.format(v) for f, v in zip(FORMATS, values, strict=True)]
    print("| " + " | ".join([head, background, inversion, *cells]) + " |")


def protocols(rows, path):
    """Print the spread of nuclei over protocols, and what of it the factors account for."""
    with path.open(newline="") as file:
        plan = {row.pop("head"): row for row in csv.DictReader(file, delimiter="\t")}
    for chain in dict.fromkeys((r["background"], r["inversion"]) for r in rows):
        some = [
            r for r in rows if (r["background"], r["inversion"]) == chain and r["head"] in plan
        ]
        if len(some) < 3:
            continue
        factors = list(plan[some[0]["head"]])
        design, owner = _design([plan[r["head"]] for r in some], factors)
        print(
            f"\n{', '.join(chain)}, {len(some)} protocols; SD in ppb, largest effect of a factor\n"
        )
        print("| nucleus | true | mean | SD | of error | left | " + " | ".join(factors) + " |")
        print("|---|--:|--:|--:|--:|--:|" + "--:|" * len(factors))
        for nucleus in some[0]["means"]:
            values = np.array([r["means"][nucleus] for r in some])
            true = np.array([r["true"][nucleus] for r in some])
            fit, *_ = np.linalg.lstsq(design, values - true, rcond=None)
            left = (values - true) - design @ fit
            free = len(values) - np.linalg.matrix_rank(design)
            spread = np.sqrt((left**2).sum() / free) if free > 0 else np.nan
            effects = []
            for factor in factors:
                # levels of a factor against its first one, whose effect is 0
                of = [0.0, *(f for f, o in zip(fit, owner, strict=True) if o == factor)]
                effects.append(f"{max(of) - min(of):.1f}")
            print(
                f"| {nucleus} | {true.mean():.0f} | {values.mean():.0f} |"
                f" {values.std(ddof=1):.1f} |"
                f" {(values - true).std(ddof=1):.1f} | {spread:.1f} | "
                + " | ".join(effects)
                + " |"
            )


def _design(plan, factors):
    """Return the matrix of main effects, levels as they come, and the factor of each column."""
    columns, owner = [np.ones(len(plan))], [""]
    for factor in factors:
        levels = list(dict.fromkeys(row[factor] for row in plan))
        for level in levels[1:]:
            columns.append(np.array([float(row[factor] == level) for row in plan]))
            owner.append(factor)
    return np.stack(columns, axis=1), owner


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="*", metavar="BIDS_DIR:OUTPUT_DIR")
    parser.add_argument("--participant", default="phantom")
    parser.add_argument("--backgrounds", default="vsharp")
    parser.add_argument("--inversions", default="fansi-joint,fansi-adaptive,huber")
    parser.add_argument("--own", help="score the maps of the runs, under this name")
    parser.add_argument("--save", type=Path, help="JSON of the rows")
    parser.add_argument("--protocols", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    rows = json.loads(args.save.read_text()) if args.save and args.save.exists() else []
    known = {(r["head"], r["background"], r["inversion"]) for r in rows}
    for pair in args.pairs:
        for row in rows_of(pair, args, known):
            rows.append(row)
            print(*row.values(), sep=" ", flush=True)
            if args.save:
                args.save.write_text(json.dumps(rows))
    table(rows)
    if args.protocols:
        protocols(rows, args.protocols)


if __name__ == "__main__":
    main()
