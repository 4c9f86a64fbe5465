"""Edges of images: what of them the map takes, and what not."""

import numpy as np
import pytest
import scipy.ndimage as ndi
import scipy.optimize

from qsmbids.core.inversion.adaptive_solver import gradient_steps
from qsmbids.core.inversion.image_edges import (
    SMOOTH,
    _fitted,
    _noise,
    _noise_left,
    _non_negative,
    even_out,
    image_edges,
)
from qsmbids.core.maths.gradient import gradient_length

SHAPE = (40, 44, 36)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = (R**2).sum(axis=0) < 17**2
STEPS = gradient_steps((1.0, 1.0, 1.0))


def ball(centre, radius):
    return (((R - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2).astype(
        np.float32
    )


def noise(seed, size):
    return (size * np.random.default_rng(seed).standard_normal(SHAPE)).astype(np.float32)


def test_length_of_the_gradient_of_a_ramp_is_its_slope():
    steps = gradient_steps((1.0, 2.0, 4.0))
    ramp = (3 * np.indices(SHAPE)[1] - 8 * np.indices(SHAPE)[2]).astype(np.float32)
    length = gradient_length(ramp, steps)[:, :-1, :-1]
    np.testing.assert_allclose(length, 5.0, rtol=1e-6)


def test_a_border_of_the_mask_is_no_edge():
    image = np.where(MASK, 1 + noise(5, 0.1), 0)
    edges = image_edges([image], MASK, STEPS)
    assert edges.lengths[0][0].max() < 20
    outside = np.where(MASK, image, 300).astype(np.float32)
    for one, other in zip(
        edges.lengths[0], image_edges([outside], MASK, STEPS).lengths[0], strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert edges.lengths[0][0][edges.inner].mean() == pytest.approx(1, rel=1e-5)


def test_an_image_of_the_map_itself_has_all_of_the_gradients():
    x = 0.1 * ball((3, 0, 0), 7)
    (same, noisy) = (image_edges([image], MASK, STEPS) for image in (5 - 40 * x, noise(1, 1.0)))
    q, shares = same.expected(x, STEPS)
    assert shares == pytest.approx((1.0,))
    length = gradient_length(x, STEPS)
    wanted = length / length[same.inner].mean()
    np.testing.assert_allclose(q[same.inner], wanted[same.inner], rtol=1e-4, atol=1e-5)
    assert noisy.expected(x + noise(2, 0.1), STEPS)[1][0] < 0.05
    factor, _ = same.penalty(x, STEPS)
    edge = length > 0
    assert factor[edge].max() < 0.1 * factor[same.inner & ~edge].min()
    np.testing.assert_allclose((factor * (q + 0.1))[MASK], 1.1, rtol=1e-5)  # 1 where q is
    assert factor[MASK].mean() > 1
    assert (factor[~MASK] == 1).all()


def test_values_that_are_not_finite_are_no_edges():
    image = ball((0, 0, 0), 6)
    broken = image.copy()
    broken[20, 22, 18] = np.inf
    broken[0, 0, 0] = np.nan
    for edges in (image_edges([broken], MASK, STEPS), image_edges([np.nan * image], MASK, STEPS)):
        assert np.isfinite(edges.lengths).all()
    assert not np.any(edges.lengths)


def test_a_smooth_bias_is_no_edge():
    inner = image_edges([], MASK, STEPS).inner
    bias = (1 + 0.8 * R[0] / SHAPE[0]).astype(np.float32)
    steep, even = (
        gradient_length(v, STEPS)[inner].mean() for v in (bias, even_out(bias, MASK, (3, 3, 3)))
    )
    assert even < 0.5 * steep
    flat = even_out(np.full(SHAPE, 12.0, np.float32), MASK, (1, 1, 1))
    np.testing.assert_allclose(flat, 1, rtol=1e-4)
    doubled = [even_out(v, MASK, (1, 1, 2)) for v in (bias, 1000 * bias)]
    np.testing.assert_allclose(*doubled, rtol=1e-4)
    assert (even_out(np.zeros(SHAPE, np.float32), MASK, (1, 1, 1)) == 1).all()


@pytest.mark.parametrize("seed", range(6))
def test_non_negative_least_squares(seed):
    rng = np.random.default_rng(seed)
    matrix, right = rng.standard_normal((40, 4)), rng.standard_normal(40)
    found = _non_negative(matrix.T @ matrix, matrix.T @ right)
    np.testing.assert_allclose(found, scipy.optimize.nnls(matrix, right)[0], atol=1e-10)


def test_noise_is_taken_off():
    """Of nothing but noise, lengths are 0 where they are below its root mean square."""
    sigma = 3.0
    image = noise(6, sigma)
    assert _noise(image, MASK) == pytest.approx(sigma, rel=0.03)
    assert _noise(image + 9 * np.indices(SHAPE)[1].astype(np.float32), MASK) == pytest.approx(
        sigma, rel=0.03
    )
    smooth = ndi.gaussian_filter(image, SMOOTH, truncate=3.0)
    step = np.diff(smooth, axis=1)[4:-4, 4:-4, 4:-4]
    assert step.std() == pytest.approx(np.sqrt(2) * sigma * _noise_left(), rel=0.03)
    edges = image_edges([image + 40 * ball((0, 0, 0), 9)], MASK, STEPS)
    border = gradient_length(ball((0, 0, 0), 9), STEPS) > 0
    for length in edges.lengths[0]:
        assert np.median(length[edges.inner & ~border]) < 0.25 * np.median(length[border])


def test_fit_finds_the_parts_of_a_length():
    """Lengths that scatter in proportion to c0 + c1 e1, beside a second image of no part."""
    rng = np.random.default_rng(8)
    first, second = rng.exponential(1, (2, 50, 40, 30)).astype(np.float32)
    wanted = ((0.4 + 0.6 * first) * rng.gamma(3, 1 / 3, first.shape)).astype(np.float32)
    inner = rng.random(first.shape) < 0.9
    wanted[~inner] = np.nan
    found = [_fitted((first, second), wanted, inner, n) for n in (1, 3)]
    np.testing.assert_allclose(found[0], [0.4, 0.6, 0.0], atol=0.02)
    np.testing.assert_array_equal(*found)


def test_images_side_by_side_are_as_one_by_one():
    images = [5 - 40 * 0.1 * ball((3, 0, 0), 7) + noise(n, 0.2) for n in (3, 4, 5)]
    together = image_edges(images, MASK, STEPS, 2)
    for image, pair in zip(images, together.lengths, strict=True):
        alone = image_edges([image], MASK, STEPS, 1)
        for one, other in zip(alone.lengths[0], pair, strict=True):
            np.testing.assert_array_equal(one, other)


def test_noise_is_told_from_second_differences_in_the_mask():
    image = noise(9, 2.0)
    image[~MASK] = np.nan
    found = []
    for axis in range(3):
        inside = MASK & np.roll(MASK, 1, axis) & np.roll(MASK, -1, axis)
        bend = np.roll(image, 1, axis) + np.roll(image, -1, axis) - 2 * image
        found.append(np.abs(bend[inside]))
    wanted = np.median(np.concatenate(found)) / 0.6744897501960817 / np.sqrt(6)
    for n_threads in (1, 3):
        assert _noise(image, MASK, n_threads) == pytest.approx(wanted, rel=1e-6)
    assert _noise(image, np.zeros_like(MASK)) == 0
