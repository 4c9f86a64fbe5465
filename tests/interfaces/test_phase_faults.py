"""Phase with known faults through the steps that read it: mended, or refused by name."""

import numpy as np
import pytest
from swi import filtered

from qsmbids.core.phantom.head import make_phantom, multi_echo_signal, simulate_field
from qsmbids.errors import InputError
from qsmbids.interfaces import checks
from qsmbids.interfaces.field import WeightData
from qsmbids.interfaces.phase_correction import CorrectReadout
from qsmbids.interfaces.prepare_phase import PreparePhase
from qsmbids.io.nifti import read_echoes, write_volume

TIMES = [0.004, 0.010, 0.016, 0.022]
SHAPE = (36, 40, 32)


@pytest.fixture(scope="module")
def head():
    """Return phase [rad], magnitude and brain of a small head."""
    phantom = make_phantom(SHAPE, (4.5, 4.5, 4.5))
    total, _ = simulate_field(phantom)
    echoes = multi_echo_signal(phantom, total, TIMES)
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 0.005, (2, *echoes.shape)) * np.abs(echoes).max()
    echoes = echoes + noise[0] + 1j * noise[1]
    strong = np.abs(echoes[0]) > 0.3 * np.abs(echoes[0]).max()
    return np.angle(echoes).astype(np.float32), np.abs(echoes).astype(np.float32), strong


@pytest.fixture
def prepare(tmp_path):
    """Return a function that takes arrays through PreparePhase."""

    def do(phase, magnitude, voxel_mm=1.0, **inputs):
        affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
        files = {
            part: [
                str(write_volume(tmp_path / f"echo-{e}_part-{part}.nii", echo, affine))
                for e, echo in enumerate(echoes, 1)
            ]
            for part, echoes in (("phase", phase), ("mag", magnitude))
        }
        step = PreparePhase(
            phase=files["phase"],
            magnitude=files["mag"],
            echo_times=TIMES[: len(phase)],
            sign="+1",
            **inputs,
        )
        return step.run(cwd=tmp_path).outputs

    return do


def correct(tmp_path, out, mask, numbers=(1, 2, 3, 4), times=TIMES):
    brain = write_volume(tmp_path / "brain.nii", mask.astype(np.uint8), np.eye(4))
    step = CorrectReadout(
        phase=out.phase,
        magnitude=out.magnitude,
        mask=str(brain),
        echo_times=list(times),
        echo_numbers=list(numbers),
    )
    return step.run(cwd=tmp_path).outputs


def turned(a, b):
    """Return the phase between two echoes [rad], per voxel."""
    return np.angle(np.exp(1j * (a - b)))


def test_fill_value_and_dots_are_left_out_with_a_word(prepare, head):
    phase, magnitude, strong = head
    milliradians = np.rint(1000 * phase)
    milliradians[:, :4] = -32768
    milliradians[:, 18, 10:30:2, 15] = 0
    out = prepare(milliradians, magnitude, phase_units="arbitrary")
    found, _ = read_echoes(out.phase)
    left, _ = read_echoes(out.magnitude)
    assert np.abs(turned(found, phase)[:, 4:][:, strong[4:] & (left[0, 4:] > 0)]).max() < 2e-3
    assert not left[:, :4].any()
    assert not left[:, 18, 10:30:2, 15].any()
    metadata, warnings = out.record["metadata"], " ".join(out.record["warnings"])
    assert metadata["PhaseScale"]["Rule"] == "milliradians"
    assert metadata["PhaseFillValues"] == [-32768]
    assert metadata["OutOfRangeVoxels"] == 4 * SHAPE[1] * SHAPE[2]
    assert metadata["ZeroPhaseVoxels"] == 10
    assert "fill value -32768" in warnings
    assert "10 voxels within the image hold exactly zero" in warnings


def test_the_phase_of_slices_is_taken_out_and_said(prepare, head):
    phase, magnitude, strong = head
    own = np.random.default_rng(3).uniform(-3, 3, SHAPE[2])
    out = prepare(np.angle(np.exp(1j * (phase + own))), magnitude)
    found, _ = read_echoes(out.phase)
    assert out.record["metadata"]["SliceOffsets"]["Axis"] == 2
    assert any("axis 2 had a phase of its own" in d for d in out.record["decisions"])
    # between echoes nothing has changed
    change = turned(found[1] - found[0], phase[1] - phase[0])
    assert np.abs(change[strong]).max() < 1e-3


@pytest.mark.parametrize("n_echoes", [1, 2, 4])
def test_slices_with_a_phase_that_no_echo_tells_are_refused(prepare, head, n_echoes):
    phase, magnitude, _ = head
    own = np.random.default_rng(3).uniform(-3, 3, (n_echoes, 1, 1, SHAPE[2]))
    spoilt = np.angle(np.exp(1j * (phase[:n_echoes] + own)))
    with pytest.raises(InputError, match=r"echo-1_part-phase.*jumps.*axis 2.*3-D scan"):
        prepare(spoilt, magnitude[:n_echoes])


def test_a_copied_echo_is_refused(prepare, head):
    phase, magnitude, _ = head
    spoilt = phase.copy()
    spoilt[2] = phase[1]
    with pytest.raises(InputError, match=r"echo-3_part-phase.*same phase as echo-2_part-phase"):
        prepare(spoilt, magnitude)


def test_constants_of_echoes_are_taken_out_and_said(prepare, head, tmp_path):
    phase, magnitude, strong = head
    constants = np.array([0, 1.3, -0.9, 2.4])[:, None, None, None]
    out = correct(tmp_path, prepare(np.angle(np.exp(1j * (phase + constants))), magnitude), strong)
    facts = out.record["metadata"]["ReadoutCorrection"]
    assert not facts["Bipolar"]
    # relative to the line through the first two: 0, 1.3, 2.6, 3.9
    expected = turned(np.array([0, 0, -0.9, 2.4]), np.array([0, 0, 2.6, 3.9]))
    np.testing.assert_allclose(facts["EchoConstantsRad"], expected, atol=0.05)
    assert any("constant phase of its own" in d for d in out.record["decisions"])


@pytest.mark.parametrize(
    ("order", "times"),
    [
        ([0, 2, 1, 3], TIMES),  # two images were mixed up
        ([3, 0, 1, 2], [0.001, 0.004, 0.010, 0.016]),  # the last has the time of an earlier one
    ],
)
def test_echo_times_that_the_phase_contradicts_are_refused(prepare, head, tmp_path, order, times):
    phase, magnitude, strong = head
    out = prepare(phase[order], magnitude[order])
    with pytest.raises(InputError, match=r"echo times: the phase fits echo spacings of.*EchoTime"):
        correct(tmp_path, out, strong, times=times)


def test_echoes_that_fit_no_field_give_no_weights(prepare, head, tmp_path):
    phase, magnitude, strong = head
    spoilt = phase.copy()  # of another scan
    spoilt[1:] = np.random.default_rng(0).uniform(-np.pi, np.pi, spoilt[1:].shape)
    out = prepare(spoilt, magnitude)
    zero = np.zeros(SHAPE, np.float32)
    files = {
        name: str(write_volume(tmp_path / f"{name}.nii", volume, np.eye(4)))
        for name, volume in (("field", zero), ("noise", zero + 1), ("r2star", zero + 20))
    }
    mask = write_volume(tmp_path / "mask.nii", strong.astype(np.uint8), np.eye(4))
    step = WeightData(
        phase=out.phase, magnitude=out.magnitude, mask=str(mask), echo_times=TIMES, **files
    )
    with pytest.raises(InputError, match=r"of Mask 1.*do not fit one field.*--mask"):
        step.run(cwd=tmp_path)


def test_slices_of_a_single_echo_are_aligned_where_the_scan_is_2d(prepare, head):
    phase, magnitude, _ = head
    own = np.random.default_rng(3).uniform(-3, 3, (1, 1, 1, SHAPE[2]))
    spoilt = np.angle(np.exp(1j * (phase[:1] + own)))
    out = prepare(spoilt, magnitude[:1], slice_axis=2)
    assert out.slice_axis == 2
    assert out.record["metadata"]["Slices"]["Axis"] == 2
    assert prepare(phase[:1], magnitude[:1]).slice_axis == -1


def test_breathing_between_slices_of_a_2d_scan_is_no_random_phase(prepare, head):
    phase, magnitude, _ = head
    rng = np.random.default_rng(4)
    times = np.array(TIMES)[:, None, None, None]
    hertz = rng.normal(0, 6, SHAPE[2])
    breathing = np.angle(np.exp(1j * (phase + 2 * np.pi * hertz * times)))
    prepare(breathing, magnitude, slice_axis=2)
    random = np.angle(np.exp(1j * (phase + rng.uniform(-3, 3, (len(TIMES), 1, 1, SHAPE[2])))))
    for axis in (2, -1):
        with pytest.raises(InputError, match="in every echo by another angle"):
            prepare(random, magnitude, slice_axis=axis)


@pytest.fixture
def swi(head):
    """Return phase and magnitude of a late echo as a scanner filters them for SWI."""
    phase, magnitude, _ = head
    complex_echoes = magnitude * np.exp(1j * phase)
    return np.angle(filtered(complex_echoes)).astype(np.float32), magnitude


LATE = {"last_echo_time": TIMES[-1], "b0_tesla": 3.0, "voxel_mm": 4.5}


def test_filtered_phase_is_refused_by_its_numbers(prepare, swi):
    with pytest.raises(InputError, match=r"filtered by the scanner .*looks high-pass filtered"):
        prepare(*swi, **LATE)


def test_filtered_phase_is_accepted_on_request_and_said(prepare, swi):
    record = prepare(*swi, **LATE, accept_filtered=True).record
    found = record["metadata"]["PhaseFilter"]
    assert found["Filtered"] is True
    assert found["Accepted"] is True
    assert found["SpreadRad"] < 0.35
    assert any("filtered by the scanner" in text for text in record["warnings"])


def test_a_given_field_does_without_the_phase(prepare, swi):
    record = prepare(*swi, **LATE, refuse_filtered=False).record
    (warning,) = (w for w in record["warnings"] if "filtered" in w)
    assert "the field is not made of it" in warning  # so nothing is said of the map
    found = record["metadata"]["PhaseFilter"]
    assert (found["Filtered"], found["Accepted"]) == (True, False)


@pytest.mark.parametrize(
    ("evidence", "certain", "late", "filtered"),
    [
        ("", False, True, False),
        ("", False, False, None),
        ("the sequence is that of SWI", False, True, False),
        ("the sequence is that of SWI", False, False, "refused"),
        ("the series is called 'filtered'", True, True, "refused"),
    ],
)
def test_words_and_numbers_of_unfiltered_phase(prepare, head, evidence, certain, late, filtered):
    phase, magnitude, _ = head
    inputs = {"filter_evidence": evidence, "filter_certain": certain, "b0_tesla": 3.0}
    inputs["voxel_mm"] = 4.5
    inputs["last_echo_time"] = TIMES[-1] if late else 0.006
    if filtered == "refused":
        with pytest.raises(InputError, match=evidence):
            prepare(phase, magnitude, **inputs)
    else:
        record = prepare(phase, magnitude, **inputs).record
        assert record["metadata"]["PhaseFilter"]["Filtered"] is filtered


def test_echo_times_are_checked_by_the_voxels_of_a_few_places(
    prepare, head, tmp_path, monkeypatch
):
    phase, magnitude, strong = head
    monkeypatch.setattr(checks, "_FEW_VOXELS", strong.sum() // 8)  # every other voxel
    out = prepare(phase, magnitude)
    brain = write_volume(tmp_path / "brain.nii", strong.astype(np.uint8), np.eye(4))

    def check(times, **known):
        step = checks.CheckPhase(
            phase=out.phase, magnitude=out.magnitude, mask=str(brain), echo_times=times, **known
        )
        record = step.run(cwd=tmp_path).outputs.record
        return record["metadata"]["PhaseChecks"]["EchoTimes"]

    right, wrong = check(TIMES), check([*TIMES[:3], 0.025])
    assert right["Value"] < 0.05  # noise
    assert not right["Suspicious"]
    # the last spacing is 6 ms and not the 9 ms that are stated, in parts of their mean of 7 ms
    assert wrong["Value"] == pytest.approx(3 / 7, abs=0.05)
    assert wrong["Suspicious"]
    # what the step before has found is taken as it is, and its reason is said
    before = correct(tmp_path, out, strong).echo_times_check
    taken = check([*TIMES[:3], 0.025], echo_times_check=before)
    assert taken == {"Value": before["value"], "Suspicious": False}
    assert before["value"] < 0.05
