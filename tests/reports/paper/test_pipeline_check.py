"""What was followed, what was changed: for every choice that there is."""

import dataclasses

import pytest

from qsmbids.config import PRESETS, Settings, load_settings
from qsmbids.reports.pipeline_check import check_pipeline
from qsmbids.reports.recommendations import CHOICES


def _verdicts(findings):
    return {(f.recommendation, f.topic): f.verdict for f in findings}


def test_the_default_follows_the_recommendations(finished_record, make_sidecars):
    found = check_pipeline(Settings(), finished_record, sidecars=make_sidecars())
    numbers = [f.recommendation for f in found]
    assert numbers == sorted(numbers)
    wanted = "3.a 3.b 3.c 4.a 4.b 4.c 5.a 5.b 5.c 5.d 6.a 6.c 7.a 7.b 8.a 8.b 8.c 8.d 8.e 8.f"
    assert set(wanted.split()) <= set(numbers)
    enumerated = [f for f in found if not f.recommendation.startswith("S")]
    # a single run cannot tell what the study does about outliers and a second reference
    assert {f.recommendation for f in enumerated if f.verdict != "pass"} == {"8.a", "8.d", "8.f"}
    assert all(f.verdict == "unknown" for f in enumerated if f.verdict != "pass")


def test_departures_from_the_tables_are_named_with_both_values():
    tables = {f.recommendation: f for f in check_pipeline(Settings())}
    assert "refinements of the smoothed phase offset 8 (paper: 0)" in tables["S2.1"].text
    assert "start of the iterations least-squares (paper: zero)" in tables["S2.3"].text
    software = {f.recommendation: f for f in check_pipeline(load_settings("sepia-fansi"))}
    assert [software[n].verdict for n in ("S2.1", "S2.2", "S2.3")] == ["pass"] * 3


CHANGED = [
    ({"total_field": {"phase_offset_correction": "none"}}, "4.c", "phase offset"),
    ({"masks": {"reliable_phase": "none"}}, "5.a", "Mask 2"),
    (
        {"dipole_inversion": {"gradient_l1_penalty": 1e-3}},
        "7.b",
        "parameters of the inversion",
    ),
    (
        {"background_field": {"maximum_radius": 9}},
        "S2.2",
        "parameters of the background field",
    ),
]


@pytest.mark.parametrize(("tables", "number", "topic"), CHANGED)
def test_a_changed_choice_is_named(tables, number, topic):
    before = _verdicts(check_pipeline(Settings()))
    after = _verdicts(check_pipeline(Settings().updated(tables, "test")))
    assert after[number, topic] == "changed"
    differing = {key for key in after if after[key] != before.get(key)}
    # the table of the paper notices a changed parameter too
    assert {key for key in differing if not key[0].startswith("S")} <= {(number, topic)}


def test_no_reference_is_advised_on():
    settings = Settings().updated({"reference": {"region": "none"}}, "test")
    assert _verdicts(check_pipeline(settings))["8.c", "reference"] == "advice"


def test_a_table_about_another_method_is_not_compared():
    quick = Settings().updated({"dipole_inversion": {"method": "tkd"}}, "test")
    assert not {"S2.3", "S2.4"} & {f.recommendation for f in check_pipeline(quick)}


def test_medi_is_compared_with_table_s2_4():
    medi = load_settings("consensus-medi")
    found = {f.recommendation: f for f in check_pipeline(medi)}
    assert found["S2.4"].verdict == "pass"
    assert "S2.3" not in found
    other = medi.updated({"dipole_inversion": {"medi_lambda": 1500.0}}, "test")
    found = {f.recommendation: f for f in check_pipeline(other)}
    assert found["S2.4"].verdict == "changed"
    assert "lambda 1500 (paper: 2000)" in found["S2.4"].text


def test_every_choice_of_a_listed_setting_has_its_line():
    for key, lines in CHOICES.items():
        section, name = key.split(".")
        fields = {f.name: f for f in dataclasses.fields(getattr(Settings(), section))}
        missing = set(fields[name].metadata["choices"]) - set(lines)
        assert not missing, f"{key}: what do the recommendations say of {missing}?"


def test_an_unknown_choice_is_a_change():
    settings = Settings()
    unheard = dataclasses.replace(settings.dipole_inversion, method="magic")
    found = check_pipeline(dataclasses.replace(settings, dipole_inversion=unheard))
    assert _verdicts(found)["7.a", "dipole inversion"] == "changed"


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_judged(preset):
    assert len(check_pipeline(load_settings(preset))) > 15


def test_damaged_phase_is_advised_on(finished_record, make_sidecars):
    record = {**finished_record, "PhaseChecks": {"FilteredPhase": {"Suspicious": True}}}
    found = next(
        f
        for f in check_pipeline(Settings(), record, sidecars=make_sidecars())
        if f.recommendation == "3.a"
    )
    assert found.verdict == "advice"
    assert "Adaptive Combine" in found.text


def test_another_converter_calls_for_a_look(make_sidecars):
    sidecars = make_sidecars(ConversionSoftware="other", ConversionSoftwareVersion="1")
    found = {f.recommendation: f for f in check_pipeline(Settings(), sidecars=sidecars)}
    assert found["3.c"].verdict == "advice"
    assert found["3.c"].value == "other 1"


def test_a_given_mask_is_a_change(finished_record):
    record = {**finished_record, "BrainExtraction": {"Name": "given: my.nii", "Parameters": {}}}
    found = [f for f in check_pipeline(Settings(), record) if f.topic == "Mask 1"]
    assert [f.verdict for f in found] == ["changed"]
    assert found[0].value == "given: my.nii"


def test_one_echo_has_nothing_to_combine():
    found = check_pipeline(Settings(), n_echoes=1)
    assert "4.b" not in {f.recommendation for f in found}
    assert _verdicts(found)["4.c", "phase offset"] == "advice"
