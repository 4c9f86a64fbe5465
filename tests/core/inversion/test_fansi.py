"""FANSI against a plain transcription of its equations, and on known susceptibilities."""

import nibabel as nib
import numpy as np
import pytest
from volumes import contrast_error, turn

from qsmbids.core.inversion.dipole import dipole_field, dipole_kernel
from qsmbids.core.inversion.fansi import fansi, mean_edge
from qsmbids.core.inversion.fansi_joint import RELAXATION
from qsmbids.core.maths.gradient import gradient, gradient_adjoint, laplacian_symbols

SHAPE = (40, 44, 36)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([16, 18, 14], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
ISO, AXIAL = (1, 1, 1), (0, 0, 1)
F0, TE = 127.7e6, 0.0286
SCAN = {"centre_frequency": F0, "echo_time": TE, "margin": 8}
SAME_GRID = {**SCAN, "margin": None}
TO_RAD, KAPPA = 2 * np.pi * TE, 2 * np.pi * F0 * TE * 1e-6
ALPHA1, MU1, MU2, BETA, MUH = 5e-4, 5e-2, 1.0, 150.0, 3.0


@pytest.fixture(scope="module")
def chi():
    out = np.zeros(SHAPE, np.float32)
    for centre, radius, value in (
        ((5, 0, 3), 4, 0.1),
        ((-7, 5, -3), 3, -0.08),
        ((0, -9, 0), 2, 0.2),
    ):
        out[((R - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2] = value
    return out


@pytest.fixture(scope="module")
def field(chi):
    return (1e-6 * F0) * dipole_field(chi, ISO, AXIAL)


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(5)
    return ((1 + 0.2 * rng.standard_normal(SHAPE)).clip(0.2, 2) * MASK).astype(np.float32)


def error(estimate, truth, mask=MASK):
    return contrast_error(estimate, truth, mask)


class Plain:
    """Both ways of minimising in double precision, as the equations are written [rad]."""

    def __init__(self, y, roi, w_in, voxel, b0, nonlinear, sign, linear_start):
        self.y, self.nonlinear, self.linear_start = y, nonlinear, linear_start
        self.kernel = dipole_kernel(y.shape, voxel, b0).astype(float)
        lx, ly, lz = laplacian_symbols(y.shape)
        self.lap = (lx[:, None, None] + ly[:, None] + lz).astype(float)
        edges = -gradient(w_in.astype(float))
        edges = np.maximum(np.abs(edges) if sign == "absolute" else edges, 1e-3)
        self.threshold = edges.mean() / edges * ALPHA1 / MU1
        self.w2, self.m = (w_in / w_in.max()) ** 2, roi.astype(float)

    def filtered(self, volume, symbol):
        return np.fft.irfftn(symbol * np.fft.rfftn(volume), self.y.shape)

    def soft(self, v):
        return np.sign(v) * np.maximum(np.abs(v) - self.threshold, 0)

    def fit(self, v, t):
        """Return z2, the least of the data term and mu2 / 2 (z2 - v)^2."""
        if not self.nonlinear or t <= self.linear_start:
            return (self.w2 * self.y + MU2 * v) / (self.w2 + MU2)
        turns = 2 * np.pi * np.rint((v - self.y) / (2 * np.pi))
        low, high = self.y + turns - np.pi, self.y + turns + np.pi
        for _ in range(60):  # bisection: the derivative never falls below zero
            z2 = 0.5 * (low + high)
            below = self.w2 * np.sin(z2 - self.y) + MU2 * (z2 - v) < 0
            low, high = np.where(below, z2, low), np.where(below, high, z2)
        return z2

    def joint(self, n_iter, weak_harmonic, relax):
        """Solve the least-squares problem of x and h for each frequency, two by two."""
        shape, k, lap = self.y.shape, self.kernel, self.lap
        s2, zh, sh = (np.zeros(shape) for _ in range(3))
        z2, z1, s1 = self.w2 * self.y, np.zeros((3, *shape)), np.zeros((3, *shape))
        for t in range(1, n_iter + 1):
            top_x = MU1 * np.fft.rfftn(gradient_adjoint(z1 - s1)) + MU2 * k * np.fft.rfftn(z2 - s2)
            top_h = MU2 * np.fft.rfftn(z2 - s2) + MUH * lap * np.fft.rfftn(zh - sh)
            xx, xh, hh = MU2 * k**2 + MU1 * lap + 1e-12, MU2 * k, MU2 + MUH * lap**2
            if not weak_harmonic:
                xh, hh, top_h = 0 * xh, np.ones_like(hh), 0 * top_h
            determinant = xx * hh - xh**2
            determinant[0, 0, 0] = np.inf
            x = np.fft.irfftn((hh * top_x - xh * top_h) / determinant, shape)
            h = np.fft.irfftn((top_h - xh * np.fft.rfftn(x)) / hh, shape)
            if t == n_iter:
                return x, h
            v = relax * gradient(x) + (1 - relax) * z1 + s1
            z1 = self.soft(v)
            s1 = v - z1
            if self.nonlinear and t == self.linear_start + 1:
                s2 = np.zeros(shape)
            pace = 1 if self.nonlinear else relax
            v = pace * (self.filtered(x, k) + h) + (1 - pace) * z2 + s2
            z2 = self.fit(v, t)
            s2 = v - z2
            u = relax * self.filtered(h, lap) + (1 - relax) * zh + sh
            zh = MUH * u / (MUH + BETA * self.m)
            sh = u - zh

    def alternating(self, n_iter, weak_harmonic):
        """Transcribe the published iterations."""
        shape, k, lap = self.y.shape, self.kernel, self.lap
        s2, h, zh, sh = (np.zeros(shape) for _ in range(4))
        z2, z1, s1 = self.w2 * self.y, np.zeros((3, *shape)), np.zeros((3, *shape))
        for t in range(1, n_iter + 1):
            top = MU1 * np.fft.rfftn(gradient_adjoint(z1 - s1)) + MU2 * k * np.fft.rfftn(
                z2 - s2 - h
            )
            spectrum = top / (MU2 * k**2 + MU1 * lap + 1e-12)
            spectrum[0, 0, 0] = 0
            x = np.fft.irfftn(spectrum, shape)
            if weak_harmonic:
                x *= self.m
            if t == n_iter:
                return x, h
            v = gradient(x) + s1
            z1 = self.soft(v)
            s1 = v - z1
            dx = self.filtered(x, k)
            if self.nonlinear and t == self.linear_start + 1:
                s2 = np.zeros(shape)
            z2 = self.fit(dx + h + s2, t)
            if weak_harmonic:
                top = MU2 * np.fft.rfftn(z2 - s2 - dx) + MUH * lap * np.fft.rfftn(zh - sh)
                h = np.fft.irfftn(top / (MU2 + MUH * lap**2), shape)
                u = self.filtered(h, lap) + sh
                zh = MUH * u / (MUH + BETA * self.m)
                sh = u - zh
            s2 = s2 + dx + h - z2


@pytest.mark.slow
@pytest.mark.parametrize("iterations", ["joint", "alternating"])
@pytest.mark.parametrize("sign", ["absolute", "signed"])
@pytest.mark.parametrize("nonlinear", [True, False])
@pytest.mark.parametrize("weak_harmonic", [True, False])
def test_equals_the_plain_equations(field, weights, weak_harmonic, nonlinear, sign, iterations):
    """Fused single-precision loops, odd grid, oblique B0, wrapped data, a hole of weight 0."""
    noisy = 3 * field + np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    cut = np.s_[4:-15, 2:-19, 4:-13]
    noisy, roi, w = noisy[cut], MASK[cut], weights[cut].copy()
    w[10:12, 8:10, 6:8] = 0
    voxel, b0 = (1, 1.2, 0.9), (0.0, 0.6, 0.8)
    plain = Plain(noisy * roi * TO_RAD, roi, w, voxel, b0, nonlinear, sign, linear_start=5)
    if iterations == "joint":
        x, h = plain.joint(40, weak_harmonic, RELAXATION)
    else:
        x, h = plain.alternating(40, weak_harmonic)
    ours = fansi(
        noisy, roi, w, voxel, b0, **SAME_GRID, maximum_iterations=40,
        tolerance_percent=1e-6, weak_harmonic=weak_harmonic, nonlinear=nonlinear,
        start="zero", linear_start=5, regularisation_weight=f"vector-{sign}",
        iterations=iterations,
    )  # fmt: skip
    scale = np.linalg.norm(x * roi / KAPPA)
    assert np.linalg.norm(ours.chi - x * roi / KAPPA) < 1e-4 * scale
    assert ours.n_iterations == 40
    assert not ours.converged
    if weak_harmonic:
        expected = h * roi / TO_RAD
        assert np.linalg.norm(ours.harmonic_field - expected) < 1e-3 * np.linalg.norm(expected)
    else:
        assert ours.harmonic_field is None


def test_known_susceptibility(chi, field, weights):
    result = fansi(field, MASK, weights, ISO, AXIAL, **SCAN, weak_harmonic=False)
    assert result.converged
    assert error(result.chi, chi) < 0.2
    for value in (0.1, -0.08, 0.2):
        where = np.isclose(chi, value)
        background = result.chi[MASK & (chi == 0)].mean()
        assert result.chi[where].mean() - background == pytest.approx(value, rel=0.1)


@pytest.mark.slow
def test_leftover_harmonic_field(chi, field):
    """Total variation alone takes it for susceptibility; the weak-harmonic term does not."""
    x, y, z = R / 20
    leftover = (3 * (x * y + 0.5 * x + 0.3 * z)).astype(np.float32)
    ones = MASK.astype(np.float32)
    options = {
        **SCAN,
        "tolerance_percent": 0.02,
        "n_threads": 2,
        "gradient_l1_penalty": 5e-5,
        "gradient_consistency": 5e-3,
    }
    weak = fansi(field + leftover, MASK, ones, ISO, AXIAL, **options)
    plain_tv = fansi(field + leftover, MASK, ones, ISO, AXIAL, **options, weak_harmonic=False)
    clean = fansi(field, MASK, ones, ISO, AXIAL, **options)
    assert error(weak.chi, clean.chi) < 0.03
    assert error(plain_tv.chi, clean.chi) > 0.5
    assert error(weak.harmonic_field - clean.harmonic_field, leftover) < 0.1


def test_objective_decreases(chi, field, weights):
    """The last iterations of plain TV go down in what they minimise."""
    edges = np.maximum(np.abs(gradient(weights)), 1e-3)
    r = edges.mean() / edges
    w2 = (weights / weights.max()) ** 2
    kernel = dipole_kernel(SHAPE, ISO, AXIAL)
    values = []

    for n in (5, 20, 60):
        out = []
        result = fansi(
            field, np.ones(SHAPE, bool), np.where(MASK, weights, 0), ISO, AXIAL, **SAME_GRID,
            maximum_iterations=n, tolerance_percent=1e-6, weak_harmonic=False,
            progress=lambda i, u, out=out: out.append((i, u)),
        )  # fmt: skip
        assert [i for i, _ in out] == list(range(1, n + 1))
        x = KAPPA * result.chi
        misfit = np.fft.irfftn(kernel * np.fft.rfftn(x), SHAPE) - field * TO_RAD
        values.append((w2 * (1 - np.cos(misfit))).sum() + 5e-4 * np.abs(r * gradient(x)).sum())
    assert values[0] > values[1] > values[2]


def test_strong_source_needs_a_start(weights):
    """A calcification turns the phase several times; the cosine from zero locks in too early."""
    stone = np.where(((R - 2.5) ** 2).sum(axis=0) <= 9, -2.0, 0.0).astype(np.float32)
    field = (1e-6 * F0) * dipole_field(stone, ISO, AXIAL)
    w = np.where(stone < 0, 0.3 * weights, weights)
    started = fansi(field, MASK, w, ISO, AXIAL, **SCAN)
    linear = fansi(field, MASK, w, ISO, AXIAL, **SCAN, start="zero", linear_start=10)
    paper = fansi(field, MASK, w, ISO, AXIAL, **SCAN, start="zero")
    assert error(started.chi, stone) < 0.3
    assert error(linear.chi, stone) < 0.3
    assert error(paper.chi, stone) > 2 * error(started.chi, stone)


@pytest.mark.slow
def test_whole_turns_do_not_matter(field, weights):
    """The point of the nonlinear data term: stray unwrapping errors are ignored."""
    turned = field.copy()
    turned.flat[np.random.default_rng(2).choice(field.size, 200, replace=False)] += 1 / TE
    clean = fansi(field, MASK, weights, ISO, AXIAL, **SCAN)
    nonlinear = fansi(turned, MASK, weights, ISO, AXIAL, **SCAN)
    linear = fansi(
        turned, MASK, weights, ISO, AXIAL, **SCAN, nonlinear=False, maximum_iterations=100
    )
    assert error(nonlinear.chi, clean.chi) < 0.1
    assert error(linear.chi, clean.chi) > 1


def test_hole_is_inpainted(chi, field, weights):
    """No data in a hole: finite, continuous values there, and the rest unharmed."""
    hole = ((R - np.reshape((5, 0, 3), (3, 1, 1, 1))) ** 2).sum(axis=0) <= 4
    spoilt = np.where(hole, 1e3, field)
    result = fansi(spoilt, MASK, np.where(hole, 0, weights), ISO, AXIAL, **SCAN)
    assert error(result.chi, chi) < 0.25
    assert result.chi[hole].mean() == pytest.approx(0.1, abs=0.04)


def test_axes_may_be_permuted_and_flipped(field, weights):
    straight = fansi(field, MASK, weights, ISO, AXIAL, **SCAN)
    turned = fansi(turn(field), turn(MASK), turn(weights), ISO, (-1, 0, 0), **SCAN)
    assert error(turned.chi[::-1].transpose(1, 2, 0), straight.chi) < 0.02


def test_threads_do_not_change_the_result(field, weights):
    one, two, five = (
        fansi(field, MASK, weights, ISO, AXIAL, **SCAN, maximum_iterations=15, n_threads=n).chi
        for n in (1, 2, 5)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, five)


def test_zero_outside_and_input_untouched(field, weights):
    spoilt = np.where(MASK, field, np.nan)
    before = spoilt.copy()
    result = fansi(
        spoilt, MASK, np.where(MASK, weights, np.nan), ISO, AXIAL, **SCAN, maximum_iterations=5
    )
    assert result.chi.dtype == np.float32
    for volume in (result.chi, result.harmonic_field):
        assert np.isfinite(volume).all()
        assert not volume[~MASK].any()
    np.testing.assert_array_equal(spoilt, before)


def test_no_field_gives_no_susceptibility(weights):
    result = fansi(np.zeros(SHAPE), MASK, weights, ISO, AXIAL, **SCAN)
    assert result.converged
    assert not result.chi.any()


def test_gradient_adjoint(rng):
    x, g = rng.standard_normal((7, 8, 9)), rng.standard_normal((3, 7, 8, 9))
    assert np.vdot(gradient(x), g) == pytest.approx(np.vdot(x, gradient_adjoint(g)), rel=1e-10)
    lx, ly, lz = laplacian_symbols(x.shape)
    lap = np.fft.irfftn(np.fft.rfftn(x) * (lx[:, None, None] + ly[:, None] + lz), x.shape)
    np.testing.assert_allclose(gradient_adjoint(gradient(x)), lap, atol=1e-5)


def test_mean_edge():
    step = np.zeros((10, 10, 10), np.float32)
    step[5:] = 1.0
    floor = 1e-3
    assert mean_edge(step, "none") == pytest.approx(floor)
    assert mean_edge(step, "vector-absolute") == pytest.approx((0.2 + 0.8 * floor + 2 * floor) / 3)
    assert mean_edge(step, "vector-signed") == pytest.approx((0.1 + 0.9 * floor + 2 * floor) / 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.zeros(SHAPE, bool)}, "empty"),
        ({"mask": np.ones((3, 3, 3), bool)}, "same 3-D volume"),
        ({"local_field": np.full(SHAPE, np.nan)}, "finite"),
        ({"weights": -np.ones(SHAPE)}, "weights"),
        ({"weights": np.zeros(SHAPE)}, "weights"),
        ({"echo_time": 0.0}, "> 0"),
        ({"regularisation_weight": "magic"}, "regularisation"),
        ({"iterations": "magic"}, "iterations"),
        ({"start": "magic"}, "start"),
        ({"margin": "wide"}, "margin"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {
        "local_field": np.zeros(SHAPE), "mask": MASK, "weights": np.ones(SHAPE),
        "voxel_size": ISO, "b0_direction": AXIAL, **SCAN, **change,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        fansi(**arguments)


@pytest.mark.slow
def test_reference_software(shared_dir):
    """FANSI v3, run in Octave on the same field, from zero and on the same grid."""
    folder = shared_dir / "reference"

    def load(name):
        return np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, dtype=np.float32)

    mask, expected = load("mask_vsharp_sepia") > 0, load("chi_FANSI_WH_vsharp")
    result = fansi(
        load("localfield_vsharp_sepia_hz"), mask, load("weights_sepia_v1"), ISO, AXIAL,
        centre_frequency=3 * 42.577478518e6, echo_time=28.57e-3, n_threads=2,
        regularisation_weight="vector-signed", start="zero", margin=None,
        iterations="alternating",
    )  # fmt: skip
    # FANSI's Newton steps do not converge in the voxels that are nearly half a turn off
    assert error(result.chi, expected, mask) < 0.05
    assert np.corrcoef(result.chi[mask], expected[mask])[0, 1] > 0.998
    assert np.polyfit(expected[mask], result.chi[mask], 1)[0] == pytest.approx(1, abs=0.03)
