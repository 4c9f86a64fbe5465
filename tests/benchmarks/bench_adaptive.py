"""The penalty that FANSI takes from the noise against the best one that the truth can tell.

    python tests/benchmarks/bench_adaptive.py head BIDS_DIR OUTPUT_DIR
    python tests/benchmarks/bench_adaptive.py challenge [--size 96] [--tesla 3,7] [--snr 100,50,20]

The inversion of the default chain is run with the penalty of the paper, with that of the rule, and
with those of a ladder of factors 2 around it (in the challenge then of sqrt(2)), down to the
best. Scores are those of ``bench_methods.py``; NRMSE over the best of all is
what the rule costs. ``challenge`` is anatomy, texture and noise that the constant of the rule was
not fitted to.
"""

import argparse
from pathlib import Path

import numpy as np
from bench_methods import BACKGROUNDS, make_challenge, read_head, score

from qsmbids.core.inversion.adaptive_weight import CONSISTENCY_LIMIT, FIRST, adaptive_weight
from qsmbids.core.inversion.fansi import fansi


class Ladder:
    """Inversions of one local field, each penalty once."""

    def __init__(self, scan, local, mask, threads):
        weights = np.where(mask, scan.weights, np.float32(0))
        self._data = (local, mask, weights, scan.voxel, scan.b0)
        self._chosen = {
            "centre_frequency": scan.frequency,
            "echo_time": scan.times[-1],
            "n_threads": threads,
        }
        self._scan, self._mask = scan, mask
        self._known = {}

    def rule(self):
        return adaptive_weight(*self._data, **self._chosen)

    def nrmse(self, alpha1):
        """Return NRMSE [%] with this penalty."""
        key = round(float(np.log2(alpha1)), 4)
        if key not in self._known:
            found = fansi(
                *self._data,
                **self._chosen,
                gradient_l1_penalty=alpha1,
                gradient_consistency=mu1(alpha1),
            )
            self._known[key] = score(self._scan, found.chi, self._mask)[1]
        return self._known[key]

    def best(self, start, factors):
        """Walk down the ladder from ``start`` by each factor; return penalty and NRMSE [%]."""
        alpha1 = start
        for factor in factors:
            improved = True
            while improved:
                improved = False
                for candidate in (alpha1 * factor, alpha1 / factor):
                    if self.nrmse(candidate) < self.nrmse(alpha1):
                        alpha1, improved = candidate, True
                        break
        return alpha1, self.nrmse(alpha1)


def mu1(alpha1):
    return min(100.0 * alpha1, CONSISTENCY_LIMIT)


def row(name, scan, local, mask, threads, factors):
    ladder = Ladder(scan, local, mask, threads)
    paper = ladder.nrmse(FIRST)
    found = ladder.rule()
    ours = ladder.nrmse(found.gradient_l1_penalty)
    alpha1, best = ladder.best(found.gradient_l1_penalty, factors)
    if paper < best:
        alpha1, best = FIRST, paper
    print(
        f"| {name} | {paper:.1f} | {ours:.1f} | {best:.1f} | {100 * (ours / best - 1):+.1f} "
        f"| {found.gradient_l1_penalty:.1e} | {alpha1:.1e} |",
        flush=True,
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    head = kinds.add_parser("head")
    head.add_argument("bids_dir", type=Path)
    head.add_argument("output_dir", type=Path)
    head.add_argument("--participant", default="phantom")
    challenge = kinds.add_parser("challenge")
    challenge.add_argument("--size", type=int, default=96, help="voxels along each axis")
    challenge.add_argument("--tesla", default="3,7")
    challenge.add_argument("--snr", default="100,50,20")
    for kind in (head, challenge):
        kind.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    print("| data | paper % | rule % | best % | rule over best % | alpha1 rule | alpha1 best |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    if args.kind == "head":
        scan = read_head(args.bids_dir, args.output_dir, args.participant)
        local, mask = BACKGROUNDS["vsharp"](scan, args.threads)
        row(args.bids_dir.name, scan, local, mask, args.threads, (2.0,))
        return
    for tesla in map(float, args.tesla.split(",")):
        for snr in map(float, args.snr.split(",")):
            scan = make_challenge((args.size,) * 3, snr=snr, tesla=tesla)
            row(
                f"{tesla:g} T, SNR {snr:g}",
                scan,
                scan.field,
                scan.mask,
                args.threads,
                (2.0, np.sqrt(2.0)),
            )


if __name__ == "__main__":
    main()
