"""Compare a run on a head phantom with the truth.

    python tests/benchmarks/score_head.py TRUTH_DIR OUTPUT_DIR [--participant demo]

``TRUTH_DIR`` is ``derivatives/truth`` of the built-in head (``write_head.py``), or holds
``sub-<label>_{chi,localfield,totalfield,mask,dseg}.nii.gz`` (ppm, Hz) and ``dseg.tsv`` with the
columns index, name and chi of another. Only voxels more than 3 voxels inside the true
mask count, where the run has a value or not: coverage stands beside the scores.
"""

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
import scipy.ndimage as ndi

NUCLEI = ("caudate", "pallidum", "putamen", "rednucleus", "dentate", "nigra", "thalamus")
LESIONS = ("vein", "haemorrhage", "calcification")


def _volume(path):
    return np.asarray(nib.load(path).dataobj, dtype=np.float32)


def _one(folder, pattern):
    found = sorted(folder.rglob(pattern))
    if not found:
        raise SystemExit(f"no {pattern} in {folder}")
    return _volume(found[0])


#: How the truth is named: by the built-in head, and by others.
_TRUTH = {
    "chi": ("*_desc-truth_Chimap", "*_chi"),
    "localfield": ("*_desc-local_fieldmap", "*_localfield"),
    "totalfield": ("*_desc-total_fieldmap", "*_totalfield"),
    "mask": ("*_label-brain_desc-truth_mask", "*_mask"),
    "dseg": ("*_desc-truth_dseg", "*_dseg"),
}


def _true(folder, participant, name):
    for pattern in _TRUTH[name]:
        found = sorted(folder.rglob(f"sub-{participant}{pattern}.nii.gz"))
        if found:
            return _volume(found[0])
    raise SystemExit(f"no {name} of sub-{participant} in {folder}")


def _slope(true, found):
    return np.polyfit(true, found, 1)[0]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("truth_dir", type=Path)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--participant", default="demo")
    args = parser.parse_args(argv)
    sub = f"sub-{args.participant}"
    true = {name: _true(args.truth_dir, args.participant, name) for name in _TRUTH}
    table = next(args.truth_dir.rglob("*dseg.tsv")).read_text().splitlines()[1:]
    labels = {row.split("\t")[1]: int(row.split("\t")[0]) for row in table}
    out = args.output_dir / sub
    chi = _one(out, "*_desc-wholebrain_Chimap.nii.gz")
    mask1 = _one(out, "*_desc-mask1_mask.nii.gz") > 0
    mask4 = _one(out, "*_desc-mask4noholes_mask.nii.gz") > 0
    brain = true["mask"] > 0
    inner = ndi.binary_erosion(brain, iterations=3)

    dice = 2 * np.count_nonzero(mask1 & brain) / (mask1.sum() + brain.sum())
    print(f"Mask 1, Dice                      {dice:.3f}")
    error = (_one(out, "*_desc-total_fieldmap.nii.gz") - true["totalfield"])[inner & mask1]
    error = np.abs(error - np.median(error))
    print(f"total field, error rms / 99 %     {np.sqrt(np.mean(error**2)):.2f} / ", end="")
    print(f"{np.percentile(error, 99):.2f} Hz")
    both = mask4 & brain
    local = _one(out, "*_desc-local_fieldmap.nii.gz")
    print(f"local field, slope in Mask 4      {_slope(true['localfield'][both], local[both]):.3f}")
    a, b = (v[inner] - v[inner].mean() for v in (true["chi"], chi))
    nrmse = 100 * np.linalg.norm(b - a) / np.linalg.norm(a)
    print(f"susceptibility, NRMSE             {nrmse:.1f} %")
    print(f"susceptibility, correlation       {np.corrcoef(a, b)[0, 1]:.3f}")
    print(f"coverage                          {100 * np.mean(mask4[inner]):.1f} %")
    depth = ndi.distance_transform_edt(mask4)
    off = chi - true["chi"]
    off = 1e3 * np.abs(off - off[inner].mean())
    rim, core = (off[both & shell].mean() for shell in (depth <= 3, depth > 6))
    print(f"|error|, 3 outer voxels / core    {rim:.1f} / {core:.1f} ppb")
    nuclei, lesions = ([n for n in names if n in labels] for names in (NUCLEI, LESIONS))
    rows = []
    for name in (*nuclei, *lesions):
        region = (true["dseg"] == labels[name]) & mask4
        rows.append([v[region].mean() - v[inner].mean() for v in (true["chi"], chi)])
    values = np.array(rows[: len(nuclei)])
    worst = np.abs(values[:, 1] - values[:, 0]).max()
    print(f"nuclei, slope / largest error     {_slope(*values.T):.3f} / {worst:.4f} ppm\n")
    print(f"{'structure':<16}{'true':>9}{'found':>9}  ppm")
    for name, (t, f) in zip((*nuclei, *lesions), rows, strict=True):
        print(f"{name:<16}{t:>+9.4f}{f:>+9.4f}")
    print("\nstreaks: SD of the error 2-5 and 5-15 voxels outside a lesion [ppb]")
    for name in (n for n in lesions if n != "vein"):
        away = ndi.distance_transform_edt(true["dseg"] != labels[name])
        shells = [inner & (away > low) & (away <= high) for low, high in ((2, 5), (5, 15))]
        near, far = (1e3 * (chi - true["chi"])[shell].std() for shell in shells)
        print(f"{name:<16}{near:>9.2f}{far:>9.2f}")


if __name__ == "__main__":
    main()
