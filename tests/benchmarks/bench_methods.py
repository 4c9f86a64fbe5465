"""Every background removal with every inversion against the truth, as Markdown tables.

    python tests/benchmarks/bench_methods.py head BIDS_DIR OUTPUT_DIR [--backgrounds vsharp,pdf]
    python tests/benchmarks/bench_methods.py challenge [--inversions fansi,medi]

``head`` takes the total field, masks, weights and magnitude of a finished run (output level
``standard``) on a head phantom whose ``derivatives/truth`` holds chi, local field and total field.
``challenge`` is a local field like that of the 2016 reconstruction challenge (1.06 mm, 160 x 160 x
160, 3 T, one orientation), simulated, since those data may not be passed on.

All maps are scored on one mask, the true brain less 3 mm. Where a method has no value it counts as
0, and how much it covers stands beside its scores; means over that mask are removed.
"""

import argparse
import json
import platform
import shlex
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import scipy.ndimage as ndi

from qsmbids.core.background.ismv import ismv
from qsmbids.core.background.lbv import lbv
from qsmbids.core.background.pdf import pdf
from qsmbids.core.background.resharp import resharp
from qsmbids.core.background.vsharp import vsharp
from qsmbids.core.inversion.adaptive_inversion import adaptive_inversion
from qsmbids.core.inversion.adaptive_weight import adaptive_weight
from qsmbids.core.inversion.dipole import dipole_field
from qsmbids.core.inversion.fansi import fansi
from qsmbids.core.inversion.image_edges import even_out
from qsmbids.core.inversion.l2 import closed_form_l2
from qsmbids.core.inversion.medi import medi
from qsmbids.core.inversion.rts import rts
from qsmbids.core.inversion.tgv import tgv
from qsmbids.core.inversion.tikhonov import iterative_tikhonov
from qsmbids.core.inversion.tkd import tkd
from qsmbids.core.masks.masking import erode
from qsmbids.core.masks.unsure_rim import find_unsure_rim
from qsmbids.core.phantom.head import BY_NAME, make_phantom
from qsmbids.core.quality.xsim import xsim
from qsmbids.units import larmor_frequency

NUCLEI = ("caudate", "pallidum", "putamen", "rednucleus", "dentate", "nigra", "thalamus")
MARGIN_MM = 3.0


@dataclass
class Scan:
    """Fields [Hz], masks and weights of a scan, and the truth [ppm]."""

    field: np.ndarray  # total, or local in the challenge
    mask: np.ndarray
    weights: np.ndarray
    magnitude: np.ndarray
    voxel: tuple
    b0: tuple
    frequency: float
    times: tuple
    chi: np.ndarray
    brain: np.ndarray
    regions: dict  # name of each nucleus to its voxels
    background: np.ndarray | None = None
    r2star: np.ndarray | None = None


# --- methods: (scan, threads) -> local field, mask; (scan, local, mask, threads) -> chi, support


def _background(function, *, needs=(), **options):
    def remove(scan, n):
        threads = {} if function is lbv else {"n_threads": n}
        given = {"weights": scan.weights} if "weights" in needs else {}
        direction = [scan.b0] if "b0" in needs else []
        result = function(
            scan.field, scan.mask, scan.voxel, *direction, **given, **options, **threads
        )
        return result if isinstance(result, tuple) else (result.local_field, result.mask)

    return remove


def _true_background(scan, _):
    return np.where(scan.mask, scan.field - scan.background, np.float32(0)), scan.mask


BACKGROUNDS = {
    "vsharp": _background(vsharp),
    "pdf": _background(pdf, needs=("b0", "weights")),
    "pdf-tissue-0.03": _background(pdf, needs=("b0", "weights"), tissue=0.03),
    "lbv": _background(lbv),
    "resharp": _background(resharp),
    "ismv": _background(ismv),
    "true": _true_background,
}


def _fansi(function=fansi, adaptive=False, **options):
    def invert(scan, local, mask, n):
        chosen = {"centre_frequency": scan.frequency, "echo_time": scan.times[-1]}
        data = (local, mask, np.where(mask, scan.weights, np.float32(0)), scan.voxel, scan.b0)
        if adaptive:
            found = adaptive_weight(*data, **chosen, n_threads=n)
            chosen |= {
                "gradient_l1_penalty": found.gradient_l1_penalty,
                "gradient_consistency": found.gradient_consistency,
            }
        return function(*data, **chosen, **options, n_threads=n).chi, mask

    return invert


def _medi(**options):
    def invert(scan, local, mask, n):
        spacing = scan.times[1] - scan.times[0] if len(scan.times) > 1 else scan.times[0]
        weights = np.where(mask, scan.weights, np.float32(0))
        result = medi(
            local, mask, weights, scan.magnitude, scan.voxel, scan.b0,
            centre_frequency=scan.frequency, echo_spacing=spacing, n_threads=n, **options,
        )  # fmt: skip
        return result.chi, result.mask

    return invert


def _with_images(scan, local, mask, n):
    images = [even_out(scan.magnitude, mask, scan.voxel)]
    if scan.r2star is not None:
        images.append(scan.r2star)
    return _fansi(adaptive_inversion, images=images)(scan, local, mask, n)


def _quick(function):
    def invert(scan, local, mask, n):
        weights = np.where(mask, scan.weights, np.float32(0))
        result = function(
            local, mask, weights, scan.voxel, scan.b0,
            centre_frequency=scan.frequency, n_threads=n,
        )  # fmt: skip
        return result.chi, mask

    return invert


INVERSIONS = {
    "fansi": _fansi(iterations="staged"),
    "fansi-joint": _fansi(),
    "fansi-adaptive": _fansi(adaptive=True, iterations="staged"),
    "huber": _fansi(adaptive_inversion),
    "huber-images": _with_images,
    "nonlinear-tv": _fansi(weak_harmonic=False, iterations="staged"),
    "linear-tv": _fansi(weak_harmonic=False, nonlinear=False, iterations="staged"),
    "tgv": _fansi(tgv),
    "medi": _medi(),
    "medi-no-smv": _medi(smv_radius_mm=None),
    "rts": _quick(rts),
    "tkd": _quick(tkd),
    "l2": _quick(closed_form_l2),
    "tikhonov": _quick(iterative_tikhonov),
}


# --- data


def read_head(bids_dir, out_dir, participant):
    """Read a finished run and the truth beside its raw data."""

    def image(root, pattern):
        found = sorted(root.rglob(pattern))
        if not found:
            raise SystemExit(f"no {pattern} in {root}; the run needs the output level standard")
        return nib.load(found[0])

    def volume(root, pattern):
        return np.asarray(image(root, pattern).dataobj, dtype=np.float32)

    out, sub = out_dir / f"sub-{participant}", f"sub-{participant}"
    truth = bids_dir / "derivatives" / "truth"
    about = json.loads(next(out.rglob("*_desc-total_fieldmap.json")).read_text())
    table = [r.split("\t") for r in next(truth.rglob("*dseg.tsv")).read_text().splitlines()[1:]]
    built_in = bool(list(truth.rglob(f"{sub}_desc-truth_Chimap.nii.gz")))
    names = {n: f"{sub}_{n}.nii.gz" for n in ("dseg", "chi", "mask", "totalfield", "localfield")}
    if built_in:
        names = {
            "dseg": f"{sub}_desc-truth_dseg.nii.gz",
            "chi": f"{sub}_desc-truth_Chimap.nii.gz",
            "mask": f"{sub}_label-brain_desc-truth_mask.nii.gz",
            "totalfield": f"{sub}_desc-total_fieldmap.nii.gz",
            "localfield": f"{sub}_desc-local_fieldmap.nii.gz",
        }
    dseg = volume(truth, names["dseg"])
    total, local = (volume(truth, names[f"{n}field"]) for n in ("total", "local"))
    times = tuple(about["EchoTime"])
    field = volume(out, "*_desc-total_fieldmap.nii.gz")
    mask = erode(volume(out, "*_desc-mask3_mask.nii.gz") > 0, 1)
    reliable = volume(out, "*_desc-mask2_mask.nii.gz") > 0
    unsure = find_unsure_rim(field, mask, reliable, 1 / min(times))
    return Scan(
        field=field,
        mask=mask & ~unsure,
        weights=volume(out, "*_desc-weights_T2starw.nii.gz"),
        magnitude=volume(out, "*_desc-rss_T2starw.nii.gz"),
        r2star=volume(out, "*_R2starmap.nii.gz")
        if list(out.rglob("*_R2starmap.nii.gz"))
        else None,
        voxel=tuple(
            float(v) for v in image(out, "*_desc-total_fieldmap.nii.gz").header.get_zooms()
        ),
        b0=tuple(about["B0Direction"]),
        frequency=1e6 * about["ImagingFrequency"],
        times=times,
        chi=volume(truth, names["chi"]),
        brain=volume(truth, names["mask"]) > 0,
        regions={name: dseg == int(index) for index, name, *_ in table if name in NUCLEI},
        background=total - local,
    )


def make_challenge(
    shape=(160, 160, 160), voxel=(1.06, 1.06, 1.06), snr=40.0, seed=2016, tesla=3.0
):
    """Simulate a local field: smooth tissue with texture, veins, noise of the phase.

    A head of even tissues gets texture of two scales (as myelin and iron give to real tissue), so
    that it is not piecewise constant, which is what total variation is made for. Sources outside
    the brain are left out, as in the challenge. One echo at 25 ms; the noise follows the
    magnitude, whose signal-to-noise ratio is ``snr`` where it is 1.
    """
    phantom = make_phantom(shape, voxel)
    rng = np.random.default_rng(seed)
    chi = phantom.chi_brain * phantom.mask
    tissue = phantom.mask & ~phantom.region("csf")
    for sigma_mm, sd_ppm in ((6.0, 0.010), (1.5, 0.005)):
        texture = ndi.gaussian_filter(
            rng.standard_normal(shape).astype(np.float32), sigma_mm / voxel[0]
        )
        chi += tissue * texture * np.float32(sd_ppm / texture.std())
    b0, time_s, frequency = (0.0, 0.0, 1.0), 0.025, larmor_frequency(tesla)
    magnitude = phantom.s0 * np.exp(-time_s * phantom.r2star).astype(np.float32)
    magnitude *= phantom.mask / np.float32(np.median(magnitude[phantom.mask]))
    noise = rng.standard_normal(shape).astype(np.float32) / np.maximum(snr * magnitude, 1.0)
    field = np.float32(1e-6 * frequency) * dipole_field(chi, voxel, b0)
    field += noise / np.float32(2 * np.pi * time_s)
    return Scan(
        field=field * phantom.mask,
        mask=phantom.mask,
        weights=magnitude,
        magnitude=magnitude,
        voxel=voxel,
        b0=b0,
        frequency=frequency,
        times=(time_s,),
        chi=chi,
        brain=phantom.mask,
        regions={name: phantom.region(name) for name in NUCLEI if name in BY_NAME},
    )


# --- scores


def score(scan, chi, support):
    """Return the numbers of a row, in the order of the columns."""
    inner = erode(scan.brain, MARGIN_MM, scan.voxel)
    found = np.where(support, chi - chi[support].mean(dtype=np.float64), 0.0)
    true, found = (v - v[inner].mean(dtype=np.float64) for v in (scan.chi, found))
    a, b = true[inner], found[inner]
    nuclei = np.array(
        [[v[where].mean() for v in (true, found)] for where in scan.regions.values()]
    )
    return (
        np.polyfit(a, b, 1)[0],
        100 * np.linalg.norm(b - a) / np.linalg.norm(a),
        np.corrcoef(a, b)[0, 1],
        xsim(found, true, inner),
        100 * support[inner].mean(),
        np.polyfit(*nuclei.T, 1)[0],
        np.abs(nuclei[:, 1] - nuclei[:, 0]).max(),
    )


COLUMNS = (
    "slope", "NRMSE %", "correlation", "XSIM", "coverage %", "nuclei slope", "nuclei worst ppm",
    "CPU s",
)  # fmt: skip
FORMATS = ("{:.3f}", "{:.1f}", "{:.3f}", "{:.3f}", "{:.1f}", "{:.3f}", "{:.3f}", "{:.0f}")


def _row(names, values):
    cells = [f.format(v) for f, v in zip(FORMATS, values, strict=True)]
    print("| " + " | ".join([*names, *cells]) + " |", flush=True)


def _title(text, names, argv):
    libraries = ", ".join(f"{n} {version(n)}" for n in ("numpy", "scipy", "numba"))
    shown = (Path(a).name if "/" in a else a for a in argv)  # no folder of this machine
    command = "python tests/benchmarks/bench_methods.py " + " ".join(map(shlex.quote, shown))
    print(f"## {text}\n\n`{command}`, Python {platform.python_version()}, {libraries}\n")
    print("| " + " | ".join([*names, *COLUMNS]) + " |")
    print("|" + "---|" * len(names) + "--:|" * len(COLUMNS), flush=True)


def _timed(function, *args):
    began = time.process_time()
    result = function(*args)
    return result, time.process_time() - began


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    head = kinds.add_parser("head")
    head.add_argument("bids_dir", type=Path)
    head.add_argument("output_dir", type=Path)
    head.add_argument("--participant", default="phantom")
    head.add_argument("--backgrounds", default=",".join(BACKGROUNDS))
    challenge = kinds.add_parser("challenge")
    challenge.add_argument("--size", type=int, default=160, help="voxels along each axis")
    for kind in (head, challenge):
        kind.add_argument("--inversions", default=",".join(INVERSIONS))
        kind.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    if args.kind == "challenge":
        scan = make_challenge((args.size,) * 3)
        size = " x ".join(map(str, scan.chi.shape))
        _title(f"Local field like the 2016 challenge, 1.06 mm, {size}, 3 T", ["inversion"], argv)
        for name in args.inversions.split(","):
            (chi, support), took = _timed(
                INVERSIONS[name], scan, scan.field, scan.mask, args.threads
            )
            _row([name], (*score(scan, chi, support), took))
        return
    scan = read_head(args.bids_dir, args.output_dir, args.participant)
    about = f"{scan.voxel[0]:g} mm, {scan.frequency / 42.577478518e6:.1f} T"
    _title(f"Head phantom, {about}, total field of a run", ["background", "inversion"], argv)
    for background in args.backgrounds.split(","):
        (local, mask), removal = _timed(BACKGROUNDS[background], scan, args.threads)
        for inversion in args.inversions.split(","):
            (chi, support), took = _timed(INVERSIONS[inversion], scan, local, mask, args.threads)
            _row([background, inversion], (*score(scan, chi, support), removal + took))


if __name__ == "__main__":
    main()
