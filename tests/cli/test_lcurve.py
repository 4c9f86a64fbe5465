"""``qsmbids-lcurve``: from finished derivatives to a table, a picture and a preset."""

import tomllib

import numpy as np
import pytest

from qsmbids.cli.lcurve import _preset
from qsmbids.config import load_settings
from qsmbids.core.l_curve import find_corner
from qsmbids.reports.l_curve import curve_table, draw_l_curve


@pytest.fixture
def lcurve(capfd):
    """Run the command in this process; returns exit code, last line and everything said."""
    from qsmbids.cli.lcurve import main

    def call(*args):
        capfd.readouterr()
        try:
            code = main([str(a) for a in args])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return code, out.strip().splitlines()[-1] if out.strip() else "", out + err

    return call


def test_the_corner_of_a_finished_run_becomes_a_preset(
    lcurve, qsmbids, small_dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr("qsmbids.reports.page.make_figures", lambda *_: [])
    out = tmp_path / "out"
    options = ["--inversion", "tkd", "--nprocs", "1", "--skip-bids-validation"]
    work = ["--work-dir", tmp_path / "work"]
    assert qsmbids(small_dataset, out, "participant", *work, *options)[0] == 0
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

    chosen = load_settings(config_file=folder / "lcurve.toml").dipole_inversion
    norms = (10.0 ** table[f"log10_{n}"] for n in ("misfit_hz", "total_variation_ppm"))
    corner = find_corner(table["alpha1"], *norms).corner_alpha
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
    assert [f["gradient_consistency"] for f in found] == [0.02, 0.05]
    assert [f["gradient_l1_penalty"] for f in found] == [2e-4, 4e-3]


def test_picture_and_table_of_a_curve():
    alphas = np.geomspace(1e-4, 1e-1, 7)
    curve = find_corner(alphas, 1 + alphas / 3e-3, 1 + 3e-3 / alphas)
    rows = curve_table(curve).splitlines()
    assert len(rows) == 8
    assert float(rows[4].split("\t")[0]) == pytest.approx(alphas[3], rel=1e-3)
    assert draw_l_curve(curve, "sub-01") == draw_l_curve(curve, "sub-01")
    edge = find_corner(alphas, 1 + alphas / 1e3, 1 + 1e3 / alphas)
    assert draw_l_curve(edge, "sub-01") != draw_l_curve(curve, "sub-01")
