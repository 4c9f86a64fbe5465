"""Unwrapped phase and fields of the user: which file, which unit, which sign, which grid."""

import json

import nibabel as nib
import numpy as np
import pytest

from qsmbids.errors import InputError, MetadataError
from qsmbids.io.derivatives import derivative_path
from qsmbids.io.layout import collect_runs
from qsmbids.io.metadata import read_acquisition
from qsmbids.io.start_image import find_start, read_start
from qsmbids.io.write import write_json, write_volume

OURS = "phase grows as +2 pi f TE; paramagnetic is positive"


@pytest.fixture
def scan(make_run):
    """Return a run, its acquisition and the affine of its images."""
    runs, problems = collect_runs(make_run())
    assert not problems
    return runs[0], read_acquisition(runs[0]), nib.load(runs[0].magnitude[0])


@pytest.fixture
def write(scan, tmp_path):
    """Write an image with a sidecar on the grid of the run."""
    _, _, image = scan

    def call(name, units="Hz", convention=OURS, values=2.0, affine=None, shape=None):
        array = np.full(shape or image.shape[:3], values, np.float32)
        path = tmp_path / "given" / name
        write_volume(path, array, image.affine if affine is None else affine)
        said = {"Units": units, "FieldSignConvention": convention}
        kept = {k: v for k, v in said.items() if v}
        write_json(path.with_name(path.name.removesuffix(".nii.gz") + ".json"), kept)
        return path

    call.root = tmp_path / "given"
    return call


@pytest.mark.parametrize(
    ("units", "scale"),
    [
        ("Hz", 1.0),
        ("rad/s", 1 / (2 * np.pi)),
        ("T", 42.577478518e6),
        ("ppm", None),
        ("hz", 1.0),
    ],
)
def test_units_of_a_field(scan, write, units, scale):
    run, acquisition, _ = scan
    path = write("x.nii.gz", units=units)
    found = find_start("total", path, run, acquisition)
    wanted = acquisition.centre_frequency_hz * 1e-6 if scale is None else scale
    assert found.scale == pytest.approx(wanted, rel=1e-9)
    assert units in found.notes[0]
    read = read_start(str(path), found.scale, str(run.magnitude[0]), "total field")
    np.testing.assert_allclose(read.array, 2 * wanted, rtol=1e-6)


@pytest.mark.parametrize(("kind", "units"), [("total", "arbitrary"), ("local", ""),
                                             ("total", "rad"), ("unwrapped", "Hz")])  # fmt: skip
def test_unknown_units_are_refused(scan, write, kind, units):
    run, acquisition, _ = scan
    for echo in run.echoes:
        write(f"sub-{run.subject}/anat/{run.label}_echo-{echo}_part-phase_desc-unwrapped_MEGRE"
              ".nii.gz", units=units)  # fmt: skip
    source = write.root if kind == "unwrapped" else write("x.nii.gz", units=units)
    with pytest.raises(MetadataError, match=r"Units|units") as error:
        find_start(kind, source, run, acquisition)
    assert "--help" in str(error.value)


@pytest.mark.parametrize(
    ("convention", "sign", "words"),
    [
        (OURS, 1, "phase grows"),
        ("", 1, "assumed"),
        ("whatever", 1, "assumed"),
        ("phase = -2 pi f TE", -1, "turned over"),
        ("diamagnetic is positive", -1, "turned over"),
    ],
)
def test_the_sign_convention(scan, write, convention, sign, words):
    run, acquisition, _ = scan
    found = find_start("total", write("x.nii.gz", convention=convention), run, acquisition)
    assert found.scale == sign
    assert words in found.notes[1]


def test_another_voxel_order_is_conformed_and_another_grid_refused(scan, write):
    run, acquisition, image = scan
    values = np.random.default_rng(1).normal(size=image.shape[:3]).astype(np.float32)
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = image.shape[0] - 1
    path = write("x.nii.gz", affine=image.affine @ flip)
    write_volume(path, values[::-1], image.affine @ flip)
    found = find_start("total", path, run, acquisition)
    read = read_start(str(path), found.scale, str(run.magnitude[0]), "total field")
    np.testing.assert_array_equal(read.array, values)
    moved = image.affine.copy()
    moved[0, 3] += 3
    for path in (write("y.nii.gz", affine=moved), write("z.nii.gz", shape=(5, 5, 5))):
        with pytest.raises(InputError, match=r"local field.*grid"):
            find_start("local", path, run, acquisition)


def test_values_that_are_not_finite_are_refused(scan, write):
    run, _, _ = scan
    path = write("x.nii.gz", values=np.nan)
    with pytest.raises(InputError, match="NaN"):
        read_start(str(path), 1.0, str(run.magnitude[0]), "total field")


def test_our_own_outputs_are_found(scan, write):
    run, acquisition, _ = scan

    def ours(**name):
        return str(derivative_path(write.root, run.entities, **name).relative_to(write.root))

    total = write(ours(datatype="fmap", suffix="fieldmap", desc="total"))
    local = write(ours(datatype="fmap", suffix="fieldmap", desc="local"))
    write(ours(datatype="fmap", suffix="fieldmap", desc="noise"))
    mask = write(ours(datatype="anat", suffix="mask", label="brain", desc="mask4noholes"))
    assert find_start("total", write.root, run, acquisition).paths == (total,)
    found = find_start("local", write.root, run, acquisition)
    assert (found.paths, found.mask) == ((local,), mask)
    assert found.total is not None
    assert found.total.paths == (total,)
    echoes = [
        write(ours(datatype="anat", suffix="MEGRE", part="phase", desc="unwrapped", echo=str(e)),
              units="rad")
        for e in run.echoes
    ]  # fmt: skip
    assert find_start("unwrapped", write.root, run, acquisition).paths == tuple(echoes)
    echoes[1].unlink()
    with pytest.raises(InputError, match="no unwrapped phase of echo 2 fits"):
        find_start("unwrapped", write.root, run, acquisition)


def test_names_of_others_are_searched_for(scan, write):
    run, acquisition, _ = scan
    folder = f"sub-{run.subject}/fmap/sub-{run.subject}"
    with pytest.raises(InputError, match="does not exist"):
        find_start("total", write.root, run, acquisition)
    plain = write(f"{folder}_fieldmap.nii.gz")
    write(f"sub-{run.subject}/fmap/sub-{run.subject}_run-77_fieldmap.nii.gz")
    assert find_start("total", write.root, run, acquisition).paths == (plain,)
    with pytest.raises(InputError, match="no local field fits"):
        find_start("local", write.root, run, acquisition)
    write(f"sub-{run.subject}/other/sub-{run.subject}_fieldmap.nii.gz")
    with pytest.raises(InputError, match="several images may be the total field"):
        find_start("total", write.root, run, acquisition)


def test_what_is_no_image(scan, write, tmp_path):
    run, acquisition, _ = scan
    text = tmp_path / "x.txt"
    text.write_text("")
    with pytest.raises(InputError, match="not a NIfTI"):
        find_start("total", text, run, acquisition)
    with pytest.raises(InputError, match="echoes"):
        find_start("unwrapped", write("x.nii.gz", units="rad"), run, acquisition)
    path = write("y.nii.gz")
    path.with_name("y.json").write_text(json.dumps({"Units": "Hz"})[:-3])
    with pytest.raises(MetadataError, match="cannot be read"):
        find_start("total", path, run, acquisition)
