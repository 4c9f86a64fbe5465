"""A simulated head with known susceptibility.

The head is made of ellipsoids and tubes with soft edges, so that no tissue is textured but every
border has partial volume. All lengths below are of a head for a 96 x 112 x 80 mm field of view;
another field of view scales the head with it.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import convolve1d

from qsmbids.core.inversion.dipole import dipole_field
from qsmbids.core.maths.arrays import Float32Array, Mask, Vector
from qsmbids.core.phantom.analytic_fields import checked_vector, grid
from qsmbids.units import TWO_PI, larmor_frequency

__all__ = [
    "TISSUES",
    "Phantom",
    "Tissue",
    "make_phantom",
    "multi_echo_signal",
    "phase_offset",
    "simulate_field",
]


REFERENCE_FOV_MM = (96.0, 112.0, 80.0)


@dataclass(frozen=True)
class Tissue:
    """One tissue: label, name, chi [ppm] relative to water, R2* at 3 T [1/s], signal at TE = 0."""

    label: int
    name: str
    chi: float
    r2star: float
    s0: float


TISSUES = (
    Tissue(0, "air", 9.4, 100.0, 0.0),
    Tissue(1, "greymatter", 0.02, 20.0, 1.0),
    Tissue(2, "whitematter", -0.03, 22.0, 0.8),
    Tissue(3, "csf", 0.0, 2.0, 1.2),
    Tissue(4, "caudate", 0.05, 25.0, 0.95),
    Tissue(5, "putamen", 0.05, 28.0, 0.95),
    Tissue(6, "pallidum", 0.13, 45.0, 0.85),
    Tissue(7, "rednucleus", 0.10, 36.0, 0.9),
    Tissue(8, "nigra", 0.12, 40.0, 0.9),
    Tissue(9, "dentate", 0.11, 36.0, 0.9),
    Tissue(10, "vein", 0.30, 60.0, 0.9),
    Tissue(11, "calcification", -0.50, 80.0, 0.4),
    Tissue(12, "skull", -2.0, 300.0, 0.1),
    Tissue(13, "scalp", 0.0, 30.0, 1.0),
)
BY_NAME = {tissue.name: tissue for tissue in TISSUES}
AIR_CHI = BY_NAME["air"].chi

# name, centre, semi-axes [mm]; x to the right, y to the front, z up. Painted in this order.
OUTSIDE = (
    ("scalp", (0, 0, 0), (45, 53, 37)),
    ("skull", (0, 0, 0), (41.5, 49.5, 33.5)),
    ("air", (0, 31, -23), (9, 9, 6.5)),  # sinus
    ("air", (36, -8, -20), (5, 6, 5)),  # mastoids
    ("air", (-36, -8, -20), (5, 6, 5)),
)
BRAIN_AXES = (38.0, 46.0, 30.0)  # with the subarachnoid space: the mask
CORTEX_AXES = (36.0, 44.0, 28.0)
PAIRED = (
    ("csf", (5.5, -1, 7), (3.6, 12, 4.5)),  # lateral ventricle
    ("caudate", (12, 8, 8), (3, 6, 4.5)),
    ("putamen", (20, 3, 1), (3.2, 8, 5.5)),
    ("pallidum", (13.5, 0, -1), (3.2, 5, 4)),
    ("rednucleus", (4.5, -10, -7), (2.8, 2.8, 2.8)),
    ("nigra", (8.5, -7, -11), (3.4, 3.8, 2.4)),
    ("dentate", (9, -22, -13), (3.5, 4.2, 2.8)),
)
VEINS = (  # from, to, radius
    ((0, -8, 16), (0, -34, 8), 1.3),
    ((16, 14, 14), (22, 2, 17), 1.0),
    ((-15, 16, 12), (-15, 16, 21), 1.0),  # parallel to B0 of an axial scan
)
CALCIFICATION = ((18.0, -18.0, 12.0), 2.0)


@dataclass(frozen=True)
class Phantom:
    """Maps of the simulated head, all of one shape (X, Y, Z).

    Attributes
    ----------
    chi : ndarray of float32
        Susceptibility [ppm] of brain, head and the air around, relative to water.
    chi_brain : ndarray of float32
        The share of the brain in it: the truth of a reconstruction; 0 outside ``mask`` but for
        the partial volume of its rim.
    r2star : ndarray of float32
        [1/s] at 3 T.
    s0 : ndarray of float32
        Signal at TE = 0, 1 in grey matter.
    mask : ndarray of bool
        Brain with the cerebrospinal fluid around it.
    labels : ndarray of int16
        The tissue that holds most of each voxel; names in :data:`TISSUES`.
    voxel_size : tuple of float
        [mm].
    b0_direction : tuple of float
        Unit vector along the array axes.
    """

    chi: Float32Array
    chi_brain: Float32Array
    r2star: Float32Array
    s0: Float32Array
    mask: Mask
    labels: npt.NDArray[np.int16]
    voxel_size: Vector
    b0_direction: Vector

    def region(self, name: str) -> Mask:
        """Voxels of a tissue by name, such as ``"pallidum"``."""
        return self.labels == BY_NAME[name].label


def make_phantom(
    shape: tuple[int, int, int] = (96, 112, 80),
    voxel_size: npt.ArrayLike = (1.0, 1.0, 1.0),
    *,
    b0_direction: npt.ArrayLike = (0.0, 0.0, 1.0),
    seed: int = 1,
) -> Phantom:
    """Build the head.

    Parameters
    ----------
    shape : (3,) tuple of int
        At least 16 voxels along every axis.
    voxel_size : (3,) array_like
        [mm]; any anisotropy.
    b0_direction : (3,) array_like
        Along the array axes; the head stays, B0 turns.
    seed : int
        Folding of the cortex; everything else is fixed.

    Returns
    -------
    Phantom

    Raises
    ------
    ValueError
        Shape, voxel size or direction make no sense.

    Examples
    --------
    >>> phantom = make_phantom((48, 56, 40), (2, 2, 2))
    >>> round(float(phantom.chi[phantom.region("pallidum")].max()), 3)
    0.13
    """
    voxel = checked_vector(voxel_size, "voxel size")
    b0 = checked_vector(b0_direction, "B0 direction", positive=False)
    if len(shape) != 3 or min(shape) < 16:
        raise ValueError(f"the phantom needs three axes of at least 16 voxels, not {shape}")
    fov = np.multiply(shape, voxel)
    unit = float(np.min(fov / REFERENCE_FOV_MM))  # mm per reference mm
    painter = _Painter(shape, tuple(v / unit for v in voxel))
    for name, centre, axes in OUTSIDE:
        painter.paint(name, painter.ellipsoid(centre, axes))

    painter.chi_brain[:] = 0.0  # from here on it takes the paint of the brain alone
    surface = painter.ellipsoid((0, 0, 0), BRAIN_AXES)
    painter.paint("csf", surface)
    _paint_brain(painter, np.random.default_rng(seed))
    length = math.sqrt(sum(b * b for b in b0))
    return Phantom(
        chi=painter.chi,
        chi_brain=painter.chi_brain,
        r2star=painter.r2star,
        s0=painter.s0,
        mask=painter.cover(surface) >= 0.5,
        labels=painter.labels,
        voxel_size=voxel,
        b0_direction=(b0[0] / length, b0[1] / length, b0[2] / length),
    )


def _paint_brain(painter: "_Painter", rng: np.random.Generator) -> None:
    """Paint cortex, white matter, nuclei, veins and the calcification."""
    x, y, z = painter.axes
    u = [a / r for a, r in zip((x, y, z), CORTEX_AXES, strict=True)]
    phase = rng.uniform(0, TWO_PI, 3)
    radius = np.sqrt(u[0] ** 2 + u[1] ** 2 + u[2] ** 2) + 1e-6
    angle = [13.0 * a / radius for a in u]
    folds = (
        np.sin(angle[0] + phase[0] + np.sin(angle[2]))
        * np.sin(angle[1] + phase[1] + np.sin(angle[0]))
        + 0.6 * np.sin(angle[2] + phase[2] + np.sin(angle[1]))
    ).astype(np.float32)
    cortex = painter.ellipsoid((0, 0, 0), CORTEX_AXES)
    painter.paint("greymatter", cortex + 3.0 * np.clip(folds - 0.7, 0.0, 1.0))  # sulci
    painter.paint("whitematter", cortex + 5.0 + 1.5 * folds)
    for name, (cx, cy, cz), axes in PAIRED:
        for side in (-1, 1):
            painter.paint(name, painter.ellipsoid((side * cx, cy, cz), axes))
    for start, stop, radius_mm in VEINS:
        painter.paint("vein", painter.tube(start, stop, radius_mm))
    centre, radius_mm = CALCIFICATION
    painter.paint("calcification", painter.ellipsoid(centre, (radius_mm,) * 3))


class _Painter:
    """Lays tissues over each other in a volume of air; distances in reference mm."""

    def __init__(self, shape: tuple[int, int, int], voxel: tuple[float, ...]) -> None:
        x, y, z = grid(shape, voxel)
        self.axes = x, y, z
        self.edge = float(np.prod(voxel)) ** (1.0 / 3.0)
        air = BY_NAME["air"]
        self.chi, self.chi_brain, self.r2star, self.s0 = (
            np.full(shape, value, dtype=np.float32)
            for value in (air.chi, air.chi, air.r2star, air.s0)
        )
        self.labels = np.zeros(shape, dtype=np.int16)

    def cover(self, distance: Float32Array) -> Float32Array:
        """Fraction of a voxel inside a surface at a signed distance (negative inside)."""
        return np.clip(0.5 - distance / self.edge, 0.0, 1.0).astype(np.float32)

    def paint(self, name: str, distance: Float32Array) -> None:
        tissue = BY_NAME[name]
        cover = self.cover(distance)
        for volume, value in (
            (self.chi, tissue.chi),
            (self.chi_brain, tissue.chi),
            (self.r2star, tissue.r2star),
            (self.s0, tissue.s0),
        ):
            volume += cover * (np.float32(value) - volume)
        self.labels[cover >= 0.5] = tissue.label

    def ellipsoid(self, centre: Vector, axes: Vector) -> Float32Array:
        """Signed distance, exact for a ball and to first order near the surface otherwise."""
        p = [a - np.float32(c) for a, c in zip(self.axes, centre, strict=True)]
        k0 = np.sqrt(sum((a / r) ** 2 for a, r in zip(p, axes, strict=True)))
        k1 = np.sqrt(sum((a / r**2) ** 2 for a, r in zip(p, axes, strict=True)))
        return np.asarray(k0 * (k0 - 1.0) / np.maximum(k1, 1e-6) - (k1 < 1e-6) * min(axes))

    def tube(self, start: Vector, stop: Vector, radius: float) -> Float32Array:
        """Signed distance to a segment with round ends."""
        d = np.subtract(stop, start).astype(np.float32)
        p = [a - np.float32(c) for a, c in zip(self.axes, start, strict=True)]
        along = np.clip(sum(a * b for a, b in zip(p, d, strict=True)) / (d @ d), 0.0, 1.0)
        squares = sum((a - along * b) ** 2 for a, b in zip(p, d, strict=True))
        return np.asarray(np.sqrt(squares) - radius)


def simulate_field(
    phantom: Phantom,
    *,
    b0_tesla: float = 3.0,
    ramp_hz_per_mm: Vector = (0.1, -0.2, 0.3),
    n_threads: int = 1,
) -> tuple[Float32Array, Float32Array]:
    """Return the total and the local field of the head.

    Parameters
    ----------
    phantom : Phantom
    b0_tesla : float
        [T].
    ramp_hz_per_mm : (3,) tuple of float
        Imperfect shim along the array axes.
    n_threads : int
        Threads of the transforms.

    Returns
    -------
    total_field : (X, Y, Z) ndarray of float32
        [Hz], with zero mean in the mask as after the scanner's frequency adjustment.
    local_field : (X, Y, Z) ndarray of float32
        [Hz], of the sources in the brain alone; not shifted, so that total minus local is harmonic
        in the mask.
    """
    hz_per_ppm = larmor_frequency(b0_tesla) * 1e-6
    voxel, b0 = phantom.voxel_size, phantom.b0_direction
    local = dipole_field(phantom.chi_brain, voxel, b0, n_threads=n_threads)
    # relative to the air that goes on outside the array
    around = phantom.chi - phantom.chi_brain - np.float32(AIR_CHI)
    for dim in range(3):  # 9 ppm steps would ring at the Nyquist frequency with a tilted B0
        around = convolve1d(around, (0.25, 0.5, 0.25), axis=dim, mode="constant")
    total = local + dipole_field(around, voxel, b0, n_threads=n_threads)
    local *= np.float32(hz_per_ppm)
    total *= np.float32(hz_per_ppm)
    for axis, slope in zip(grid(phantom.mask.shape, voxel), ramp_hz_per_mm, strict=True):
        total += axis * np.float32(slope)
    total -= np.float32(total[phantom.mask].mean(dtype=np.float64))
    return total, local


def phase_offset(phantom: Phantom, *, scale: float = 1.8) -> Float32Array:
    """Return a smooth, curved phase at TE = 0 [rad].

    With the default ``scale`` it spans more than 2 pi in the brain, so that it wraps itself.
    """
    shape = phantom.mask.shape
    x, y, z = grid(shape, tuple(2.0 / n for n in shape))  # -1 to 1
    curved = 1.6 * x**2 - 1.2 * y**2 + 0.8 * z * y + 1.5 * np.sin(1.7 * y + 0.6 * x) + 0.9 * z
    return (0.5 + scale * curved).astype(np.float32)


def multi_echo_signal(
    phantom: Phantom,
    field: Float32Array,
    echo_times: npt.ArrayLike,
    *,
    offset: Float32Array | None = None,
    b0_tesla: float = 3.0,
    noise_std: float = 0.02,
    bipolar_rad: float = 0.0,
    dephasing: bool = True,
    seed: int = 1,
) -> npt.NDArray[np.complex64]:
    """Return the complex signal of a multi-echo gradient echo scan.

    Parameters
    ----------
    phantom : Phantom
    field : (X, Y, Z) ndarray
        Total field [Hz] from :func:`simulate_field`.
    echo_times : (E,) array_like
        [s].
    offset : (X, Y, Z) ndarray, optional
        Phase at TE = 0 [rad]; :func:`phase_offset` if left out.
    b0_tesla : float
        [T]; R2* grows with it.
    noise_std : float
        Of the real and of the imaginary part; grey matter has signal 1 at TE = 0.
    bipolar_rad : float
        Amplitude of the phase ramp along the first axis between odd and even echoes [rad]; 0 for
        a monopolar readout.
    dephasing : bool
        Lose signal where the field changes within a voxel.
    seed : int
        Of the noise.

    Returns
    -------
    (E, X, Y, Z) ndarray of complex64
        ``s0 exp(-R2* TE) exp(i (offset + 2 pi f TE))`` plus noise.

    Raises
    ------
    ValueError
        Shapes differ, or the echo times are not positive.
    """
    times = np.atleast_1d(np.asarray(echo_times, dtype=float))
    if times.ndim != 1 or times.size == 0 or not np.all(times > 0):
        raise ValueError(f"echo times must be positive seconds, not {echo_times!r}")
    shape = phantom.mask.shape
    if field.shape != shape or (offset is not None and offset.shape != shape):
        raise ValueError("field and phase offset must have the shape of the phantom")
    start = phase_offset(phantom) if offset is None else offset
    readout = grid(shape, tuple(2.0 / n for n in shape))[0]
    spread = [np.gradient(field, axis=a) for a in range(3)] if dephasing else []
    rate = phantom.r2star * np.float32(b0_tesla / 3.0)
    rng = np.random.default_rng(seed)
    signal = np.empty((times.size, *shape), dtype=np.complex64)
    for echo, te in enumerate(times.astype(np.float32)):
        magnitude = phantom.s0 * np.exp(-rate * te)
        for difference in spread:  # linear field across the voxel
            magnitude *= np.sinc(difference * te)
        phase = start + np.float32(TWO_PI) * te * field
        if bipolar_rad:
            phase += np.float32((-1) ** echo * bipolar_rad / 2) * (readout + np.float32(0.2))
        signal[echo].real = magnitude * np.cos(phase)
        signal[echo].imag = magnitude * np.sin(phase)
        for part in (signal[echo].real, signal[echo].imag):
            part += np.float32(noise_std) * rng.standard_normal(shape, dtype=np.float32)
    return signal
