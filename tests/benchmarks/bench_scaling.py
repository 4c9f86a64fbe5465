"""How wall time and memory of a whole run grow with the number of voxels.

    python tests/benchmarks/bench_scaling.py [VOXEL_MM ...] [--keep FOLDER]

The demo head fills a field of view of 192 x 240 x 168 mm at each voxel size (2, 1.5, 1, 0.75 and
0.6 mm by default), five echoes, 3 T; each is run as ``bench_run.py`` does it.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from qsmbids.io.phantom import write_phantom_dataset

FIELD_OF_VIEW_MM = (192, 240, 168)
RUN = Path(__file__).with_name("bench_run.py")


def measure(voxel_mm, folder):
    """Return the matrix, wall time [s] and peak memory [GB] of one run."""
    shape = tuple(2 * round(length / voxel_mm / 2) for length in FIELD_OF_VIEW_MM)
    write_phantom_dataset(
        folder / "bids", shape=shape, voxel_size=(voxel_mm,) * 3, truth=False, n_threads=2
    )
    words = [folder / "bids", folder / "out", "participant", "-w", folder / "work"]
    done = subprocess.run(
        [sys.executable, RUN, *words, "--skip-bids-validation"], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
    numbers = re.search(r"wall ([\d.]+) s, .*peak ([\d.]+) GB", done.stdout)
    return shape, *map(float, numbers.groups())


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("voxel_mm", nargs="*", type=float, default=[2, 1.5, 1, 0.75, 0.6])
    parser.add_argument("--keep", type=Path, help="keep data, outputs and work directories here")
    args = parser.parse_args(argv)
    print("| voxel mm | matrix | million voxels | wall s | peak GB | bytes a voxel |")
    print("|--:|---|--:|--:|--:|--:|")
    for voxel_mm in args.voxel_mm:
        folder = args.keep / f"{voxel_mm:g}" if args.keep else Path(tempfile.mkdtemp())
        shape, wall, peak = measure(voxel_mm, folder)
        if not args.keep:
            shutil.rmtree(folder)
        voxels = shape[0] * shape[1] * shape[2]
        matrix = " x ".join(map(str, shape))
        print(
            f"| {voxel_mm:g} | {matrix} | {voxels / 1e6:.1f} | {wall:.0f} "
            f"| {peak:.2f} | {1e9 * peak / voxels:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
