"""The penalty that follows the noise: its noise estimate, its scaling, its result."""

import numpy as np
import pytest
from volumes import contrast_error

from qsmbids.core.inversion.adaptive_weight import TAU, adaptive_weight, cone_noise
from qsmbids.core.inversion.dipole import dipole_field
from qsmbids.core.inversion.fansi import FansiResult, fansi

SHAPE = (40, 44, 36)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([17, 19, 15], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
ISO, AXIAL = (1, 1, 1), (0, 0, 1)
F0, TE = 127.7e6, 0.0286
SCAN = {"centre_frequency": F0, "echo_time": TE}
WEIGHTS = np.where(MASK, 1 + 0.05 * np.random.default_rng(8).standard_normal(SHAPE), 0).astype(
    np.float32
)


@pytest.fixture(scope="module")
def chi():
    """Smooth tissue with nuclei of sharp borders."""
    out = 0.03 * np.sin(R[0] / 4) * np.sin(R[1] / 5 + 1)
    for centre, radius, value in (
        ((6, 0, 3), 5, 0.12),
        ((-7, 5, -3), 4, -0.08),
        ((0, -10, 0), 2, 0.25),
    ):
        out[((R - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2] = value
    return np.where(MASK, out, 0).astype(np.float32)


def noisy(chi, sigma_hz, f0=F0):
    rng = np.random.default_rng(6)
    field = 1e-6 * f0 * dipole_field(chi, ISO, AXIAL)
    return np.where(MASK, field + sigma_hz * rng.standard_normal(SHAPE), 0).astype(np.float32)


def error(estimate, truth):
    return contrast_error(estimate, truth, MASK)


def test_cone_noise_is_the_noise(chi):
    """With the truth for a result only noise is left, and one wild voxel does not matter."""
    field = noisy(chi, 0.5)
    field[20, 22, 18] += 300
    truth = FansiResult(chi, None, 1, 0.0, True)
    noise, rms = cone_noise(truth, field, MASK, WEIGHTS, ISO, AXIAL, centre_frequency=F0)
    assert noise / rms == pytest.approx(0.5, rel=0.1)


@pytest.mark.slow
def test_noise_is_measured_and_raises_the_penalty(chi):
    found = [
        adaptive_weight(noisy(chi, s), MASK, WEIGHTS, ISO, AXIAL, **SCAN) for s in (0.2, 0.5, 1.0)
    ]
    for sigma, result in zip((0.2, 0.5, 1.0), found, strict=True):
        assert result.field_noise == pytest.approx(sigma, rel=0.3)
        assert result.gradient_consistency == pytest.approx(
            min(100 * result.gradient_l1_penalty, 0.05)
        )
    assert (
        found[0].gradient_l1_penalty * 1.8
        < found[1].gradient_l1_penalty
        < found[2].gradient_l1_penalty / 1.8
    )


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.2, 1.0])
def test_error_is_near_the_best(chi, sigma):
    """No penalty of a wide grid is more than 10 % better."""
    field = noisy(chi, sigma)
    options = {**SCAN, "margin": 8, "weak_harmonic": False, "tolerance_percent": 0.3}

    def score(alpha, mu1=None):
        result = fansi(
            field,
            MASK,
            WEIGHTS,
            ISO,
            AXIAL,
            **options,
            gradient_l1_penalty=alpha,
            gradient_consistency=mu1 or 100 * alpha,
        )
        return error(result.chi, chi)

    found = adaptive_weight(
        field, MASK, WEIGHTS, ISO, AXIAL, **SCAN, weak_harmonic=False, n_threads=2
    )
    best = min(score(a) for a in (3e-4, 1e-3, 5e-3, 1e-2))
    assert score(found.gradient_l1_penalty, found.gradient_consistency) < 1.1 * best


def test_rule_is_repeated_by_its_numbers(chi):
    found = adaptive_weight(noisy(chi, 0.5), MASK, WEIGHTS, ISO, AXIAL, **SCAN)
    assert found.gradient_l1_penalty == pytest.approx(
        TAU * found.phase_noise**2 / found.mean_gradient
    )
    assert f"{found.gradient_l1_penalty:.3g}" in found.rule
    assert found.phase_noise < 2 * np.pi * TE * found.field_noise  # weights of largest value 1


def test_no_field_keeps_the_first_penalty():
    found = adaptive_weight(np.zeros(SHAPE), MASK, WEIGHTS, ISO, AXIAL, **SCAN)
    assert found.gradient_l1_penalty == 5e-4
    assert found.field_noise == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pilot_iterations": 5}, "iterations"),
        ({"mask": np.zeros(SHAPE, bool)}, "mask"),
        ({"weights": np.ones((3, 3, 3))}, "shape"),
        ({"echo_time": 0.0}, "> 0"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {
        "local_field": np.zeros(SHAPE), "mask": MASK, "weights": WEIGHTS,
        "voxel_size": ISO, "b0_direction": AXIAL, **SCAN, **change,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        adaptive_weight(**arguments)
