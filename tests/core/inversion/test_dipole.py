"""The dipole kernel against closed forms."""

import numpy as np
import pytest
import scipy.ndimage as ndi

from qsmbids.core.inversion.b0_direction import b0_direction_from_affine, tilt_degrees
from qsmbids.core.inversion.dipole import dipole_field, dipole_kernel


def sphere(shape, radius, voxel=(1, 1, 1)):
    """Coordinates [mm] from the centre and a sphere."""
    r = np.indices(shape).astype(float) - np.reshape([(n - 1) / 2 for n in shape], (3, 1, 1, 1))
    r *= np.reshape(voxel, (3, 1, 1, 1))
    return r, np.sqrt((r**2).sum(axis=0)) <= radius


@pytest.mark.parametrize("b", [(0, 0, 1), (1, 0, 0), (0, 0.5, np.sqrt(0.75)), (0.48, -0.6, 0.64)])
@pytest.mark.parametrize("voxel", [(1, 1, 1), (1, 0.8, 1.25)])
def test_sphere(b, voxel):
    r, ball = sphere((64, 64, 64), 8, voxel)
    field = dipole_field(ball.astype(np.float32), voxel, b)
    distance = np.sqrt((r**2).sum(axis=0))
    volume = ball.sum() * np.prod(voxel)  # that of the digital sphere
    cosine = np.tensordot(b, r, axes=1) / distance
    expected = volume / (4 * np.pi) * (3 * cosine**2 - 1) / distance**3
    shell = (distance > 10) & (distance < 20)
    rms = np.sqrt((expected[shell] ** 2).mean())
    # a sharp sphere rings on the voxel grid, more so along a tilted B0
    limit = 0.03 if max(np.abs(b)) == 1 else 0.08
    assert np.sqrt(((field - expected)[shell] ** 2).mean()) < limit * rms
    assert abs(field[distance < 6].mean()) < 3e-3


@pytest.mark.parametrize("degrees", [30, 60, 90])
def test_inside_of_a_cylinder(degrees):
    """A cylinder through the periodic box is infinite: chi / 2 (cos^2 - 1/3) + constant inside."""
    x, y = np.indices((128, 128)) - 63.5
    chi = np.repeat((x**2 + y**2 <= 100).astype(np.float32)[:, :, None], 4, axis=2)
    angle = np.radians(degrees)
    kernel = dipole_kernel(chi.shape, (1, 1, 1), (0, np.sin(angle), np.cos(angle)))
    field = np.fft.irfftn(np.fft.rfftn(chi) * kernel, chi.shape)
    # far outside it is zero on average over the directions; take the mean over a ring
    ring = np.abs(np.hypot(x, y) - 30) < 3
    inside = field[60:68, 60:68].mean() - field[ring].mean()
    expected = np.cos(angle) ** 2 / 2 - 1 / 6
    # the kernel's D(0) = 0 takes chi / 3 from outside and inside alike
    assert inside == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("shape", [(8, 10, 12), (9, 7, 11), (8, 9, 10)])
def test_kernel_is_that_of_a_real_even_field(shape):
    """D must be the half spectrum of a real volume: a transform there and back keeps it."""
    kernel = dipole_kernel(shape, (1, 1.2, 0.9), (0.36, 0.48, 0.8))
    image = np.fft.irfftn(kernel, shape)
    np.testing.assert_allclose(np.fft.rfftn(image), kernel, atol=1e-6)
    assert kernel[0, 0, 0] == 0
    assert kernel.dtype == np.float32


def test_self_adjoint(rng):
    """<D x, y> = <x, D y>."""
    shape = (12, 10, 14)
    kernel = dipole_kernel(shape, (1, 1, 2), (0, 0.6, 0.8))
    x, y = rng.standard_normal((2, *shape))
    dx, dy = (np.fft.irfftn(np.fft.rfftn(a) * kernel, shape) for a in (x, y))
    assert np.vdot(dx, y) == pytest.approx(np.vdot(x, dy), rel=1e-9)


def test_axes_may_be_permuted_and_flipped(rng):
    chi = ndi.gaussian_filter(np.pad(rng.standard_normal((10, 12, 14)), 6), 1.5)
    field = dipole_field(chi, (1, 1.5, 2), (0.36, 0.48, 0.8))
    turned = dipole_field(chi.transpose(2, 0, 1)[::-1], (2, 1, 1.5), (-0.8, 0.36, 0.48))
    np.testing.assert_allclose(turned[::-1].transpose(1, 2, 0), field, atol=1e-5)


def test_b0_direction(rng):
    """Any rotation, voxel size and flip: the direction found turns back into scanner z."""
    for _ in range(20):
        rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        affine = np.eye(4)
        affine[:3, :3] = rotation * rng.uniform(0.5, 3, 3)
        np.testing.assert_allclose(
            rotation @ b0_direction_from_affine(affine), (0, 0, 1), atol=1e-7
        )


def test_tilt():
    assert tilt_degrees((0, 0, -1)) == pytest.approx(0)
    assert tilt_degrees((0, 0.5, np.sqrt(0.75))) == pytest.approx(30)


def test_degenerate_affine():
    with pytest.raises(ValueError):
        b0_direction_from_affine(np.zeros((4, 4)))
