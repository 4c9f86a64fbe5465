"""``qsmbids-demo DEST``: make a small head, process it, and compare with the truth."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from qsmbids.cli.console import end, guarded

__all__ = ["main"]

_PROGRAM = "qsmbids-demo"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the phantom, run the participant level, and say how close the nuclei came."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Write a small multi-echo phantom as BIDS, run qsmbids on it, and compare"
        " the susceptibility of the deep nuclei with the truth.",
    )
    parser.add_argument("dest", type=Path, help="new folder; holds bids/ and derivatives/")
    parser.add_argument("--nprocs", type=int, help="processors (all that are granted)")
    args = parser.parse_args(argv)
    return guarded(
        _PROGRAM, lambda: _demo(args.dest.resolve(), args.nprocs), "the same command starts again"
    )


def _demo(dest: Path, nprocs: int | None) -> int:
    started = time.monotonic()

    from qsmbids.cli.run import main as run
    from qsmbids.io.phantom import write_phantom_dataset
    from qsmbids.io.truth import compare_with_truth

    print(f"writing the phantom to {dest / 'bids'}", file=sys.stderr)
    bids_dir = write_phantom_dataset(dest / "bids")
    out_dir = dest / "derivatives" / "qsmbids"
    options = ["--nprocs", str(nprocs)] if nprocs else []
    work = ["--work-dir", str(dest / "work")]
    # its ellipsoids are not the brain of a template
    work += ["--regions", "none"]
    code = run([str(bids_dir), str(out_dir), "participant", *work, *options])
    if code:
        return code
    chi_file = out_dir / "sub-demo" / "anat" / "sub-demo_desc-wholebrain_Chimap.nii.gz"
    rows, slope = compare_with_truth(bids_dir, chi_file)
    print(f"\n{'structure':<16}{'true ppm':>10}{'found ppm':>11}{'difference':>12}")
    for row in rows:
        print(f"{row.name:<16}{row.true:>+10.3f}{row.value:>+11.3f}{row.value - row.true:>+12.3f}")
    worst = max(abs(row.value - row.true) for row in rows)
    print(f"\nsusceptibility map: {chi_file}")
    return end(
        _PROGRAM,
        f"deep nuclei: found = {slope:.2f} x true, largest difference {worst:.3f} ppm;"
        f" {time.monotonic() - started:.0f} s in all",
        0,
    )


if __name__ == "__main__":
    raise SystemExit(main())
