"""V-SHARP: harmonic fields vanish, local fields stay."""

import nibabel as nib
import numpy as np
import pytest
import scipy.ndimage as ndi

from qsmbids.core.background.smv import remove_plane
from qsmbids.core.background.vsharp import vsharp, vsharp_radii
from qsmbids.core.inversion.dipole import dipole_field

SHAPE = (48, 52, 44)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([19, 21, 17], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
ISO = (1, 1, 1)


def remove(field, mask, voxel_size, **options):
    """Return the local field of V-SHARP and where it is known."""
    result = vsharp(field, mask, voxel_size, **options)
    return result.local_field, result.mask


def slope_and_error(estimate, truth, mask):
    a = estimate[mask] - estimate[mask].mean(dtype=float)
    b = truth[mask] - truth[mask].mean(dtype=float)
    return float(a @ b / (b @ b)), float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def local_source():
    """Field [Hz] of a few balls in the mask."""
    chi = np.zeros(SHAPE, np.float32)
    for centre, radius, value in (
        ((5, 0, 3), 4, 0.1),
        ((-8, 5, -4), 3, -0.1),
        ((0, -12, 0), 2, 0.3),
    ):
        chi[((R - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2] = value
    return 127.0 * dipole_field(chi, ISO, (0, 0, 1))


X, Y, Z = R / 20
HARMONIC = {
    "constant and ramp": 3 + X - 2 * Y + Z,
    "xy": X * Y,
    "x2-y2": X**2 - Y**2,
    "2z2-x2-y2": 2 * Z**2 - X**2 - Y**2,
    "all": 5 * X + X * Z + Y * Z - X * Y + 2 * Z**2 - X**2 - Y**2,
}


@pytest.mark.parametrize("variant", ["deconvolution", "sepia"])
@pytest.mark.parametrize("name", HARMONIC)
def test_harmonic_fields_vanish(name, variant):
    """Digital spheres have cubic symmetry, so polynomials to the third order go exactly."""
    background = (100 * HARMONIC[name]).astype(np.float32)
    local, mask4 = remove(background, MASK, ISO, maximum_radius=8, variant=variant)
    assert np.sqrt((local[mask4] ** 2).mean()) < 1e-3 * np.sqrt((background[mask4] ** 2).mean())


def test_external_dipole_vanishes():
    r = np.sqrt((R[0] - 40) ** 2 + R[1] ** 2 + R[2] ** 2)
    background = (1e6 * (3 * R[2] ** 2 / r**2 - 1) / r**3).astype(np.float32)
    local, mask4 = remove(background, MASK, ISO, maximum_radius=8)
    assert np.sqrt((local[mask4] ** 2).mean()) < 2e-3 * background[mask4].std()


def test_local_field_is_kept_and_refinement_helps(local_source):
    field = local_source + (200 * HARMONIC["all"]).astype(np.float32)
    slopes, errors = [], []
    for options in (
        {"variant": "sepia"},
        {"refinements": 0, "rim_outlier": np.inf},
        {"refinements": 3, "rim_outlier": np.inf},
    ):
        local, mask4 = remove(field, MASK, ISO, maximum_radius=8, **options)
        inner = mask4 & ndi.binary_erosion(MASK, iterations=3)
        slope, error = slope_and_error(local, local_source, inner)
        slopes.append(slope)
        errors.append(error)
    assert slopes[0] < slopes[1]
    assert errors[0] > errors[1] > errors[2]
    assert 0.91 < slopes[2] < 1.02


def test_source_in_the_rim_does_not_spread(local_source):
    """Bone inside the mask, at its border, must not pass through the deconvolution."""
    bone = np.zeros(SHAPE, np.float32)
    bone[((R - np.reshape((0, 19, 0), (3, 1, 1, 1))) ** 2).sum(axis=0) <= 4] = -2.0
    field = local_source + 127.0 * dipole_field(bone, ISO, (0, 0, 1))
    centre = (R**2).sum(axis=0) < 10**2
    error = {}
    for limit in (5.0, np.inf):
        local, _ = remove(field, MASK, ISO, maximum_radius=8, rim_outlier=limit)
        error[limit] = slope_and_error(local, local_source, centre)[1]
    assert error[5.0] < 0.7 * error[np.inf]


def test_linear_without_outliers(rng):
    a, b = rng.standard_normal((2, *SHAPE)).astype(np.float32)

    def run(f):
        return remove(f, MASK, ISO, maximum_radius=6, rim_outlier=np.inf)[0]

    np.testing.assert_allclose(run(2 * a - b), 2 * run(a) - run(b), atol=2e-5)


def test_scale_and_units(local_source):
    """Hz in, Hz out: ten times the field gives ten times the local field."""
    once, _ = remove(local_source, MASK, ISO, maximum_radius=6)
    tenfold, _ = remove(10 * local_source, MASK, ISO, maximum_radius=6)
    np.testing.assert_allclose(tenfold, 10 * once, atol=1e-3)


def test_axes_may_be_permuted_and_flipped(local_source):
    local, mask4 = remove(local_source, MASK, ISO, maximum_radius=6)
    turned, turned4 = remove(
        local_source.transpose(2, 0, 1)[::-1], MASK.transpose(2, 0, 1)[::-1], ISO, maximum_radius=6
    )
    np.testing.assert_array_equal(turned4[::-1].transpose(1, 2, 0), mask4)
    np.testing.assert_allclose(turned[::-1].transpose(1, 2, 0), local, atol=2e-3)


@pytest.mark.parametrize("radius", [1, 2, 3, 5])
def test_support_is_where_the_sphere_fits(radius, rng):
    mask = ndi.binary_opening(rng.random((30, 28, 26)) > 0.1, iterations=1)
    mask = ndi.binary_dilation(mask, iterations=3)
    mask[:2] = mask[-2:] = False
    ball = (np.indices((2 * radius + 1,) * 3) - radius) ** 2
    expected = ndi.binary_erosion(mask, structure=ball.sum(axis=0) <= radius**2)
    _, mask4 = remove(
        np.zeros(mask.shape),
        mask,
        ISO,
        maximum_radius=radius,
        minimum_radius=radius,
        refinements=0,
    )
    np.testing.assert_array_equal(mask4, expected)


def test_cube_variant_erodes_more():
    _, sphere = remove(np.zeros(SHAPE), MASK, ISO)
    _, cube = remove(np.zeros(SHAPE), MASK, ISO, variant="sepia")
    np.testing.assert_array_equal(cube, ndi.binary_erosion(MASK, np.ones((3, 3, 3))))
    assert (sphere >= cube).all()


def test_zero_outside_and_input_untouched(local_source):
    field = local_source.copy()
    field[~MASK] = np.nan
    before = field.copy()
    local, mask4 = remove(field, MASK, ISO, maximum_radius=6)
    assert np.isfinite(local).all()
    assert not local[~mask4].any()
    np.testing.assert_array_equal(field, before)


def test_fields_add_up_and_nothing_iterates(local_source):
    field = local_source + (10 * HARMONIC["all"]).astype(np.float32)
    result = vsharp(field, MASK, ISO, maximum_radius=6)
    total = np.where(result.mask, field, 0)
    np.testing.assert_allclose(result.local_field + result.background_field, total, atol=1e-4)
    assert (result.n_iterations, result.relative_residual, result.converged) == (0, 0.0, True)


def test_threads_do_not_change_the_result(local_source):
    one, _ = remove(local_source, MASK, ISO, maximum_radius=6, n_threads=1)
    two, _ = remove(local_source, MASK, ISO, maximum_radius=6, n_threads=2)
    np.testing.assert_array_equal(one, two)


def test_remove_plane_is_exact():
    plane = (3 + 2 * R[0] - R[2]).astype(np.float32)
    assert abs(remove_plane(plane, MASK)).max() < 1e-4


def test_radii():
    assert vsharp_radii((0.7, 0.7, 0.8), 12, 1)[0] == list(range(12, 0, -1))
    radii, unit = vsharp_radii((0.5, 0.5, 2.5), 12, 1)
    assert radii[-1] == 3
    assert unit.tolist() == [0.5, 0.5, 2.5]


def test_anisotropic_voxels_keep_the_background_out():
    voxel = (1.0, 1.0, 2.0)
    x, y, z = R * np.reshape(voxel, (3, 1, 1, 1)) / 20
    background = (100 * (x * z + y * z + x)).astype(np.float32)
    local, mask4 = remove(background, MASK, voxel, maximum_radius=8)
    assert abs(local[mask4]).max() < 1e-3 * abs(background[mask4]).max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.zeros(SHAPE, bool)}, "empty"),
        ({"mask": np.ones((3, 3, 3), bool)}, "one volume"),
        ({"field": np.full(SHAPE, np.nan)}, "finite"),
        ({"voxel_size": (1, 0, 1)}, "voxel size"),
        ({"variant": "magic"}, "variant"),
        ({"minimum_radius": 13}, "radii"),
        ({"truncation": 0.0}, "truncation"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"field": np.zeros(SHAPE), "mask": MASK, "voxel_size": ISO, **change}
    with pytest.raises(ValueError, match=message):
        vsharp(**arguments)


def test_too_thin_mask():
    mask = np.zeros(SHAPE, bool)
    mask[20, 10:30, 10:30] = True
    with pytest.raises(ValueError, match="thin"):
        vsharp(np.zeros(SHAPE), mask, ISO)


@pytest.mark.slow
def test_reference_software(shared_dir):
    """SEPIA's own V-SHARP, run in Octave on the same field."""
    folder = shared_dir / "reference"

    def load(name):
        return np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj)

    mask = ndi.binary_erosion(load("mask") > 0)
    field = load("totalfield_hz").astype(np.float32)
    local, mask4 = remove(field, mask, ISO, variant="sepia", n_threads=2)
    np.testing.assert_array_equal(mask4, load("mask_vsharp_sepia") > 0)
    slope, error = slope_and_error(local, load("localfield_vsharp_sepia_hz"), mask4)
    assert slope == pytest.approx(1, abs=1e-3)
    assert error < 2e-3  # the stored field has 12 bits
