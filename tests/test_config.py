"""Settings: what wins over what, and that nothing unknown passes."""

import tomllib

import pytest

from qsmbids.config import PRESETS, Settings, dump_toml, load_settings
from qsmbids.errors import ConfigError


def test_defaults_are_the_consensus_preset():
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        # Table S2.1
        ("total_field", "echo_phase_combination", "romeo-weighted-average"),
        ("total_field", "phase_offset_correction", "mcpc-3d-s"),
        ("total_field", "relative_residual_threshold", 0.3),
        # Table S2.2
        ("background_field", "method", "vsharp"),
        ("background_field", "maximum_radius", 12),
        ("background_field", "minimum_radius", 1),
        ("background_field", "remove_residual_b1_field", False),
        ("background_field", "erode_before", 1),
        ("background_field", "erode_after", 0),
        # Table S2.3
        ("dipole_inversion", "method", "fansi"),
        ("dipole_inversion", "tolerance_percent", 0.1),
        ("dipole_inversion", "maximum_iterations", 400),
        ("dipole_inversion", "gradient_l1_penalty", 0.0005),
        ("dipole_inversion", "gradient_consistency", 0.05),
        ("dipole_inversion", "fidelity_consistency", 1.0),
        ("dipole_inversion", "solver", "nonlinear"),
        ("dipole_inversion", "constraint", "tv"),
        ("dipole_inversion", "weak_harmonic", True),
        ("dipole_inversion", "harmonic_constraint", 150.0),
        ("dipole_inversion", "harmonic_consistency", 3.0),
        ("reference", "region", "brain-mask"),
        # Step 1
        ("masks", "fractional_intensity", 0.5),
        ("masks", "threshold_gradient", 0.0),
        ("masks", "brain_extraction_image", "first-echo"),
    ],
)
def test_the_preset_has_the_values_of_the_papers_tables(section, key, value):
    assert load_settings("consensus-fansi").as_dict()[section][key] == value


def test_the_preset_file_names_every_parameter_of_the_tables(tmp_path):
    # a reader of the file must find the whole table, not only what differs from the code
    from importlib.resources import files

    text = (files("qsmbids") / "data" / "presets" / "consensus-fansi.toml").read_text("utf-8")
    named = tomllib.loads(text)
    others = ("pdf_", "lbv_", "resharp_", "ismv_", "medi_", "tkd_", "l2_", "tgv_")
    for section in ("total_field", "background_field", "dipole_inversion"):
        known = {n for n in Settings().as_dict()[section] if not n.startswith(others)}
        assert set(named[section]) == known


def test_the_medi_preset_names_table_s2_4():
    preset = load_settings("consensus-medi")
    table = {
        "method": "medi",
        "medi_lambda": 2000.0,
        "medi_data_weighting": "snr",
        "medi_edge_percentage": 90.0,
        "medi_smv_radius_mm": 5.0,
        "medi_merit": True,
        "medi_zero_reference": False,
    }
    values = preset.as_dict()["dipole_inversion"]
    assert {name: values[name] for name in table} == table
    assert preset.background_field == load_settings("consensus-fansi").background_field


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_loads(preset):
    load_settings(preset)


def test_the_command_line_wins_over_the_file_and_the_file_over_the_preset(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("[dipole_inversion]\nmaximum_iterations = 50\ngradient_l1_penalty = 1e-3\n")
    settings = load_settings(
        config_file=file, overrides={"dipole_inversion": {"maximum_iterations": 7}}
    )
    assert settings.dipole_inversion.maximum_iterations == 7
    assert settings.dipole_inversion.gradient_l1_penalty == 1e-3
    assert settings.dipole_inversion.harmonic_constraint == 150.0


def test_resolved_settings_load_again(tmp_path):
    settings = load_settings(overrides={"masks": {"closing_mm": 3}, "phase": {"sign": "-1"}})
    file = tmp_path / "resolved.toml"
    record = {"version": "1", "command": 'a "b" \\ c\n', "nprocs": 2}
    file.write_text(dump_toml({**settings.as_dict(), "execution": record}))
    assert tomllib.loads(file.read_text())["execution"]["command"] == 'a "b" \\ c\n'
    assert load_settings(config_file=file) == settings


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[dipole_inversion]\nmaximum_iteration = 5\n", "maximum_iterations"),
        ("[dipole]\n", "dipole_inversion"),
        ("[masks]\nfractional_intensity = 'a'\n", "float"),
        ("[masks]\nfractional_intensity = true\n", "float"),
        ("[masks]\nfractional_intensity = nan\n", "at least"),
        ("[masks]\nfractional_intensity = 2\n", "at most"),
        ("[background_field]\nmaximum_radius = 0\n", "at least"),
        ("[background_field]\nmaximum_radius = 4.5\n", "int"),
        ("[background_field]\nminimum_radius = 13\n", "larger"),
        ("[background_field]\nmethod = 'magic'\n", "vsharp"),
        ("masks = 3\n", "table"),
        ("[masks\n", "TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, says):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        load_settings(config_file=file)
    assert str(file) in str(caught.value)


def test_an_unknown_preset_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="consensus-fansi"):
        load_settings("consensus-fanci")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(config_file=tmp_path / "no.toml")
