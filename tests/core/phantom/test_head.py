"""The simulated head and the fields in closed form."""

import numpy as np
import pytest

from qsmbids.core.inversion.dipole import dipole_field
from qsmbids.core.phantom.analytic_fields import cylinder_field, sphere_field
from qsmbids.core.phantom.head import (
    TISSUES,
    make_phantom,
    multi_echo_signal,
    phase_offset,
    simulate_field,
)

SMALL = ((48, 56, 40), (2.0, 2.0, 2.0))
TILTED = np.array([0.0, 0.6, 0.8])


@pytest.fixture(scope="module")
def small():
    return make_phantom(*SMALL)


@pytest.fixture(scope="module")
def small_fields(small):
    return simulate_field(small)


def _coordinates(shape, voxel):
    return np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * v for n, v in zip(shape, voxel, strict=True)),
        indexing="ij",
    )


def test_sphere_field_is_that_of_a_dipole():
    """On the axis 2 chi/3 (a/r)^3, at the equator minus half of it, zero inside."""
    field = sphere_field((41, 41, 41), (1, 1, 1), radius_mm=5, chi=3.0)
    assert field[20, 20, 20] == 0
    assert field[20, 20, 30] == pytest.approx(2.0 * (5 / 10) ** 3)
    assert field[30, 20, 20] == pytest.approx(-1.0 * (5 / 10) ** 3)
    shell = sphere_field((41, 41, 41), (1, 1, 1), radius_mm=5, chi=3.0, centre_mm=(0, 0, 4))
    assert shell[20, 20, 34] == pytest.approx(2.0 * (5 / 10) ** 3)


@pytest.mark.parametrize("b0", [(0, 0, 1), TILTED, (1, 1, 1)])
def test_sphere_field_agrees_with_the_kernel(b0):
    shape, voxel = (48, 40, 36), (1.0, 1.2, 1.4)
    x, y, z = _coordinates(shape, voxel)
    r = np.sqrt(x**2 + y**2 + z**2)
    # a ball with an edge of 6 mm is outside a sphere of the same volume, and rings less
    numeric = dipole_field(np.clip(0.5 + (8 - r) / 6, 0, 1), voxel, b0)
    radius = (8**3 + 8 * 6**2 / 4) ** (1 / 3)
    exact = sphere_field(shape, voxel, radius_mm=radius, b0_direction=b0)
    away = (r > 13) | (r < 3)
    assert np.sqrt(np.mean((numeric - exact)[away] ** 2)) < 0.015 * np.sqrt(np.mean(exact**2))


@pytest.mark.parametrize("angle", [0.0, 35.0, 54.7356, 90.0])
def test_cylinder_field(angle):
    """Inside chi/2 (cos^2 - 1/3); outside harmonic with zero mean on a circle around the axis."""
    b0 = (np.sin(np.radians(angle)), 0.0, np.cos(np.radians(angle)))
    field = cylinder_field((33, 33, 5), (1, 1, 1), radius_mm=4, axis=(0, 0, 1), b0_direction=b0)
    inside = 0.5 * (b0[2] ** 2 - 1 / 3)
    np.testing.assert_allclose(field[14:19, 14:19], inside, atol=1e-6)
    edge = 0.5 * b0[0] ** 2 * (4 / 10) ** 2
    np.testing.assert_allclose(field[26, 16], edge, atol=1e-6)
    np.testing.assert_allclose(field[16, 26], -edge, atol=1e-6)


def test_cylinder_field_agrees_with_the_kernel():
    """A long tube along x, B0 tilted in the plane of it; far from the ends."""
    shape, voxel = (128, 40, 40), (1.0, 1.0, 1.0)
    _, y, z = _coordinates(shape, voxel)
    tube = np.clip(0.5 + 5 - np.sqrt(y**2 + z**2), 0, 1)
    b0 = (0.6, 0.0, 0.8)
    numeric = dipole_field(tube, voxel, b0)[64]
    exact = cylinder_field(shape, voxel, radius_mm=5, axis=(1, 0, 0), b0_direction=b0)[64]
    r = np.sqrt(y**2 + z**2)[64]
    away = (r > 7) | (r < 3)
    # the ends of the numeric tube are 64 mm away: about chi (5/64)^2 / 3
    assert np.abs(numeric - exact)[away].max() < 0.03


def test_head_has_its_tissues(small):
    for tissue in TISSUES:
        voxels = small.region(tissue.name)
        assert voxels.sum() >= 4, tissue.name
    # most of a tissue is pure: the volume is not smeared
    for name in ("whitematter", "greymatter", "csf"):
        value = next(t.chi for t in TISSUES if t.name == name)
        assert np.median(small.chi_brain[small.region(name)]) == pytest.approx(value, abs=1e-6)
    assert small.mask.dtype == bool
    assert small.region("pallidum")[~small.mask].sum() == 0
    for volume in (small.chi, small.chi_brain, small.r2star, small.s0):
        assert volume.dtype == np.float32
        assert np.isfinite(volume).all()


def test_brain_lies_in_fluid_bone_and_scalp(small):
    """Outwards from the middle along x: brain, bright fluid, dark bone, bright scalp, air."""
    name_of = {tissue.label: tissue.name for tissue in TISSUES}
    names = [name_of[int(i)] for i in small.labels[24:, 28, 20]]
    order = [n for i, n in enumerate(names) if i == 0 or n != names[i - 1]]
    assert order[-5:] == ["greymatter", "csf", "skull", "scalp", "air"]


def test_brain_sources_are_those_of_the_brain(small):
    np.testing.assert_array_equal(small.chi_brain[small.region("scalp")], 0)
    inside = small.region("whitematter")
    np.testing.assert_allclose(small.chi_brain[inside], small.chi[inside], atol=1e-5)
    assert np.abs(small.chi_brain).max() < 1  # no air, no bone


@pytest.mark.parametrize(
    ("shape", "voxel"), [((60, 70, 25), (1.6, 1.6, 3.2)), ((96, 112, 80), (1, 1, 1))]
)
def test_volumes_do_not_depend_on_the_grid(small, shape, voxel):
    phantom = make_phantom(shape, voxel)
    for part, tolerance in (("mask", 0.02), ("pallidum", 0.35), ("csf", 0.1)):
        a = (phantom.mask if part == "mask" else phantom.region(part)).sum() * np.prod(voxel)
        b = (small.mask if part == "mask" else small.region(part)).sum() * 8.0
        assert a == pytest.approx(b, rel=tolerance), part


def test_deterministic_and_seeded(small):
    again, other = make_phantom(*SMALL), make_phantom(*SMALL, seed=2)
    np.testing.assert_array_equal(again.chi, small.chi)
    assert (other.labels != small.labels).sum() > 100
    np.testing.assert_array_equal(other.mask, small.mask)


def test_field_is_local_plus_harmonic(small, small_fields):
    """Total minus local has no Laplacian away from the rim of the brain."""
    total, local = small_fields
    assert total[small.mask].mean() == pytest.approx(0, abs=1e-3)
    x, y, z = _coordinates(*SMALL)
    core = (x / 28) ** 2 + (y / 36) ** 2 + (z / 20) ** 2 < 1

    def laplacian(f):
        return sum(
            np.diff(np.pad(f, 1, mode="edge"), n=2, axis=a)[
                tuple(slice(None) if b == a else slice(1, -1) for b in range(3))
            ]
            for a in range(3)
        )

    difference = np.abs(laplacian(total - local))[core]
    assert np.median(difference) < 0.05 * np.abs(laplacian(local))[core].max()
    assert np.percentile(difference, 99) < 1.0


def test_field_is_strong_near_the_sinus_and_scales(small, small_fields):
    total, local = small_fields
    assert total[small.mask].max() > 200
    assert np.abs(local[small.mask]).max() < 40
    high, _ = simulate_field(small, b0_tesla=7.0, ramp_hz_per_mm=(0, 0, 0))
    low, _ = simulate_field(small, b0_tesla=3.5, ramp_hz_per_mm=(0, 0, 0), n_threads=2)
    np.testing.assert_allclose(high, 2 * low, atol=1e-2)


def test_tilting_b0_turns_the_field(small):
    """B0 along y of the head is B0 along z of the head turned about x."""
    turned = make_phantom(*SMALL, b0_direction=(0, 2, 0))
    assert turned.b0_direction == (0.0, 1.0, 0.0)
    np.testing.assert_array_equal(turned.chi, small.chi)
    expected = dipole_field(
        np.ascontiguousarray(small.chi_brain.transpose(0, 2, 1)), (2, 2, 2), (0, 0, 1)
    ).transpose(0, 2, 1)
    _, local = simulate_field(turned)
    np.testing.assert_allclose(local / 127.732, expected, atol=2e-5)


def test_signal_follows_its_equation(small, small_fields):
    total, _ = small_fields
    times = [0.004, 0.012]
    signal = multi_echo_signal(small, total, times, noise_std=0.0, dephasing=False)
    assert signal.shape == (2, *SMALL[0])
    assert signal.dtype == np.complex64
    ratio = signal[1] / np.where(signal[0] == 0, 1, signal[0])
    inside = small.mask
    decay = np.exp(-small.r2star * 0.008)
    np.testing.assert_allclose(np.abs(ratio)[inside], decay[inside], rtol=1e-4)
    expected = np.exp(2j * np.pi * total * 0.008)
    assert np.abs(ratio / decay - expected)[inside].max() < 2e-3
    start = signal[0] * np.exp(-2j * np.pi * total * 0.004)
    assert np.abs(np.angle(start * np.exp(-1j * phase_offset(small))))[inside].max() < 2e-3


def test_phase_wraps_and_the_offset_is_curved(small, small_fields):
    total, _ = small_fields
    assert np.ptp(total[small.mask]) * 0.028 > 3  # turns
    offset = phase_offset(small)[small.mask]
    assert np.ptp(offset) > 2 * np.pi
    design = np.column_stack(
        [*(c[small.mask] for c in _coordinates(*SMALL)), np.ones(offset.size)]
    )
    residual = offset - design @ np.linalg.lstsq(design, offset, rcond=None)[0]
    assert residual.std() > 0.2


def test_noise_is_seeded_and_has_its_size(small, small_fields):
    total, _ = small_fields
    quiet, a, b, c = (
        multi_echo_signal(small, total, [0.01], noise_std=s, seed=n)
        for s, n in ((0, 1), (0.02, 1), (0.02, 1), (0.02, 2))
    )
    np.testing.assert_array_equal(a, b)
    noise = (a - quiet).ravel()
    assert noise.real.std() == pytest.approx(0.02, rel=0.02)
    assert noise.imag.std() == pytest.approx(0.02, rel=0.02)
    assert abs(np.corrcoef(noise.real, (c - quiet).ravel().real)[0, 1]) < 0.02


def test_bipolar_readout_alternates(small, small_fields):
    """S1 S3 conj(S2)^2 keeps four times the half ramp and nothing else for even spacing."""
    total, _ = small_fields
    arguments = (small, total, [0.004, 0.010, 0.016])
    flat = multi_echo_signal(*arguments, noise_std=0)
    ramp = multi_echo_signal(*arguments, noise_std=0, bipolar_rad=1.0)
    change = np.angle(ramp * np.conj(flat))[:, :, 28, 20]
    np.testing.assert_allclose(change[1], -change[0], atol=1e-5)
    np.testing.assert_allclose(change[2], change[0], atol=1e-5)
    inner = change[0, 8:40]
    np.testing.assert_allclose(np.diff(inner), 0.5 * 2 / 48, atol=1e-4)


def test_dephasing_loses_signal_only_in_gradients(small, small_fields):
    total, _ = small_fields
    still = multi_echo_signal(small, np.full_like(total, 50.0), [0.02], noise_std=0)
    free = multi_echo_signal(small, total, [0.02], noise_std=0, dephasing=False)
    np.testing.assert_allclose(np.abs(still), np.abs(free), atol=1e-5)
    lost = multi_echo_signal(small, total, [0.02], noise_std=0)
    assert np.all(np.abs(lost) <= np.abs(free) + 1e-6)
    assert (np.abs(lost) < 0.5 * np.abs(free))[0, small.mask].sum() > 50


@pytest.mark.parametrize(
    "call",
    [
        lambda p: make_phantom((4, 4, 4)),
        lambda p: make_phantom(voxel_size=(1, 0, 1)),
        lambda p: make_phantom(b0_direction=(0, 0, 0)),
        lambda p: multi_echo_signal(p, p.chi, []),
        lambda p: multi_echo_signal(p, p.chi, [-0.01]),
        lambda p: multi_echo_signal(p, p.chi[1:], [0.01]),
        lambda p: sphere_field((8, 8, 8), (1, 1), radius_mm=2),
    ],
)
def test_bad_arguments(small, call):
    with pytest.raises(ValueError):
        call(small)
