"""Fill values, strays and dots must neither set the scale of the phase nor count as phase."""

import numpy as np
import pytest

from qsmbids.core.phase.missing_phase import read_phase_numbers, without_phase, zero_dots

SHAPE = (24, 26, 22)
#: What scanners and converters write for -pi to pi: name of the rule, and the numbers.
ENCODINGS = {
    "radians": lambda p: p.astype(np.float32),
    "siemens-12bit": lambda p: np.floor((p + np.pi) / (2 * np.pi) * 4096).clip(0, 4095),
    "siemens-signed": lambda p: 2 * np.floor(p / np.pi * 2048).clip(-2048, 2047),
    "milliradians": lambda p: np.rint(1000 * p),
}


@pytest.fixture
def phase(rng):
    return rng.uniform(-np.pi, np.pi, (2, *SHAPE))


@pytest.fixture
def outside():
    """Return the corners of the volume, a fifth of it, as a background has them."""
    grid = np.indices(SHAPE).T / (np.array(SHAPE) - 1) * 2 - 1
    return (grid**2).sum(axis=-1).T > 1.9


@pytest.mark.parametrize("rule", ENCODINGS)
@pytest.mark.parametrize("fill", [-32768, -9999, -5000, 8000, 65535])
def test_a_fill_value_in_the_background(phase, outside, rule, fill):
    volumes = [np.where(outside, fill, ENCODINGS[rule](p)) for p in phase]
    found = read_phase_numbers(volumes)
    assert (found.scale.rule, found.fills) == (rule, (fill,))
    no_phase = without_phase(volumes, found)
    np.testing.assert_array_equal(no_phase.any_voxel, outside)
    assert f"{outside.sum()} voxels" in no_phase.notes[0]


@pytest.mark.parametrize(
    ("rule", "fill"), [("siemens-12bit", -1), ("milliradians", -4096), ("radians", -4.0)]
)
def test_a_fill_value_that_turns_one_scale_into_another(phase, outside, rule, fill):
    """-1 beside 0 to 4095 looks signed, -4096 beside milliradians like Siemens."""
    volumes = [np.where(outside, fill, ENCODINGS[rule](p)) for p in phase]
    assert read_phase_numbers(volumes).scale.rule == rule


@pytest.mark.parametrize("rule", ENCODINGS)
@pytest.mark.parametrize("stray", [-9000.0, 8000.0, 7.5e9])
def test_a_few_voxels_out_of_range(phase, rule, stray):
    volumes = [ENCODINGS[rule](p) for p in phase]
    volumes[1][0, 0, 0] = stray
    volumes[0][3, 4, 5] = stray + 1
    found = read_phase_numbers(volumes)
    assert found.scale.rule == rule
    assert np.argwhere(without_phase(volumes, found).any_voxel).tolist() == [[0, 0, 0], [3, 4, 5]]


@pytest.mark.parametrize("unit", ["rad", "arbitrary", None])
def test_a_stray_in_radians_whatever_the_units_say(phase, unit):
    volumes = [p.astype(np.float32) for p in phase]
    volumes[0][0, 0, 0] = 7.5
    found = read_phase_numbers(volumes, units=unit)
    assert found.scale.slope == 1.0
    assert without_phase(volumes, found).any_voxel.sum() == 1


@pytest.mark.parametrize("rule", ENCODINGS)
def test_nothing_is_left_out_of_whole_phase(phase, outside, rule):
    for volumes in (
        [ENCODINGS[rule](p) for p in phase],
        [np.where(outside, 0, ENCODINGS[rule](p)) for p in phase],
    ):
        found = read_phase_numbers(volumes)
        assert (found.scale.rule, found.fills) == (rule, ())
        assert not without_phase(volumes, found).any_voxel.any()


def test_background_at_the_end_of_the_scale_keeps_the_scale(rng, outside):
    """dcm2niix gives masked Siemens phase -4096, stored 0, though the head spans a part of it."""
    brain = 2 * np.rint(rng.normal(0, 400, (2, *SHAPE)))
    volumes = [np.where(outside, -4096, b) for b in brain]
    assert read_phase_numbers(volumes).scale.rule == "siemens-signed"


def test_unwrapped_phase_and_field_maps_are_still_refused(rng, outside):
    smooth = 40 * np.linspace(-1, 1, SHAPE[0])[:, None, None] + rng.normal(0, 1, (2, *SHAPE))
    with pytest.raises(ValueError, match=r"unwrapped|no known scale"):
        read_phase_numbers(list(smooth), units="rad")
    with pytest.raises(ValueError, match="no known scale"):  # not squeezed by the fill value
        read_phase_numbers([np.where(outside, -99999, np.rint(300 * s)) for s in smooth])


@pytest.mark.parametrize("rule", ["siemens-signed", "milliradians"])
def test_signed_numbers_that_were_stored_as_unsigned_are_refused(phase, rule):
    """Half of the circle is then 65536 too large, and no scale would be right."""
    volumes = [ENCODINGS[rule](p).astype(np.int16).view(np.uint16) for p in phase]
    with pytest.raises(ValueError, match="stored as unsigned"):
        read_phase_numbers(volumes, units="arbitrary")


@pytest.mark.parametrize("rule", ENCODINGS)
@pytest.mark.parametrize("share", [0.002, 0.02])
@pytest.mark.parametrize("number", [0, "smallest"])  # -4096 is what dcm2niix makes of a stored 0
def test_dots_of_zero_are_found(phase, rng, rule, share, number):
    dots = rng.random(SHAPE) < share
    dots[[0, -1]] = dots[:, [0, -1]] = dots[:, :, [0, -1]] = False
    volumes = [ENCODINGS[rule](p) for p in phase]
    number = min(v.min() for v in volumes) if number == "smallest" else number
    for volume in volumes:
        volume[dots] = number
    found = zero_dots(volumes)
    assert found[dots].all()
    assert (found & ~dots).sum() <= 8  # zeros by chance, in whole numbers
    if share > 0.01:  # beyond what chance does to whole numbers in one echo
        assert zero_dots([ENCODINGS[rule](phase[0]), volumes[1]])[dots].all()
        assert zero_dots(volumes[:1])[dots].all()


@pytest.mark.parametrize("rule", ENCODINGS)
def test_a_masked_background_and_chance_are_no_dots(phase, outside, rule):
    whole = [ENCODINGS[rule](p) for p in phase]
    assert zero_dots(whole) is None
    assert zero_dots([np.where(outside, 0, v) for v in whole]) is None


def test_dots_in_air_are_left_alone(phase):
    """A Philips scan of a head stores the smallest number in air, also within the head."""
    phase[:, 8:14:2, 9, 7:15:2] = -np.pi
    signal = np.ones(SHAPE, bool)
    numbers = read_phase_numbers(phase)
    assert without_phase(phase, numbers, signal).any_voxel.sum() == 12
    signal[8:14] = False
    assert not without_phase(phase, numbers, signal).any_voxel.any()
    assert not without_phase(phase, numbers, signal).notes
