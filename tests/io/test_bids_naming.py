"""What each converted image is, what belongs together, and what is left out and why."""

import json

import numpy as np
import pytest

from qsmbids.io.bids_naming import clean_sidecar, name_images

SHAPE = (16, 18, 12)
PHASE = np.random.default_rng(0).integers(0, 4096, SHAPE).astype(np.int16)


def names(images, **options):
    naming = name_images(images, participant="01", **options)
    return {label: [i.name for i in run] for label, run in naming.runs.items()}, naming


def reasons(images):
    found, naming = names(images)
    assert found == {}
    assert len(naming.skipped) == len(images)
    return {why for _, why in naming.skipped}


def test_echoes_are_counted_by_rising_echo_time(scan):
    found, naming = names(scan(5, times=(0.02, 0.004, 0.012)), session="a")
    assert list(found) == ["sub-01_ses-a"]
    assert [
        (i.name, i.sidecar["EchoTime"], i.sidecar["EchoNumber"])
        for i in naming.runs["sub-01_ses-a"]
    ] == [
        (f"sub-01_ses-a_echo-{echo}_part-{part}_MEGRE", te, echo)
        for echo, te in ((1, 0.004), (2, 0.012), (3, 0.02))
        for part in ("mag", "phase")
    ]


@pytest.mark.parametrize("times", [(0.005, 0.010), (0.0025, 0.0055, 0.0085, 0.0115), (0.005,)])
def test_the_first_two_echo_times_beside_every_phase_image_are_no_difference(scan, times):
    """As dcm2niix writes them for Siemens; a single echo has the preset of a second one."""
    two = {"EchoTime1": times[0], "EchoTime2": (*times, 0.010)[1]}
    images = [
        *scan(6, parts=("mag",), times=times),
        *scan(7, parts=("phase",), times=times, **two),
    ]
    found, naming = names(images)
    assert len(found["sub-01"]) == 2 * len(times)
    assert not naming.skipped


FIELD_MAP = {"SequenceName": "*fm2d2r", "SeriesDescription": "gre_field_mapping"}
TWO_TIMES = {"EchoTime1": 0.00519, "EchoTime2": 0.00765}


@pytest.mark.parametrize("magnitudes", [(0.00519, 0.00765), (0.00765,)])
@pytest.mark.parametrize("known_by", ["times and sequence", "times", "sequence"])
def test_the_one_phase_image_of_a_field_map_is_a_difference(scan, magnitudes, known_by):
    """A field map of Siemens: two magnitudes, and one phase with the time of the second echo."""
    sequence = FIELD_MAP if "sequence" in known_by else {"SequenceName": "fl2d2"}
    two = TWO_TIMES if "times" in known_by else {}
    found = reasons(
        [
            *scan(2, parts=("mag",), times=magnitudes, **sequence),
            *scan(3, parts=("phase",), times=(0.00765,), EchoNumber=2, **sequence, **two),
        ]
    )
    assert found == {"the phase difference of two echoes; the phase of each echo is needed"}


def test_the_phase_of_both_echoes_of_a_field_map_is_taken(scan):
    found, _ = names(
        [
            *scan(2, parts=("mag",), times=(0.00519, 0.00765), **FIELD_MAP),
            *scan(3, parts=("phase",), times=(0.00519, 0.00765), **FIELD_MAP, **TWO_TIMES),
        ]
    )
    assert len(found["sub-01"]) == 4


def test_one_echo_is_t2starw(scan):
    found, naming = names(scan(5, times=(0.02,)))
    assert found == {"sub-01": ["sub-01_part-mag_T2starw", "sub-01_part-phase_T2starw"]}
    assert not naming.warnings


def test_all_four_parts_make_one_run(scan):
    found, _ = names(scan(5, parts=("mag", "phase", "real", "imag"), times=(0.005, 0.01)))
    assert len(found["sub-01"]) == 8


def test_descriptions_that_differ_become_acq(scan):
    images = [
        *scan(5, SeriesDescription="QSM mono_CLEAR", SeriesNumber=None),
        *scan(7, SeriesDescription="QSM mono_SYNERGY", SeriesNumber=None),
        *scan(9, SeriesDescription="QSM bipolar (1 mm)", SeriesNumber=None),
    ]
    found, _ = names(images)
    assert list(found) == [
        "sub-01_acq-QSMmonoCLEAR",
        "sub-01_acq-QSMmonoSYNERGY",
        "sub-01_acq-QSMbipolar1mm",
    ]


def test_the_word_for_the_part_is_not_in_the_label(image):
    images = [
        image(part, te, series=n, SeriesNumber=n, SeriesDescription=f"{scan}_{word}")
        for n, (scan, part, word) in enumerate(
            [
                ("gre_A", "mag", "Mag"),
                ("gre_A", "phase", "Pha"),
                ("B", "mag", "M"),
                ("B", "phase", "P"),
            ]
        )
        for te in (0.005, 0.01)
    ]
    assert list(names(images)[0]) == ["sub-01_acq-greA", "sub-01_acq-B"]


def test_repetitions_become_runs_in_order(scan):
    images = [*scan(5), *scan(7, AcquisitionTime="10"), *scan(9, SeriesDescription="other")]
    found, naming = names(images)
    assert list(found) == ["sub-01_acq-qsm_run-1", "sub-01_acq-qsm_run-2", "sub-01_acq-other"]
    numbers = [
        [i.source.series for i in naming.runs[label] if "echo-1_" in i.name] for label in found
    ]
    assert numbers == [[5, 6], [7, 8], [9, 10]]


def test_a_given_acq_label_is_used(scan):
    found, _ = names(
        [*scan(5, SeriesDescription="a"), *scan(7, SeriesDescription="b")], acquisition="x"
    )
    assert list(found) == ["sub-01_acq-x_run-1", "sub-01_acq-x_run-2"]


def test_the_time_of_acquisition_decides_who_belongs_together(scan):
    first = scan(5, parts=("mag",), AcquisitionTime="10:00")
    second = scan(6, parts=("mag",), AcquisitionTime="10:09")
    phases = [
        *scan(7, parts=("phase",), AcquisitionTime="10:00"),
        *scan(8, parts=("phase",), AcquisitionTime="10:09"),
    ]
    _, naming = names([*first, *second, *phases])
    pairs = [sorted({i.source.series for i in run}) for run in naming.runs.values()]
    assert pairs == [[5, 7], [6, 8]]
    assert not naming.warnings


def test_a_magnitude_of_an_aborted_scan_is_left_out(scan):
    found, naming = names([*scan(4, parts=("mag",)), *scan(6)])
    assert list(found) == ["sub-01"]
    assert {i.source.series for i in naming.runs["sub-01"]} == {6, 7}
    assert {why.partition(";")[0] for _, why in naming.skipped} == {"magnitude only"}
    assert "check it" in naming.warnings[0]


def test_scans_of_other_echo_times_are_not_joined(scan):
    found, _ = names([*scan(5), *scan(7, times=(0.003, 0.008))])
    assert [len(run) for run in found.values()] == [6, 4]


def test_every_echo_in_a_series_of_its_own(image):
    images = [
        image(part, te, series=10 * k + n, EchoNumber=n)
        for k, part in enumerate(("mag", "phase"))
        for n, te in enumerate((0.005, 0.01, 0.015), start=1)
    ]
    found, _ = names(images)
    assert list(found) == ["sub-01"]
    assert len(found["sub-01"]) == 6


def test_single_echo_scans_of_two_times_stay_two(scan):
    images = [*scan(5, times=(0.01,)), *scan(7, times=(0.02,))]
    assert list(names(images)[0]) == ["sub-01_run-1", "sub-01_run-2"]


def test_another_position_is_another_scan(scan):
    found, _ = names([*scan(5, parts=("mag",)), *scan(6, parts=("phase",), shift=3.0)])
    assert found == {}


@pytest.mark.parametrize(
    ("sidecar", "why"),
    [
        ({"Units": "Hz"}, "field map in Hz"),
        ({"ImageType": ["DERIVED", "FIELDMAPHZ"]}, "field map in Hz"),
        ({"te": None, "EchoTime1": 0.005, "EchoTime2": 0.007}, "phase difference"),
        ({"SeriesDescription": "B0_phase_diff"}, "phase difference"),
        ({"ScanningSequence": "EP"}, "echo planar"),
        ({"SequenceName": "epfid2d1_64"}, "echo planar"),
        ({"ScanningSequence": "SE"}, "spin echo"),
        ({"ScanningSequence": "GR\\IR"}, "inversion prepared"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "LOCALIZER"]}, "localiser"),
        ({"SeriesDescription": "Survey_32ch"}, "localiser"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "SWI"]}, "filtered"),
        ({"ImageType": ["DERIVED", "PRIMARY", "MNIP"]}, "projected"),
        ({"SeriesDescription": "SWI_Images"}, "susceptibility weighted"),
        ({"SeriesDescription": "mIP_Images(SW)"}, "susceptibility weighted"),
        ({"SeriesDescription": "Pha_Images"}, "filtered"),
        ({"SeriesDescription": "QSM_filtered"}, "filtered"),
        ({"SeriesDescription": "not shimmed, high-pass"}, "filtered"),
        ({"ProtocolName": "gre_HPF"}, "filtered"),
        ({"ProtocolName": "nano_filtered"}, "filtered"),
        ({"ImageType": ["DERIVED", "PRIMARY", "T2 STAR", "T2 STAR"]}, "map that the scanner"),
        ({"ImageType": ["DERIVED", "PRIMARY", "T2_STAR MAP", "ND"]}, "map that the scanner"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "T2 MAP", "T2", "UNSPECIFIED"]}, "map that the"),
        ({"SequenceName": "*swi3d1r"}, "filtered"),
        ({"EchoTime": None}, "EchoTime is missing"),
        ({"data": np.ones((*SHAPE, 3), np.int16)}, "3 volumes"),
        ({"data": np.ones((32, 32, 3), np.int16)}, "only 3 slices"),
        ({"name": "v_cH1_e1"}, "one receive coil"),
    ],
)
def test_what_is_no_echo_of_a_gradient_echo_is_left_out(image, sidecar, why):
    options = {"te": 0.005, **sidecar}
    found = reasons([image("phase", **options)])
    assert len(found) == 1
    assert why in found.pop()


@pytest.mark.parametrize(
    "sidecar",
    [
        {"SeriesDescription": "QSM_unfiltered"},
        {"SeriesDescription": "phase not filtered"},
        {"SeriesDescription": "gre no_filter"},
        {"SeriesDescription": "gre_nofilt"},
        {"SeriesDescription": "gre filter off"},
        {"SeriesDescription": "raw phase"},
        {"ProtocolName": "t2star_UNFILT_1mm"},
        {"SeriesDescription": "hpfoo"},
        {"SeriesDescription": "no high-pass filter"},
        {"SeriesDescription": "unfiltered", "SequenceName": "*swi3d1r"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]},  # Philips
        {"ImageType": ["ORIGINAL", "PRIMARY", "T2_STAR", "NONE", "PHASE"]},  # a weighting
    ],
)
def test_phase_that_is_not_filtered_is_taken(image, sidecar):
    magnitude = {key: value for key, value in sidecar.items() if key != "ImageType"}
    found, _ = names([image("mag", **magnitude), image("phase", **sidecar)])
    assert len(found["sub-01"]) == 2


def test_the_name_makes_no_difference_of_the_phase_of_every_echo(scan):
    found, _ = names(scan(5, times=(0.005, 0.01), SeriesDescription="B0_phasediff"))
    assert len(found["sub-01"]) == 4


def test_the_protocol_times_do_not_get_into_the_dataset(scan):
    _, naming = names(scan(5, times=(0.005, 0.01), EchoTime1=0.005, EchoTime2=0.01))
    for one in naming.runs["sub-01"]:
        assert not {"EchoTime1", "EchoTime2"} & set(one.sidecar)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        (("mag",), "magnitude only"),
        (("phase",), "phase without the magnitude"),
        (("real",), "real without the imaginary part"),
        (("mag", "imag"), "mag and imag without the real part"),
    ],
)
def test_incomplete_runs_say_what_is_missing(scan, parts, why):
    assert why in reasons(scan(5, parts=parts)).pop()


def test_an_echo_of_one_part_only_is_named(scan, image):
    images = [*scan(5, parts=("mag",)), *scan(6, parts=("phase",), times=(0.005, 0.01))]
    assert reasons(images) == {"the echo at 15 ms is there as mag or as phase alone"}


@pytest.mark.parametrize("numbers", ["unwrapped", "constant", "field map"])
def test_numbers_that_are_no_phase_are_left_out(image, numbers):
    x = np.linspace(-1, 1, np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    data = {
        "unwrapped": np.arctanh(x * 0.999) * 8,
        "constant": x * 0 + 7,
        "field map": np.rint(x**3 * 217),
    }[numbers]
    why = reasons([image("mag"), image("phase", data=data, series=1)])
    assert len(why) == 1
    assert "phase" in why.pop()


@pytest.mark.parametrize(
    ("data", "units"),
    [
        (PHASE, "arbitrary"),
        ((PHASE / np.float32(4095) * 2 - 1) * np.float32(np.pi), "rad"),
        (np.rint((PHASE / 4095 * 2 - 1) * 3142), "arbitrary"),
    ],
)
def test_units_are_what_the_numbers_are(image, data, units):
    _, naming = names([image("mag"), image("phase", data=np.asarray(data), series=1)])
    assert naming.runs["sub-01"][1].sidecar["Units"] == units
    assert "Units" not in naming.runs["sub-01"][0].sidecar


def test_sidecars_keep_physics_and_lose_people():
    physics = {
        "EchoTime": 0.005,
        "MagneticFieldStrength": 3,
        "ImagingFrequency": 123.2,
        "Manufacturer": "Philips",
        "PhilipsRescaleSlope": 1.5,
        "PhilipsScaleSlope": 651.7,
        "PatientPosition": "HFS",
        "ImageOrientationPatientDICOM": [1, 0, 0, 0, 1, 0],
        "AcquisitionDuration": 85,
        "RepetitionTime": 0.03,
    }
    people = [
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientWeight",
        "AcquisitionTime", "AcquisitionDateTime", "SeriesInstanceUID", "StudyInstanceUID",
        "InstitutionName", "InstitutionAddress", "StationName", "DeviceSerialNumber",
        "ReferringPhysicianName", "OperatorsName", "AccessionNumber", "ImageComments",
        "StudyDescription", "ProcedureStepDescription", "StudyID", "BidsGuess",
    ]  # fmt: skip
    assert clean_sidecar({**physics, **dict.fromkeys(people, "x")}) == physics
    assert json.dumps(physics)
