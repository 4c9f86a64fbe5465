"""Filtered phase beside the unfiltered is left out; alone it is refused, unless accepted."""

import numpy as np
import pytest
from swi import filtered

from qsmbids.core.phantom.head import make_phantom, multi_echo_signal, simulate_field
from qsmbids.io.bids_naming import name_images
from qsmbids.io.phase_filter import FILTER_KEY, NOTE_KEY, filter_evidence, refusal
from qsmbids.io.recognition import image_type

TIMES = (0.010, 0.020)


@pytest.fixture(scope="module")
def head():
    """Return the echoes of a head, and the same with filtered phase."""
    phantom = make_phantom((40, 48, 36), (4.0, 4.0, 4.0))
    total, _ = simulate_field(phantom)
    raw = np.asarray(multi_echo_signal(phantom, total, TIMES))
    return {"raw": raw, "filtered": filtered(raw)}


@pytest.fixture
def series(head, image):
    """Return a function that writes all echoes of one part as one series."""

    def make(number, part, kind="raw", **sidecar):
        options = {"MagneticFieldStrength": 3, "SeriesNumber": number, **sidecar}
        out = []
        for te, echo in zip(TIMES, head[kind], strict=True):
            if part == "phase":
                data = np.rint(np.angle(echo) * 4096 / np.pi).clip(-4096, 4094)
            elif part == "mag":
                data = 1000 * np.abs(echo)
            else:
                data = 1000 * getattr(echo, part)
            out.append(image(part, te, series=number, data=data.astype(np.int16), **options))
        return out

    return make


def outcome(images, **options):
    """Return the series that the run is of, the reasons by series, sidecars and warnings."""
    naming = name_images(images, participant="01", **options)
    members = [i for run in naming.runs.values() for i in run]
    reasons = {image.series: reason for image, reason in naming.skipped}
    return {i.source.series for i in members}, reasons, members, naming.warnings


#: What the two phase series are called, and what the header says of both.
SIDE_BY_SIDE = [
    ({"SeriesDescription": "swi_filtered"}, {"SeriesDescription": "swi_unfiltered"}),
    ({"SeriesDescription": "FILT_PHA: Ax SWAN"}, {"SeriesDescription": "Ax SWAN"}),
    ({"SequenceName": "*swi3d1r"}, {"SequenceName": "*swi3d1r"}),
    ({"PulseSequenceName": "*swi3d1r"}, {"PulseSequenceName": "*swi3d1r"}),
    ({"SeriesDescription": "Pha_Images"}, {}),
    ({"ImageTypeText": ["ORIGINAL", "PRIMARY", "P", "FILTERED"]}, {}),
    ({}, {}),
]


@pytest.mark.parametrize(("one", "other"), SIDE_BY_SIDE)
@pytest.mark.parametrize("first", ["filtered", "raw"])
def test_of_two_the_phase_without_a_filter_is_taken(series, one, other, first):
    common = {"AcquisitionTime": "131415", **{k: v for k, v in other.items() if "Seq" in k}}
    numbers = {"filtered": 6, "raw": 7} if first == "filtered" else {"filtered": 7, "raw": 6}
    phase = series(numbers["filtered"], "phase", "filtered", **{**common, **one})
    phase += series(numbers["raw"], "phase", **{**common, **other})
    phase.sort(key=lambda i: i.series)
    taken, reasons, members, warnings = outcome([*series(5, "mag", **common), *phase])
    assert taken == {5, numbers["raw"]}
    assert f"that of series {numbers['raw']}, without a filter" in reasons[numbers["filtered"]]
    assert any("with a filter" in text and "without" in text for text in warnings)
    for member in members:
        assert member.sidecar.get(FILTER_KEY) is (None if member.part == "mag" else False)
    note = next(m.sidecar[NOTE_KEY] for m in members if m.part == "phase")
    assert f"series {numbers['filtered']}" in note


def test_real_and_imaginary_parts_take_the_place_of_filtered_phase(series):
    images = [i for n, part in ((5, "mag"), (6, "real"), (7, "imag")) for i in series(n, part)]
    images += series(700, "phase", "filtered", SeriesDescription="FILT_PHA: Ax SWAN")
    taken, reasons, members, _ = outcome(images)
    assert taken == {5, 6, 7}
    assert "without a filter" in reasons[700]
    assert {m.sidecar[FILTER_KEY] for m in members if m.part == "imag"} == {False}


@pytest.mark.parametrize(
    "words",
    [
        {"SeriesDescription": "FILT_PHA: Ax SWAN"},
        {"SequenceName": "*swi3d1r"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "P", "SWI", "ND"]},
    ],
)
def test_filtered_phase_alone_is_refused_unless_accepted(series, words):
    images = [*series(5, "mag"), *series(6, "phase", "filtered", **words)]
    for image in images:
        image.sidecar["AcquisitionTime"] = "131415"
    taken, reasons, *_ = outcome(images)
    assert taken == set()
    assert "filtered by the scanner" in reasons[6]
    assert "--accept-filtered-phase" in reasons[6]
    taken, _, members, warnings = outcome(images, accept_filtered=True)
    assert taken == {5, 6}
    assert {m.sidecar[FILTER_KEY] for m in members if m.part == "phase"} == {True}
    assert any("as it was asked for" in text for text in warnings)


@pytest.mark.parametrize(
    "words", [{"SequenceName": "*swi3d1r"}, {"SeriesDescription": "Pha_Images"}]
)
def test_the_numbers_decide_where_the_header_leaves_it_open(series, words):
    images = [*series(5, "mag"), *series(6, "phase", **words)]
    for image in images:
        image.sidecar["AcquisitionTime"] = "131415"
    taken, _, _, warnings = outcome(images)
    assert taken == {5, 6}
    assert "but the phase is not filtered" in warnings[0]


@pytest.mark.parametrize(
    ("sidecar", "certain"),
    [
        ({FILTER_KEY: True}, True),
        ({FILTER_KEY: False, "SeriesDescription": "phase filtered"}, None),
        ({"SeriesDescription": "SWI_filt"}, True),
        ({"SeriesDescription": "tumour_infiltration"}, None),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "FIL", "DIS2D"]}, None),  # of the image
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "P", "UNFILTERED"], "SequenceName": "swi3d1r"},
            None,
        ),
        ({"SequenceName": "swi3d1r"}, False),
        ({"SeriesDescription": "gre_qsm"}, None),
    ],
)
def test_what_a_header_says_of_a_filter(sidecar, certain):
    evidence = filter_evidence(sidecar)
    assert (None if evidence is None else evidence.certain) is certain


def test_the_refusal_tells_three_ways_out():
    what, fix = refusal("the series is called 'x'")
    assert "the series is called 'x'" in what
    assert "without the filter" in fix
    assert "--accept-filtered-phase" in fix
    assert '"PhaseFilterApplied": false' in fix


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["Original", "P"], ["ORIGINAL", "P"]),
        ("ORIGINAL\\PRIMARY\\P", ["ORIGINAL", "PRIMARY", "P"]),  # as DICOM writes several
        (True, []),
        (3, []),
        ({"a": 1}, []),
        (None, []),
    ],
)
def test_kinds_of_image_in_any_form_of_a_sidecar(kinds, words):
    assert image_type({"ImageType": kinds}) == words
    filter_evidence({"ImageType": kinds})
