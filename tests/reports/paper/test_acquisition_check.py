"""The paper's own protocols pass, and each departure from them is found."""

import math

import numpy as np
import pytest

from qsmbids.reports.paper.acquisition_check import check_acquisition
from qsmbids.reports.paper.facts import along_head, field_of_view
from qsmbids.reports.paper.protocols import PROTOCOLS, ernst_angle, protocol_for, relative_signal


def _by_topic(findings):
    topics = {f.topic: f for f in findings}
    assert len(topics) == len(findings)
    return topics


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: f"{p.b0_tesla:g}T")
def test_the_sample_protocols_of_the_paper_pass(protocol, make_sidecars, make_acquisition):
    b0 = protocol.b0_tesla
    found = check_acquisition(make_sidecars(b0), make_acquisition(b0))
    assert [f for f in found if f.verdict != "pass"] == []
    assert {f.recommendation for f in found} >= {"2.a", "2.b", "2.c", "2.d", "2.e", "2.f", "2.g"}


#: Changed sidecar, topic that must notice it, words of the advice.
SIDECAR_FAULTS = [
    ({"MRAcquisitionType": "2D"}, "3D acquisition", "3D"),
    ({"ScanningSequence": "EP"}, "RF-spoiled gradient echo", "distorted"),
    ({"SpoilingState": False}, "RF-spoiled gradient echo", "spoiling"),
    ({"ReadoutMode": "Bipolar"}, "monopolar readout", "monopolar"),
    ({"RepetitionTimeExcitation": 0.060, "FlipAngle": 21}, "minimum TR", "31 ms"),
    ({"FlipAngle": 35}, "flip angle against the Ernst angle", "15.9"),
    ({"FlipAngle": 5}, "flip angle against the Ernst angle", "15.9"),
    ({"ReconMatrixPE": 352}, "no interpolation", "switch"),
    ({"Interpolation2D": True}, "no interpolation", "switch"),
    ({"SliceThickness": 2.0, "SpacingBetweenSlices": 1.0}, "no interpolation", "switch"),
    ({"ParallelReductionFactorInPlane": 1}, "acceleration", "parallel imaging"),
    ({"ParallelReductionFactorInPlane": 4}, "acceleration", "below 3"),
    ({"ReceiveCoilName": "Head_4"}, "coil array", "more elements"),
    ({"PixelBandwidth": 100}, "bandwidth", "raise"),
    ({"PixelBandwidth": 900}, "bandwidth", "217 Hz"),
    ({"PartialFourier": 0.75}, "partial Fourier", "7/8"),
    ({"PatientPosition": "HFP"}, "supine position", "supine"),
]


@pytest.mark.parametrize(("changed", "topic", "words"), SIDECAR_FAULTS)
def test_a_departure_is_advised_on_and_nothing_else(
    changed, topic, words, make_sidecars, make_acquisition
):
    found = _by_topic(check_acquisition(make_sidecars(**changed), make_acquisition()))
    others = {f.verdict for t, f in found.items() if t != topic}
    # all else that section 2 says is about 3-D gradient echoes
    outside = changed.keys() <= {"MRAcquisitionType", "ScanningSequence"}
    assert others - {"pass"} == ({"outside"} if outside else set())
    assert found[topic].verdict == "advice"
    assert words in found[topic].text


#: Changed images, topic that must notice it, words of the advice.
IMAGE_FAULTS = [
    ({"echo_times": (0.005, 0.029)}, "number of echoes", "three or more"),
    ({"echo_times": (0.005, 0.011, 0.020, 0.029)}, "uniform echo spacing", "evenly"),
    ({"echo_times": (0.012, 0.0205, 0.029)}, "first echo", "5 ms"),
    ({"voxel_size": (1.0, 1.0, 1.6)}, "isotropic voxels of at most 1 mm", "isotropic"),
    ({"voxel_size": (1.2, 1.2, 1.2)}, "isotropic voxels of at most 1 mm", "at most 1 mm"),
    ({"matrix": (176, 256, 80)}, "whole brain coverage", "HF"),
]


@pytest.mark.parametrize(("changed", "topic", "words"), IMAGE_FAULTS)
def test_a_departure_in_the_images_is_advised_on(
    changed, topic, words, make_sidecars, make_acquisition
):
    found = _by_topic(check_acquisition(make_sidecars(), make_acquisition(**changed)))
    assert [t for t, f in found.items() if f.verdict != "pass"] == [topic]
    assert words in found[topic].text


def test_a_short_echo_train_misses_t2star(make_sidecars, make_acquisition):
    times = (0.003, 0.008, 0.013, 0.018)
    sidecars = make_sidecars(RepetitionTimeExcitation=0.020, FlipAngle=12)
    found = _by_topic(check_acquisition(sidecars, make_acquisition(echo_times=times)))
    assert found["TE range against T2*"].verdict == "advice"
    assert "reach 60 % of the T2* of the putamen at 3 T, 30 ms" in (
        found["TE range against T2*"].text
    )
    # the same train is long enough at 7 T
    seven = _by_topic(check_acquisition(make_sidecars(7.0), make_acquisition(7.0, times)))
    assert seven["TE range against T2*"].verdict == "pass"


@pytest.mark.parametrize(
    ("b0", "last", "verdict", "share"),
    [
        (3.0, 0.030, "pass", "100 %"),
        (3.0, 0.02857, "pass", "95 %"),  # that of the paper's own images
        (3.0, 0.025, "advice", "83 %"),
        (1.5, 0.045, "pass", "82 %"),  # the sample protocol
        (1.5, 0.044, "advice", "80 %"),
        (7.0, 0.016, "pass", "100 %"),
        (7.0, 0.014, "advice", "88 %"),
    ],
)
def test_what_the_echoes_reach_is_told(b0, last, verdict, share, make_sidecars, make_acquisition):
    acquisition = make_acquisition(b0, (0.004, last / 2, last))
    found = _by_topic(check_acquisition(make_sidecars(b0), acquisition))["TE range against T2*"]
    assert found.verdict == verdict
    assert f"The echoes reach {share} of" in found.text
    assert "span" not in found.text


def test_what_the_sidecars_do_not_tell_is_unknown(make_acquisition):
    found = _by_topic(check_acquisition([{}] * 5, make_acquisition()))
    known = {t for t, f in found.items() if f.verdict != "unknown"}
    assert known == {
        "number of echoes",
        "TE range against T2*",
        "first echo",
        "uniform echo spacing",
        "whole brain coverage",
        "isotropic voxels of at most 1 mm",
    }


def test_a_field_strength_without_a_protocol_is_unknown(make_sidecars, make_acquisition):
    found = _by_topic(check_acquisition(make_sidecars(4.7), make_acquisition(4.7)))
    assert found["flip angle against the Ernst angle"].verdict == "unknown"
    assert found["TE range against T2*"].verdict == "unknown"
    assert protocol_for(2.89) is protocol_for(3.0)


def test_the_data_win_over_the_sidecar_on_the_readout(
    make_sidecars, make_acquisition, finished_record
):
    record = {**finished_record, "ReadoutCorrection": {"Bipolar": True}}
    found = _by_topic(check_acquisition(make_sidecars(), make_acquisition(), record))
    assert found["monopolar readout"].verdict == "advice"


def test_one_echo_is_judged_without_an_error(make_sidecars, make_acquisition):
    found = _by_topic(check_acquisition(make_sidecars()[:1], make_acquisition(echo_times=(0.02,))))
    assert found["number of echoes"].verdict == "advice"
    assert "monopolar readout" not in found


def test_milliseconds_and_odd_values_do_not_mislead(make_sidecars, make_acquisition):
    milliseconds = make_sidecars(RepetitionTimeExcitation=33.0)
    found = _by_topic(check_acquisition(milliseconds, make_acquisition()))
    assert found["minimum TR"].value == "33 ms"
    odd = make_sidecars(FlipAngle="wide", PartialFourier="6/8", PixelBandwidth=[220])
    found = _by_topic(check_acquisition(odd, make_acquisition()))
    for topic in ("flip angle against the Ernst angle", "partial Fourier", "bandwidth"):
        assert found[topic].verdict == "unknown"


def test_lengths_follow_the_head_not_the_array(make_acquisition):
    # sagittal storage: array axes S, A, R
    affine = ((0, 0, 1, 0), (0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 0, 1))
    scan = make_acquisition(matrix=(144, 256, 176), affine=affine)
    assert field_of_view(scan) == (256, 176, 144)
    assert along_head(scan, (1, 2, 3)) == (2, 3, 1)


def test_the_ernst_angle_has_the_largest_signal():
    angle = ernst_angle(0.033, 0.850)
    assert math.cos(math.radians(angle)) == pytest.approx(math.exp(-0.033 / 0.850))
    signals = [relative_signal(a, 0.033, 0.850) for a in np.arange(1, 90, 0.1)]
    assert max(signals) <= 1.0
    assert relative_signal(angle, 0.033, 0.850) == 1.0
    assert np.arange(1, 90, 0.1)[int(np.argmax(signals))] == pytest.approx(angle, abs=0.1)
