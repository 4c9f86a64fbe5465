"""The edge mask and the sphere of MEDI."""

import numpy as np
import pytest

from qsmbids.core.inversion.medi_edges import edge_mask
from qsmbids.core.inversion.medi_smv import smv_kernel

ISO = (1, 1, 1)


@pytest.fixture
def textured(rng):
    """Positive noise in a block, so that differences take all sizes."""
    mask = np.zeros((20, 24, 18), bool)
    mask[2:-2, 2:-2, 2:-2] = True
    return (100 + 20 * rng.random(mask.shape)).astype(np.float32), mask


def test_step_is_an_edge_along_its_axis():
    magnitude = np.full((10, 10, 10), 50.0)
    magnitude[5:] = 100.0
    edges = edge_mask(magnitude, np.ones((10, 10, 10), bool), ISO, 10)
    assert not edges.penalised[0, 4].any()
    assert edges.penalised[0, [0, 1, 2, 3, 5, 6, 7, 8, 9]].all()
    assert edges.penalised[1:].all()
    assert edges.fraction == pytest.approx(0.1)


def test_border_of_the_mask_is_an_edge():
    mask = np.zeros((12, 12, 12), bool)
    mask[2:10, 2:10, 2:10] = True
    edges = edge_mask(np.full(mask.shape, 7.0), mask, ISO, 90)
    assert not edges.penalised[0, 1, 2:10, 2:10].any()
    assert not edges.penalised[2, 2:10, 2:10, 9].any()
    assert edges.penalised[:, 3:8, 3:8, 3:8].all()
    assert edges.penalised[:, 10:].all()


@pytest.mark.parametrize("percentage", [10, 90, 150])
def test_number_of_edges(textured, percentage):
    """The first threshold in steps of 5 % that has crossed the wanted number."""
    magnitude, mask = textured
    edges = edge_mask(magnitude, mask, ISO, percentage)
    count = (~edges.penalised).sum() / mask.sum()
    assert edges.fraction == pytest.approx(count)
    steps = np.log(edges.threshold / (0.01 * magnitude[mask].max()))
    rising = steps > 0
    steps /= np.log(1.05 if rising else 0.95)
    assert steps == pytest.approx(round(steps), abs=1e-4)
    assert steps >= 1
    before = edges.threshold / (1.05 if rising else 0.95)
    sizes = np.abs(np.stack([
        np.diff(magnitude * mask, axis=a, append=0) for a in range(3)
    ]))  # fmt: skip
    previous = (sizes > before).sum() / mask.sum()
    wanted = percentage / 100
    assert edges.fraction <= wanted < previous if rising else previous < wanted <= edges.fraction


def test_scale_of_the_magnitude_does_not_matter(textured):
    magnitude, mask = textured
    one, other = (edge_mask(s * magnitude, mask, ISO) for s in (1.0, 64.0))
    np.testing.assert_array_equal(one.penalised, other.penalised)
    assert other.threshold == pytest.approx(64 * one.threshold)


def test_differences_are_per_mm():
    """A slope of 10 per voxel is an edge over 1 mm and none over 10 mm beside one of 3 per mm."""
    x, y, _ = np.indices((12, 12, 12)).astype(float)
    mask = np.ones((12, 12, 12), bool)
    edges = edge_mask(200 + 10 * x + 3 * y, mask, (10, 1, 1), 91)
    assert edges.penalised[0].all()
    assert not edges.penalised[1, :, :-1].any()


def test_outside_is_not_looked_at(textured):
    magnitude, mask = textured
    spoilt = np.where(mask, magnitude, np.nan)
    ours, clean = (edge_mask(m, mask, ISO, largest=130.0) for m in (spoilt, magnitude))
    np.testing.assert_array_equal(ours.penalised, clean.penalised)


def test_flat_image_ends():
    """There are no edges to be found; the search stops."""
    edges = edge_mask(np.full((6, 6, 6), 3.0), np.ones((6, 6, 6), bool), ISO)
    assert edges.penalised.all()
    assert edges.fraction == 0


@pytest.mark.parametrize("percentage", [0, 300, -5])
def test_bad_percentage(textured, percentage):
    with pytest.raises(ValueError, match="percentage"):
        edge_mask(*textured, ISO, percentage)


def test_bad_magnitude(textured):
    magnitude, mask = textured
    with pytest.raises(ValueError, match="same 3-D"):
        edge_mask(magnitude[1:], mask, ISO)
    with pytest.raises(ValueError, match="empty"):
        edge_mask(magnitude, mask & False, ISO)
    with pytest.raises(ValueError, match="positive"):
        edge_mask(0 * magnitude, mask, ISO)


@pytest.mark.parametrize("shape", [(24, 22, 20), (23, 21, 25)])
@pytest.mark.parametrize("voxel", [(1, 1, 1), (0.8, 1.2, 2.0)])
def test_sphere(shape, voxel):
    """Unit sum, the right volume and extent, even, and a constant or linear field's own mean."""
    radius = 5.0
    ball = np.fft.irfftn(smv_kernel(shape, radius, voxel), shape)
    assert ball.sum() == pytest.approx(1, abs=1e-5)
    volume = np.prod(voxel) / ball[0, 0, 0]
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=2e-3)
    np.testing.assert_allclose(
        ball, np.roll(ball[::-1, ::-1, ::-1], (1, 1, 1), (0, 1, 2)), atol=1e-9
    )
    axes = np.meshgrid(
        *(np.fft.fftfreq(n, 1 / n) * v for n, v in zip(shape, voxel, strict=True)), indexing="ij"
    )
    distance = np.sqrt(sum(a**2 for a in axes))
    half = np.linalg.norm(voxel) / 2
    assert abs(ball[distance > radius + half]).max() < 1e-7
    np.testing.assert_allclose(ball[distance < radius - half], ball[0, 0, 0], rtol=1e-4)


def test_sphere_smaller_than_a_voxel():
    """Half a millimetre lies in the voxel of 2 mm: no mean at all."""
    np.testing.assert_allclose(smv_kernel((8, 8, 8), 0.5, (2, 2, 2)), 1, atol=1e-6)


@pytest.mark.parametrize(("radius", "voxel"), [(0, ISO), (np.nan, ISO), (5, (1, 0, 1))])
def test_bad_sphere(radius, voxel):
    with pytest.raises(ValueError, match="positive"):
        smv_kernel((8, 8, 8), radius, voxel)
