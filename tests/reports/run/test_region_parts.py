"""Lesions, outlines and the plot of nuclei on the page; what comes first on top."""

import numpy as np
import pytest

from qsmbids.io.write import write_volume
from qsmbids.reports.paper.geometry import DisplayGrid
from qsmbids.reports.run.lesion_table import lesion_table
from qsmbids.reports.run.nuclei_plot import nuclei_plot
from qsmbids.reports.run.outlines import read_outlines
from qsmbids.reports.run.ranking import worst_first
from qsmbids.reports.run.record import read_run

HEAD = (
    "reference index name n_voxels volume_mm3 n_mask4 mean std median rim_mean core_mean"
    " rim_minus_core surroundings_mean paramagnetic_share diamagnetic_share"
).split()


def lesion(reference, shift):
    numbers = [0.05 + shift, 0.02, 0.05, 0.08 + shift, -0.02 + shift, 0.1, -0.03 + shift, 0.7, 0.3]
    return [reference, 3, "<i>plaque", 216, 216.0, 216, *numbers]


@pytest.fixture
def lesions(tmp_path):
    def call(*rows, **result):
        path = tmp_path / "sub-01" / "anat" / "sub-01_desc-lesions_stats.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join("\t".join(map(str, row)) for row in (HEAD, *rows)) + "\n")
        return lesion_table(read_run(tmp_path, {"run": "sub-01", "status": "ok", **result}))

    return call


def test_every_lesion_under_one_reference(lesions):
    html = lesions(lesion("wholebrain", 0.0), lesion("csf", -0.5))
    assert "&lt;i&gt;plaque" in html
    for shown in ("216", "+0.0500", "+0.0800", "-0.0200", "+0.1000", "-0.0300", "70%", "30%"):
        assert f">{shown}</td>" in html
    assert "-0.4500" not in html


def test_no_lesion_and_no_table(lesions):
    assert "this head has none" in lesions()
    assert lesions(lesion("csf", 0), outputs=["sub-01/anat/other.tsv"]) is None


def row(name, side, mean, error="0.001"):
    return {"name": name, "hemisphere": side, "mean": mean, "standard_error": error}


def test_the_plot_has_a_point_for_each_side_of_a_nucleus():
    plot = nuclei_plot([
        row("caudate-left", "L", "0.04"), row("caudate-right", "R", "0.05"),
        row("Left-Putamen", "L", "0.06", "n/a"), row("white-matter-left", "L", "-0.03"),
        row("dentate_R", "R", "n/a"),
    ])  # fmt: skip
    assert plot.count("<circle") == 3
    assert plot.count(">caudate<") == 1
    assert "white" not in plot
    assert "dentate" not in plot
    assert nuclei_plot([row("pons", "n/a", "0.1")]) == ""


def test_outlines_of_regions_but_not_of_what_lies_everywhere(tmp_path):
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    labels = np.zeros((6, 5, 4), np.int32)
    labels[0, 1, 1], labels[2], labels[4, 2, 2] = 300, 2, 11
    write_volume(tmp_path / "a_dseg.nii.gz", labels, affine)
    (tmp_path / "a_dseg.tsv").write_text("index\tname\n2\tLeft-Cerebral-White-Matter\n11\tCd\n")
    (tmp_path / "b_dseg.nii.gz").write_bytes(b"damaged")
    paths = {name: tmp_path / f"{name}_dseg.nii.gz" for name in "ba"}
    found = read_outlines(paths, DisplayGrid((6, 5, 4), affine))
    assert found.names == ("Cd", "label300")
    assert found.codes[1, 2, 2] == 1  # towards right: the first axis is turned
    assert found.codes[5, 1, 1] == 2
    assert np.count_nonzero(found.codes) == 2
    assert read_outlines({}, DisplayGrid((6, 5, 4), affine)) is None


def test_the_order_and_the_cures_of_points():
    points = [
        "2.e, isotropic voxels: reduce the voxel edge",
        "there is a single echo",
        "no regions were measured: the template of the head does not fit",
        "BrainVolume is 2600 ml: look at the outline of Mask 1",
        "the sign of the phase may be inverted; run again with the other --phase-sign",
    ]
    found = worst_first(points)
    begins = [point[:9] for point in points]
    assert [point[:9] for point in found] == [begins[n] for n in (4, 3, 2, 1, 0)]
    assert found[2].endswith("Give the regions with --segmentation.")
    assert found[3] == "there is a single echo. Acquire anew after section 2."
    assert found[0] == points[4]  # says itself what to do
