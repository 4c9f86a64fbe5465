"""``qsmbids-zenodo DEST --compare OUT``: known maps beside known published maps."""

import json
import re

import numpy as np
import pytest

from qsmbids.cli.zenodo import main
from qsmbids.config import PRESETS, dump_toml, load_settings
from qsmbids.core.phantom.head import TISSUES
from qsmbids.core.quality.xsim import xsim
from qsmbids.io.derivatives import derivative_path
from qsmbids.io.write import write_json, write_text, write_volume

RUN = {"subject": "001", "session": "SIEMENS", "acquisition": "Monopolar"}
LABEL = "sub-001_ses-SIEMENS_acq-Monopolar"
MHZ = 123.25


@pytest.fixture
def truth(example):
    """Susceptibility [ppm], local field [Hz], mask and labels of the published head, in RAS."""
    phantom, _, local = example.head(example.TINY)
    return phantom.chi_brain.copy(), local.copy(), phantom.mask, phantom.labels


@pytest.fixture
def paper(example, tmp_path):
    """Write a dataset with published maps; return its root."""

    def write(lost="", **maps):
        members = example.published(example.RUNS[7:], **maps)
        for name, content in members.items():
            if not (lost and re.search(lost, name)):
                (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / "data" / name).write_bytes(content)
        return tmp_path / "data"

    return write


@pytest.fixture
def finished(example, tmp_path, truth):
    """Write what a finished run leaves; return the root."""

    def write(preset="sepia-fansi", chi=None, field=None, mask=None, changed=None, command="x"):
        out = tmp_path / "out"
        chi = truth[0] + 0.3 if chi is None else chi  # another zero than the published
        field = truth[1] if field is None else field
        mask = truth[2] if mask is None else mask
        # RAS, where the published maps have their first axis to the left
        affine = np.diag([4.0, 4.0, 4.0, 1.0])
        affine[:3, 3] = -4 * (np.array(example.TINY) - 1) / 2
        images = {
            ("anat", "Chimap", "wholebrain", None): chi,
            ("fmap", "fieldmap", "local", None): field,
            ("anat", "mask", "mask4", "brain"): mask,
            ("anat", "mask", "mask4noholes", "brain"): mask,
        }
        for (datatype, suffix, desc, label), volume in images.items():
            path = derivative_path(
                out, RUN, datatype=datatype, suffix=suffix, desc=desc, label=label
            )
            shown = volume if suffix == "mask" else np.where(mask, volume, 0).astype(np.float32)
            write_volume(path, shown, affine)
            sidecar = {"ImagingFrequency": MHZ}
            write_json(path.with_name(path.name.replace(".nii.gz", ".json")), sidecar)
        settings = load_settings(preset).updated(changed or {}, "test")
        execution = {"preset": preset, "command": f"qsmbids in out participant {command}"}
        write_text(
            out / "logs/call/qsmbids.toml",
            dump_toml({**settings.as_dict(), "execution": execution}),
        )
        write_text(out / "logs/call/qsmbids.log", f"now INFO  {LABEL} done\n")
        status = {"run": LABEL, "status": "ok", "log": "logs/call"}
        write_json(out / f"logs/status/{LABEL}.json", status)
        return out

    return write


@pytest.fixture
def compare(capfd):
    def call(dest, out):
        code = main([str(dest), "--compare", str(out)])
        said = "".join(capfd.readouterr())
        last = next(x for x in reversed(said.splitlines()) if x.startswith("qsmbids-zenodo: "))
        assert last.endswith(f"(exit code {code})")
        return code, last, said

    return call


def pair_of(out, pipeline="Pipeline_FANSI") -> dict:
    content = json.loads((out / "logs/comparison/comparison.json").read_text())
    return next(p for p in content["Pairs"] if p["Pipeline"] == pipeline)


def test_equal_maps_agree_whatever_their_zero_and_axes(paper, finished, compare):
    out = finished()
    code, last, said = compare(paper(), out)
    assert code == 0, said
    assert "the judged map agrees" in last
    pair = pair_of(out)
    assert (pair["Verdict"], pair["Preset"]) == ("agrees", "sepia-fansi")
    for name in ("chi", "local field"):
        found = pair["Maps"][name]
        assert found["slope"] == pytest.approx(1, abs=1e-5)
        assert found["correlation"] == pytest.approx(1, abs=1e-5)
        assert found["nrmse"] < 1e-4
        assert found["xsim"] == pytest.approx(1, abs=1e-4)
        assert found["dice"] == 1
    other = pair_of(out, "Pipeline_MEDI")
    assert other["Verdict"] == "not judged"
    assert "sepia-medi repeats Pipeline_MEDI" in other["NotJudgedBecause"]


def test_numbers_are_those_of_the_maps(paper, finished, compare, truth, rng):
    chi, field, mask, _ = truth
    mine = (0.9 * chi + rng.normal(0, 0.005, chi.shape)).astype(np.float32)
    mine_field = (field + rng.normal(0, 0.4, chi.shape)).astype(np.float32)
    out = finished(chi=mine, field=mine_field)
    compare(paper(), out)
    found = pair_of(out)["Maps"]
    a, b = mine[mask] - mine[mask].mean(), chi[mask] - chi[mask].mean()
    assert found["chi"]["slope"] == pytest.approx(np.polyfit(b, a, 1)[0], abs=1e-5)
    assert found["chi"]["correlation"] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-5)
    assert found["chi"]["nrmse"] == pytest.approx(np.std(a - b) / np.std(b), abs=1e-5)
    x, y = mine_field[mask], field[mask]
    nrmse = np.sqrt(np.mean((x - y) ** 2) / np.mean(y**2))
    assert found["local field"]["nrmse"] == pytest.approx(nrmse, abs=1e-5)
    assert found["local field"]["xsim"] == pytest.approx(
        xsim(mine_field / MHZ, field / MHZ, mask), abs=1e-4
    )
    rows = (out / "logs/comparison/comparison.tsv").read_text().splitlines()
    table = [dict(zip(rows[0].split("\t"), row.split("\t"), strict=True)) for row in rows[1:]]
    (row,) = [r for r in table if (r["pipeline"], r["map"]) == ("Pipeline_FANSI", "chi")]
    assert float(row["slope"]) == pytest.approx(found["chi"]["slope"], abs=1e-5)
    assert int(row["n_voxels"]) == mask.sum()


@pytest.mark.parametrize(
    ("factor", "field_factor", "named"),
    [(0.6, 1.0, "chi: slope 0.600"), (-1.0, 1.0, "chi: correlation"), (1.0, 0.5, "local field")],
    ids=["weak", "sign", "field"],
)
def test_maps_outside_the_limits(paper, finished, compare, truth, factor, field_factor, named):
    out = finished(chi=factor * truth[0], field=field_factor * truth[1])
    code, last, said = compare(paper(), out)
    assert code == 1
    assert named in said
    assert "1 of 1 judged" in last
    page = (out / "logs/comparison/comparison.html").read_text()
    assert named in page
    assert 'class="verdict failed"' in page
    content = json.loads((out / "logs/comparison/comparison.json").read_text())
    assert (content["Judged"], content["Outside"]) == (1, 1)


def test_the_page_holds_all_it_shows(paper, finished, compare):
    dest, out = paper(), finished()
    compare(dest, out)
    folder = out / "logs" / "comparison"
    page = (folder / "comparison.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "\N{MINUS SIGN}0.2 to +0.2 ppm" in page
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert set(before) == {"comparison.html", "comparison.json", "comparison.tsv"}
    compare(dest, out)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"preset": "consensus-fansi"}, "made with preset consensus-fansi"),
        (
            {"changed": {"dipole_inversion": {"fansi": {"gradient_l1_penalty": 1e-3}}}},
            "dipole_inversion.fansi.gradient_l1_penalty",
        ),
        ({"command": "--local-field=f.nii.gz"}, "--local-field"),
    ],
    ids=["preset", "settings", "given"],
)
def test_only_what_repeats_the_pipeline_is_judged(paper, finished, compare, truth, options, why):
    """Even a map that is far off; the numbers are there all the same."""
    out = finished(chi=0.5 * truth[0], **options)
    code, last, _ = compare(paper(), out)
    assert code == 0
    assert "no run was judged" in last
    pair = pair_of(out)
    assert pair["Verdict"] == "not judged"
    assert why in pair["NotJudgedBecause"]
    assert pair["Maps"]["chi"]["slope"] == pytest.approx(0.5, abs=1e-5)
    assert why in (out / "logs/comparison/comparison.html").read_text()


def test_medi_is_judged_by_its_own_preset(paper, finished, compare):
    preset = "sepia-medi" if "sepia-medi" in PRESETS else "consensus-medi"
    out = finished(preset)
    assert compare(paper(), out)[0] == 0
    pair = pair_of(out, "Pipeline_MEDI")
    assert pair["Verdict"] == ("agrees" if preset == "sepia-medi" else "not judged")
    assert ("no preset sepia-medi" in pair["NotJudgedBecause"]) == (preset != "sepia-medi")


def test_published_maps_may_be_absent_one_by_one(paper, finished, compare):
    out = finished()
    code, _, said = compare(paper("FANSI.*(Chimap|mask)"), out)
    assert code == 0, said
    pair = pair_of(out)
    assert list(pair["Maps"]) == ["local field"]
    assert "chi is left out: there is no published Chimap" in pair["Notes"]
    assert pair["Verdict"] == "agrees"


def test_without_any_published_map_nothing_agrees(paper, finished, compare):
    out = finished()
    code, last, _ = compare(paper("FANSI.*(Chimap|localfield.nii)"), out)
    assert code == 0
    assert "no run was judged" in last
    assert pair_of(out)["Verdict"] == "not judged"


def test_a_run_without_a_map_does_not_agree(paper, finished, compare):
    out = finished()
    next(out.rglob("*_Chimap.nii.gz")).unlink()
    code, _, said = compare(paper(), out)
    assert code == 1
    assert "the run left no chi" in said


def test_a_damaged_published_map_is_named(paper, finished, compare):
    dest, out = paper(), finished()
    chi = next(dest.rglob("Pipeline_FANSI/*_Chimap.nii.gz"))
    chi.write_bytes(chi.read_bytes()[:500])
    code, _, said = compare(dest, out)
    assert code == 1
    assert "Chimap.nii.gz: is " in said
    assert list(pair_of(out)["Maps"]) == ["local field"]
    assert set(pair_of(out, "Pipeline_MEDI")["Maps"]) == {"chi", "local field"}


def test_another_scan_is_not_compared(paper, finished, compare, truth):
    mask = np.zeros_like(truth[2])
    mask[:4, :4, :4] = True
    out = finished(mask=mask, chi=np.random.default_rng(0).normal(size=mask.shape))
    code, _, said = compare(paper(), out)
    assert code == 1
    assert "is it the same scan?" in said


def test_deep_nuclei_inside_the_segmentation_of_the_run(paper, finished, compare, truth, example):
    chi, _, mask, labels = truth
    out = finished(chi=np.where(labels == 6, chi + 0.05, chi).astype(np.float32))
    name = {"datatype": "anat", "suffix": "dseg", "segmentation": "head"}
    image = derivative_path(out, RUN, **name)
    source = next(out.rglob("*_Chimap.nii.gz"))
    import nibabel as nib

    write_volume(image, labels.astype(np.int16), nib.load(source).affine)
    rows = "".join(f"{t.label}\t{t.name}\n" for t in TISSUES if t.label)
    write_text(derivative_path(out, RUN, extension=".tsv", **name), "index\tname\n" + rows)
    code, _, said = compare(paper(), out)
    assert code == 1
    assert "pallidum: +0." in said
    nuclei = {n["name"]: n for n in pair_of(out)["Nuclei"]}
    assert set(nuclei) <= {"caudate", "putamen", "pallidum", "rednucleus", "nigra", "dentate"}
    shift = nuclei["pallidum"]["found"] - nuclei["pallidum"]["published"]
    assert shift == pytest.approx(0.05, abs=2e-3)  # less what the reference moved
    assert "greymatter" not in nuclei
    region = mask & (labels == 6)
    expected = chi[region].mean() - chi[mask].mean()
    assert nuclei["pallidum"]["published"] == pytest.approx(expected, abs=1e-4)


def test_without_a_segmentation_the_nuclei_are_left_out_and_it_is_said(paper, finished, compare):
    out = finished()
    _, _, said = compare(paper(), out)
    assert "deep nuclei are left out" in said
    assert pair_of(out)["Nuclei"] == []


def test_nothing_to_compare(paper, finished, compare, tmp_path):
    code, last, _ = compare(tmp_path, finished())
    assert code == 3
    assert "no published maps" in last
    code, last, _ = compare(paper(), tmp_path / "nowhere")
    assert code == 3
    assert "holds no run" in last
