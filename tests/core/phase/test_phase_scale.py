"""Encodings of phase: the same complex data give the same radians, whatever the scanner wrote."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsmbids.core.phase.phase_scale import detect_phase_scale, phase_statistics, to_radians

PI = math.pi
LSB = PI / 2048  # of the coarsest encoding, 12 bit


def _circular_error(a, b):
    return np.abs(np.angle(np.exp(1j * (np.asarray(a, float) - np.asarray(b, float))))).max()


def _phase(seed, noise=True):
    """Three echoes of a smooth phase that grows, in noise: most of a real field of view."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (17, 14, 11)), indexing="ij")
    slow = rng.uniform(2, 5) * (x * y + z**2) + rng.uniform(-3, 3)
    echoes = np.angle(np.exp(1j * slow * np.arange(1, 4)[:, None, None, None]))
    if noise:
        echoes[:, :4] = rng.uniform(-PI, PI, echoes[:, :4].shape)
    echoes[0, 0, 0, :2] = -PI + 1e-4, PI - 1e-4  # noise reaches both ends in a full volume
    return echoes


ENCODINGS = {
    "siemens-12bit": lambda p: (np.rint(p / PI * 2048).astype(int) + 2048) % 4096,
    "siemens-signed": lambda p: (np.rint(p / PI * 2048) * 2 + 4096) % 8192 - 4096.0,
    "milliradians": lambda p: np.rint(p * 1000).astype(np.int16),
    "degrees": lambda p: np.degrees(p).astype(np.float32),
    "radians": lambda p: p.astype(np.float32),
    "radians-0-2pi": lambda p: np.mod(p, 2 * PI),
}


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    rule=st.sampled_from(sorted(ENCODINGS)),
    sign=st.sampled_from([1, -1]),
)
def test_every_encoding_gives_the_same_radians(seed, rule, sign):
    phase = _phase(seed)
    stored = ENCODINGS[rule](sign * phase)
    scale = detect_phase_scale(phase_statistics(list(stored)))
    assert scale.rule == rule
    assert scale.warning == ""
    for echo, truth in zip(stored, phase, strict=True):
        radians = to_radians(echo, scale, sign=sign)
        assert radians.dtype == np.float32
        assert np.abs(radians).max() <= np.float32(PI)
        assert _circular_error(radians, truth) <= LSB


@pytest.mark.parametrize(
    ("stored", "error"),
    [
        # rounding to 4095 steps: a level is 2 pi / 4095 instead of 2 pi / 4096
        (lambda p: np.rint((p + PI) / (2 * PI) * 4095).astype(np.uint16), 2 * LSB),
        # Siemens without the step of 2
        (lambda p: np.clip(np.rint(p / PI * 4096), -4096, 4095), LSB),
        # Philips through dcm2niix, in mrad
        (lambda p: np.rint((p * 1000 + 3142) / 1.53455) * 1.53455 - 3142.0, LSB),
        (lambda p: np.mod(p, 2 * PI) * 1000.0, 1e-6),
        (lambda p: np.mod(np.degrees(p), 360.0), 1e-6),
        (lambda p: np.rint(np.degrees(p)), 0.01),
        (lambda p: p * (1 + 1e-4), 1e-3),
        (lambda p: p * 500.0, 1e-3),
        (lambda p: p / 855.0, 1e-3),
        # one end as in milliradians, radians or degrees, but filled to both ends of less
        (lambda p: p * 668.6 - 1117.0, 1e-3),
        (lambda p: p * 0.6 + 1.93, 1e-3),
        (lambda p: p * 30.0 + 261.0, 1e-3),
    ],
)
def test_variants_of_the_encodings(stored, error):
    phase = _phase(3)
    numbers = stored(phase)
    scale = detect_phase_scale(phase_statistics(list(numbers)), units="arbitrary")
    # an unknown scale is only known up to an offset of half a level
    assert _circular_error(to_radians(numbers, scale), phase) <= error + 1e-6


@pytest.mark.parametrize(("units", "factor"), [("rad", 1), ("mrad", 1e3), ("degrees", 180 / PI)])
def test_units_decide_where_the_numbers_do_not(units, factor):
    short_echo = 0.3 * _phase(4, noise=False) * factor
    scale = detect_phase_scale(phase_statistics([short_echo]), units=units)
    assert scale.rule == f"sidecar-{units}"
    np.testing.assert_allclose(to_radians(short_echo, scale) * factor, short_echo, rtol=1e-5)


def test_masked_siemens_image_keeps_the_scanner_scale():
    """Neither the zero background nor a maximum below 4095 may stretch the phase."""
    rng = np.random.default_rng(0)
    levels = np.rint(rng.normal(2100, 250, (20, 20, 20))).clip(1100, 3100).astype(np.int16)
    levels[:6] = 0
    levels[10, 10, 10] = 3100
    scale = detect_phase_scale(phase_statistics([levels]), units="arbitrary")
    assert scale.rule == "siemens-12bit"
    assert scale.slope == pytest.approx(PI / 2048)
    assert "0 to 3100" in scale.warning
    levels[10, 10, 10] = 4050
    assert detect_phase_scale(phase_statistics([levels])).warning == ""
    signed = 2.0 * levels - 4096.0
    assert detect_phase_scale(phase_statistics([signed])).slope == pytest.approx(PI / 4096)


def test_masked_radians_without_units_are_taken_as_they_are():
    rng = np.random.default_rng(0)
    phase = rng.normal(0, 0.5, (20, 20, 20)).clip(-2, 2)
    scale = detect_phase_scale(phase_statistics([phase]))
    assert (scale.rule, scale.slope) == ("radians", 1.0)
    assert "Units" in scale.warning


def test_echoes_are_judged_together():
    short = np.rint(np.random.default_rng(0).normal(2048, 60, (12, 12, 12)))
    full = ENCODINGS["siemens-12bit"](_phase(1)[1])
    assert detect_phase_scale(phase_statistics([short, full])).warning == ""


GAUSS = np.random.default_rng(7).normal(size=(24, 24, 24))


@pytest.mark.parametrize(
    ("numbers", "units", "says"),
    [
        (GAUSS * 40, "Hz", "field map"),
        (np.rint(GAUSS * 40), "arbitrary", "Hz"),
        (np.rint(GAUSS * 40), None, "levels"),
        (GAUSS * 4, "rad", "already unwrapped"),
        (GAUSS * 4, "arbitrary", "already unwrapped"),
        (np.zeros((4, 4, 4)), "rad", "constant"),
        (np.full((4, 4, 4), np.nan), "rad", "no finite"),
        (GAUSS, "tesla-metres", "no unit of phase"),
        (np.arange(4096.0), "rad", "Siemens 12 bit"),
        (np.arange(-4096.0, 4096.0, 2), "rad", "Siemens signed"),
        (np.arange(-3142, 3143), "rad", "milliradians"),
        (np.linspace(-180, 180, 5000), "rad", "degrees"),
        (np.linspace(-PI, PI, 5000), "degrees", "radians"),
        (np.linspace(-PI, PI, 5000), "mrad", "radians"),
        (np.linspace(-3142, 3142, 5000), "degrees", "milliradians"),
        (np.arange(-3, 4), "rad", "rounded"),
        (np.linspace(-0.003, 0.003, 5000), "rad", "less than noise"),
        (np.abs(np.rint(GAUSS * 200)), None, "thins out|levels"),
    ],
)
def test_refused_with_a_reason(numbers, units, says):
    with pytest.raises(ValueError, match=says):
        detect_phase_scale(phase_statistics([numbers]), units=units)


def test_image_type_tells_a_field_map():
    statistics = phase_statistics([_phase(0)])
    with pytest.raises(ValueError, match="FIELDMAPHZ"):
        detect_phase_scale(statistics, image_type=["ORIGINAL", "PRIMARY", "FIELDMAPHZ"])
    assert detect_phase_scale(statistics, image_type=["ORIGINAL", "P", "PHASE"]).rule == "radians"


def test_statistics_ignore_what_is_not_finite():
    phase = _phase(2)
    spoiled = phase.copy()
    spoiled[1, 3, 3, 3:6] = np.nan, np.inf, -np.inf
    a, b = phase_statistics(list(phase)), phase_statistics(list(spoiled))
    assert (b.minimum, b.maximum, b.integer_valued) == (a.minimum, a.maximum, False)
    assert b.n_finite == a.n_finite - 3
    scale = detect_phase_scale(b)
    radians = to_radians(spoiled, scale)
    assert np.all(radians[1, 3, 3, 3:6] == 0)
    assert np.isfinite(radians).all()
    assert np.isnan(spoiled[1, 3, 3, 3])  # the input is left alone


def test_statistics_find_the_step():
    s = phase_statistics([np.arange(-4096, 4096, 2), np.array([-4096.0, 0.0])])
    assert (s.step, s.integer_valued, s.extent, s.largest) == (2, True, 8190, 4096)
    assert phase_statistics([np.array([-0.5, 1.5])]).step == 0


def test_bad_arguments():
    scale = detect_phase_scale(phase_statistics([_phase(0)]))
    with pytest.raises(ValueError, match="sign"):
        to_radians(np.zeros(3), scale, sign=0)
    with pytest.raises(ValueError, match="real"):
        phase_statistics([np.ones((2, 2, 2), dtype=complex)])
    with pytest.raises(ValueError, match="no finite"):
        phase_statistics([])


def test_the_open_end_of_the_circle():
    """(-pi, pi]: both ends come out as +pi, also where float32 rounds."""
    scale = detect_phase_scale(phase_statistics([_phase(0)]))
    ends = np.array([-PI, PI, 3 * PI, -PI + 1e-9, -PI + 1e-3])
    radians = to_radians(ends, scale)
    assert np.all(radians[:4] == np.float32(PI))
    assert radians[4] == pytest.approx(-PI + 1e-3, abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(turns=st.integers(-5, 5), seed=st.integers(0, 1000))
def test_whole_turns_do_not_matter(turns, seed):
    scale = detect_phase_scale(phase_statistics([_phase(0)]))
    phase = _phase(seed)
    assert _circular_error(to_radians(phase + 2 * PI * turns, scale), phase) < 1e-5


def test_threads_do_not_change_the_result(rng):
    numbers = rng.integers(0, 4096, (97, 83, 71)).astype(np.uint16)
    scale = detect_phase_scale(phase_statistics([numbers]))
    one, many = (to_radians(numbers, scale, n_threads=n) for n in (1, 4))
    assert one.shape == numbers.shape
    np.testing.assert_array_equal(one, many)
    swapped = np.asfortranarray(numbers.astype(">u2"))
    np.testing.assert_array_equal(to_radians(swapped, scale), one)


def test_real_scans(shared_dir):
    nib = pytest.importorskip("nibabel")
    folder = shared_dir / "data"
    field = nib.load(next((folder / "ge_b0map_hz" / "nifti").glob("*fieldmaphz.nii.gz")))
    with pytest.raises(ValueError, match="Hz"):
        detect_phase_scale(phase_statistics([np.asarray(field.dataobj)]))
    crop = nib.load(folder / "romeo_small" / "Phase.nii")  # pi / 855
    scale = detect_phase_scale(phase_statistics([np.asarray(crop.dataobj)]))
    assert scale.rule == "min-max"
    assert scale.slope == pytest.approx(855.0, rel=1e-3)
    unwrapped = nib.load(folder / "romeo_small" / "phase_with_nan.nii")
    with pytest.raises(ValueError, match="already unwrapped"):
        detect_phase_scale(phase_statistics([np.asarray(unwrapped.dataobj)]))
