"""Which series are of one scan: echoes, corrections and repetitions spread over several."""

import numpy as np
import pytest

from qsmbids.io.bids_naming import name_images

TIMES = (0.004, 0.009, 0.014)


def runs(images):
    """Return the series in each run, and the whole result."""
    naming = name_images(images, participant="01")
    found = {label: sorted({i.source.series for i in run}) for label, run in naming.runs.items()}
    return found, naming


def echo_by_echo(image, first=10, numbers=(None, 2, 3), **sidecar):
    """Every echo of magnitude (10, 11, ...) and phase (20, 21, ...) is a series of its own.

    dcm2niix writes no number for a first echo that comes alone.
    """
    return [
        image(part, te, series=first + 10 * k + n, EchoNumber=number, **sidecar)
        for k, part in enumerate(("mag", "phase"))
        for n, (te, number) in enumerate(zip(TIMES, numbers, strict=True))
    ]


@pytest.mark.parametrize(
    "evidence",
    [
        {"numbers": (1, 2, 3)},
        {},
        {"numbers": (None, None, None), "AcquisitionTime": "20240229101010"},
        {"numbers": (1, 1, 1), "AcquisitionTime": "20240229101010"},
    ],
    ids=["numbers", "no first number", "moment", "equal numbers and moment"],
)
def test_echoes_that_are_a_series_each_make_one_run(image, evidence):
    found, naming = runs(echo_by_echo(image, **evidence))
    assert found == {"sub-01": [10, 11, 12, 20, 21, 22]}
    assert len(naming.runs["sub-01"]) == 6
    assert naming.warnings == []


@pytest.mark.parametrize("word", ["e{}", "echo_{}", "TE {}ms", "Echo{}"])
def test_echoes_that_are_called_by_their_number_make_one_run(image, scan, word):
    images = [
        image(part, te, series=10 * k + n, SeriesDescription=f"gre_{word.format(n)}", EchoNumber=n)
        for k, part in enumerate(("mag", "phase"), 1)
        for n, te in enumerate(TIMES, 1)
    ]
    images += scan(30, SeriesDescription="other")
    found, naming = runs(images)
    assert found == {"sub-01_acq-gre": [11, 12, 13, 21, 22, 23], "sub-01_acq-other": [30, 31]}
    assert naming.warnings == []


def test_the_protocol_of_a_siemens_phase_image_knows_both_echoes(image):
    images = [
        image(part, te, series=number + n, EchoTime1=two[0], EchoTime2=two[1])
        if part == "phase"
        else image(part, te, series=number + n)
        for number, part in ((10, "mag"), (20, "phase"))
        for two in [(0.004, 0.009)]
        for n, te in enumerate(two)
    ]
    assert runs(images)[0] == {"sub-01": [10, 11, 20, 21]}


def test_two_scans_whose_echoes_are_a_series_each_stay_two(image):
    images = [
        *echo_by_echo(image, 10, AcquisitionTime="20240229101010"),
        *echo_by_echo(image, 30, AcquisitionTime="20240229103030"),
    ]
    found, _ = runs(images)
    assert found == {
        "sub-01_run-1": [10, 11, 12, 20, 21, 22],
        "sub-01_run-2": [30, 31, 32, 40, 41, 42],
    }


@pytest.mark.parametrize("other", [{"FlipAngle": 5}, {"RepetitionTime": 0.05}, {"EchoNumber": 1}])
def test_scans_of_one_echo_that_differ_stay_apart(image, other):
    images = []
    for number, te, more in (
        (5, 0.004, {"FlipAngle": 15, "RepetitionTime": 0.03}),
        (7, 0.009, {}),
    ):
        moment = f"2024022910{number:02d}00"
        given = {**more, **(other if number == 7 else {})}
        images += [
            image(part, te, series=number + k, AcquisitionTime=moment, **given)
            for k, part in enumerate(("mag", "phase"))
        ]
    assert list(runs(images)[0].values()) == [[5, 6], [7, 8]]


def test_scans_that_nothing_tells_apart_stay_two_with_a_word(image):
    images = [
        image(part, te, series=n + k, EchoNumber=None)
        for n, te in ((5, 0.004), (7, 0.009))
        for k, part in enumerate(("mag", "phase"))
    ]
    found, naming = runs(images)
    assert list(found.values()) == [[5, 6], [7, 8]]
    assert naming.warnings == [
        "series 5, 6 and 7, 8 differ by their echo time alone: they are taken for two scans,"
        " check it"
    ]


def test_one_magnitude_series_and_a_phase_series_per_echo(image, scan):
    phases = [image("phase", te, series=n, EchoNumber=None) for n, te in enumerate(TIMES, 2)]
    found, _ = runs([*phases, *scan(9, parts=("mag",), times=TIMES)])
    assert found == {"sub-01": [2, 3, 4, 9]}


def corrected(scan, number, part, correction):
    letter = {"mag": "M", "phase": "P"}[part]
    return scan(number, parts=(part,), ImageType=["ORIGINAL", "PRIMARY", letter, correction])


@pytest.mark.parametrize("order", ["MMPP", "MPPM"])
def test_magnitude_and_phase_of_one_correction_go_together(scan, order):
    series = {
        "MMPP": [("mag", "ND"), ("mag", "DIS2D"), ("phase", "ND"), ("phase", "DIS2D")],
        "MPPM": [("mag", "ND"), ("phase", "DIS2D"), ("phase", "ND"), ("mag", "DIS2D")],
    }[order]
    images = [i for n, (part, c) in enumerate(series) for i in corrected(scan, n, part, c)]
    _, naming = runs(images)
    assert sorted(naming.runs) == ["sub-01_rec-DIS2D", "sub-01_rec-ND"]
    for label, run in naming.runs.items():
        assert {label.partition("_rec-")[2] in i.sidecar["ImageType"] for i in run} == {True}
    assert naming.runs["sub-01_rec-ND"][0].name == "sub-01_rec-ND_echo-1_part-mag_MEGRE"
    assert naming.warnings == []


def test_the_words_of_xa_tell_the_correction_too(scan):
    xa = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "NONE", "MAGNITUDE"]}
    xa_phase = {"ImageType": ["ORIGINAL", "PRIMARY", "P", "NONE", "PHASE"]}
    images = [
        *scan(5, parts=("mag",), ImageTypeText=["ORIGINAL", "PRIMARY", "M", "ND"], **xa),
        *scan(6, parts=("mag",), ImageTypeText=["ORIGINAL", "PRIMARY", "M", "DIS2D"], **xa),
        *scan(7, parts=("phase",), ImageTypeText=["ORIGINAL", "PRIMARY", "P", "ND"], **xa_phase),
    ]
    assert runs(images)[0] == {"sub-01": [5, 7]}


def test_a_pair_of_which_one_is_corrected_is_refused(scan):
    images = [*corrected(scan, 5, "mag", "ND"), *corrected(scan, 6, "phase", "DIS2D")]
    found, naming = runs(images)
    assert found == {}
    reasons = {why for _, why in naming.skipped}
    assert "magnitude with ND, but the phase (series 6) with DIS2D" in min(reasons)
    assert all("export both alike" in why for why in reasons)


def test_two_scans_of_one_name_are_paired_in_their_order(scan):
    """Magnitudes 5 and 6, phases 7 and 8: the nearest phase of 6 would be that of 5."""
    images = [i for n, part in enumerate(("mag", "mag", "phase", "phase"), 5)
              for i in scan(n, parts=(part,))]  # fmt: skip
    found, naming = runs(images)
    assert list(found.values()) == [[5, 7], [6, 8]]
    assert "check it" in naming.warnings[0]


def test_series_without_numbers_are_paired_by_their_place(scan):
    images = [i for n in (0, 2) for i in scan(n, SeriesNumber=0)]
    assert list(runs(images)[0].values()) == [[0, 1], [2, 3]]


def cut(image, scan, number, n_slices, begin=0, **options):
    """One scan of some of the slices."""
    rng = np.random.default_rng(number)
    numbers = rng.integers(0, 4096, (16, 18, n_slices)).astype(np.int16)
    return [
        image(part, te, series=number + k, data=numbers, lift=begin, **options)
        for k, part in enumerate(("mag", "phase"))
        for te in TIMES
    ]


def test_a_scan_that_was_interrupted_gives_way_to_its_repeat(image, scan):
    images = [*cut(image, scan, 5, 7), *cut(image, scan, 7, 12)]
    found, naming = runs(images)
    assert found == {"sub-01": [7, 8]}
    reasons = {why for _, why in naming.skipped}
    assert len(reasons) == 1
    assert "only 7 of the 12 slices that series 7, 8 of the same name has" in reasons.pop()


@pytest.mark.parametrize(
    ("begin", "how"),
    [(6, "go on where those of 5, 6 end"), (0.5, "lie between those of 5, 6")],
)
def test_slabs_of_two_scans_stay_two_with_a_word(image, scan, begin, how):
    found, naming = runs([*cut(image, scan, 5, 6), *cut(image, scan, 7, 6, begin=begin)])
    assert list(found.values()) == [[5, 6], [7, 8]]
    assert naming.warnings == [
        f"the slices of series 7, 8 {how}: if it is one scan in two series, join them"
    ]


def test_magnitude_and_phase_of_other_numbers_of_slices_are_counted(image):
    images = [
        image("mag", series=5),
        image("phase", series=6, data=np.arange(16 * 18 * 11, dtype=np.int16).reshape(16, 18, 11)),
    ]
    found, naming = runs(images)
    assert found == {}
    assert [why for _, why in naming.skipped] == [
        "magnitude of 12 slices, but the phase (series 6) has 11; get the missing files",
        "phase of 11 slices, but the magnitude (series 5) has 12; get the missing files",
    ]
