"""PDF against a plain implementation, and what only PDF has: weights, tilt, sources, padding."""

import numpy as np
import pytest
import scipy.ndimage as ndi
from volumes import rms

from qsmbids.core.background.pdf import pdf
from qsmbids.core.inversion.dipole import dipole_field

SHAPE = (32, 36, 30)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([11, 13, 10], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
ISO = (1, 1, 1)


def ball(centre, radius, value):
    inside = ((R - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2
    return np.where(inside, np.float32(value), np.float32(0))


def fields(b0, voxel=ISO):
    """Local and background field [Hz] of balls in and beside the mask."""
    local = ball((3, 0, 2), 3, 0.1) + ball((-4, -3, -2), 2, -0.2)
    outside = ball((0, 16, -9), 2, 9.0) + ball((12, -12, 4), 2, -2.0)
    return tuple(127 * dipole_field(chi, voxel, b0) for chi in (local, outside * ~MASK))


def reference(field, mask, weights, b0, n_iterations, tissue, margin):
    """Plain conjugate gradients in double precision on the same grid."""
    import scipy.fft as sf

    hits = np.argwhere(mask)
    low, high = hits.min(axis=0), hits.max(axis=0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    sizes = [sf.next_fast_len(int(n) + 2 * margin, real=True) for n in high - low]
    place = tuple(slice(margin, margin + n) for n in high - low)
    m, f, w = np.zeros(sizes, bool), np.zeros(sizes), np.zeros(sizes)
    m[place], f[place], w[place] = mask[box], field[box], weights[box]
    design = np.stack([np.ones(m.sum()), *np.nonzero(m)], axis=1)
    f[m] -= design @ np.linalg.lstsq(design, f[m], rcond=None)[0]
    f, w = f * m, w * m / w[m].mean()
    k = np.meshgrid(*(np.fft.fftfreq(n) for n in sizes), indexing="ij")
    k2 = sum(a**2 for a in k)
    along = sum(a * b for a, b in zip(k, b0, strict=True))
    kernel = np.where(k2 > 0, 1 / 3 - along**2 / np.where(k2 > 0, k2, 1), 0)
    s = np.where(m, tissue, 1.0)

    def dipole(x):
        return np.fft.ifftn(kernel * np.fft.fftn(x)).real

    y = np.zeros(sizes)
    r = s * dipole(w**2 * f)
    p, rr = r.copy(), (r**2).sum()
    for _ in range(n_iterations):
        q = s * dipole(w**2 * dipole(s * p))
        step = rr / (p * q).sum()
        y, r = y + step * p, r - step * q
        p, rr = r + p * (r**2).sum() / rr, (r**2).sum()
    out = np.zeros(field.shape)
    out[box] = (m * (f - dipole(s * y * ~m)))[place]
    return out


@pytest.mark.parametrize(("b0", "tissue"), [((0, 0, 1), 0.0), ((0, 0.6, 0.8), 0.05)])
def test_plain_implementation(b0, tissue, rng):
    local, background = fields(b0)
    weights = 0.5 + rng.random(SHAPE)
    expected = reference(local + background, MASK, weights, b0, 12, tissue, 6)
    found = pdf(
        local + background, MASK, ISO, b0, weights=weights, tissue=tissue,
        padding_mm=6, coarse_iterations=0, maximum_iterations=12, tolerance=1e-9,
    )  # fmt: skip
    assert found.n_iterations == 12
    assert rms(found.local_field - expected) < 1e-3 * rms(expected)


@pytest.mark.parametrize("b0", [(0, 0, 1), (0, 0.5, 0.866), (0.48, 0.6, 0.64)])
def test_background_goes_and_local_field_stays(b0):
    local, background = fields(b0)
    inner = ndi.binary_erosion(MASK, iterations=2)
    alone = pdf(background, MASK, ISO, b0, padding_mm=10)
    assert rms(alone.local_field[inner]) < 0.02 * background[MASK].std()
    found = pdf(local + background, MASK, ISO, b0, padding_mm=10)
    a = found.local_field[inner] - found.local_field[inner].mean(dtype=float)
    b = local[inner] - local[inner].mean(dtype=float)
    assert 0.88 < a @ b / (b @ b) < 1.02
    np.testing.assert_array_equal(found.mask, MASK)


def test_sources_in_the_tissue_keep_more_of_the_local_field():
    local, background = fields((0, 0, 1))
    error, slope = {}, {}
    b = local[MASK] - local[MASK].mean(dtype=float)
    for tissue in (0.0, 0.03):
        found = pdf(local + background, MASK, ISO, (0, 0, 1), tissue=tissue, padding_mm=10)
        a = found.local_field[MASK] - found.local_field[MASK].mean(dtype=float)
        error[tissue], slope[tissue] = rms(a - b), a @ b / (b @ b)
    assert error[0.03] < error[0.0]
    assert slope[0.0] < slope[0.03] < 1.02


def test_direction_of_the_field_matters():
    """With the wrong direction the sources of the tissue cannot explain the local field."""
    b0 = (0, 0.6, 0.8)
    local, background = fields(b0)
    error = {}
    for guess in (b0, (0, -0.6, 0.8)):
        found = pdf(local + background, MASK, ISO, guess, tissue=0.1, padding_mm=8)
        error[guess] = rms((found.local_field - local)[MASK])
    assert error[b0] < 0.9 * error[0, -0.6, 0.8]


def test_direction_need_not_have_length_one():
    total = sum(fields((0, 0, 1)))
    one = pdf(total, MASK, ISO, (0, 0, 1), padding_mm=6)
    two = pdf(total, MASK, ISO, (0, 0, 2), padding_mm=6)
    np.testing.assert_allclose(two.local_field, one.local_field, atol=1e-4)


def test_coarse_start_saves_iterations_and_keeps_the_result():
    local, background = fields((0, 0, 1))
    total = local + 30 * background  # as strong as in a head
    options = {"padding_mm": 8, "maximum_iterations": 100}
    cold = pdf(total, MASK, ISO, (0, 0, 1), coarse_iterations=0, **options)
    warm = pdf(total, MASK, ISO, (0, 0, 1), **options)
    assert warm.converged
    assert cold.converged
    assert warm.n_iterations < 0.8 * cold.n_iterations
    inner = ndi.binary_erosion(MASK, iterations=2)
    difference = (warm.local_field - cold.local_field)[inner]
    assert rms(difference) < 0.15 * rms(cold.local_field[inner])


def test_weights_have_no_unit_and_a_cap(rng):
    total = sum(fields((0, 0, 1)))
    weights = 0.5 + rng.random(SHAPE)

    def run(w):
        return pdf(total, MASK, ISO, (0, 0, 1), weights=w, padding_mm=6).local_field

    plain = run(weights)
    np.testing.assert_allclose(run(1000 * weights), plain, atol=1e-4)
    spike = weights.copy()
    spike[16, 18, 15] = 1e9
    assert rms(run(spike) - plain) < 0.05 * rms(plain)
    missing = weights.copy()
    missing[16, 18, 15] = np.nan
    assert rms(run(missing) - plain) < 0.05 * rms(plain)


def test_voxels_of_no_weight_do_not_disturb_the_others():
    total = sum(fields((0, 0, 1)))
    weights = MASK.astype(float)
    bad = ball((2, 3, 1), 1.5, 1) > 0
    weights[bad] = 0
    broken = np.where(bad, total + 500, total)
    # the plane is fitted before, and leaves only harmonic traces of the broken voxels
    with_weights = pdf(broken, MASK, ISO, (0, 0, 1), weights=weights, padding_mm=6)
    without = pdf(broken, MASK, ISO, (0, 0, 1), padding_mm=6)
    clean = pdf(total, MASK, ISO, (0, 0, 1), padding_mm=6)
    good = MASK & ~bad
    error = rms((with_weights.local_field - clean.local_field)[good])
    assert error < 0.2 * rms((without.local_field - clean.local_field)[good])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": np.zeros(SHAPE)}, "weights"),
        ({"weights": -np.ones(SHAPE)}, "weights"),
        ({"weights": np.ones((3, 3, 3))}, "one volume"),
        ({"tissue": -0.1}, "tissue"),
        ({"padding_mm": -1}, "padding"),
        ({"coarse_iterations": -1}, "coarse"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        pdf(np.zeros(SHAPE), MASK, ISO, (0, 0, 1), **options)


def test_bad_direction():
    with pytest.raises(ValueError, match="direction"):
        pdf(np.zeros(SHAPE), MASK, ISO, (0, 0, 0))
