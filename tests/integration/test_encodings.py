"""Any way to store an echo gives the same total field: numbers, sign, axes, header scaling."""

import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qsmbids.core.phantom.head import make_phantom, multi_echo_signal, simulate_field
from qsmbids.interfaces.field import CombineEchoes, UnwrapPhase
from qsmbids.interfaces.phase_correction import RemovePhaseOffset
from qsmbids.interfaces.prepare_magnitude import PrepareMagnitude
from qsmbids.interfaces.prepare_phase import PreparePhase

SHAPE, VOXEL = (30, 34, 26), (3.2, 3.3, 3.4)
ECHO_TIMES = [0.005, 0.011, 0.017]
AFFINE = np.array([[3.2, 0, 0, -46], [0, 3.24, -0.6, -52], [0, 0.58, 3.35, -44], [0, 0, 0, 1.0]])
PI = math.pi
MAKERS = {"Siemens": 1, "Philips Medical Systems": 1, "GE MEDICAL SYSTEMS": -1}
MAKERS |= {"GE": -1, "UIH": -1, "Canon": -1, "Hitachi": -1}


@dataclass(frozen=True)
class Stored:
    """Numbers in a file and how its header scales them."""

    numbers: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    units: str = "arbitrary"


def levels(angle, n):
    """0..n-1 with zero phase at n / 2."""
    return (np.rint(angle * (n / (2 * PI))).astype(np.int64) + n // 2) % n


class Head:
    """Echoes along right, anterior, superior, the brain, and the field of plain radians.

    No dataclass, of which hypothesis would print every number.
    """

    def __init__(self, echoes, mask, inside, reference):
        self.echoes, self.mask = echoes, mask
        self.inside, self.reference = inside, reference

    def error(self, field):
        """Rms [Hz] without the median."""
        return rms_without_median((field - self.reference)[self.inside])


FLOATS = ("f4", "f8")
#: Data types that hold the numbers, and the numbers.
ENCODINGS = {
    "0..4095": (("u2", "i2", "i4", *FLOATS), lambda p: Stored(levels(p, 4096))),
    "0..4095 of a 4095 circle": (
        ("u2", "i2"),
        lambda p: Stored(np.rint((p + PI) / (2 * PI) * 4095)),
    ),
    "-4096..4094 by the header": (
        ("u2", "i2"),
        lambda p: Stored(levels(p, 4096), 2.0, -4096.0),
    ),
    "-4096..4094": (("i2", "i4", *FLOATS), lambda p: Stored(2 * levels(p, 4096) - 4096)),
    "milliradians": (("i2", "i4", *FLOATS), lambda p: Stored(np.rint(1000 * p))),
    "milliradians by the header": (
        ("u2", "i2"),
        lambda p: Stored(np.rint((p + PI) / (2 * PI) * 4095), 6284 / 4095, -3142.0),
    ),
    "milliradians of the sidecar": (FLOATS, lambda p: Stored(1000 * p, units="mrad")),
    "degrees": (("i2", *FLOATS), lambda p: Stored(np.rint(np.degrees(p)))),
    "degrees of the sidecar": (FLOATS, lambda p: Stored(np.degrees(p), units="degrees")),
    "radians": (FLOATS, lambda p: Stored(p)),
    "radians by the header": (
        ("i2", "i4"),
        lambda p: Stored(np.rint(p / PI * 32767), PI / 32767, 0.0, "rad"),
    ),
    "radians, 0..2 pi": (FLOATS, lambda p: Stored(np.mod(p, 2 * PI))),
    "0..16383": (("u2", "i2", "i4"), lambda p: Stored(levels(p, 16384))),
    "0..65535": (("u2", "i4", *FLOATS), lambda p: Stored(levels(p, 65536))),
    "-32768..32767": (("i2", "i4"), lambda p: Stored(levels(p, 65536) - 32768)),
}


@pytest.fixture(scope="module")
def head():
    phantom = make_phantom(SHAPE, VOXEL)
    field, _ = simulate_field(phantom)
    echoes = multi_echo_signal(phantom, field, ECHO_TIMES)
    stored = [Stored(np.angle(echo).astype("f4"), units="rad") for echo in echoes]
    reference = total_field(
        np.abs(echoes), stored, phantom.mask.astype(np.uint8), AFFINE, "Siemens"
    )
    inside = ndi.binary_erosion(phantom.mask, iterations=2)
    assert rms_without_median((reference - field)[inside]) < 2.0
    return Head(echoes, phantom.mask.astype(np.uint8), inside, reference)


def rms_without_median(difference):
    return float(np.sqrt(np.mean((difference - np.median(difference)) ** 2)))


def turned(volume, ornt):
    """Store a volume along other axes; return array and affine."""
    image = nib.Nifti1Image(volume, AFFINE).as_reoriented(ornt)
    return np.asarray(image.dataobj), image.affine


def save(path, stored, affine):
    image = nib.Nifti1Image(stored.numbers, affine)
    if stored.slope != 1.0 or stored.intercept:
        image.header.set_slope_inter(stored.slope, stored.intercept)  # leaves the numbers
    nib.save(image, path)
    return str(path)


def total_field(magnitude, stored, mask, affine, maker, real_imag=False):
    """Store the echoes, run the steps from the files to the field, turn it back to RAS."""
    with tempfile.TemporaryDirectory() as name:
        folder, here = Path(name), Path.cwd()
        os.chdir(folder)
        try:
            first, second = ("real", "imag") if real_imag else ("magnitude", "phase")
            files = {
                part: [save(folder / f"raw_{part}{e}.nii", s, affine) for e, s in enumerate(many)]
                for part, many in (
                    (first, magnitude if real_imag else [Stored(m) for m in magnitude]),
                    (second, stored),
                )
            }
            brain = save(folder / "brain.nii", Stored(mask), affine)
            units = "" if real_imag else stored[0].units
            parts = ("real", "imag") if real_imag else ("magnitude",)
            head = PrepareMagnitude(**{part: files[part] for part in parts}).run()
            files["magnitude"] = head.outputs.magnitude
            prepared = PreparePhase(
                **files, echo_times=ECHO_TIMES[:2], phase_units=units, manufacturer=maker
            ).run()
            common = {"echo_times": ECHO_TIMES, "mask": brain}
            common["magnitude"] = prepared.outputs.magnitude
            offset = RemovePhaseOffset(phase=prepared.outputs.phase, **common).run()
            unwrapped = UnwrapPhase(
                phase=offset.outputs.phase, measured=prepared.outputs.phase, **common
            ).run()
            combined = CombineEchoes(phase=unwrapped.outputs.phase, **common).run()
            image = nib.as_closest_canonical(nib.load(combined.outputs.field))
            np.testing.assert_allclose(image.affine, AFFINE, atol=1e-4)
            return np.array(image.dataobj)
        finally:
            os.chdir(here)


AXES = st.permutations(range(3))
FLIPS = st.tuples(*[st.sampled_from([1, -1])] * 3)
QUICK = settings(max_examples=15, deadline=None)


def orientation(order, flips):
    return np.column_stack([order, flips])


@pytest.mark.slow
@QUICK
@given(data=st.data(), order=AXES, flips=FLIPS, maker=st.sampled_from(sorted(MAKERS)))
def test_every_known_encoding(head, data, order, flips, maker):
    echoes, mask = head.echoes, head.mask
    kind = data.draw(st.sampled_from(sorted(ENCODINGS)))
    types, encode = ENCODINGS[kind]
    dtype = data.draw(st.sampled_from(types))
    ornt = orientation(order, flips)
    stored = []
    for echo in echoes:
        s = encode(MAKERS[maker] * np.angle(echo).astype(float))
        array, affine = turned(s.numbers.astype(dtype), ornt)
        stored.append(Stored(array, s.slope, s.intercept, s.units))
    magnitude = [turned(m, ornt)[0] for m in np.abs(echoes)]
    found = total_field(magnitude, stored, turned(mask, ornt)[0], affine, maker)
    assert head.error(found) < 0.3


@pytest.mark.slow
@QUICK
@given(
    exponent=st.floats(-4, 5),
    start=st.floats(-3, 3),
    gain=st.floats(-3, 4),
    order=AXES,
    flips=FLIPS,
    maker=st.sampled_from(sorted(MAKERS)),
)
def test_any_linear_scale_of_a_full_circle(head, exponent, start, gain, order, flips, maker):
    echoes, mask = head.echoes, head.mask
    per_radian, origin = 10.0**exponent, start * 10.0**exponent
    # near radians, milliradians or degrees nobody can tell; they are taken for these
    for unit in (1.0, 1000.0, 180 / PI):
        assume(not 0.87 < per_radian / unit < 1.06)
    ornt = orientation(order, flips)
    stored = []
    for echo in echoes:
        numbers = MAKERS[maker] * np.angle(echo).astype(float) * per_radian + origin
        array, affine = turned(numbers, ornt)
        stored.append(Stored(array))
    magnitude = [turned(m * 10.0**gain, ornt)[0] for m in np.abs(echoes)]
    found = total_field(magnitude, stored, turned(mask, ornt)[0], affine, maker)
    assert head.error(found) < 0.3


@pytest.mark.slow
@QUICK
@given(
    order=AXES,
    flips=FLIPS,
    maker=st.sampled_from(sorted(MAKERS)),
    dtype=st.sampled_from(["i2", "i4", "f4", "f8"]),
    slope=st.floats(0.01, 100),
    along=st.sampled_from([None, 0, 1, 2]),
)
def test_real_and_imaginary_parts(head, order, flips, maker, dtype, slope, along):
    echoes, mask = head.echoes, head.mask
    if MAKERS[maker] < 0:
        echoes = np.conj(echoes)
    if along is not None:
        n = SHAPE[along]
        echoes = echoes * np.expand_dims(
            (-1.0) ** np.arange(n), [a for a in range(3) if a != along]
        )
    ornt = orientation(order, flips)
    parts = [
        [
            Stored(turned(np.rint(part * 5000).astype(dtype), ornt)[0], slope)
            for part in (echo.real, echo.imag)
        ]
        for echo in echoes
    ]
    affine = turned(mask, ornt)[1]
    real, imag = zip(*parts, strict=True)
    found = total_field(real, imag, turned(mask, ornt)[0], affine, maker, real_imag=True)
    assert head.error(found) < 0.3


def test_a_wrong_rule_would_be_seen(head):
    """The comparison fails for the other sign, a 6 % scale, and a mirrored head."""
    reference = head.reference
    assert head.error(-reference) > 5
    assert head.error(0.94 * reference) > 0.3
    assert head.error(reference[::-1]) > 2
