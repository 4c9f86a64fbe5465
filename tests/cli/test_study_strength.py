"""``--adaptive-from``: the strength of a study, from what its runs found."""

import json

import pytest

from qsmbids.cli.parser import parse_args, settings_overrides
from qsmbids.cli.study_strength import study_strength
from qsmbids.config import load_settings
from qsmbids.errors import InputError
from qsmbids.io.write import write_json, write_text


@pytest.fixture
def study(tmp_path):
    """Write the sidecars of finished runs with the strengths that they found."""

    def write(*found, regularisation="adaptive", last_echo=0.028, status="ok", error=None):
        for number, penalty in enumerate(found, start=len(list(tmp_path.glob("sub-*"))) + 1):
            label = f"sub-{number:02d}"
            chi = tmp_path / label / "anat" / f"{label}_desc-wholebrain_Chimap"
            write_text(chi.with_name(chi.name + ".nii.gz"), "")
            parameters = {
                "Regularisation": regularisation,
                "GradientL1Penalty": penalty,
                "GradientConsistency": min(100 * penalty, 0.05),
            }
            name = "FANSI"
            if error is not None:
                name, parameters = "adaptive Huber", {"Regularisation": regularisation, **error}
                parameters["ErrorShare"] = penalty
            said = {
                "EchoTime": [0.004, last_echo],
                "MagneticFieldStrength": 3.0,
                "DipoleInversion": {"Name": name, "Parameters": parameters},
            }
            write_json(chi.with_name(chi.name + ".json"), said)
            write_json(
                tmp_path / "logs/status" / f"{label}.json", {"run": label, "status": status}
            )
        return tmp_path

    return write


def test_the_median_becomes_the_fixed_strength(study):
    folder = study(2e-4, 9e-4, 3e-4)
    study(7e-3, regularisation="fixed")
    study(8e-3, status="failed")
    args = parse_args([".", "out", "participant", "--preset", "adaptive", "--adaptive-from",
                       str(folder)])  # fmt: skip
    chosen = load_settings("adaptive", None, settings_overrides(args)).dipole_inversion
    assert chosen.fansi.regularisation == "fixed"
    assert chosen.fansi.gradient_l1_penalty == 3e-4
    assert chosen.fansi.gradient_consistency == 0.03
    assert chosen.regularisation_from == "median of 3 adaptive runs"


#: What a run of the preset records beside the share of the error.
ERROR = {"WhiteNoisePpm": 0.0015, "ErrorPpm": 0.0044, "HarmonicRatio": 0.6, "GradientPpm": 0.028,
         "CalmGradientPpm": 0.017}  # fmt: skip


def test_the_error_of_a_study_gives_all_runs_the_same_penalties(study):
    folder = study(0.011, 0.013, 0.035, error=ERROR)
    args = parse_args([".", "out", "participant", "--preset", "adaptive", "--adaptive-from",
                       str(folder)])  # fmt: skip
    chosen = load_settings("adaptive", None, settings_overrides(args)).dipole_inversion
    assert chosen.method == "huber"
    given = chosen.huber
    assert given.regularisation == "fixed"
    values = (given.error_share, given.white_noise_ppm, given.error_ppm, given.harmonic_ratio,
              given.gradient_ppm, given.calm_gradient_ppm)  # fmt: skip
    assert values == (0.013, *ERROR.values())


def test_fansi_and_huber_have_no_strength_in_common(study):
    study(2e-4)
    with pytest.raises(InputError, match="more than one inversion"):
        study_strength(study(0.01, error=ERROR))


def test_runs_that_found_nothing_are_refused(study, tmp_path):
    with pytest.raises(InputError, match="no finished run with an adaptive"):
        study_strength(study(5e-4, regularisation="fixed"))
    with pytest.raises(InputError, match="is no folder"):
        study_strength(tmp_path / "nowhere")


def test_two_protocols_have_no_strength_in_common(study):
    folder = study(2e-4)
    study(3e-4, last_echo=0.045)
    with pytest.raises(InputError, match="more than one protocol"):
        study_strength(folder)


def test_it_is_the_strength_of_fansi(capsys, tmp_path):
    with pytest.raises(SystemExit):
        parse_args([".", "out", "participant", "--adaptive-from", str(tmp_path),
                    "--inversion", "medi"])  # fmt: skip
    assert "--inversion fansi" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_of_the_study_records_where_its_strength_is_from(
    qsmbids, write_small_dataset, study, tmp_path, monkeypatch
):
    monkeypatch.setattr("qsmbids.reports.run.page.make_figures", lambda *_: [])
    bids = write_small_dataset(tmp_path / "bids", shape=(32, 36, 28), voxel_size=(2.5,) * 3)
    truth = bids / "derivatives/truth/sub-demo"
    out = tmp_path / "out"
    code, _, said = qsmbids(
        bids, out, "participant", "--work-dir", tmp_path / "work", "--nprocs", 1, "--sloppy",
        "--skip-bids-validation", "--adaptive-from", study(4e-4, 6e-4, 5e-4),
        "--local-field", next(truth.rglob("*_desc-local_fieldmap.nii.gz")),
        "--mask", next(truth.rglob("*_desc-truth_mask.nii.gz")),
    )  # fmt: skip
    assert code == 0, said
    sidecar = json.loads(next(out.rglob("*_desc-wholebrain_Chimap.json")).read_text())
    found = sidecar["DipoleInversion"]["Parameters"]
    assert found["GradientL1Penalty"] == 5e-4
    assert found["RegularisationFrom"] == "median of 3 adaptive runs"
    page = (out / "sub-demo.html").read_text("utf-8")
    assert "Tuned on data of a protocol and then fixed: median of 3 adaptive runs." in page
    assert "This strength is the median of 3 adaptive runs." in page
