"""The inversion that sets itself from the field: its error model, its limits, its invariances."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage as ndi

from qsmbids.core.inversion import cone_spectrum
from qsmbids.core.inversion.adaptive_data import without_outliers
from qsmbids.core.inversion.adaptive_inversion import adaptive_inversion
from qsmbids.core.inversion.adaptive_kernels import (
    change_data,
    hold_map,
    scale_gradient_dual,
    squares_in_mask,
    start_gradient,
)
from qsmbids.core.inversion.adaptive_rule import (
    FIRST,
    LocalGradient,
    LocalSquare,
    local_say,
    penalties_for,
    with_local_error,
)
from qsmbids.core.inversion.adaptive_solver import (
    AdaptiveProblem,
    Minimiser,
    Penalties,
    gradient_steps,
    mean_gradient,
    square_frequencies,
)
from qsmbids.core.inversion.cone_spectrum import ErrorModel, local_error, measure_error
from qsmbids.core.inversion.dipole import dipole_field, dipole_kernel
from qsmbids.core.inversion.image_edges import image_edges

SHAPE = (52, 56, 48)
F0, TE = 127.7e6, 0.025
ISO, AXIAL = (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)
TILTED = (0.0, np.sin(0.35), np.cos(0.35))
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([23, 25, 21], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
EVEN = MASK.astype(np.float32)


def texture(seed, shape=SHAPE):
    """A random map [ppm] with power that falls as the third power of frequency, as of tissue."""
    noise = np.fft.rfftn(np.random.default_rng(seed).standard_normal(shape))
    k = np.sqrt(
        np.fft.fftfreq(shape[0])[:, None, None] ** 2
        + np.fft.fftfreq(shape[1])[:, None] ** 2
        + np.fft.rfftfreq(shape[2]) ** 2
    )
    out = np.fft.irfftn(noise * np.maximum(k, 0.03) ** -1.5, shape)
    return (0.03 * out / out.std()).astype(np.float32)


def nuclei():
    out = np.zeros(SHAPE, np.float32)
    for centre, radius, value in (
        ((8, 0, 3), 6, 0.12),
        ((-9, 7, -4), 5, 0.08),
        ((0, -14, 2), 4, -0.06),
    ):
        out[((R - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2] = value
    return out


def hz(chi, b0=AXIAL, voxel=ISO):
    return 1e-6 * F0 * dipole_field(np.where(MASK, chi, 0), voxel, b0)


def invert(field, mask=MASK, weights=EVEN, voxel=ISO, b0=AXIAL, **options):
    settings = {"centre_frequency": F0, "echo_time": TE, **options}
    return adaptive_inversion(field, mask, weights, voxel, b0, **settings)


def deviation(chi, truth, where=MASK):
    a, b = (v[where] - v[where].mean(dtype=float) for v in (chi, truth))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize(("share", "b0"), [(0.01, AXIAL), (0.02, TILTED), (0.04, AXIAL)])
def test_share_of_the_error_is_found(share, b0):
    """b of a field with an error of the spectrum of its susceptibility, b times as strong."""
    shape = (80, 90, 75)
    r = np.indices(shape) - np.reshape([(n - 1) / 2 for n in shape], (3, 1, 1, 1))
    mask = ((r / np.reshape([0.42 * n for n in shape], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
    field = dipole_field(np.where(mask, texture(1, shape), 0), ISO, b0)
    field = np.where(mask, field + np.sqrt(share) * texture(2, shape), 0).astype(np.float32)
    problem = AdaptiveProblem(
        field, mask.astype(np.float32), mask, dipole_kernel(shape, ISO, b0), gradient_steps(ISO), 2
    )
    first = Minimiser(problem, replace(FIRST, harmonic=1e6), np.zeros(shape, np.float32))
    assert measure_error(problem, first.run(20), ISO).share == pytest.approx(share, rel=0.2)


def test_noise_has_no_share():
    noise = 0.5 * np.random.default_rng(4).standard_normal(SHAPE)
    found = invert(noise)
    assert found.error.share == 0.0
    assert found.error.white_ppm == pytest.approx(0.5e6 / F0, rel=0.1)
    assert found.penalties.huber == 0.0
    assert found.error.structured_percent == 0.0
    assert found.chi[MASK].std() < 0.01


def test_white_noise_beside_tissue_is_found():
    noise = np.random.default_rng(4).standard_normal(SHAPE)
    found = invert(hz(texture(1) + nuclei()) + 0.5 * noise).error
    assert found.white_ppm == pytest.approx(0.5e6 / F0, rel=0.15)
    assert found.share < 0.005


def test_nuclei_come_out():
    chi = nuclei()
    noise = 0.1 * np.random.default_rng(3).standard_normal(SHAPE)
    found = invert(hz(chi) + noise)
    assert deviation(found.chi, chi) < 0.15
    assert not found.chi[~MASK].any()
    assert found.n_turned == 0


def model(**values):
    numbers = {
        "white_ppm": 0.002, "share": 0.0, "sigma_ppm": 0.002, "gradient_ppm": 0.02,
        "calm_gradient_ppm": 0.02, "white_percent": 10.0, "structured_percent": 0.0,
    }  # fmt: skip
    return ErrorModel(**{**numbers, **values})


def test_rule():
    """lambda = 0.65 sigma^2 / q with white noise, q that of the calm map; t grows with b."""
    noise = penalties_for(model())
    assert noise.huber == 0
    assert noise.tikhonov == pytest.approx(1e-6)
    assert noise.gradient == pytest.approx(0.65 * 0.002**2 / 0.02)
    calm = penalties_for(model(calm_gradient_ppm=0.01))
    assert calm.gradient == pytest.approx(2 * noise.gradient)
    tissue = penalties_for(model(share=0.02, sigma_ppm=0.006))
    assert 0.2 < tissue.tikhonov / 0.02 <= 1
    assert tissue.huber > 0.01
    assert tissue.gradient > 2 * noise.gradient
    assert np.isfinite(penalties_for(model(gradient_ppm=0.0, calm_gradient_ppm=0.0)).gradient)


def test_a_small_error_of_the_spectrum_of_tissue_is_left_to_the_gradients():
    numbers = {"sigma_ppm": 0.006, "harmonic_ratio": 0.7}
    none, half, whole = (penalties_for(model(share=b, **numbers)) for b in (0.01, 0.015, 0.02))
    assert (none.tikhonov, none.huber, none.low, none.harmonic) == (1e-6, 0, 0, 0)
    assert 0 < half.harmonic < whole.harmonic
    assert half.tikhonov == pytest.approx(whole.tikhonov / 2 * 14 / 19)
    white, rest = 0.65 * 0.002**2 / 0.02, 0.65 * (0.006**2 - 0.002**2) / 0.02
    found = [p.gradient for p in (none, half, whole)]
    assert found == pytest.approx([white + rest, 0.75 * white + rest, rest])
    assert penalties_for(model(share=0.04, **numbers)).harmonic == whole.harmonic
    assert penalties_for(model(share=0.0, harmonic_ratio=0.1)).harmonic > whole.harmonic


def test_white_error_beside_tissue_is_held_at_high_frequencies():
    """By a quarter of Wiener's filter for tissue whose power falls with the third power."""
    none, whole = (penalties_for(model(share=b, sigma_ppm=0.006)) for b in (0.01, 0.04))
    assert none.high == 0
    k = np.sqrt(sum(np.square(a) for a in np.meshgrid(*[np.linspace(-0.5, 0.5, 81)] * 3)))
    band = (k > 0.1) & (k < 0.5)
    power = k[band] ** -3 * (0.006**2 - 0.002**2) / 0.04 / np.mean(k[band] ** -3)
    np.testing.assert_allclose(whole.high * k[band] ** 3, 0.25 * 0.002**2 / power, rtol=0.05)
    assert penalties_for(model(share=0.04, sigma_ppm=0.002)).high < 10


@pytest.mark.parametrize("voxel", [ISO, (1.0, 1.0, 2.0)])
def test_high_frequencies_are_held_by_the_third_power_in_space(voxel):
    """With nothing but D and q, x is D f / (D^2 + q |k|^3)."""
    grid = (16, 18, 20)
    kernel = dipole_kernel(grid, voxel, AXIAL)
    every, field = np.ones(grid, bool), np.random.default_rng(4).standard_normal(grid)
    field -= field.mean()
    problem = AdaptiveProblem(
        field.astype(np.float32), every.astype(np.float32), every, kernel, gradient_steps(voxel)
    )
    penalties = Penalties(1e-2, 1e-7, 0.0, 0.1, harmonic=1e6, high=0.5)
    found = Minimiser(problem, penalties, np.zeros(grid, np.float32)).run(300)
    mean = np.prod(voxel) ** (1 / 3)
    axes = [np.fft.fftfreq(n, v / mean) for n, v in zip(grid, voxel, strict=True)]
    axes[2] = np.fft.rfftfreq(grid[2], voxel[2] / mean)
    cube = sum(a**2 for a in np.meshgrid(*axes, indexing="ij")) ** 1.5
    expected = np.fft.irfftn(kernel * np.fft.rfftn(field) / (kernel**2 + 1e-2 + 0.5 * cube), grid)
    assert deviation(found, expected, every) < 0.01


def test_a_harmonic_rest_is_told_from_an_error():
    """What sources outside left goes; an error with the spectrum of tissue is held."""
    x, y, z = R / 20
    rest = 1e-6 * F0 * 0.01 * (x * y + x**2 - z**2 + 2 * x * z)
    noise = 0.05 * np.random.default_rng(3).standard_normal(SHAPE)
    found = invert(hz(nuclei()) + noise + rest)
    assert found.error.harmonic_ratio > 5
    assert found.penalties.harmonic == 0
    assert deviation(found.chi, nuclei()) < 0.08
    assert deviation(found.harmonic_field, (rest / (1e-6 * F0)).astype(np.float32)) < 0.15
    chi = nuclei() + texture(1)
    error = invert(hz(chi) + noise + 1e-6 * F0 * 0.17 * texture(2)).error
    assert error.harmonic_ratio < 3
    assert penalties_for(error).harmonic > 0


def small_problem():
    part = (slice(10, 42),) * 3
    mask = MASK[part]
    field = (hz(nuclei() + texture(1)) / (1e-6 * F0))[part].astype(np.float32)
    return AdaptiveProblem(
        np.where(mask, field, 0), mask.astype(np.float32), mask,
        dipole_kernel(mask.shape, ISO, AXIAL), gradient_steps(ISO),
    )  # fmt: skip


def objective(problem, x, t, lam, huber):
    size = np.sqrt(sum((np.roll(x, -1, a) - x).astype(float) ** 2 for a in range(3)))
    if huber:
        size = np.where(size < huber, size**2 / (2 * huber), size - huber / 2)
    misfit = problem.weights * (problem.dipole(x.astype(np.float32)) - problem.field) ** 2
    return float(0.5 * misfit.sum() + 0.5 * t * (x.astype(float) ** 2).sum() + lam * size.sum())


@pytest.mark.parametrize("huber", [0.0, 0.02])
def test_minimum_of_the_objective(huber):
    """Without a width it is total variation. From two starts the same, and no way leads down."""
    problem = small_problem()
    penalties = Penalties(1e-4, 2e-4, huber, 0.005, harmonic=1e6)
    zero = np.zeros(problem.grid, np.float32)
    other = np.random.default_rng(1).normal(0, 0.02, problem.grid).astype(np.float32)
    found = [Minimiser(problem, penalties, start).run(400) for start in (zero, other)]
    np.testing.assert_allclose(found[0], found[1], atol=2e-3)
    least = objective(problem, found[0], 1e-4, 2e-4, huber)
    rng = np.random.default_rng(2)
    for scale in (1e-3, 3e-3):
        for way in (
            rng.standard_normal(problem.grid),
            other,
            found[0],
            nuclei()[10:42, 10:42, 10:42],
        ):
            step = scale * way / np.sqrt(np.mean(way**2))
            for sign in (1, -1):
                assert objective(problem, found[0] + sign * step, 1e-4, 2e-4, huber) > least


def test_how_fast_iterations_go_has_no_bearing_on_where_they_end():
    """Consistencies of gradient and field, in both directions; few iterations tell them apart."""
    problem = small_problem()
    start = np.zeros(problem.grid, np.float32)
    ways = [Penalties(1e-4, 2e-4, 0.0, t, harmonic=1e6, fidelity=f) for t, f in
            ((0.005, 1.0), (0.0025, 1.0), (0.005, 0.3))]  # fmt: skip
    ends = [Minimiser(problem, way, start).run(400) for way in ways]
    soon = [Minimiser(problem, way, start).run(10) for way in ways]
    for end, early in zip(ends[1:], soon[1:], strict=True):
        assert deviation(end, ends[0], problem.mask) < 1e-4
        assert deviation(early, soon[0], problem.mask) > 0.02


@pytest.mark.parametrize("factor", [1.0, 0.4])
def test_a_dual_follows_its_lambda_and_z_stays(factor):
    """As long as lambda, beyond Huber's width and within."""
    rng = np.random.default_rng(6)
    x = (0.002 * rng.standard_normal((7, 8, 9))).astype(np.float32)
    before, local = rng.uniform(0.2, 3, (2, *x.shape)).astype(np.float32)
    v, share = np.empty((3, *x.shape), np.float32), np.empty_like(x)
    limit, bend = np.float32(0.005), np.float32(0.8)
    start_gradient(0, 7, v, share, x, gradient_steps(ISO), limit, bend)
    ones = np.ones_like(x)
    scale_gradient_dual(0, 7, v, share, ones, before, np.float32(1), limit, bend)
    size = np.sqrt(((v * (1 - share)) ** 2).sum(axis=0))
    assert 0.2 < np.mean(size > limit * bend) < 0.8
    z, dual = v * (1 - share), v * share
    limit, bend = np.float32(factor) * limit, bend / np.float32(factor)  # of the same width
    scale_gradient_dual(0, 7, v, share, before, local, np.float32(factor), limit, bend)
    np.testing.assert_allclose(v * (1 - share), z, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(v * share, factor * local / before * dual, rtol=1e-4, atol=1e-8)


def test_z_stays_where_data_and_squares_change():
    """The duals within p and y are those of the data and penalties that follow."""
    rng = np.random.default_rng(7)
    p, f, g, y = rng.standard_normal((4, 5, 6, 7)).astype(np.float32)
    m, n, ridge, factor = rng.uniform(0, 2, (4, 5, 6, 7)).astype(np.float32)
    n[0, 0] = 0
    mu, nu, t = np.float32(0.3), np.float32(0.2), np.float32(0.7)
    z = p - m * (p - f) / (m + mu)
    after = p.copy()
    change_data(0, 5, after, f, m, g, n, mu)
    np.testing.assert_allclose(after - n * (after - g) / (n + mu), z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mu * (after - z), n * (z - g), rtol=1e-4, atol=1e-5)
    held, new = y.copy(), ridge.copy()
    hold_map(0, 5, held, new, factor, t, nu)
    np.testing.assert_allclose(new, t * factor, rtol=1e-6)
    z = y * nu / (nu + ridge)
    np.testing.assert_allclose(held * nu / (nu + new), z, rtol=1e-4, atol=1e-6)


def test_outliers_have_little_say_and_data_go_to_the_nearest_turn():
    problem = small_problem()
    rng = np.random.default_rng(8)
    fit = problem.field + 0.01 * rng.standard_normal(problem.grid).astype(np.float32)
    fit[16, 16, 16] += 0.3
    used, turn = problem.weights > 0, 0.25
    found = without_outliers(problem, fit, turn)
    turns = np.rint((fit - problem.field) / turn) * used
    np.testing.assert_allclose(found.field, problem.field + turn * turns, atol=1e-6)
    misfit = fit - found.field
    scale = 8 * np.median(np.abs(misfit[used])) / 0.6744897501960817
    wanted = problem.weights / (1 + (misfit / scale) ** 2) ** 2
    wanted *= problem.weights.sum() / wanted.sum()
    np.testing.assert_allclose(found.weights, wanted, rtol=1e-4)
    assert found.weights[16, 16, 16] < problem.weights[16, 16, 16]
    same = without_outliers(problem, problem.field, turn)
    np.testing.assert_array_equal(same.weights, problem.weights)


@pytest.mark.parametrize("nz", [8, 9])
def test_shells_are_those_of_the_whole_spectrum(nz):
    """Each sample of the half spectrum counts as often as it stands in the whole one."""
    shape, voxel = (10, 12, nz), (1.0, 1.5, 0.8)  # B0 along the third axis
    rng = np.random.default_rng(9)
    field = rng.standard_normal(shape).astype(np.float32)
    kernel = dipole_kernel(shape, voxel, AXIAL)
    half = np.fft.rfftn(field).astype(np.complex64)
    sums = np.zeros((10, cone_spectrum.SHELLS, 8))
    squares = square_frequencies(shape, voxel)
    for part in ((0, 4), (4, 10)):
        cone_spectrum._add_to_shells(*part, half, kernel, *squares, nz, sums)
    found = sums.sum(axis=0)
    power = np.abs(np.fft.fftn(field)) ** 2
    side = np.array(voxel) / np.prod(voxel) ** (1 / 3)
    k = np.meshgrid(*(np.fft.fftfreq(n, s) for n, s in zip(shape, side, strict=True)),
                    indexing="ij")  # fmt: skip
    radius = np.sqrt(sum(v**2 for v in k)).astype(np.float32)
    along = k[2] ** 2 / np.maximum(sum(v**2 for v in k), 1e-30)
    dipole = np.where(radius > 0, 1 / 3 - along, 0)
    shell = np.minimum((radius * cone_spectrum.SHELLS).astype(int), cone_spectrum.SHELLS - 1)
    for first, where in ((0, np.ones(shape, bool)), (2, np.abs(dipole) < 0.08),
                         (5, np.abs(dipole) > 0.25)):  # fmt: skip
        n, total, square = (
            np.bincount(shell[where], v[where], cone_spectrum.SHELLS)
            for v in (np.ones(shape), power, dipole**2)
        )
        np.testing.assert_allclose(found[:, first], n)
        np.testing.assert_allclose(found[:, first + 1], total, rtol=1e-4)
        if first:
            np.testing.assert_allclose(found[:, first + 2], square, rtol=1e-4, atol=1e-6)


def test_iterations_go_on_from_others():
    """With the same penalties nothing moves, with others they end where those from 0 do."""
    problem = small_problem()
    zero, ones = np.zeros(problem.grid, np.float32), np.ones(problem.grid, np.float32)
    penalties = Penalties(1e-4, 2e-4, 0.0, 0.005, harmonic=1e6)
    first = Minimiser(problem, penalties, zero)
    first.run(400)
    again = Minimiser(problem, penalties, first)
    again.run(1)
    assert again.update_percent < 0.02
    again.reweigh(ones, ones)
    again.run(1)
    assert again.update_percent < 0.02
    anew = Minimiser(problem, penalties, first.x)
    anew.run(1)
    assert anew.update_percent > 5 * again.update_percent
    other = replace(penalties, gradient=5e-4, threshold=0.01)
    ends = [Minimiser(problem, other, zero), Minimiser(problem, other, first)]
    ends = [solver.run(400) for solver in ends]
    assert deviation(ends[1], ends[0], problem.mask) < 1e-3


def test_squares_of_differences_count_where_both_voxels_are_in_the_mask():
    x = np.random.default_rng(5).standard_normal((7, 8, 9)).astype(np.float32)
    mask, steps = x > -0.5, gradient_steps((1.0, 2.0, 0.5))
    wanted = np.zeros(x.shape)
    for axis in range(3):
        both = mask & np.roll(mask, -1, axis)
        square = np.where(both, (steps[axis] * (np.roll(x, -1, axis) - x)) ** 2, 0) / 2
        wanted += square + np.roll(square, 1, axis)
    found = np.full_like(x, np.nan)
    squares_in_mask(0, 7, found, x, mask, steps)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_local_square_spares_strong_sources():
    x = np.where(MASK, 0.3 * nuclei() + 0.3 * texture(1), 0).astype(np.float32)
    x[26, 28, 24] += 3.0
    local = LocalSquare(MASK)(x)
    assert local[26, 28, 24] < 0.05
    assert np.median(local[MASK]) > 0.9
    assert (local[~MASK] == 1).all()


def test_gradients_are_those_of_space():
    """A ramp has the same gradient in cubes and in slabs."""
    steps = gradient_steps((1.0, 1.0, 2.0))
    mean = 2.0 ** (1 / 3)
    np.testing.assert_allclose(steps, [mean, mean, mean / 2], rtol=1e-6)
    ramp = np.where(MASK, R[2] * 2.0, 0).astype(np.float32)
    core = ndi.binary_erosion(MASK, iterations=2)
    assert mean_gradient(ramp, core, steps) == pytest.approx(mean)


@pytest.fixture(scope="module")
def tissue():
    noise = 0.2 * np.random.default_rng(3).standard_normal(SHAPE)
    field = hz(texture(1) + nuclei(), TILTED) + noise + 1e-6 * F0 * 0.25 * texture(2)
    return np.where(MASK, field, 0), invert(field, b0=TILTED)


def test_empty_space_does_not_matter(tissue):
    field, found = tissue
    pad = ((7, 3), (0, 12), (5, 5))
    wide = invert(np.pad(field, pad), np.pad(MASK, pad), np.pad(EVEN, pad), b0=TILTED)
    part = tuple(slice(a, a + n) for (a, _), n in zip(pad, SHAPE, strict=True))
    np.testing.assert_array_equal(wide.chi[part], found.chi)
    assert wide.error == found.error


def test_axes_do_not_matter(tissue):
    field, found = tissue
    turn = (2, 0, 1)
    b0 = tuple(TILTED[a] for a in turn)
    other = invert(field.transpose(turn), MASK.transpose(turn), EVEN.transpose(turn), b0=b0)
    assert other.error.share == pytest.approx(found.error.share, rel=0.03)
    assert deviation(other.chi, found.chi.transpose(turn), MASK.transpose(turn)) < 0.05


def test_field_strength_and_scale_of_weights_do_not_matter(tissue):
    field, found = tissue
    other = invert(
        field * 7 / 3, weights=5 * EVEN, b0=TILTED,
        centre_frequency=F0 * 7 / 3, echo_time=TE * 3 / 7,
    )  # fmt: skip
    assert other.error.share == pytest.approx(found.error.share, rel=1e-3)
    assert other.error.error_percent == pytest.approx(found.error.error_percent, rel=1e-3)
    assert deviation(other.chi, found.chi) < 1e-3


def test_threads_do_not_matter(tissue):
    field, found = tissue
    np.testing.assert_array_equal(invert(field, b0=TILTED, n_threads=2).chi, found.chi)


def test_more_threads_than_planes():
    """A thread without a plane leaves those of others alone."""
    problem = small_problem()
    start = np.zeros(problem.grid, np.float32)
    penalties = Penalties(1e-4, 2e-4, 0.0, 0.005)
    found = [
        Minimiser(replace(problem, n_threads=n), penalties, start).run(5)
        for n in (1, 3, problem.grid[0] + 7)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_a_given_error_is_kept(tissue):
    """Values of a study: the same penalties, whatever the field; its own give its own map."""
    field, found = tissue
    again = invert(field, b0=TILTED, error=found.error)
    assert again.error == found.error
    assert again.penalties == found.penalties
    assert deviation(again.chi, found.chi) < 0.06  # which iterations that end early reach


def test_hole_strong_source_and_wrong_turns():
    """A calcification without signal, and about it voxels at a wrong turn."""
    chi = nuclei()
    stone = ((R - np.reshape([-10, -8, 6], (3, 1, 1, 1))) ** 2).sum(axis=0) <= 9
    chi[stone] = -2.4
    weights = np.where(stone, 0, EVEN)
    field = hz(chi) + 0.1 * np.random.default_rng(3).standard_normal(SHAPE)
    clean = invert(field, weights=weights)
    wrong = ndi.binary_dilation(stone, iterations=2) & ~stone & (R.sum(axis=0) % 4 == 0)
    field[wrong] += 3 / TE
    found = invert(field, weights=weights)
    assert found.n_turned >= wrong.sum()
    around = ndi.binary_dilation(stone, iterations=2)
    assert deviation(found.chi, chi, MASK & ~around) < 0.3
    assert deviation(found.chi, clean.chi, MASK & ~around) < 0.1
    assert found.chi[stone].mean() < -1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.zeros(SHAPE, bool)}, "empty"),
        ({"weights": -EVEN}, ">= 0"),
        ({"echo_time": 0.0}, "> 0"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        invert(np.zeros(SHAPE), **change)


def test_no_field_gives_no_map():
    found = invert(np.zeros(SHAPE))
    assert not found.chi.any()
    assert found.error.error_percent == 0


def test_penalty_of_the_gradient_is_less_at_edges():
    problem = small_problem()
    even = np.zeros(problem.grid, np.float32)
    even[16:] = 0.1
    none = image_edges([], problem.mask, problem.steps)
    factor, _ = LocalGradient(problem, none)(even)
    assert factor[15][problem.mask[15]].max() < 0.5 * factor[4][problem.mask[4]].min()
    assert factor[problem.mask].mean() == pytest.approx(1, rel=1e-3)
    assert (LocalGradient(problem, none)(np.zeros_like(even))[0] == 1).all()
    seen = image_edges([even], problem.mask, problem.steps)
    both, shares = LocalGradient(problem, seen)(even)
    assert shares == pytest.approx((1.0,))
    ratio = [(both / factor)[n][seen.inner[n]] for n in (15, 4)]
    assert ratio[0].max() < 0.5 * ratio[1].min()
    of_image, _ = seen.penalty(even, problem.steps)
    np.testing.assert_allclose(both[problem.mask], (factor * of_image)[problem.mask], rtol=1e-5)
    still = image_edges([np.full_like(even, 7.0)], problem.mask, problem.steps)
    assert LocalGradient(problem, still)(even)[1] == (0.0,)
    np.testing.assert_allclose(LocalGradient(problem, still)(even)[0], factor, rtol=1e-5)


def test_error_is_told_apart_by_place():
    """Twice the error of a half is four times its variance; white error has no place."""
    problem = small_problem()
    noise = np.random.default_rng(5).standard_normal(problem.grid).astype(np.float32)
    noise[16:] *= 2
    fit = problem.field + noise
    relative = local_error(problem, fit, model(white_ppm=0.0, sigma_ppm=0.006))
    low, high = (relative[p][problem.mask[p]].mean() for p in (slice(0, 6), slice(26, 32)))
    assert high / low == pytest.approx(4, rel=0.35)
    assert (local_error(problem, fit, model()) == 1).all()
    by_data = local_error(problem, fit, model(white_ppm=0.0, sigma_ppm=0.006), 1.0)
    depth = ndi.distance_transform_edt(problem.mask)
    ratio = by_data / relative
    assert ratio[depth == 1].mean() > 1.2 * ratio[depth > 8].mean()


def test_data_count_less_where_the_error_is():
    problem = small_problem()
    half = np.arange(problem.grid[2]) < problem.grid[2] // 2
    variance = np.broadcast_to(np.where(half, 1, 16), problem.grid).astype(np.float32)
    for texture, ratio in ((0.0, 4.0), (1.0, 8.0)):
        weights = with_local_error(problem, local_say(variance, texture)).weights[problem.mask]
        relative = weights / problem.weights[problem.mask]
        assert relative.max() / relative.min() == pytest.approx(ratio, rel=1e-4)


def test_edges_of_images_help_where_they_are_those_of_the_map_and_else_do_nothing():
    truth = nuclei() + texture(1)
    rng = np.random.default_rng(3)
    field = hz(truth) + np.where(MASK, 0.3 * rng.standard_normal(SHAPE), 0)
    image = (1 - 2 * truth + 0.005 * rng.standard_normal(SHAPE)).astype(np.float32)
    elsewhere = image[::-1, ::-1, ::-1]
    alone, own, wrong = (invert(field, images=v) for v in ([], [image], [elsewhere]))
    assert alone.edge_shares == ()
    assert own.edge_shares[0] > 0.5 > 0.2 > wrong.edge_shares[0]
    errors = [deviation(found.chi, truth) for found in (alone, own, wrong)]
    assert errors[1] < 0.95 * errors[0]
    assert errors[2] == pytest.approx(errors[0], rel=0.01)


def test_unit_and_sign_of_an_image_have_no_bearing():
    truth = nuclei() + texture(1)
    field = hz(truth) + np.where(MASK, np.random.default_rng(4).normal(0, 0.1, SHAPE), 0)
    maps = [invert(field, images=[image]).chi for image in (truth, 5 - 700 * truth)]
    np.testing.assert_allclose(*maps, atol=1e-5)


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="shape"):
        invert(hz(nuclei()), images=[np.zeros((3, 3, 3), np.float32)])
