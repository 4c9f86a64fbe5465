"""Inversions and intervals on local fields of real heads whose susceptibility COSMOS tells.

    python tests/benchmarks/bench_real_tissue.py HEAD_DIR_OR_PATCHES ...

``HEAD_DIR`` holds ``phs_tissue``, ``chi_cosmos``, ``msk`` and ``scoremask`` (``.nii.gz``, ppm,
1 mm, B0 along the third axis). ``PATCHES`` is how the names of overlapping patches begin
(``PATCHES-1.mat``, ``PATCHES-2.mat`` ... with ``phs``, ``susc`` and ``msk`` of 64 x 64 x 64
voxels), as networks are trained on: they are put together where they overlap to the bit, and
scored 12 voxels and more from where they end.

There is no magnitude: weights are 1 in the mask, MEDI has no edges, images tell ``adaptive``
nothing. Means over the scored voxels are removed. Nuclei are connected parts of at least 300
voxels above 0.05 ppm after smoothing, 12 voxels and more from the rim.
"""

import argparse
import re
import time
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import scipy.io
import scipy.ndimage as ndi

from qsmbids.core.inversion.adaptive_inversion import adaptive_inversion
from qsmbids.core.inversion.adaptive_weight import adaptive_weight
from qsmbids.core.inversion.error_of_means import ErrorOfMeans
from qsmbids.core.inversion.fansi import fansi
from qsmbids.core.inversion.medi import medi
from qsmbids.core.inversion.standard_error import HALF_95, standard_error
from qsmbids.core.quality.xsim import xsim
from qsmbids.units import larmor_frequency

VOXEL, B0 = (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)
FREQUENCY, ECHO_TIME = larmor_frequency(3.0), 0.025
MARGIN, PATCH = 12, 64
#: Points of a patch that are looked for in others, and in how many of these.
TRIED, NEXT = 50, 14


@dataclass
class Head:
    """Local field [ppm], susceptibility [ppm], the brain, and where it is scored."""

    name: str
    field: np.ndarray
    chi: np.ndarray
    mask: np.ndarray
    scored: np.ndarray

    def data(self):
        hz = self.field * np.float32(1e-6 * FREQUENCY) * self.mask
        return hz, self.mask, self.mask.astype(np.float32), VOXEL, B0

    def nuclei(self):
        smooth = ndi.gaussian_filter(np.where(self.mask, self.chi, 0), 1.0) > 0.05
        deep = ndi.binary_erosion(self.mask, iterations=MARGIN) & self.scored
        labels, _ = ndi.label(smooth & deep)
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        return [labels == k for k in np.flatnonzero(sizes >= 300)]


def read(folder):
    """Return a head that is a volume already."""

    def one(name):
        return np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, dtype=np.float32)

    return Head(folder.name, one("phs_tissue"), one("chi_cosmos"), one("msk") > 0,
                one("scoremask") > 0)  # fmt: skip


def put_together(prefix):
    """Return a head from the patches that overlap, one by one, with the first."""
    found = {}
    for path in prefix.parent.glob(f"{prefix.name}-*.mat"):
        number = re.fullmatch(r"\d+", path.stem.removeprefix(f"{prefix.name}-"))
        if number:
            found[int(number[0])] = scipy.io.loadmat(path)
    if not found:
        raise SystemExit(f"no patches {prefix}-*.mat")
    numbers = sorted(found)
    places = {numbers[0]: np.zeros(3, dtype=int)}
    before = 0
    while before < len(places):  # one may overlap with those alone that come after it
        before = len(places)
        for number in [n for n in numbers if n not in places]:
            for other in sorted(places, key=lambda n: abs(n - number))[:NEXT]:
                step = _step(found[other]["susc"], found[number]["susc"])
                if step is not None:
                    places[number] = places[other] + step
                    break
    low = np.min(list(places.values()), axis=0)
    shape = np.max(list(places.values()), axis=0) + PATCH - low
    volumes = {name: np.zeros(shape, dtype=np.float32) for name in ("phs", "susc", "msk")}
    known = np.zeros(shape, dtype=bool)
    for number, place in places.items():
        part = tuple(slice(a, a + PATCH) for a in place - low)
        known[part] = True
        for name, volume in volumes.items():
            volume[part] = found[number][name]
    mask = (volumes["msk"] > 0) & known
    cut = ~np.pad(known, 1) & ndi.binary_dilation(np.pad(mask, 1))
    far = ndi.distance_transform_edt(~cut)[1:-1, 1:-1, 1:-1] > MARGIN
    print(f"{prefix.name}: {len(places)} of {len(found)} patches, {mask.sum() / 1000:.0f} ml")
    return Head(prefix.name, volumes["phs"], volumes["susc"], mask, mask & far)


def _step(one, other):
    """Return where a patch begins in another, None where they have nothing in common."""
    for flat in np.argsort(-np.abs(other), axis=None)[: 8 * TRIED : 8]:
        at = np.unravel_index(flat, other.shape)
        for place in np.argwhere(one == other[at])[:3]:
            step = place - at
            low, high = np.maximum(step, 0), np.minimum(step + PATCH, PATCH)
            first = one[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
            back = other[tuple(slice(a, b) for a, b in zip(low - step, high - step, strict=True))]
            if first.size and np.array_equal(first, back):
                return step
    return None


def score(head, chi):
    """Return NRMSE [%], XSIM, correlation, slope, and slope of the nuclei."""
    inside = head.scored
    wrong, true = (v[inside].astype(float) for v in (chi, head.chi))
    wrong, true = wrong - wrong.mean(), true - true.mean()
    maps = []
    for values in (wrong, true):
        maps.append(np.zeros(inside.shape, dtype=np.float32))
        maps[-1][inside] = values
    nuclei = np.any(head.nuclei(), axis=0)[inside]
    return (
        100 * np.linalg.norm(wrong - true) / np.linalg.norm(true),
        xsim(*maps, inside),
        np.corrcoef(wrong, true)[0, 1],
        wrong @ true / (true @ true),
        wrong[nuclei] @ true[nuclei] / (true[nuclei] @ true[nuclei]),
    )


def maps(head, threads):
    """Yield the name of each method and what it returned."""
    data = head.data()
    run = {"centre_frequency": FREQUENCY, "n_threads": threads}
    found = fansi(*data, echo_time=ECHO_TIME, **run)
    yield "`consensus-fansi`", found
    rule = adaptive_weight(*data, echo_time=ECHO_TIME, **run)
    found = fansi(
        *data, echo_time=ECHO_TIME, **run, gradient_l1_penalty=rule.gradient_l1_penalty,
        gradient_consistency=rule.gradient_consistency,
    )  # fmt: skip
    yield "FANSI, adaptive weight", found
    even = head.mask.astype(np.float32)
    found = medi(*data[:3], even, VOXEL, B0, echo_spacing=ECHO_TIME, **run)
    yield "MEDI without a magnitude", found
    found = adaptive_inversion(*data, echo_time=ECHO_TIME, **run)
    yield "`adaptive`", found


def intervals(head, result):
    """Return the share of voxels that are held [%], the factor, and how many nuclei are."""
    sure = standard_error(result, VOXEL)
    wrong = result.chi - head.chi
    wrong -= wrong[head.scored].mean(dtype=float)
    held = np.abs(wrong) <= HALF_95 * sure.total_ppm
    means = ErrorOfMeans(sure.errors, sure.factor, VOXEL).relative_to(head.scored)
    nuclei = head.nuclei()
    n_held = 0
    for region in nuclei:
        found = means.of(region)
        off = float(wrong[region].mean(dtype=float))
        n_held += abs(off - found.bias) <= HALF_95 * found.standard_error
        print(
            f"  nucleus of {region.sum()} voxels: off {1e3 * off:+.1f}, bias as estimated"
            f" {1e3 * found.bias:+.1f} +- {1e3 * HALF_95 * found.standard_error:.1f} ppb"
        )
    return 100 * held[head.scored].mean(), sure.factor, n_held, len(nuclei)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    rows = []
    for path in args.heads:
        head = read(path) if path.is_dir() else put_together(path)
        began = time.process_time()
        for name, result in maps(head, args.threads):
            took = time.process_time() - began
            nrmse, similar, correlation, slope, nuclei = score(head, result.chi)
            rows.append(f"| {head.name} | {name} | {nrmse:.1f} | {similar:.3f} | {correlation:.3f}"
                        f" | {slope:.2f} | {nuclei:.3f} | {took:.0f} |")  # fmt: skip
            began = time.process_time()
        held, factor, n_held, n = intervals(head, result)  # of the last method, `adaptive`
        rows.append(f"| {head.name} | its intervals | {held:.1f} % of voxels held, factor"
                    f" {factor:.2f} | | {n_held} of {n} nuclei | | | |")  # fmt: skip
    print("\n| head | method | NRMSE % | XSIM | correlation | slope | nuclei | CPU s |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
