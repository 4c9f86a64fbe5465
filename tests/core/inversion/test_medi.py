"""MEDI against a plain transcription of its equations, and on known susceptibilities."""

import nibabel as nib
import numpy as np
import pytest
from volumes import contrast_error, turn

from qsmbids.core.inversion.dipole import dipole_field, dipole_kernel
from qsmbids.core.inversion.medi import medi
from qsmbids.core.inversion.medi_smv import smv_kernel
from qsmbids.core.inversion.medi_solver import Problem, System, merit_factor
from qsmbids.core.maths.parallel import planes

SHAPE = (36, 40, 32)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([15, 17, 13], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
ISO, AXIAL = (1, 1, 1), (0, 0, 1)
F0, DTE = 127.7e6, 0.00583
SCAN = {"centre_frequency": F0, "echo_spacing": DTE, "margin": 4, "maximum_cg_steps": 50}
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
    return contrast_error(estimate, truth, mask)


def distance(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def gradient(x, voxel):
    return [np.diff(x, axis=a, append=np.take(x, [-1], axis=a)) / h for a, h in enumerate(voxel)]


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
    noise = np.zeros(y.shape)
    noise[mask] = 1 / weights[mask].astype(float)
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


@pytest.mark.slow
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
        noisy, mask, w, mag, VOXEL, OBLIQUE, **{**SCAN, "margin": None, "maximum_cg_steps": 20},
        smv_radius_mm=radius, fluid=inner, maximum_steps=3, tolerance=1e-9, cg_tolerance=1e-9,
        preconditioner=False,
    )  # fmt: skip
    np.testing.assert_array_equal(ours.mask, support)
    assert ours.edge_threshold == pytest.approx(threshold, rel=1e-5)
    assert distance(ours.chi, expected) < 2e-5
    assert (ours.n_steps, ours.n_cg_steps, ours.converged) == (3, 60, False)
    if csf:
        assert ours.chi[inner].mean(dtype=float) == pytest.approx(0, abs=1e-7)


def test_preconditioner_finds_the_same_sooner(field, weights, magnitude):
    """A Gauss-Newton step, to a small residual."""
    noisy = field + 0.3 * np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    options = {
        **SCAN,
        "smv_radius_mm": 3,
        "maximum_steps": 1,
        "maximum_cg_steps": 800,
    }
    ours, slow = (
        medi(
            noisy, MASK, weights, magnitude, ISO, AXIAL, **options, cg_tolerance=1e-3,
            preconditioner=on,
        )
        for on in (True, False)
    )  # fmt: skip
    assert error(ours.chi, slow.chi, ours.mask) < 0.005
    assert ours.n_cg_steps < 0.5 * slow.n_cg_steps
    assert max(ours.cg_residuals) <= 1e-3


@pytest.mark.slow
def test_crop_does_not_matter(field, weights, magnitude):
    """The filtered dipole does not reach over the margin."""
    options = {
        **SCAN,
        "smv_radius_mm": 3,
        "maximum_cg_steps": 200,
        "cg_tolerance": 1e-3,
        "maximum_steps": 2,
    }
    auto, wide = (
        medi(field, MASK, weights, magnitude, ISO, AXIAL, **{**options, "margin": margin})
        for margin in ("auto", 16)
    )
    np.testing.assert_array_equal(auto.mask, wide.mask)
    assert error(auto.chi, wide.chi, wide.mask) < 1e-3


def test_known_susceptibility(chi, field, weights, magnitude):
    result = medi(field, MASK, weights, magnitude, ISO, AXIAL, **PLAIN)
    assert result.converged
    np.testing.assert_array_equal(result.mask, MASK)
    assert error(result.chi, chi) < 0.03
    outside = result.chi[MASK & (chi == 0)].mean()
    for where, value in NUCLEI:
        assert result.chi[where].mean() - outside == pytest.approx(value, rel=0.02)


def test_leftover_background_is_filtered(chi, field, weights, magnitude):
    """The SMV filter removes a harmonic field, which it does not tell from susceptibility."""
    x, y, z = R / 20
    leftover = (20 * (x * y + 0.5 * x + 0.3 * z)).astype(np.float32)
    options = {**SCAN, "merit": False, "smv_radius_mm": 3}
    clean = medi(field, MASK, weights, magnitude, ISO, AXIAL, **options)
    spoilt = medi(field + leftover, MASK, weights, magnitude, ISO, AXIAL, **options)
    bare = medi(field + leftover, MASK, weights, magnitude, ISO, AXIAL, **PLAIN)
    assert error(spoilt.chi, clean.chi, clean.mask) < 2e-3
    assert error(bare.chi, chi, clean.mask) > 0.5
    assert error(clean.chi, chi, clean.mask) < 0.01


def test_mask_loses_the_radius(field, weights, magnitude):
    """In mm, not in voxels: 4 mm are four voxels of 1 mm and two of 2 mm."""
    block = np.zeros(SHAPE, bool)
    block[6:30, 8:32, 6:26] = True
    options = {**SCAN, "smv_radius_mm": 4.0, "maximum_steps": 1, "maximum_cg_steps": 1}
    ones = np.ones(SHAPE)
    result = medi(field, block, ones, magnitude, (1, 2, 1), AXIAL, **options)
    kept = [np.flatnonzero(result.mask.any(axis=a)) for a in ((1, 2), (0, 2), (0, 1))]
    assert [(k[0], k[-1] + 1) for k in kept] == [(10, 26), (10, 30), (10, 22)]
    assert not result.chi[~result.mask].any()


def test_whole_turns_do_not_matter(field, weights, magnitude):
    """Without MERIT, that would take them for errors before the first step, and without SMV."""
    turned = field.copy()
    turned.flat[np.random.default_rng(2).choice(field.size, 2000, replace=False)] += 1 / DTE
    turned.flat[np.random.default_rng(4).choice(field.size, 2000, replace=False)] -= 2 / DTE
    clean = medi(field, MASK, weights, magnitude, ISO, AXIAL, **PLAIN)
    same = medi(turned, MASK, weights, magnitude, ISO, AXIAL, **PLAIN)
    assert distance(same.chi, clean.chi) < 1e-3


@pytest.mark.slow
def test_merit_disarms_a_bad_voxel(chi, field, weights, magnitude):
    """Voxels whose phase is nonsense streak without it."""
    spoilt = field.copy()
    bad = np.random.default_rng(2).choice(np.flatnonzero(MASK), 40, replace=False)
    spoilt.flat[bad] += 80
    on, off = (
        medi(spoilt, MASK, weights, magnitude, ISO, AXIAL, **{**PLAIN, "merit": merit})
        for merit in (True, False)
    )
    assert error(on.chi, chi) < 0.05
    assert error(off.chi, chi) > 1


def test_merit_factor():
    """Six standard deviations of the size of the misfit, squared beyond."""
    phase = np.zeros(1000)
    phase[0] = np.pi / 2
    factor = merit_factor(phase, np.zeros(1000), np.ones(1000))
    misfit = np.exp(1j * phase) - 1
    size = np.abs(misfit - misfit.mean())
    assert factor[0] == pytest.approx((size[0] / (6 * size.std(ddof=1))) ** 2)
    assert factor[0] > 1
    np.testing.assert_array_equal(factor[1:], 1)
    np.testing.assert_array_equal(merit_factor(phase * 0, phase * 0, np.ones(1000)), 1)


@pytest.mark.slow
def test_csf_becomes_homogeneous(chi, field, weights, magnitude):
    """MEDI+0: a spread in the cerebrospinal fluid is not believed; its mean is the reference."""
    csf = ball((4, -7, -3), 3) & (chi == 0)
    noisy = field + np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    plus, without = (
        medi(noisy, MASK, weights, magnitude, ISO, AXIAL, **PLAIN, fluid=m, fluid_weight=1000)
        for m in (csf, None)
    )
    assert plus.chi[csf].std() < 0.3 * without.chi[csf].std()
    assert plus.chi[csf].mean(dtype=float) == pytest.approx(0, abs=1e-7)
    assert error(plus.chi, without.chi) < 0.3


def test_voxel_without_data(chi, field, weights, magnitude):
    """Weight 0: whatever the field says there, the map is finite and the rest unharmed."""
    hole = ball((4, 0, 2), 1.5)
    spoilt = np.where(hole, 1e3, field)
    w = np.where(hole, 0, weights)
    result = medi(spoilt, MASK, w, magnitude, ISO, AXIAL, **PLAIN)
    same = medi(field, MASK, w, magnitude, ISO, AXIAL, **PLAIN)
    assert distance(result.chi, same.chi) < 1e-3
    assert result.chi[hole].mean() == pytest.approx(0.1, abs=0.01)


def test_axes_may_be_permuted_and_flipped(field, weights, magnitude):
    options = {
        **SCAN,
        "smv_radius_mm": 3,
        "maximum_cg_steps": 200,
        "cg_tolerance": 1e-3,
        "maximum_steps": 2,
    }
    straight = medi(field, MASK, weights, magnitude, ISO, AXIAL, **options)
    turned = medi(
        turn(field), turn(MASK), turn(weights), turn(magnitude), ISO, (-1, 0, 0), **options
    )
    np.testing.assert_array_equal(turned.mask[::-1].transpose(1, 2, 0), straight.mask)
    assert error(turned.chi[::-1].transpose(1, 2, 0), straight.chi, straight.mask) < 1e-3


def test_threads_do_not_change_the_result(field, weights, magnitude):
    options = {**SCAN, "smv_radius_mm": 3, "maximum_steps": 2, "maximum_cg_steps": 10}
    one, two, five = (
        medi(field, MASK, weights, magnitude, ISO, AXIAL, **options, n_threads=n).chi
        for n in (1, 2, 5)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, five)


def test_only_relative_weights_and_magnitudes_count(field, weights, magnitude):
    """But the phase does not scale: the smoothing and lambda have its unit."""
    options = {**SCAN, "smv_radius_mm": 3, "maximum_steps": 2, "data_weight": 20.0}
    field = field + np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    once = medi(field, MASK, weights, magnitude, ISO, AXIAL, **options)
    more = medi(field, MASK, 1e3 * weights, 1e-2 * magnitude, ISO, AXIAL, **options)
    assert distance(more.chi, once.chi) < 1e-4
    longer = medi(
        field, MASK, weights, magnitude, ISO, AXIAL, **{**options, "echo_spacing": 3 * DTE}
    )
    assert distance(longer.chi, once.chi) > 5e-3


def test_operator_is_symmetric_and_positive(field, weights, magnitude, rng):
    """<Ax, y> = <x, Ay> with the filter, free edges, an oblique B0 and the fluid's term."""
    grid = (20, 22, 18)
    x, z = (rng.standard_normal(grid).astype(np.float32) for _ in range(2))
    problem = Problem(
        y=np.zeros(grid, np.float32), noise=np.ones(grid, np.float32),
        support=np.ones(grid, bool),
        kernel=dipole_kernel(grid, VOXEL, OBLIQUE) * (1 - smv_kernel(grid, 3, VOXEL)),
        penalised=rng.random((3, *grid)) < 0.7,
        inverse_size=tuple(np.float32(1 / v) for v in VOXEL), data_weight=10.0, smv=None,
        merit=False, fluid=np.arange(50), fluid_weight=5.0, preconditioner=True, n_threads=1,
    )  # fmt: skip
    with planes(grid[0], 1) as run:
        system = System(problem, run)
        system.linearise(0.01 * x, rng.random(grid).astype(np.float32))
        ax, xax = system.apply(x)
        az, zaz = system.apply(z)
        assert np.vdot(ax, z) == pytest.approx(np.vdot(x, az), rel=1e-3)
        assert xax == pytest.approx(np.vdot(x, ax), rel=1e-4)
        assert min(xax, zaz) > 0
        unit = np.zeros(grid, np.float32)
        unit[5, 6, 7] = 1
        diagonal = system.apply(unit)[1]
        assert system.preconditioner is not None
        scale = system.preconditioner.voxels[5, 6, 7]
    assert 1 / scale**2 == pytest.approx(diagonal, rel=0.01)


def test_zero_outside_and_input_untouched(field, weights, magnitude):
    spoilt = [np.where(MASK, v, np.nan) for v in (field, weights, magnitude)]
    before = [v.copy() for v in spoilt]
    result = medi(
        spoilt[0], MASK, *spoilt[1:], ISO, AXIAL, **SCAN, smv_radius_mm=3, maximum_steps=2
    )
    assert result.chi.dtype == np.float32
    assert np.isfinite(result.chi).all()
    assert not result.chi[~result.mask].any()
    assert not (result.mask & ~MASK).any()
    for a, b in zip(spoilt, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_field_gives_no_susceptibility(weights, magnitude):
    result = medi(np.zeros(SHAPE), MASK, weights, magnitude, ISO, AXIAL, **SCAN)
    assert result.converged
    assert not result.chi.any()


def test_reports_progress(field, weights, magnitude):
    said = []
    result = medi(
        field, MASK, weights, magnitude, ISO, AXIAL, **{**PLAIN, "maximum_cg_steps": 5},
        maximum_steps=3,
        tolerance=1e-9, progress=lambda i, change: said.append((i, change)),
    )  # fmt: skip
    assert said == list(enumerate(result.changes, 1))
    assert len(result.cg_residuals) == result.n_steps == 3
    assert result.n_cg_steps == 15


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.zeros(SHAPE, bool)}, "empty"),
        ({"mask": np.ones((3, 3, 3), bool)}, "same 3-D volume"),
        ({"local_field": np.full(SHAPE, np.nan)}, "field must be finite"),
        ({"magnitude": np.full(SHAPE, np.inf)}, "magnitude must be finite"),
        ({"magnitude": np.zeros(SHAPE)}, "magnitude"),
        ({"weights": -np.ones(SHAPE)}, "weights"),
        ({"weights": np.zeros(SHAPE)}, "weights"),
        ({"echo_spacing": 0.0}, "> 0"),
        ({"data_weight": -1.0}, "> 0"),
        ({"edge_percentage": 0.0}, "percentage"),
        ({"smv_radius_mm": 30.0}, "too thin"),
        ({"smv_radius_mm": -5.0}, "radius"),
        ({"fluid": ~MASK}, "cerebrospinal"),
        ({"margin": "wide"}, "margin"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {
        "local_field": np.zeros(SHAPE), "mask": MASK, "weights": np.ones(SHAPE),
        "magnitude": np.ones(SHAPE), "voxel_size": ISO, "b0_direction": AXIAL, **SCAN, **change,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        medi(**arguments)


@pytest.mark.slow
@pytest.mark.parametrize(("preconditioner", "apart"), [(True, 0.05), (False, 0.04)])
def test_reference_software(shared_dir, preconditioner, apart):
    """The MEDI toolbox, run in Octave by SEPIA with the paper's settings on the same field."""
    folder = shared_dir / "reference"

    def load(name):
        return np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, dtype=np.float32)

    expected = load("chi_MEDI_vsharp")
    result = medi(
        load("localfield_vsharp_sepia_hz"), load("mask_vsharp_sepia") > 0,
        load("weights_sepia_v1"), load("magnitude_rss"), ISO, AXIAL,
        centre_frequency=3 * 42.577478518e6, echo_spacing=5.83e-3, n_threads=2,
        preconditioner=preconditioner,
    )  # fmt: skip
    np.testing.assert_array_equal(result.mask, expected != 0)
    assert result.n_steps == 5
    mask = result.mask
    assert distance(result.chi[mask], expected[mask]) < apart
    assert np.corrcoef(result.chi[mask], expected[mask])[0, 1] > 0.998
    assert np.polyfit(expected[mask], result.chi[mask], 1)[0] == pytest.approx(1, abs=0.02)
