"""``qsmbids-lcurve``: from finished derivatives to a table, a picture and a preset."""

import tomllib

import numpy as np
import pytest

from qsmbids.cli.lcurve import _preset
from qsmbids.config import load_settings
from qsmbids.core.inversion.l_curve import find_corner
from qsmbids.reports.run.l_curve import curve_table, draw_l_curve


@pytest.fixture
def lcurve(command):
    """Run ``qsmbids-lcurve`` in this process."""
    return command("lcurve")


@pytest.mark.slow
def test_the_corner_of_a_finished_run_becomes_a_preset(
    lcurve, qsmbids, small_dataset_source, tmp_path, monkeypatch
):
    monkeypatch.setattr("qsmbids.reports.run.page.make_figures", lambda *_: [])
    out = tmp_path / "out"
    options = ["--inversion", "tkd", "--nprocs", "1", "--skip-bids-validation"]
    work = ["--work-dir", tmp_path / "work"]
    assert qsmbids(small_dataset_source, out, "participant", *work, *options)[0] == 0
    weights = out / "sub-demo" / "anat" / "sub-demo_desc-weights_T2starw.nii.gz"
    folder = out / "logs" / "lcurve"

    elsewhere = weights.rename(tmp_path / weights.name)
    code, last, _ = lcurve(out, "--strengths", 5)
    assert code == 3
    assert "--output-level standard" in last
    assert not (folder / "lcurve.toml").exists()

    elsewhere.rename(weights)
    code, last, text = lcurve(out, "--participant-label", "sub-demo", "--strengths", 5)
    assert code == 0, text
    table = np.genfromtxt(folder / "sub-demo.tsv", names=True)
    assert table["alpha1"][[0, -1]] == pytest.approx([3e-5, 3e-2], rel=1e-3)
    assert (np.diff(table["log10_misfit_hz"]) > 0).all()
    assert (np.diff(table["log10_total_variation_ppm"]) < 0).all()
    assert (folder / "sub-demo.svg").read_bytes().startswith(b"<?xml")
    assert (folder / "sub-demo.png").read_bytes().startswith(b"\x89PNG")

    chosen = load_settings(config_file=folder / "lcurve.toml").dipole_inversion.fansi
    norms = (10.0 ** table[f"log10_{n}"] for n in ("misfit_hz", "total_variation_ppm"))
    corner = find_corner(table["alpha1"], *norms).corner
    assert chosen.gradient_l1_penalty == pytest.approx(corner, rel=0.05)
    assert chosen.gradient_consistency == pytest.approx(
        min(100 * chosen.gradient_l1_penalty, 0.05), rel=0.01
    )
    assert f"{chosen.gradient_l1_penalty:.2e}" in last
    assert "sub-demo: " in (folder / "lcurve.toml").read_text()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--strengths", 4], 2, "five strengths"),
        (["--weakest", 1, "--strongest", 0.1], 2, "from a small to a large"),
        (["--inversion", "medi", "--weakest", 1, "--strongest", 9], 2, "from a large to a small"),
        (["--nprocs", 0], 2, "at least 1"),
        ([], 3, "no finished run"),
        (["--participant-label", "nobody"], 3, "no finished run"),
    ],
)
def test_wrong_calls(lcurve, tmp_path, options, code, said):
    found, last, _ = lcurve(tmp_path, *options)
    assert found == code
    assert said in last
    assert not (tmp_path / "logs").exists()


def test_the_gradient_consistency_never_exceeds_that_of_the_paper():
    found = [tomllib.loads(_preset(a, {"sub-01": a}))["dipole_inversion"] for a in (2e-4, 4e-3)]
    assert [f["fansi"]["gradient_consistency"] for f in found] == [0.02, 0.05]
    assert [f["fansi"]["gradient_l1_penalty"] for f in found] == [2e-4, 4e-3]


@pytest.mark.slow
def test_the_corner_for_medi_is_a_lambda(
    lcurve, qsmbids, write_small_dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr("qsmbids.reports.run.page.make_figures", lambda *_: [])
    bids = write_small_dataset(tmp_path / "bids", shape=(32, 36, 28), voxel_size=(2.5,) * 3)
    fast = tmp_path / "fast.toml"
    fast.write_text("[total_field]\nphase_offset_refinements = 0\n"
                    "[dipole_inversion.medi]\nmaximum_steps = 2\n")  # fmt: skip
    out, truth = tmp_path / "out", bids / "derivatives/truth/sub-demo"
    code, _, said = qsmbids(
        bids, out, "participant", "--work-dir", tmp_path / "work", "--preset", "consensus-medi",
        "--nprocs", 1, "--skip-bids-validation", "--config-file", fast,
        "--local-field", next(truth.rglob("*_desc-local_fieldmap.nii.gz")),
        "--mask", next(truth.rglob("*_desc-truth_mask.nii.gz")),
    )  # fmt: skip
    assert code == 0, said
    code, last, text = lcurve(out, "--strengths", 5, "--nprocs", 1)
    table = np.genfromtxt(out / "logs/lcurve/sub-demo.tsv", names=True)
    assert table.dtype.names[0] == "lambda"
    assert table["lambda"][[0, -1]] == pytest.approx([6e4, 60], rel=1e-3)
    # the weight of the data falls: misfit grows, the map becomes smoother
    assert (np.diff(table["log10_misfit_hz"]) > 0).all(), text
    assert (np.diff(table["log10_total_variation_ppm"]) < 0).all()
    if code == 0:
        chosen = load_settings(config_file=out / "logs/lcurve/lcurve.toml").dipole_inversion
        assert chosen.method == "medi"
        assert f"{chosen.medi.data_weight:.2e}" in last
        assert chosen.regularisation_from == "corner of the L-curve of 1 run"
    else:
        assert "no corner between lambda" in last


def test_the_preset_of_medi_has_its_lambda():
    found = tomllib.loads(_preset(1234.0, {"sub-01": 1200.0, "sub-02": 1270.0}, "medi"))
    assert found["dipole_inversion"] == {
        "method": "medi",
        "regularisation_from": "corner of the L-curve of 2 runs",
        "medi": {"data_weight": 1230.0},
    }


def test_picture_and_table_of_a_curve():
    alphas = np.geomspace(1e-4, 1e-1, 7)
    curve = find_corner(alphas, 1 + alphas / 3e-3, 1 + 3e-3 / alphas)
    rows = curve_table(curve).splitlines()
    assert len(rows) == 8
    assert float(rows[4].split("\t")[0]) == pytest.approx(alphas[3], rel=1e-3)
    assert draw_l_curve(curve, "sub-01") == draw_l_curve(curve, "sub-01")
    edge = find_corner(alphas, 1 + alphas / 1e3, 1 + 1e3 / alphas)
    assert draw_l_curve(edge, "sub-01") != draw_l_curve(curve, "sub-01")
