"""What was followed, what was changed: for every choice that there is."""

import pytest

from qsmbids.config import PRESETS, Settings, load_settings
from qsmbids.methods.sections import PARAMETERS
from qsmbids.reports.paper.pipeline_check import check_pipeline


def _verdicts(findings):
    return {(f.recommendation, f.topic): f.verdict for f in findings}


@pytest.fixture
def check(make_record, make_sidecars, make_acquisition):
    """Judge a run with some settings, on the sample protocol."""

    def judge(settings=None, record=None, sidecars=None, acquisition=None, **changed):
        settings = settings or Settings()
        acquisition = acquisition or make_acquisition()
        if record is None:
            record = make_record(settings, len(acquisition.echo_times), **changed)
        sidecars = make_sidecars() if sidecars is None else sidecars
        return check_pipeline(settings, record, sidecars=sidecars, acquisition=acquisition)

    return judge


def test_the_default_follows_the_recommendations(check):
    found = check()
    numbers = [f.recommendation for f in found]
    assert numbers == sorted(numbers)
    wanted = "3.a 3.b 3.c 4.a 4.b 4.c 5.a 5.b 5.c 5.d 6.a 6.c 7.a 7.b 8.a 8.b 8.c 8.d 8.e 8.f 8.g"
    assert set(wanted.split()) <= set(numbers)
    enumerated = [f for f in found if not f.recommendation.startswith("S")]
    # a single run cannot tell what the study does about outliers, regions and a second reference
    other = {f.recommendation: f.verdict for f in enumerated if f.verdict != "pass"}
    assert other == {
        "8.a": "unknown",
        "8.b": "unknown",
        "8.d": "unknown",
        "8.f": "unknown",
        "8.g": "absent",
    }


def test_a_run_without_records_has_done_nothing(check):
    found = check(record={}, sidecars=[{}])
    assert {f.verdict for f in found} <= {"absent", "unknown"}
    assert {"4.a", "5.b", "5.d", "6.c", "7.b", "8.c", "8.e", "S2.1"} <= {
        f.recommendation for f in found if f.verdict == "absent"
    }


@pytest.mark.parametrize(
    ("lost", "number"),
    [
        ("mask3", "5.b"),
        ("remove_background_field", "6.c"),
        ("invert_dipole_field", "5.d"),
        ("invert_dipole_field", "7.b"),
        ("unwrap_phase", "S2.1"),
    ],
)
def test_a_step_without_a_record_passes_nothing(check, make_record, lost, number):
    record = make_record()
    record["Steps"].remove(lost)
    found = [f for f in check(record=record) if f.recommendation == number]
    assert {f.verdict for f in found} == {"absent"}


def test_departures_from_the_tables_are_named_with_both_values(check):
    tables = {f.recommendation: f for f in check()}
    # the paper's software has no part in its tables
    assert "refinements" not in tables["S2.1"].text
    assert tables["S2.3"].verdict == "pass"
    assert "measure for Mask 2 romeo-quality (paper: none)" in tables["S2.1"].text
    assert "V-SHARP variant deconvolution (paper: sepia)" in tables["S2.2"].text
    software = {f.recommendation: f for f in check(load_settings("sepia-fansi"))}
    assert [software[n].verdict for n in ("S2.1", "S2.2", "S2.3")] == ["pass"] * 3
    published = {f.recommendation: f for f in check(load_settings("sepia-medi"))}
    assert [published[n].verdict for n in ("S2.1", "S2.2", "S2.4")] == ["pass"] * 3


CHANGED = [
    ({"total_field": {"phase_offset_correction": "none"}}, "4.c", "phase offset"),
    ({"masks": {"reliable_phase": "none"}}, "5.a", "Mask 2"),
    ({"masks": {"reliable_phase": "none"}}, "5.b", "Mask 3"),
    (
        {"dipole_inversion": {"fansi": {"gradient_l1_penalty": 1e-3}}},
        "7.b",
        "strength of the regularisation",
    ),
    (
        {"dipole_inversion": {"fansi": {"maximum_iterations": 9}}},
        "7.b",
        "parameters of the inversion",
    ),
    (
        {"background_field": {"vsharp": {"maximum_radius": 9}}},
        "S2.2",
        "parameters of the background field",
    ),
]


@pytest.mark.parametrize(("tables", "number", "topic"), CHANGED)
def test_a_changed_choice_is_named(check, tables, number, topic):
    before = _verdicts(check())
    after = _verdicts(check(Settings().updated(tables, "test")))
    assert after[number, topic] == "changed"
    differing = {key for key in after if after[key] != before.get(key)}
    # the table of the paper notices a changed parameter too
    about = {(n, t) for table, n, t in CHANGED if table == tables}
    assert {key for key in differing if not key[0].startswith("S")} <= about


def test_no_reference_is_advised_on(check):
    settings = Settings().updated({"reference": {"region": "none"}}, "test")
    found = _verdicts(check(settings))
    assert found["8.c", "reference"] == "advice"
    assert found["8.e", "3D reference region"] == "absent"


def test_a_table_about_another_method_is_not_compared(check):
    quick = Settings().updated({"dipole_inversion": {"method": "tkd"}}, "test")
    assert not {"S2.3", "S2.4"} & {f.recommendation for f in check(quick)}


def test_medi_is_compared_with_table_s2_4(check, make_acquisition):
    medi = load_settings("consensus-medi")
    found = {f.recommendation: f for f in check(medi)}
    assert found["S2.4"].text == "zero padding of the array auto (paper: [0 0 0])."
    assert "S2.3" not in found
    other = medi.updated({"dipole_inversion": {"medi": {"data_weight": 1500.0}}}, "test")
    found = {f.recommendation: f for f in check(other)}
    assert "lambda 1500 (paper: 2000)" in found["S2.4"].text
    # the table counts voxels, the program millimetres
    coarse = make_acquisition(voxel_size=(2.0, 2.0, 2.0))
    found = {f.recommendation: f for f in check(medi, acquisition=coarse)}
    assert "radius 5 mm (paper: 5 voxels)" in found["S2.4"].text
    same = medi.updated({"dipole_inversion": {"medi": {"smv_radius_mm": 10.0}}}, "test")
    found = {f.recommendation: f for f in check(same, acquisition=coarse)}
    assert "radius" not in found["S2.4"].text


ALTERED = [
    ({"voxel_size": (2.5, 2.5, 2.5)}, {}, "voxels of 2.5 x 2.5 x 2.5 mm (paper: 1 mm)"),
    ({"b0_tesla": 7.0}, {}, "7 T (paper: 3 T)"),
    ({"echo_times": (0.004, 0.008, 0.012)}, {}, "3 echoes at 4 to 12 ms"),
    ({"echo_times": (0.029,)}, {}, "1 echo at 29 ms"),
    ({}, {"FieldNoiseMedianHz": 0.4}, "noise of the field of 3.6 times"),
    ({}, {"FieldNoiseMedianHz": 0.01}, "noise of the field of 0.091 times"),
]


@pytest.mark.parametrize(("acquired", "recorded", "said"), ALTERED)
def test_another_protocol_needs_another_strength(
    check, make_acquisition, acquired, recorded, said
):
    found = next(
        f
        for f in check(acquisition=make_acquisition(**acquired), **recorded)
        if f.topic == "strength of the regularisation"
    )
    assert found.verdict == "advice"
    assert said in found.text
    assert "--adaptive-from" in found.text
    assert "qsmbids-lcurve" in found.text


def test_a_strength_that_was_tuned_follows_the_recommendation(check, make_acquisition):
    origin = "corner of the L-curve of 3 runs"
    tuned = {"fansi": {"gradient_l1_penalty": 2e-3}, "regularisation_from": origin}
    settings = Settings().updated({"dipole_inversion": tuned}, "test")
    coarse = make_acquisition(voxel_size=(2.0, 2.0, 2.0))
    found = {f.topic: f for f in check(settings, acquisition=coarse)}
    assert found["strength of the regularisation"].verdict == "pass"
    assert "L-curve of 3 runs" in found["strength of the regularisation"].text
    adaptive = {f.topic: f for f in check(load_settings("adaptive"))}
    assert adaptive["strength of the regularisation"].verdict == "changed"


def test_the_error_of_the_field_is_told_in_words(check):
    found = {f.topic: f for f in check(load_settings("adaptive"), DipoleInversion={
        "Name": "adaptive Huber",
        "Parameters": {"Regularisation": "adaptive", "ErrorShare": 0.0213},
        "FieldErrorPercent": 31.24,
    })}["strength of the regularisation"]  # fmt: skip
    assert "holds an error of 31.24 % that no susceptibility explains" in found.text
    assert "--adaptive-from" in found.text
    assert "0.0213" in found.value


def test_every_choice_of_a_listed_setting_has_its_line():
    judged = [row for row in PARAMETERS if row.answers]
    assert len(judged) >= 8
    for row in judged:
        missing = set(row.choices) - set(row.answers)
        assert not missing, f"{row.key}: what do the recommendations say of {missing}?"


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_judged(check, preset):
    assert len(check(load_settings(preset))) > 15


def test_damaged_phase_is_advised_on(check):
    found = next(
        f
        for f in check(PhaseChecks={"FilteredPhase": {"Suspicious": True}})
        if f.recommendation == "3.a"
    )
    assert found.verdict == "advice"
    assert "Adaptive Combine" in found.text


def test_another_converter_calls_for_a_look(check, make_sidecars):
    sidecars = make_sidecars(ConversionSoftware="other", ConversionSoftwareVersion="1")
    found = {f.recommendation: f for f in check(sidecars=sidecars)}
    assert found["3.c"].verdict == "advice"
    assert found["3.c"].value == "other 1"


def test_how_a_given_mask_was_made_is_not_known(check):
    given = {"Name": "given: my.nii", "Parameters": {}}
    found = [f for f in check(BrainExtraction=given) if f.topic == "Mask 1"]
    assert [f.verdict for f in found] == ["unknown"]
    assert found[0].value == "given: my.nii"


def test_one_echo_has_nothing_to_combine(check, make_acquisition):
    found = _verdicts(check(acquisition=make_acquisition(echo_times=(0.029,))))
    assert found["4.b", "order of the steps"] == "absent"
    assert found["4.c", "phase offset"] == "advice"


def test_regions_of_a_t1w_image_are_a_question_for_the_study(check, make_record):
    record = make_record()
    record["Steps"] += ["register_t1w", "measure_rois"]
    found = {f.recommendation: f for f in check(record=record)}
    assert found["8.b"].verdict == "pass"
    assert found["8.g"].verdict == "unknown"
    assert "T1w" in found["8.g"].text


@pytest.mark.parametrize(
    ("found", "verdict", "words"),
    [
        ({"Filtered": False, "SpreadRad": 1.9}, "pass", "is not filtered"),
        ({"Filtered": None}, "unknown", "too early to tell"),
        (
            {"Filtered": True, "Accepted": True, "Evidence": "of SWI"},
            "changed",
            "accepted as asked",
        ),
        ({"Filtered": True, "Accepted": False}, "changed", "a field was given"),
        ({"Filtered": False, "Choice": "series 7 was taken"}, "pass", "series 7 was taken"),
    ],
)
def test_a_filter_of_the_scanner_is_judged(check, make_record, found, verdict, words):
    record = {**make_record(Settings(), 5), "PhaseFilter": {"Accepted": False, **found}}
    (finding,) = [f for f in check(record=record) if f.topic == "unfiltered phase"]
    assert (finding.recommendation, finding.verdict) == ("3.a", verdict)
    assert words in finding.text
