import json

import numpy as np
import pytest

from qsmbids.errors import ConfigError, InputError
from qsmbids.io.layout import collect_runs
from qsmbids.io.segmentation_labels import hemisphere_of, read_regions, with_unnamed
from qsmbids.io.segmentations import find_segmentations, label_values
from qsmbids.io.t1w import find_t1w
from qsmbids.io.write import write_volume

SHAPE = (20, 18, 16)
AFFINE = np.diag([-1.0, 1.0, 2.0, 1.0])
TABLE = "index\tname\n0\tbackground\n1\tLeft-Caudate\n2\tRight-Caudate\n7\tdentate\n"


def put(path, shape=SHAPE, affine=AFFINE, table=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, np.ones(shape, np.int16), affine)
    if table:
        path.with_name(path.name.replace(".nii.gz", ".tsv")).write_text(table)
    return path


@pytest.fixture
def run(make_run):
    return collect_runs(make_run("sub-01_ses-a_run-1"))[0][0]


def test_a_file_with_its_table(run, tmp_path):
    found = find_segmentations(put(tmp_path / "atlas-CIT_dseg.nii.gz", table=TABLE), run)
    assert [(s.label, s.space, s.only_named) for s in found] == [("CIT", "MEGRE", False)]
    assert found[0].regions == ((1, "Left-Caudate", "L"), (2, "Right-Caudate", "R"),
                                (7, "dentate", "n/a"))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "label"),
    [("my labels+2.nii.gz", "mylabels2"), ("sub-01_seg-x_desc-y_dseg.nii.gz", "x"),
     ("sub-01_desc-y_dseg.nii.gz", "y"), ("sub-01_dseg.nii.gz", "dseg")],
)  # fmt: skip
def test_labels_of_outputs(run, tmp_path, name, label):
    (found,) = find_segmentations(put(tmp_path / name), run)
    assert (found.label, found.regions) == (label, ())


def test_the_axes_may_be_in_another_order(run, tmp_path):
    turned = np.zeros((4, 4))
    turned[0, 1], turned[1, 0], turned[2, 2], turned[3, 3] = -1, 1, 2, 1
    path = put(tmp_path / "a_dseg.nii.gz", (18, 20, 16), turned)
    assert find_segmentations(path, run)[0].space == "MEGRE"


def test_another_grid_is_refused_and_the_cure_named(run, tmp_path):
    path = put(tmp_path / "a_dseg.nii.gz", (10, 9, 8))
    with pytest.raises(InputError, match="not on the run's grid") as error:
        find_segmentations(path, run)
    for cure in ("--t1w", "--t1w-transform", "nearest neighbour"):
        assert cure in str(error.value)
    assert find_segmentations(path, run, t1w_way=True)[0].space == "T1w"
    template = put(tmp_path / "space-MNI152_dseg.nii.gz", (10, 9, 8))
    with pytest.raises(InputError, match="grid"):
        find_segmentations(template, run, t1w_way=True)


def test_the_closest_of_a_dataset(run, tmp_path):
    anat = tmp_path / "sub-01/ses-a/anat"
    for name in (
        "sub-01_ses-a_run-1_space-orig_seg-x_dseg",
        "sub-01_ses-a_run-2_space-orig_seg-x_dseg",
        "sub-01_ses-a_space-orig_seg-x_dseg",
        "sub-01_ses-b_run-1_space-orig_seg-x_dseg",
        "sub-01_ses-a_run-1_space-MNI_seg-x_dseg",
        "sub-01_ses-a_acq-mprage_space-T1w_seg-x_dseg",
        "sub-01_ses-a_acq-mprage_space-T1w_seg-y_dseg",
    ):
        put(anat / f"{name}.nii.gz")
    put(tmp_path / "sub-01/anat/sub-01_seg-z_dseg.nii.gz", (9, 9, 9))  # of all sessions
    (tmp_path / "dseg.tsv").write_text(TABLE)
    (tmp_path / "seg-x_dseg.tsv").write_text("index\tname\n5\tonly\n")
    found = find_segmentations(tmp_path, run)
    assert [s.image.name for s in found] == ["sub-01_ses-a_run-1_space-orig_seg-x_dseg.nii.gz"]
    assert found[0].table == "seg-x_dseg.tsv"
    found = find_segmentations(tmp_path, run, t1w_way=True)
    assert [(s.label, s.space, len(s.regions)) for s in found] == [
        ("x", "MEGRE", 1), ("y", "T1w", 3), ("z", "T1w", 3),
    ]  # fmt: skip


def test_nothing_or_several_in_a_dataset(run, tmp_path):
    with pytest.raises(InputError, match="no segmentation fits sub-01_ses-a_run-1"):
        find_segmentations(tmp_path, run)
    put(tmp_path / "sub-01/anat/sub-01_space-T1w_seg-x_dseg.nii.gz")
    with pytest.raises(InputError, match="--t1w"):
        find_segmentations(tmp_path, run)
    for space in ("orig", "MEGRE"):
        put(tmp_path / f"sub-01/anat/sub-01_space-{space}_seg-x_dseg.nii.gz")
    with pytest.raises(InputError, match="several segmentations 'x'"):
        find_segmentations(tmp_path, run)
    with pytest.raises(InputError, match="does not exist"):
        find_segmentations(tmp_path / "nowhere", run)
    (tmp_path / "aseg.mgz").write_text("")
    with pytest.raises(InputError, match="mri_convert"):
        find_segmentations(tmp_path / "aseg.mgz", run)


def test_freesurfer_needs_no_table(run, tmp_path):
    (found,) = find_segmentations(put(tmp_path / "aparc+aseg.nii.gz"), run)
    names = {r.label: (r.name, r.hemisphere) for r in found.regions}
    assert names[13] == ("Left-Pallidum", "L")
    assert names[50] == ("Right-Caudate", "R")
    assert names[2] == ("Left-Cerebral-White-Matter", "L")
    assert names[16] == ("Brain-Stem", "n/a")
    assert found.only_named
    for name in ("sub-01_synthseg.nii.gz", "fastsurfer_seg.nii.gz"):
        assert find_segmentations(put(tmp_path / name), run)[0].regions == found.regions
    (tmp_path / "aparc+aseg.tsv").write_text(TABLE)
    assert len(find_segmentations(tmp_path / "aparc+aseg.nii.gz", run)[0].regions) == 3


@pytest.mark.parametrize(
    ("name", "side"),
    [("Left-Putamen", "L"), ("rh.insula", "R"), ("GPe_L", "L"), ("red nucleus right", "R"),
     ("lateral", "n/a"), ("nigra", "n/a"), ("L_R_commissure", "n/a"), ("cerebellar", "n/a")],
)  # fmt: skip
def test_hemisphere_of_a_name(name, side):
    assert hemisphere_of(name) == side
    assert hemisphere_of(name, "right") == "R"
    assert hemisphere_of(name, "B") == "n/a"


def test_tables_of_labels(tmp_path):
    path = tmp_path / "dseg.tsv"
    path.write_text("\ufeffindex\tname\themi\r\n3\tcaudate\tR\r\n4\t\t\r\n")
    regions = read_regions(path)
    assert regions == [(3, "caudate", "R"), (4, "label4", "n/a")]
    assert with_unnamed(regions, [0, 9, 4]) == [*regions, (9, "label9", "n/a")]
    for text, says in (
        ("label\tname\n1\tx\n", "index and name"),
        ("index\tname\n1.5\tx\n", "no integer"),
        ("index\tname\n\tx\n", "no integer"),
        ("index\tname\n1\tx\n1\ty\n", "twice"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=says):
            read_regions(path)


def test_interpolated_labels_are_refused():
    labels = np.array([[[0.0, 1024.0, 17.0]]], np.float32)
    assert label_values(labels, "x").tolist() == [[[0, 1024, 17]]]
    for wrong in (0.5, -1.0, np.nan):
        with pytest.raises(InputError, match="nearest neighbour"):
            label_values(labels + wrong, "x")


def test_the_t1w_image_of_a_run(run, tmp_path):
    bids = run.images[0].parents[3]
    with pytest.raises(InputError, match="no T1w image"):
        find_t1w(bids, run)
    other = put(bids / "sub-01/ses-b/anat/sub-01_ses-b_T1w.nii.gz")
    assert find_t1w(bids, run) == other
    here = put(bids / "sub-01/ses-a/anat/sub-01_ses-a_run-1_T1w.nii.gz")
    put(bids / "sub-01/ses-a/anat/sub-01_ses-a_run-1_part-phase_T1w.nii.gz")
    assert find_t1w(bids, run) == here
    second = put(bids / "sub-01/ses-a/anat/sub-01_ses-a_acq-x_run-2_T1w.nii.gz")
    with pytest.raises(InputError, match="several T1w images"):
        find_t1w(bids, run)
    assert find_t1w(bids, run, {"t1w": {"run": "2"}}) == second
    assert find_t1w(bids, run, {"t1w": {"acquisition": None}}) == here
    with pytest.raises(ConfigError, match="acquisition"):
        find_t1w(bids, run, json.loads('{"t1w": {"acq": "x"}}'))
