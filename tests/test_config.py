"""Settings: what wins over what, and that nothing unknown passes."""

import tomllib

import pytest

from qsmbids.cli.parser import parse_args
from qsmbids.config import PRESETS, Settings, dump_toml, flattened, load_settings, nested
from qsmbids.config.reference import settings_reference
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
        ("background_field.vsharp", "maximum_radius", 12),
        ("background_field.vsharp", "minimum_radius", 1),
        ("background_field", "remove_residual_b1_field", False),
        ("background_field", "erode_before", 1),
        ("background_field", "erode_after", 0),
        # Table S2.3
        ("dipole_inversion", "method", "fansi"),
        ("dipole_inversion.fansi", "tolerance_percent", 0.1),
        ("dipole_inversion.fansi", "maximum_iterations", 400),
        ("dipole_inversion.fansi", "gradient_l1_penalty", 0.0005),
        ("dipole_inversion.fansi", "gradient_consistency", 0.05),
        ("dipole_inversion.fansi", "fidelity_consistency", 1.0),
        ("dipole_inversion.fansi", "solver", "nonlinear"),
        ("dipole_inversion.fansi", "constraint", "tv"),
        ("dipole_inversion.fansi", "weak_harmonic", True),
        ("dipole_inversion.fansi", "harmonic_constraint", 150.0),
        ("dipole_inversion.fansi", "harmonic_consistency", 3.0),
        ("reference", "region", "brain-mask"),
        # Step 1
        ("masks", "fractional_intensity", 0.5),
        ("masks", "threshold_gradient", 0.0),
        ("masks", "brain_extraction_image", "first-echo"),
    ],
)
def test_the_preset_has_the_values_of_the_papers_tables(section, key, value):
    assert load_settings("consensus-fansi").value(f"{section}.{key}") == value


def test_the_list_of_settings_is_a_file_of_all_defaults():
    # a reader must find the whole table, and may copy any line of it
    text = settings_reference()
    assert Settings().updated(tomllib.loads(text), "the list") == Settings()
    assert flattened(tomllib.loads(text)) == flattened(Settings().as_dict())
    line = text.index("\ngradient_l1_penalty")
    said = text[line - 200 : line].replace("\n# ", " ")
    assert "Paper (S2.3): 0.0005." in said


def test_the_list_of_settings_is_printed(capsys):
    with pytest.raises(SystemExit) as ended:
        parse_args(["--list-settings"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == settings_reference()


def test_the_medi_preset_names_table_s2_4():
    preset = load_settings("consensus-medi")
    assert preset.dipole_inversion.method == "medi"
    values = vars(preset.dipole_inversion.chosen)
    table = {
        "data_weight": 2000.0,
        "data_weighting": "snr",
        "edge_percentage": 90.0,
        "smv_radius_mm": 5.0,
        "merit": True,
        "zero_reference": False,
    }
    assert {name: values[name] for name in table} == table
    assert preset.background_field == load_settings("consensus-fansi").background_field


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_loads(preset):
    load_settings(preset)


def test_the_command_line_wins_over_the_file_and_the_file_over_the_preset(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text(
        "[dipole_inversion.fansi]\nmaximum_iterations = 50\ngradient_l1_penalty = 1e-3\n"
    )
    settings = load_settings(
        config_file=file, overrides=nested({"dipole_inversion.fansi.maximum_iterations": 7})
    )
    fansi = settings.dipole_inversion.chosen
    assert fansi.maximum_iterations == 7
    assert fansi.gradient_l1_penalty == 1e-3
    assert fansi.harmonic_constraint == 150.0


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
        ("[dipole_inversion.fansi]\nmaximum_iteration = 5\n", "maximum_iterations"),
        ("[dipole]\n", "dipole_inversion"),
        ("[masks]\nfractional_intensity = 'a'\n", "float"),
        ("[masks]\nfractional_intensity = true\n", "float"),
        ("[masks]\nfractional_intensity = nan\n", "at least"),
        ("[masks]\nfractional_intensity = 2\n", "at most"),
        ("[background_field.vsharp]\nmaximum_radius = 0\n", "at least"),
        ("[background_field.vsharp]\nmaximum_radius = 4.5\n", "int"),
        ("[background_field.vsharp]\nminimum_radius = 13\n", "larger"),
        ("[background_field.vsharb]\n", "vsharp"),
        ("[background_field]\nmaximum_radus = 5\n", r"\[background_field.vsharp\] maximum_rad"),
        ("[background_field]\npdf_padding_mm = 5\n", r"\[background_field.pdf\] padding_mm"),
        ("[background_field]\nvsharp = 3\n", "table"),
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


@pytest.mark.parametrize(
    ("preset", "overrides", "put_back"),
    [
        ("consensus-fansi", {}, True),
        ("adaptive", {}, False),
        ("consensus-fansi", {"dipole_inversion": {"method": "huber"}}, False),
        ("adaptive", {"dipole_inversion": {"method": "fansi"}}, True),
        ("adaptive", {"dipole_inversion": {"huber": {"put_back": False}}}, False),
        ("consensus-fansi", {"background_field": {"vsharp": {"put_back": False}}}, False),
        (
            "consensus-fansi",
            {"dipole_inversion": {"method": "huber"}, "background_field": {"method": "pdf"}},
            True,  # which says nothing of PDF
        ),
    ],
)
def test_what_vsharp_takes_is_never_put_back_before_the_inversion_that_does(
    preset, overrides, put_back
):
    assert load_settings(preset, None, overrides).background_field.vsharp.put_back is put_back
