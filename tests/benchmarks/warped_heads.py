"""Fields of many heads from one: a deformed head phantom, with other errors each time.

Everything is made of arrays, in seconds: no phase, no unwrapping, no mask that is found. For
``bench_intervals.py campaign``.
"""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import scipy.ndimage as ndi
from score_head import _true

from qsmbids.core.background.vsharp import vsharp
from qsmbids.core.inversion.dipole import dipole_field
from qsmbids.core.masks.masking import erode
from qsmbids.units import larmor_frequency

#: Root mean square of the deformation [mm], and its knots.
WARP_MM, KNOT_MM = 4.0, 50.0
ECHOES = np.array((0.005, 0.011, 0.017, 0.023, 0.029))
AIR_PPM = 9.2
B0 = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Kind:
    """What disturbs the field: ``snr`` at TE = 0, ``error`` over the norm of the local field."""

    snr: float
    error: float
    tesla: float = 3.0


KINDS = {
    "clean": Kind(100.0, 0.0),
    "noisy": Kind(25.0, 0.0),
    "model error": Kind(70.0, 0.4),
}


@dataclass(frozen=True)
class WarpedHead:
    """A head and its measured local field [Hz] in the support that V-SHARP leaves."""

    chi: np.ndarray  # [ppm]
    brain: np.ndarray
    labels: np.ndarray
    local: np.ndarray
    support: np.ndarray
    weights: np.ndarray
    voxel: tuple
    frequency: float
    magnitude: np.ndarray  # of all echoes, root of the sum of squares
    r2star: np.ndarray  # [1/s]


def read_truth(folder, participant):
    """Return chi of the whole head [ppm], its brain, labels and voxel size [mm]."""
    chi, brain, labels = (_true(folder, participant, n) for n in ("chi", "mask", "dseg"))
    path = next(folder.rglob(f"sub-{participant}_*chi.nii.gz"), None) or next(
        folder.rglob(f"sub-{participant}_desc-truth_Chimap.nii.gz")
    )
    voxel = tuple(float(v) for v in nib.load(path).header.get_zooms()[:3])
    return chi, brain > 0, labels.astype(np.int16), voxel


def warped_head(truth, kind, seed, voxel_mm):
    """Deform a truth to voxels of another size and measure its field with errors of a kind."""
    rng = np.random.default_rng(seed)
    chi, brain, labels, voxel = _deformed(truth, voxel_mm, rng)
    hz = 1e-6 * larmor_frequency(kind.tesla)
    local = hz * dipole_field(np.where(brain, chi, 0), voxel, B0)
    around = ndi.gaussian_filter(np.where(brain, 0, chi), 0.8, mode="nearest") - AIR_PPM
    total = local + hz * dipole_field(around.astype(np.float32), voxel, B0)
    if kind.error:
        total += _structured(brain, labels, rng) * (kind.error * np.linalg.norm(local[brain]))
    rate = _rate(chi, brain, kind)
    spread = _noise(rate, kind)
    total += spread * rng.standard_normal(chi.shape)
    removed = vsharp(total.astype(np.float32), erode(brain, 1), voxel)
    weights = np.where(removed.mask, np.median(spread[brain]) / spread, 0)
    magnitude, r2star = _images(rate, spread, kind, rng)
    return WarpedHead(
        chi, brain, labels, removed.local_field, removed.mask, weights.astype(np.float32),
        voxel, larmor_frequency(kind.tesla), magnitude, r2star,
    )  # fmt: skip


def _deformed(truth, voxel_mm, rng):
    chi, brain, labels, voxel = truth
    shape = tuple(round(n * v / voxel_mm) for n, v in zip(chi.shape, voxel, strict=True))
    middle = ndi.center_of_mass(brain)
    size = rng.uniform(0.9, 1.1)
    where = []
    for axis, index in enumerate(np.indices(shape, dtype=np.float32)):
        scale = voxel_mm / voxel[axis]
        knots = rng.standard_normal([int(np.ceil(n * voxel_mm / KNOT_MM)) + 3 for n in shape])
        push = ndi.zoom(knots, [n / k for n, k in zip(shape, knots.shape, strict=True)], order=3)
        push *= WARP_MM / voxel[axis] / push.std()
        where.append((index * scale - middle[axis]) / size + middle[axis] + push)
    # apart, so that no air or bone gets into voxels of the rim of the brain
    volumes = (np.where(brain, chi, 0), np.where(brain, 0, chi), brain.astype(np.float32))
    within, around, inside = (
        ndi.map_coordinates(v, where, order=1, mode="nearest") for v in volumes
    )
    labels = ndi.map_coordinates(labels, where, order=0, mode="nearest")
    parts, _ = ndi.label(inside > 0.5)
    brain = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    return np.where(brain, within, around), brain, labels, (voxel_mm,) * 3


def _structured(brain, labels, rng):
    """Return a field of norm 1 in the brain, smooth but at all scales, largest in white matter."""
    spectrum = np.fft.rfftn(rng.standard_normal(brain.shape))
    k = [np.fft.fftfreq(n) for n in brain.shape[:2]] + [np.fft.rfftfreq(brain.shape[2])]
    square = k[0][:, None, None] ** 2 + k[1][:, None] ** 2 + k[2] ** 2
    spectrum *= np.maximum(square, 1e-4) ** -0.75
    spectrum[0, 0, 0] = 0
    share = ndi.gaussian_filter(np.where(labels == 8, 1.0, 0.4) * brain, 0.7)
    field = np.fft.irfftn(spectrum, s=brain.shape, axes=(0, 1, 2)) * share * brain
    field -= brain * field[brain].mean()
    return field / np.linalg.norm(field)


def _rate(chi, brain, kind):
    """Return R2* [1/s], which grows with the size of the susceptibility."""
    return (18.0 + 150.0 * np.abs(np.where(brain, chi, 0))) * kind.tesla / 3


def _noise(rate, kind):
    """Return the standard deviation of the field [Hz] that a fit of all echoes has."""
    power = (np.exp(-rate[..., None] * ECHOES) * kind.snr) ** 2
    middle = (power * ECHOES).sum(-1) / power.sum(-1)
    return 1 / (2 * np.pi * np.sqrt((power * (ECHOES - middle[..., None]) ** 2).sum(-1)))


def _images(rate, spread, kind, rng):
    """Return the magnitude of all echoes, of even density, and R2* [1/s] with their noise.

    The logarithm of the magnitude has the noise of the phase, so R2* has that of 2 pi f.
    """
    echoes = np.exp(-rate[..., None] * ECHOES)
    echoes += rng.standard_normal(echoes.shape) / kind.snr
    magnitude = np.sqrt((echoes**2).sum(-1))
    r2star = rate + 2 * np.pi * spread * rng.standard_normal(rate.shape)
    return magnitude.astype(np.float32), r2star.astype(np.float32)
