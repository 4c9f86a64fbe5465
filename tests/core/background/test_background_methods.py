"""What PDF, LBV, RESHARP and iSMV must all do."""

import inspect
from functools import partial

import numpy as np
import pytest
import scipy.ndimage as ndi
from volumes import rms

from qsmbids.core.background.ismv import ismv
from qsmbids.core.background.lbv import lbv
from qsmbids.core.background.pdf import pdf
from qsmbids.core.background.resharp import resharp
from qsmbids.core.background.result import EmptyMaskError
from qsmbids.core.background.vsharp import vsharp
from qsmbids.core.inversion.dipole import dipole_field

SHAPE = (40, 44, 36)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([16, 18, 14], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
ISO, B0 = (1, 1, 1), (0, 0, 1)


def tissue_pdf(*args, **kwargs):
    return pdf(*args, tissue=0.03, **kwargs)


METHODS = {"pdf": pdf, "tissue": tissue_pdf, "lbv": lbv, "resharp": resharp, "ismv": ismv}


def remove(name, field, mask=MASK, voxel=ISO, b0=B0, **options):
    """Call any method the same way, with a small sphere and little padding."""
    if name in ("pdf", "tissue"):
        return METHODS[name](field, mask, voxel, b0, **{"padding_mm": 6, **options})
    if name in ("resharp", "ismv"):
        options = {"radius": 3, **options}
    return METHODS[name](field, mask, voxel, **options)


@pytest.fixture(scope="module")
def local_source():
    """Field [Hz] of a few balls in the mask."""
    chi = np.zeros(SHAPE, np.float32)
    for centre, radius, value in (
        ((5, 0, 3), 4, 0.1),
        ((-7, 5, -4), 3, -0.1),
        ((0, -10, 0), 2, 0.3),
    ):
        chi[((R - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2] = value
    return 127.0 * dipole_field(chi, ISO, B0)


X, Y, Z = R / 20
HARMONIC = {
    "constant": np.full(SHAPE, 7.0),
    "ramp": 3 + X - 2 * Y + Z,
    "xy": X * Y,
    "x2-y2": X**2 - Y**2,
    "2z2-x2-y2": 2 * Z**2 - X**2 - Y**2,
}
#: Largest part of the background that may stay. PDF has to find its sources first.
LEFT = {"pdf": 1e-2, "tissue": 1e-2, "lbv": 1e-3, "resharp": 1e-3, "ismv": 1e-3}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", HARMONIC)
def test_harmonic_fields_vanish(name, kind):
    background = (100 * HARMONIC[kind]).astype(np.float32)
    options = {"tolerance": 1e-4, "maximum_iterations": 100} if name in ("pdf", "tissue") else {}
    found = remove(name, background, **options)
    assert rms(found.local_field[found.mask]) < LEFT[name] * rms(background[found.mask])
    np.testing.assert_allclose(
        found.background_field[found.mask] + found.local_field[found.mask],
        background[found.mask],
        rtol=1e-5,
        atol=1e-4,
    )


@pytest.mark.parametrize("name", METHODS)
def test_external_dipole_vanishes(name):
    r = np.sqrt((R[0] - 32) ** 2 + R[1] ** 2 + R[2] ** 2)
    background = (1e5 * (3 * R[2] ** 2 / r**2 - 1) / r**3).astype(np.float32)
    found = remove(name, background)
    inner = found.mask & ndi.binary_erosion(MASK, iterations=3)
    assert rms(found.local_field[inner]) < 0.02 * background[MASK].std()


#: Slope and relative error of the local field within the mask less three voxels.
RECOVERED = {
    "pdf": (0.92, 0.21),
    "tissue": (0.95, 0.21),
    "lbv": (0.95, 0.11),
    "resharp": (0.88, 0.24),
    "ismv": (0.94, 0.14),
}


@pytest.mark.parametrize("name", METHODS)
def test_local_field_is_kept(name, local_source):
    background = 200 * (HARMONIC["xy"] + HARMONIC["2z2-x2-y2"] + HARMONIC["ramp"])
    found = remove(name, local_source + background.astype(np.float32))
    inner = found.mask & ndi.binary_erosion(MASK, iterations=3)
    a = found.local_field[inner] - found.local_field[inner].mean(dtype=float)
    b = local_source[inner] - local_source[inner].mean(dtype=float)
    slope, error = RECOVERED[name]
    assert slope < a @ b / (b @ b) < 1.02
    assert rms(a - b) < error * rms(b)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_linear(name, local_source, rng):
    """Conjugate gradients that stop by a tolerance are linear to about that; scale is exact.

    PDF is ill-posed, the stop is its regularisation, and so it is less linear than the others.
    """
    other = np.roll(local_source, 3, axis=1) + 100 * HARMONIC["xy"].astype(np.float32)
    ill_posed = name in ("pdf", "tissue")
    options = {"tolerance": 5e-4, "padding_mm": 4} if ill_posed else {"tolerance": 1e-3}
    tight = partial(remove, name, maximum_iterations=60, **options)
    both = tight(2 * local_source - other).local_field
    apart = 2 * tight(local_source).local_field - tight(other).local_field
    assert rms(both - apart) < (0.1 if ill_posed else 0.01) * rms(apart)
    once, eightfold = remove(name, other), remove(name, 8 * other)
    assert once.n_iterations == eightfold.n_iterations
    np.testing.assert_allclose(eightfold.local_field, 8 * once.local_field, atol=2e-3)


@pytest.mark.parametrize("name", METHODS)
def test_axes_may_be_permuted_and_flipped(name, local_source):
    field = local_source + 100 * HARMONIC["xy"].astype(np.float32)
    options = {"tolerance": 3e-4, "padding_mm": 4} if name in ("pdf", "tissue") else {}
    tight = partial(remove, name, maximum_iterations=60, **options)
    straight = tight(field, b0=(0, 0.6, 0.8))
    turned = tight(
        field.transpose(2, 0, 1)[::-1], MASK.transpose(2, 0, 1)[::-1], b0=(-0.8, 0, 0.6)
    )
    np.testing.assert_array_equal(turned.mask[::-1].transpose(1, 2, 0), straight.mask)
    difference = turned.local_field[::-1].transpose(1, 2, 0) - straight.local_field
    assert rms(difference) < 0.02 * rms(straight.local_field)


@pytest.mark.parametrize("name", [n for n in METHODS if n != "lbv"])
def test_threads_do_not_change_the_result(name, local_source):
    one = remove(name, local_source, n_threads=1)
    two = remove(name, local_source, n_threads=2)
    np.testing.assert_array_equal(one.local_field, two.local_field)


@pytest.mark.parametrize("name", METHODS)
def test_anisotropic_voxels_keep_the_background_out(name):
    voxel = (1.0, 1.0, 2.0)
    x, y, z = R * np.reshape(voxel, (3, 1, 1, 1)) / 20
    background = 100 * (x * z + y * z)
    if name not in ("resharp", "ismv"):  # a digital sphere in such voxels is not round
        background += 100 * (x**2 - 0.5 * y**2 - 0.5 * z**2)
    background = background.astype(np.float32)
    found = remove(name, background, voxel=voxel, tolerance=1e-4)
    assert rms(found.local_field[found.mask]) < 2 * LEFT[name] * rms(background[found.mask])


@pytest.mark.parametrize("name", METHODS)
def test_zero_outside_and_input_untouched(name, local_source):
    field = local_source.copy()
    field[~MASK] = np.nan
    before, mask_before = field.copy(), MASK.copy()
    found = remove(name, field)
    assert found.local_field.dtype == found.background_field.dtype == np.float32
    for volume in (found.local_field, found.background_field):
        assert np.isfinite(volume).all()
        assert not volume[~found.mask].any()
    assert found.mask.any()
    assert not (found.mask & ~MASK).any()
    np.testing.assert_array_equal(field, before)
    np.testing.assert_array_equal(MASK, mask_before)


@pytest.mark.parametrize("name", METHODS)
def test_says_whether_it_converged(name, local_source):
    field = local_source + 100 * HARMONIC["xy"].astype(np.float32)
    good = remove(name, field, maximum_iterations=300)
    assert good.converged
    assert (
        good.relative_residual <= inspect.signature(METHODS["pdf"]).parameters["tolerance"].default
    )
    poor = remove(name, field, maximum_iterations=1, tolerance=1e-7)
    assert not poor.converged
    assert poor.n_iterations == 1


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.zeros(SHAPE, bool)}, "empty"),
        ({"mask": np.ones((3, 3, 3), bool)}, "one volume"),
        ({"field": np.full(SHAPE, np.nan)}, "finite"),
        ({"voxel": (1, 0, 1)}, "voxel size"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"maximum_iterations": 0}, "iterations"),
    ],
)
def test_bad_arguments(name, change, message, local_source):
    with pytest.raises(ValueError, match=message):
        remove(name, **{"field": local_source, **change})


THIN = np.zeros(SHAPE, bool)
THIN[20, 10:30, 10:30] = True


@pytest.mark.parametrize(
    "removal",
    [
        pytest.param(partial(vsharp, np.ones(SHAPE), voxel_size=ISO), id="vsharp"),
        *(pytest.param(partial(remove, name, np.ones(SHAPE)), id=name) for name in METHODS),
    ],
)
def test_a_mask_of_which_nothing_is_left_has_an_error_of_its_own(removal, request):
    """Whoever calls can say that the mask is too small, and only then."""
    with pytest.raises(EmptyMaskError, match="empty"):
        removal(mask=np.zeros(SHAPE, bool))
    if "pdf" not in request.node.name and "tissue" not in request.node.name:  # keep every voxel
        with pytest.raises(EmptyMaskError, match="thin"):
            removal(mask=THIN)


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        *((m, {"field": np.full(SHAPE, np.inf)}, "not finite") for m in (vsharp, lbv, resharp)),
        (vsharp, {"variant": "magic"}, "unknown V-SHARP variant 'magic'"),
        (vsharp, {"maximum_radius": 0}, "descending order"),
        (lbv, {"peel": -1}, "cannot be taken off"),
        (resharp, {"radius": 0.5}, "radius 0.5"),
    ],
)
def test_other_faults_are_not_taken_for_an_empty_mask(method, change, message):
    arguments = {"field": np.zeros(SHAPE), "mask": MASK, "voxel_size": ISO, **change}
    with pytest.raises(ValueError, match=message) as error:
        method(**arguments)
    assert not isinstance(error.value, EmptyMaskError)
