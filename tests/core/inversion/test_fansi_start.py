"""The least-squares start: its equations, strong sources without signal, wrong turns."""

import numpy as np
import pytest
import scipy.sparse.linalg

from qsmbids.core.inversion import fansi_start
from qsmbids.core.inversion.dipole import dipole_field, dipole_kernel
from qsmbids.core.inversion.fansi import fansi
from qsmbids.core.inversion.fansi_problem import FansiProblem
from qsmbids.core.inversion.fansi_start import FINE, least_squares_map, least_squares_start
from qsmbids.core.maths.gradient import gradient, gradient_adjoint
from qsmbids.core.maths.parallel import planes

SHAPE = (40, 44, 36)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([16, 18, 14], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
ISO, AXIAL = (1, 1, 1), (0, 0, 1)
F0, FIRST, LAST = 298e6, 5.25e-3, 28.57e-3
STONE = ((R - 2.5) ** 2).sum(axis=0) <= 2.6**2
SCAN = {"centre_frequency": F0, "echo_time": LAST, "margin": 8}


def problem(y, weights, b0=AXIAL):
    """A problem on the grid of its data [rad], as fansi() makes them."""
    return FansiProblem(
        y=y.astype(np.float32), weights=weights.astype(np.float32), mask=weights > 0,
        kernel=dipole_kernel(y.shape, ISO, b0), weight_scale=1.0 / float(weights.max()),
        threshold=1e-4, edge_sign=-1.0, gradient_consistency=0.05, fidelity_consistency=1.0,
        harmonic_constraint=150.0, harmonic_consistency=3.0,
        weak_harmonic=True, n_newton=3, linear_start=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def stone():
    """A calcification at 7 T among weak tissue: lost signal, and wrong turns at its surface."""
    rng = np.random.default_rng(3)
    tissue = np.where(((R + np.reshape((6, 4, 3), (3, 1, 1, 1))) ** 2).sum(axis=0) < 16, 0.1, 0)
    chi = np.where(STONE, -2.4, tissue).astype(np.float32)
    field = (1e-6 * F0) * dipole_field(chi, ISO, AXIAL)
    field += (0.2 * rng.standard_normal(SHAPE)).astype(np.float32)
    weights = (1 + 0.02 * rng.standard_normal(SHAPE)) * MASK
    weights[STONE] = 0
    field[STONE] = 200 * rng.standard_normal(STONE.sum())
    beside = np.argwhere((np.abs(field) > 0.3 / FIRST) & MASK & ~STONE)
    wrong = tuple(beside[rng.choice(len(beside), 10, replace=False)].T)
    field[wrong] -= np.sign(field[wrong]) / FIRST
    return chi, field, weights.astype(np.float32)


def test_solves_its_equations(rng, monkeypatch):
    """Enough steps without outliers, against scipy on the equations as written."""
    monkeypatch.setattr(fansi_start, "SMOOTH", FINE)
    monkeypatch.setattr(fansi_start, "OUTLIER", 1e9)
    monkeypatch.setattr(fansi_start, "STEPS", 150)
    shape, b0 = (12, 15, 11), (0.0, 0.6, 0.8)
    y, w = rng.standard_normal(shape), rng.uniform(0.5, 1, shape)
    w[:2] = 0  # outside the mask
    w[5:7, 6:9, 4:6] = 0
    p = problem(y, w, b0)
    x, phase, _ = least_squares_map(p)

    scaled = w / w.max()
    edges = np.abs(gradient(scaled))
    both = [p.mask & np.roll(p.mask, -1, axis) for axis in range(3)]
    floor = np.mean([e[m].mean() for e, m in zip(edges, both, strict=True)])
    q2 = (floor / np.maximum(edges, floor)) ** 2

    def dipole(v):
        return np.fft.irfftn(p.kernel * np.fft.rfftn(v), shape)

    def normal(flat):
        v = flat.reshape(shape)
        v = dipole(scaled**2 * dipole(v)) + FINE * gradient_adjoint(q2 * gradient(v))
        return v.ravel()

    n = y.size
    found, failed = scipy.sparse.linalg.cg(
        scipy.sparse.linalg.LinearOperator((n, n), normal), dipole(scaled**2 * y).ravel(),
        rtol=1e-10, maxiter=3000,
    )  # fmt: skip
    assert not failed
    expected = found.reshape(shape) - found.mean()
    np.testing.assert_allclose(x, expected, atol=2e-3 * np.abs(expected).max())
    np.testing.assert_allclose(phase, dipole(x), atol=1e-4)


def test_field_is_on_the_right_turn(stone):
    """Where there is signal, wrong turns or not, the start predicts the true field."""
    chi, field, weights = stone
    to_rad = 2 * np.pi * LAST
    true = (1e-6 * F0 * to_rad) * dipole_field(chi, ISO, AXIAL)
    near = (weights > 0) & (((R - 2.5) ** 2).sum(axis=0) < 64)
    assert np.abs(true[near]).max() > 4 * np.pi
    _, phase, y = least_squares_map(problem(np.where(MASK, field, 0) * to_rad, weights))
    assert (np.abs(y - true)[near] > np.pi).sum() <= 2
    assert (np.abs(phase - true)[near] > np.pi).mean() < 0.03


def test_strong_source_without_signal(stone):
    """Its value comes out; from zero, even after linear iterations, it does not."""
    chi, field, weights = stone
    start = fansi(field, MASK, weights, ISO, AXIAL, **SCAN)
    zero = fansi(field, MASK, weights, ISO, AXIAL, **SCAN, start="zero", linear_start=10)
    around = MASK & ~STONE
    offset = start.chi[around].mean()
    assert start.chi[STONE].mean() - offset == pytest.approx(-2.4, rel=0.03)
    assert 5 <= start.n_turned <= 15  # of the ten unwrapped wrongly
    assert zero.n_turned == 0
    spread, before = ((r.chi - chi)[around].std() for r in (start, zero))
    assert spread < 0.5 * before


def test_start_fits_where_it_predicts(stone):
    """The state's z2 lies between the data at the nearest turn and the prediction."""
    _, field, weights = stone
    p = problem(np.where(MASK, field, 0) * 2 * np.pi * LAST, weights)
    turned, state = least_squares_start(p)
    x, phase, y = least_squares_map(p)
    fit = state.data + state.s2
    low, high = np.minimum(phase, y) - 1e-3, np.maximum(phase, y) + 1e-3
    assert ((low <= fit) & (fit <= high)).all()
    np.testing.assert_allclose(fit[STONE], phase[STONE], atol=1e-3)
    np.testing.assert_array_equal(turned.y, y)
    turns = (y - p.y) / (2 * np.pi)
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-5)
    np.testing.assert_array_equal(state.x, x)
    np.testing.assert_array_equal(state.v, gradient(x))
    assert not state.h.any()
    assert not state.u.any()


def test_threads_do_not_change_the_result(stone):
    _, field, weights = stone
    p = problem(np.where(MASK, field, 0) * 2 * np.pi * LAST, weights)
    one, two, five = (least_squares_map(p, n)[0] for n in (1, 2, 5))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, five)


def test_no_field_gives_zero():
    x, phase, y = least_squares_map(problem(np.zeros((8, 9, 10)), np.ones((8, 9, 10))))
    for volume in (x, phase, y):
        assert not volume.any()


@pytest.mark.slow
def test_stray_turns_of_the_first_echo(stone):
    """Single voxels unwrapped wrongly are far off; without the start they ruin the map."""
    chi, field, weights = stone
    rng = np.random.default_rng(8)
    stray = field.copy()
    where = rng.choice(np.flatnonzero(MASK & ~STONE), 100, replace=False)
    stray.flat[where] += rng.choice([-1, 1], where.size) / FIRST
    result = fansi(stray, MASK, weights, ISO, AXIAL, **SCAN)
    zero = fansi(stray, MASK, weights, ISO, AXIAL, **SCAN, start="zero", linear_start=10)
    spread, before = ((r.chi - chi)[MASK & ~STONE].std() for r in (result, zero))
    assert spread < 0.3 * before


def test_a_strong_source_does_not_end_the_iterations(stone):
    """The size of x is that of the stone; the tolerance must not end the iterations for it."""
    _, field, weights = stone
    result = fansi(field, MASK, weights, ISO, AXIAL, **{**SCAN, "tolerance_percent": 50.0})
    # and two of the last stage
    assert result.n_iterations == fansi_start.LEAST_ITERATIONS + 2


def test_a_single_slice_has_a_start(stone):
    """No voxel of it has a neighbour along the third axis."""
    _, field, weights = stone
    one = MASK & (np.arange(SHAPE[2]) == 18)
    assert np.isfinite(
        fansi(field, one, weights, ISO, AXIAL, **SCAN, maximum_iterations=3).chi
    ).all()


def test_differences_count_between_neighbours_of_the_mask():
    """Periodic, a mean for each axis; an axis without any is left out."""
    rng = np.random.default_rng(4)
    volume = rng.random((6, 7, 8)).astype(np.float32)
    for mask in (rng.random(volume.shape) < 0.7, np.arange(8) == 3 + np.zeros((6, 7, 1))):
        means = []
        for axis in range(3):
            both = mask & np.roll(mask, -1, axis)
            if both.any():
                means.append(np.abs(np.roll(volume, -1, axis) - volume)[both].mean())
        with planes(6, 2) as run:
            found = fansi_start._mean_difference(volume, mask, run)
        assert len(means) in (2, 3)
        assert found == pytest.approx(np.mean(means), rel=1e-5)


def test_only_data_that_are_far_off_go_to_other_turns():
    turn = 2 * np.pi
    y = np.zeros((2, 2, 3), np.float32)
    phase = np.array([0, 6.0, -9.9, 10.1, -12.0, 31.0, 0, 0, 0, 0, 0, 0], np.float32)
    out = np.empty_like(y)
    fansi_start._to_turns(0, 2, out, phase.reshape(y.shape), y)
    np.testing.assert_allclose(
        out.ravel()[:6], [0, 0, 0, 2 * turn, -2 * turn, 5 * turn], rtol=1e-6
    )
