"""The command line as older BIDS Apps and people write it."""

import subprocess
import sys

import pytest

from qsmbids.cli.parser import (
    build_parser,
    check_uncertainty,
    parse_args,
    settings_overrides,
)
from qsmbids.config import load_settings
from qsmbids.errors import ConfigError

BASE = ["bids", "out", "participant"]


def test_underscores_are_hyphens():
    args = parse_args([*BASE, "--participant_label", "sub-01", "02", "--omp_nthreads=2"])
    assert args.participant_label == ["01", "02"]
    assert args.omp_nthreads == 2


def test_underscores_in_values_stay():
    args = parse_args([*BASE, "--work-dir", "a_b", "--mask=x_y/m_m.nii"])
    assert str(args.work_dir) == "a_b"
    assert str(args.mask) == "x_y/m_m.nii"


@pytest.mark.parametrize("option", ["--nprocs", "--nthreads", "--n-cpus", "--n_cpus"])
def test_names_of_processors(option):
    assert parse_args([*BASE, option, "3"]).nprocs == 3


@pytest.mark.parametrize("sign", [["--phase-sign", "-1"], ["--phase-sign=-1"]])
def test_a_negative_sign_is_no_option(sign):
    assert settings_overrides(parse_args([*BASE, *sign])) == {"phase": {"sign": "-1"}}


@pytest.mark.parametrize(
    "wrong",
    [
        ["--nprocs", "0"],
        ["--field-strength", "30000"],
        ["--b0-dir", "0", "0", "0"],
        ["--no-such-option"],
        ["--participant", "01"],  # no abbreviations: they break when options are added
        ["--output-level", "all"],
        ["--total-field", "a", "--local-field", "b"],
    ],
)
def test_wrong_usage(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        parse_args([*BASE, *wrong])
    assert stop.value.code == 2
    assert "error" in capsys.readouterr().err


def test_sloppy_is_a_valid_change_of_settings():
    settings = load_settings(overrides=settings_overrides(parse_args([*BASE, "--sloppy"])))
    assert settings.dipole_inversion.fansi.maximum_iterations < 400


@pytest.mark.parametrize(
    ("options", "atlas"),
    [([], "template"), (["--sloppy"], "none"), (["--regions", "none"], "none"),
     (["--sloppy", "--regions", "template"], "template")],
)  # fmt: skip
def test_regions_of_a_template_unless_a_quick_look_is_wanted(options, atlas):
    settings = load_settings(overrides=settings_overrides(parse_args([*BASE, *options])))
    assert settings.regions.atlas == atlas


def test_white_matter_may_be_the_reference():
    changed = settings_overrides(parse_args([*BASE, "--reference", "white-matter"]))
    assert changed == {"reference": {"region": "white-matter"}}
    with_lesions = parse_args([*BASE, "--lesions", "les.nii", "--t1w-transform", "identity"])
    assert str(with_lesions.lesions) == "les.nii"


def test_susceptibility_weighted_images_are_asked_for():
    assert settings_overrides(parse_args([*BASE, "--swi"])) == {"swi": {"enabled": True}}
    assert not load_settings().swi.enabled


def test_every_option_is_explained():
    for action in build_parser()._actions:
        assert action.help, action.dest


def test_help_and_settings_load_no_numerics():
    """The declarations import the core when a method is used, not when its settings are read."""
    code = "import sys, qsmbids.cli.parser; print({'numba', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--preset adaptive"),
        (["--inversion", "medi"], "medi does not tell"),
        (["--preset", "adaptive", "--holes", "two-pass"], "--holes two-pass"),
        (["--preset", "adaptive", "--oblique", "rotate"], "--oblique rotate"),
    ],
)
def test_a_standard_error_is_of_an_inversion_that_has_one(options, said):
    args = parse_args([*BASE, "--uncertainty", *options])
    settings = load_settings(args.preset, None, settings_overrides(args))
    with pytest.raises(ConfigError, match=said):
        check_uncertainty(settings)


def test_a_standard_error_is_made_on_request_alone():
    for asked in (False, True):
        args = parse_args([*BASE, "--preset", "adaptive", *(["--uncertainty"] if asked else [])])
        settings = load_settings(args.preset, None, settings_overrides(args))
        check_uncertainty(settings)
        assert settings.dipole_inversion.uncertainty is asked
