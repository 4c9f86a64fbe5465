"""How far the brain mask alone, and another inversion, move the maps of a preset.

    python tests/benchmarks/measure_comparison_limits.py FOLDER [--preset sepia-fansi]
        [--inversion medi]

The numbers behind ``qsmbids.reports.comparison.limits``. The simulated head (1 mm, 3 T) is
processed with the masks of BET, the true one, and that less one and two voxels and more by one,
and every map is compared with every other inside the mask that both share; then, with the mask of
BET, by other inversions. Some minutes for each run; FOLDER keeps what is finished.
"""

import argparse
import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import scipy.ndimage as ndi

from qsmbids.cli.run import main as qsmbids
from qsmbids.core.quality.agreement import agreement
from qsmbids.core.quality.xsim import xsim
from qsmbids.io.nifti import read_volume
from qsmbids.io.phantom import write_phantom_dataset
from qsmbids.reports.run.record import find_results, read_run

BALL = ndi.generate_binary_structure(3, 1)
TRUTH = "derivatives/truth/sub-demo/anat/sub-demo_"
NUCLEI = range(4, 10)
HZ_PER_PPM = 127.7


def process(folder, name, options):
    """Return the finished run of this name, made if it is not there."""
    out = folder / name
    if not find_results(out):
        arguments = [folder / "bids", out, "participant", "-w", folder / "work", *options]
        code = qsmbids([str(a) for a in (*arguments, "--skip-bids-validation")])
        if code:
            raise SystemExit(code)
    return read_run(out, find_results(out)[0])


def compare(name, found, reference, labels):
    """Print how the maps of one run agree with those of another."""
    print(name)
    for key, mask_key in (("local_field", "mask4"), ("chi", "mask4noholes")):
        a, b = (read_volume(run.images[key]).array for run in (found, reference))
        masks = [read_volume(run.images[mask_key]).array > 0 for run in (found, reference)]
        common = masks[0] & masks[1]
        scale = HZ_PER_PPM
        if key == "chi":
            a, b, scale = a - a[common].mean(), b - b[common].mean(), 1.0
        n = agreement(a, b, common)
        dice = 2 * common.sum() / (masks[0].sum() + masks[1].sum())
        print(
            f"  {key:<12} slope {n.slope:.3f}  r {n.correlation:.4f}  NRMSE {100 * n.nrmse:.1f} %"
            f"  XSIM {xsim(a / scale, b / scale, common):.3f}  Dice {dice:.3f}"
        )
    regions = [common & (labels == label) for label in NUCLEI]
    print(f"  nuclei       up to {max(abs((a - b)[r].mean()) for r in regions):.4f} ppm apart")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="sepia-fansi")
    parser.add_argument("--inversion", help="in place of that of the preset")
    args = parser.parse_args()
    folder = args.folder.resolve()
    bids = write_phantom_dataset(folder / "bids")
    image = nib.load(bids / f"{TRUTH}label-brain_desc-truth_mask.nii.gz")
    labels = read_volume(bids / f"{TRUTH}desc-truth_dseg.nii.gz", np.int32).array
    true = np.asarray(image.dataobj) > 0
    masks = {
        "true": true,
        "less 1": ndi.binary_erosion(true, BALL),
        "less 2": ndi.binary_erosion(true, BALL, 2),
        "more 1": ndi.binary_dilation(true, BALL),
    }
    same = ["--preset", args.preset]
    same += ["--inversion", args.inversion] if args.inversion else []
    stem = "-".join(same[1::2])
    runs = {"BET": process(folder, f"{stem}-bet", same)}
    for name, mask in masks.items():
        path = folder / f"{name.replace(' ', '')}.nii.gz"
        nib.Nifti1Image(mask.astype(np.uint8), image.affine).to_filename(path)
        runs[name] = process(folder, f"{stem}-{path.name[:-7]}", [*same, "--mask", path])
    for one, other in itertools.permutations(runs, 2):
        compare(f"mask {one}, on mask {other}", runs[one], runs[other], labels)
    for inversion in ("tkd", "l2", "medi"):
        if inversion != args.inversion:
            options = ["--preset", args.preset, "--inversion", inversion]
            run = process(folder, f"{args.preset}-other-{inversion}", options)
            compare(f"{inversion}, on {stem}", run, runs["BET"], labels)


if __name__ == "__main__":
    main()
