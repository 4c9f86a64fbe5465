"""A run that starts from its own derivatives ends where it would have ended anyway."""

import json

import nibabel as nib
import numpy as np
import pytest

from qsmbids.config import Settings
from qsmbids.core.field.swi import even_magnitude
from qsmbids.reports.paper.methods_text import processing_text


@pytest.fixture(scope="module")
def finished(tmp_path_factory, write_small_dataset):
    """One ordinary run with everything written, and with susceptibility-weighted images."""
    from qsmbids.cli.run import main

    root = tmp_path_factory.mktemp("given")
    bids = write_small_dataset(root / "bids")
    arguments = [bids, root / "out", "participant", "--work-dir", root / "work", "--nprocs", 1]
    options = ["--sloppy", "--skip-bids-validation", "--output-level", "full", "--swi"]
    assert main([str(a) for a in (*arguments, *options)]) == 0
    return root


@pytest.fixture
def start(qsmbids, finished, tmp_path):
    def call(*options):
        return qsmbids(
            finished / "bids", tmp_path / "out", "participant", "--work-dir", tmp_path / "work",
            "--nprocs", 1, "--sloppy", "--skip-bids-validation", *options,
        )  # fmt: skip

    call.out, call.before = tmp_path / "out", finished / "out"
    return call


def _map(folder, pattern):
    path = next(folder.rglob(f"{pattern}.nii.gz"))
    sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text("utf-8"))
    return np.asarray(nib.load(path).dataobj), sidecar


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "local-field",
        pytest.param("total-field", marks=pytest.mark.slow),
        pytest.param("unwrapped", marks=pytest.mark.slow),
    ],
)
def test_our_own_derivatives_lead_to_the_same_map(start, kind):
    code, last, said = start(f"--{kind}", start.before)
    assert code == 0, said
    assert "without a report" not in last
    assert "unwrapping (ROMEO)" not in said
    assert ("background field ..." in said) == (kind != "local-field")
    for name in ("*_desc-wholebrain_Chimap", "*_desc-local_fieldmap", "*_desc-mask4_mask"):
        ordinary, again = _map(start.before, name)[0], _map(start.out, name)[0]
        np.testing.assert_allclose(again, ordinary, atol=1e-6)
    chi = _map(start.out, "*_desc-wholebrain_Chimap")[1]
    text = " ".join(processing_text(Settings(), chi, n_echoes=5))
    assert "that the investigators gave was used" in text
    assert "MCPC-3D-S" not in text
    assert ("V-SHARP" in text) == (kind != "local-field")
    title = {"total-field": "TotalField", "local-field": "LocalField"}
    assert f"Given{title.get(kind, 'UnwrappedPhase')}" in chi
    if kind == "local-field":
        assert chi["BackgroundRemoval"]["Name"] == "given"
        local = _map(start.out, "*_desc-local_fieldmap")[1]
        assert local["EstimationAlgorithm"] == "given local field"
        assert local["Sources"]
        assert all(uri.startswith("bids:raw:") for uri in local["Sources"])


@pytest.mark.slow
def test_a_field_alone_in_other_units(start, tmp_path):
    """A local field in ppm with no mask and no total field beside it, and of the other sign."""
    path = next(start.before.rglob("*_desc-local_fieldmap.nii.gz"))
    image = nib.load(path)
    ppm = -np.asarray(image.dataobj) / 127.7324
    nib.save(nib.Nifti1Image(ppm.astype(np.float32), image.affine), tmp_path / "local.nii.gz")
    said = {"Units": "ppm", "FieldSignConvention": "phase grows as -2 pi f TE"}
    (tmp_path / "local.json").write_text(json.dumps(said))
    code, _, text = start("--local-field", tmp_path / "local.nii.gz")
    assert code == 0, text
    assert "without a report" not in text
    assert "no total field: weights without a relative residual" in text
    ordinary, again = (_map(o, "*_desc-wholebrain_Chimap")[0] for o in (start.before, start.out))
    inside = (ordinary != 0) & (again != 0)
    assert inside.sum() > 0.98 * (ordinary != 0).sum()
    assert np.corrcoef(ordinary[inside], again[inside])[0, 1] > 0.95
    assert not list(start.out.rglob("*desc-total_fieldmap*"))


def test_the_dry_run_shows_the_shorter_way(start):
    code, _, said = start("--total-field", start.before, "--dry-run")
    assert code == 0
    steps = next(line for line in said.splitlines() if line.strip().startswith("steps"))
    assert "given total field" in steps
    assert "ROMEO" not in steps
    assert "desc-total_fieldmap.nii.gz, Hz" in said


@pytest.mark.slow
def test_what_is_given_is_never_written_over(start):
    code, _, _ = start("--total-field", start.before, "--local-field", start.before)
    assert code == 2
    field = next(start.before.rglob("*_desc-total_fieldmap.nii.gz"))
    start.out.mkdir()
    for path in (field, field.with_name(field.name.replace(".nii.gz", ".json"))):
        (start.out / path.name).write_bytes(path.read_bytes())
    code, _, said = start("--total-field", start.out / field.name)
    assert code != 0
    assert "would be written over" in said


def test_veins_are_dark_in_susceptibility_weighted_images(start):
    magnitude = _map(start.before, "*_part-mag_desc-rss_T2starw")[0]
    truth = start.before.parent / "bids/derivatives/truth/sub-demo/anat"
    labels = np.asarray(nib.load(next(truth.glob("*_dseg.nii.gz"))).dataobj)
    rows = [r.split("\t") for r in next(truth.glob("*_dseg.tsv")).read_text("utf-8").splitlines()]
    number = {r[1]: int(r[0]) for r in rows[1:]}
    images = {}
    for name in ("swi", "smwi"):
        images[name], sidecar = _map(start.before, f"*_desc-{name}_T2starw")
        lowest, about = _map(start.before, f"*_desc-{name}mip_T2starw")
        inside = images[name] > 0
        assert (lowest <= images[name]).all()
        assert lowest[inside].mean() < 0.97 * images[name][inside].mean()
        assert about["SusceptibilityWeighting"]["ProjectionSlices"] == 5
        assert sidecar["Units"] == "arbitrary"
    mask4 = _map(start.before, "*_desc-mask4noholes_mask")[0] > 0
    white = (labels == number["whitematter"]) & mask4
    for name, image in images.items():
        for tissue in ("pallidum", "vein"):
            region = (labels == number[tissue]) & mask4
            assert region.any()
            before, after = (
                np.median(i[region]) / np.median(i[white]) for i in (magnitude, image)
            )
            assert after < before, (name, tissue)
    # a calcification is as dark as its signal alone makes it
    even = even_magnitude(magnitude, mask4, (2.5, 2.5, 2.5))
    factor = {
        tissue: np.median((images["smwi"] / np.where(even > 0, even, 1))[region])
        for tissue in ("calcification", "vein")
        if (region := (labels == number[tissue]) & mask4).any()
    }
    assert factor["calcification"] > 0.99
    assert factor["vein"] < 0.8
