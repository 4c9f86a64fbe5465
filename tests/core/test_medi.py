"""MEDI against a plain transcription of its equations, and on known susceptibilities."""

import nibabel as nib
import numpy as np
import pytest

from qsmbids.core.dipole import dipole_field, dipole_kernel
from qsmbids.core.medi import medi
from qsmbids.core.medi_edges import edge_mask
from qsmbids.core.medi_smv import smv_kernel

SHAPE = (36, 40, 32)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([15, 17, 13], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
ISO, AXIAL = (1, 1, 1), (0, 0, 1)
F0, DTE = 127.7e6, 0.00583
SCAN = {"centre_frequency_hz": F0, "echo_spacing": DTE, "margin": 4, "max_cg": 50}
PLAIN = {**SCAN, "smv_radius_mm": None, "merit": False}


def ball(centre, radius):
    return ((R - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2


NUCLEI = ((ball((4, 0, 2), 3.5), 0.1), (ball((-6, 4, -2), 3), -0.08), (ball((0, -7, 0), 2), 0.2))


@pytest.fixture(scope="module")
def chi():
    out = np.zeros(SHAPE, np.float32)
    for where, value in NUCLEI:
        out[where] = value
    return out


@pytest.fixture(scope="module")
def field(chi):
    return (1e-6 * F0) * dipole_field(chi, ISO, AXIAL)


@pytest.fixture(scope="module")
def magnitude(chi):
    """Brain with an edge around every source, and brighter skin outside the mask."""
    noise = np.random.default_rng(3).standard_normal(SHAPE)
    return (np.where(MASK, 800 - 2000 * np.abs(chi) + 3 * noise, 1200)).astype(np.float32)


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(5)
    return ((1 + 0.2 * rng.standard_normal(SHAPE)).clip(0.2, 2) * MASK).astype(np.float32)


def error(estimate, truth, mask=MASK):
    a, b = (v[mask] - v[mask].mean(dtype=float) for v in (estimate, truth))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def distance(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def gradient(x, voxel):
    return [
        np.diff(x, axis=a, append=np.take(x, [-1], axis=a)) / h for a, h in enumerate(voxel)
    ]


def gradient_adjoint(vectors, voxel):
    total = 0
    for axis, (v, h) in enumerate(zip(vectors, voxel, strict=True)):
        v = np.moveaxis(v / h, axis, 0).copy()
        v[-1] = 0
        v -= np.concatenate([v[:1] * 0, v[:-1]])
        total = total - np.moveaxis(v, 0, axis)
    return total


def plain(
    y, mask, weights, magnitude, voxel, b0, *, radius, merit, n_outer, n_cg, csf=None,
    lambda_=2000, percentage=90, tol=1e-9,
):  # fmt: skip
    """Transcribe the toolbox in double precision, complex signals and full spectra; radians."""
    fourier, back = np.fft.rfftn, lambda s: np.fft.irfftn(s, y.shape)
    kernel = dipole_kernel(y.shape, voxel, b0).astype(float)
    noise = np.where(mask, 1 / weights.astype(float), 0)
    if radius:
        sphere = smv_kernel(y.shape, radius, voxel).astype(float)

        def smv(v):
            return back(sphere * fourier(v))

        mask = smv(mask.astype(float)) > 0.999
        kernel = (1 - sphere) * kernel
        y = mask * (y - smv(y))

    def snr():
        total = np.sqrt(smv(noise**2).clip(0) + noise**2) if radius else noise
        m = np.zeros(y.shape)
        m[mask] = 1 / total[mask]
        return m / m[mask].mean()

    edges = np.abs(gradient(magnitude * mask, voxel))
    threshold = 0.01 * magnitude.max()
    rising = (edges > threshold).sum() / mask.sum() > percentage / 100
    while ((edges > threshold).sum() / mask.sum() > percentage / 100) == rising:
        threshold *= 1.05 if rising else 0.95
    penalised = (edges <= threshold).astype(float)

    def operator(dx, vr, m):
        out = gradient_adjoint([p * v * p * g for p, v, g in zip(
            penalised, vr, gradient(dx, voxel), strict=True)], voxel)  # fmt: skip
        if csf is not None:
            out = out + 100 * csf * (dx - dx[csf].mean())
        return out + 2 * lambda_ * back(kernel * fourier(m**2 * back(kernel * fourier(dx))))

    m, x = snr(), np.zeros(y.shape)
    for _ in range(n_outer):
        vr = [1 / np.sqrt((p * g) ** 2 + 1e-6) for p, g in zip(
            penalised, gradient(x, voxel), strict=True)]  # fmt: skip
        w, b = m * np.exp(1j * back(kernel * fourier(x))), m * np.exp(1j * y)
        misfit = np.real(np.conj(w) * np.conj(1j) * (w - b))
        r = -operator(x, vr, 0 * m) - 2 * lambda_ * back(kernel * fourier(misfit))
        dx, p, rr = np.zeros(y.shape), r, (r**2).sum()
        first = rr
        for _ in range(n_cg):
            if rr <= tol**2 * first:
                break
            q = operator(p, vr, m)
            dx, r, old = dx + rr / (p * q).sum() * p, r - rr / (p * q).sum() * q, rr
            rr = (r**2).sum()
            p = r + rr / old * p
        x = x + dx
        if merit:
            residual = m * np.exp(1j * back(kernel * fourier(x))) - b
            residual = residual[mask] - residual[mask].mean()
            bad = np.abs(residual) / (6 * np.abs(residual).std(ddof=1))
            noise[mask] *= np.maximum(bad, 1) ** 2
            m = snr()
    if csf is not None:
        x = x - x[csf & mask].mean()
    return np.where(mask, x, 0) / (2 * np.pi * DTE * F0 * 1e-6), mask, threshold


CUT = np.s_[2:-3, 1:-2, 3:-1]
VOXEL, OBLIQUE = (1.0, 1.2, 0.9), (0.0, 0.6, 0.8)


@pytest.mark.parametrize("csf", [False, True])
@pytest.mark.parametrize("radius", [None, 3.0])
def test_equals_the_plain_equations(field, weights, magnitude, radius, csf):
    """Fused single-precision loops, odd grid, oblique B0, wrapped data, bad voxels for MERIT."""
    noisy = 2 * field + np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    noisy.flat[np.random.default_rng(2).choice(np.flatnonzero(MASK), 60, replace=False)] += 70
    noisy, mask, w, mag = noisy[CUT], MASK[CUT], weights[CUT], magnitude[CUT]
    inner = ball((4, -8, 2), 2)[CUT] if csf else None
    expected, support, threshold = plain(
        noisy * mask * 2 * np.pi * DTE, mask, w, mag, VOXEL, OBLIQUE, radius=radius, merit=True,
        n_outer=3, n_cg=20, csf=inner,
    )  # fmt: skip
    ours = medi(
        noisy, mask, w, mag, VOXEL, OBLIQUE, **{**SCAN, "margin": None, "max_cg": 20},
        smv_radius_mm=radius, csf_mask=inner, max_outer=3, outer_tol=1e-9, cg_tol=1e-9,
        preconditioned=False,
    )  # fmt: skip
    np.testing.assert_array_equal(ours.mask, support)
    assert ours.edge_threshold == pytest.approx(threshold, rel=1e-5)
    assert distance(ours.chi, expected) < 1e-3
    assert (ours.n_outer, ours.n_cg, ours.converged) == (3, 60, False)
    if csf:
        assert ours.chi[inner].mean(dtype=float) == pytest.approx(0, abs=1e-7)


def test_preconditioner_finds_the_same_sooner(field, weights, magnitude):
    """Two Gauss-Newton steps with inner systems solved well, and both at the usual tolerance."""
    noisy = field + 0.3 * np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    options = {**SCAN, "smv_radius_mm": 3, "max_outer": 2, "outer_tol": 1e-9, "max_cg": 800}
    well, plainly, soon, slow = (
        medi(noisy, MASK, weights, magnitude, ISO, AXIAL, **options, cg_tol=tol, preconditioned=on)
        for tol, on in ((1e-4, True), (1e-4, False), (0.01, True), (0.01, False))
    )
    assert error(well.chi, plainly.chi, well.mask) < 0.01
    assert well.n_cg < 0.8 * plainly.n_cg
    assert error(soon.chi, well.chi, well.mask) < 0.1
    assert max(soon.cg_residuals) <= 0.01
    print(well.n_cg, plainly.n_cg, soon.n_cg, slow.n_cg, error(well.chi, plainly.chi, well.mask),
          error(soon.chi, well.chi, well.mask), error(slow.chi, well.chi, well.mask))
