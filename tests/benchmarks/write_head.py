"""Write the built-in head as a raw BIDS dataset with its truth, for ``score_head.py``.

    python tests/benchmarks/write_head.py DEST [--tesla 3] [--snr 100] [--tilt 0]
    qsmbids DEST OUTPUT_DIR participant
    python tests/benchmarks/score_head.py DEST/derivatives/truth OUTPUT_DIR

It is the head of ``qsmbids-demo``, at the size of a head.
"""

import argparse
from pathlib import Path

from qsmbids.io.phantom import DEFAULT_ECHO_TIMES, write_phantom_dataset


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dest", type=Path)
    parser.add_argument("--participant", default="demo")
    parser.add_argument("--shape", nargs=3, type=int, default=[192, 224, 160])
    parser.add_argument("--voxel", nargs=3, type=float, default=[1.0, 1.0, 1.0], metavar="MM")
    parser.add_argument("--tesla", type=float, default=3.0)
    parser.add_argument("--snr", type=float, default=100.0, help="of grey matter at TE = 0")
    parser.add_argument("--tilt", type=float, default=0.0, metavar="DEGREES")
    parser.add_argument("--echo-times", nargs="+", type=float, default=list(DEFAULT_ECHO_TIMES))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    write_phantom_dataset(
        args.dest,
        subject=args.participant,
        shape=tuple(args.shape),
        voxel_size=tuple(args.voxel),
        b0_tesla=args.tesla,
        noise_std=1.0 / args.snr,
        tilt_degrees=args.tilt,
        echo_times=args.echo_times,
        n_threads=args.threads,
    )


if __name__ == "__main__":
    main()
