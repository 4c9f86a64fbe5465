"""The template's regions in a run, from files."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qsmbids.core.anatomy.registration import Registration
from qsmbids.core.anatomy.template import CLASSES, class_maps, expected_map
from qsmbids.core.maths.mutual_information import dice
from qsmbids.interfaces.regions import FitTemplate, PlaceRegions
from qsmbids.io.nifti import read_volume
from qsmbids.io.segmentation_labels import hemisphere_of, read_regions
from qsmbids.io.template import load_template, read_fit, template_regions, write_fit


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a call of the node with volumes on one grid."""
    monkeypatch.chdir(tmp_path)

    def call(affine, fit=None, **volumes):
        files = {}
        for name, volume in volumes.items():
            kind = np.uint8 if volume.dtype == bool else np.float32
            nib.save(nib.Nifti1Image(volume.astype(kind), affine), f"{name}.nii")
            files[name] = str(tmp_path / f"{name}.nii")
        if fit is not None:
            files["fit"] = str(write_fit(tmp_path / "fit.npz", fit))
        return PlaceRegions(**files).run().outputs

    return call


def a_fit(template, **changed):
    known = {
        "affine": np.eye(4),
        "run_affine": template.grid,
        "shift": np.zeros((3, *template.t1.shape), np.float32),
        "information": 0.1,
        "size": 1.0,
        "coverage": 1.0,
        "least_jacobian": 0.9,
        "lead": 12.0,
        "channels": ("magnitude",),
    }
    return Registration(**{**known, **changed})


def test_a_fit_is_kept_as_it_was(tmp_path):
    fit = a_fit(load_template(), information=0.123, channels=("magnitude", "chi"))
    read = read_fit(write_fit(tmp_path / "fit.npz", fit))
    assert read.usable
    assert (read.information, read.channels) == (0.123, ("magnitude", "chi"))
    np.testing.assert_array_equal(read.shift, fit.shift)
    np.testing.assert_array_equal(read.run_affine, fit.run_affine)


def test_names_tell_the_side():
    regions = template_regions()
    assert len({r.name for r in regions}) == len(regions)
    assert all(hemisphere_of(r.name) == r.hemisphere for r in regions)


def test_below_the_measure_of_fit_the_run_goes_on_without_regions(place):
    template = load_template()
    noise = np.random.default_rng(0).random((24, 24, 24))
    every = np.ones(noise.shape, bool)
    poor = a_fit(template, information=0.001)
    found = place(
        np.diag([4.0, 4.0, 4.0, 1.0]), poor, magnitude=noise, mask=every, chi=noise, support=every
    )
    for output in (found.labels, found.tables, found.white_matter, found.internal_capsule):
        assert not isinstance(output, list | str)
    (warning,) = found.record["warnings"]
    assert "no regions were measured" in warning
    assert found.record["metadata"]["RegionAtlas"]["Used"] is False


@pytest.mark.parametrize(("information", "said"), [(0.001, "does not fit"), (0.1, "quick map")])
def test_a_template_is_said_to_be_registered_only_where_it_fits(
    information, said, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    template = load_template()
    brain = class_maps(template)[0] < 0.5
    volumes = {
        "magnitude": template.t1, "mask": brain, "known": brain, "weights": brain,
        "local_field": expected_map(class_maps(template), "chi"),
    }  # fmt: skip
    for name, volume in volumes.items():
        image = nib.Nifti1Image(
            volume.astype(np.uint8 if volume.dtype == bool else np.float32), template.grid
        )
        nib.save(image, f"{name}.nii")
    fit = str(write_fit(tmp_path / "start.npz", a_fit(template, information=information)))
    found = FitTemplate(
        **{name: str(tmp_path / f"{name}.nii") for name in volumes}, fit=fit,
        b0_direction=[0.0, 0.0, 1.0], centre_frequency=123e6,
    ).run().outputs  # fmt: skip
    (note,) = found.record["decisions"]
    assert said in note
    assert ("registered" in note) == ("chi" in read_fit(found.fit).channels)


def test_what_is_too_small_for_a_human_head_has_no_regions_and_no_warning(place):
    noise = np.random.default_rng(0).random((20, 20, 20))
    every = np.ones(noise.shape, bool)
    grid = np.diag([4.0, 4.0, 4.0, 1.0])
    found = place(grid, magnitude=noise, mask=every, chi=noise, support=every)
    assert not isinstance(found.labels, list)
    assert found.record["warnings"] == []
    assert "80 mm across" in found.record["metadata"]["RegionAtlas"]["Reason"]


@pytest.mark.slow
def test_the_regions_of_the_templates_own_head_are_found(place):
    """The template's own head with the susceptibility of its tissues, and a start 4 mm off."""
    template = load_template()
    maps = class_maps(template)
    chi, brain = expected_map(maps, "chi"), maps[0] < 0.5
    moved = template.grid.copy()
    moved[0, 3] += 4.0
    start = a_fit(template, run_affine=moved)
    found = place(
        moved, start, magnitude=template.t1, mask=brain, chi=chi, support=brain,
        r2star=expected_map(maps, "r2star"),
    )  # fmt: skip
    labels = read_volume(found.labels[0], np.int32).array
    names = {r.label: r.name for r in read_regions(Path(found.tables[0]))}
    assert names == {r.label: r.name for r in template_regions()}
    expected = template.regions[::2, ::2, ::2][tuple(slice(0, n) for n in labels.shape)]
    for index, name in names.items():
        if name.startswith(("putamen", "caudate", "pallidum", "dentate")):
            ours, true = labels == index, expected == index
            assert 2 * (ours & true).sum() > 0.75 * (ours.sum() + true.sum()), name
    white = read_volume(found.white_matter, np.uint8).array > 0
    assert chi[white].mean() == pytest.approx(-0.025, abs=0.003)
    assert found.record["metadata"]["RegionAtlas"]["Channels"] == ["magnitude", "chi", "r2star"]


@pytest.mark.slow
def test_nuclei_of_another_shape_than_the_templates_are_found_with_their_means(place):
    """Caudate, putamen and thalamus as ellipsoids, in white matter where the template has more."""
    template = load_template()
    maps = class_maps(template)
    size = maps.shape[1:]
    where = np.einsum("ij,jxyz->ixyz", template.grid[:3, :3], np.indices(size))
    where += template.grid[:3, 3, None, None, None]
    nuclei = [CLASSES.index(n) for n in ("caudate", "putamen", "thalamus")]
    shapes = {
        "caudate": ((12, 13, 9), (4.5, 11, 9), 0.045, 26.0),
        "putamen": ((25, 2, 1), (5, 14, 9), 0.05, 28.0),
        "thalamus": ((11, -18, 7), (8, 13, 8), 0.015, 22.0),
    }
    maps[CLASSES.index("white")] += maps[nuclei].sum(axis=0)
    maps[nuclei] = 0
    chi, r2star = expected_map(maps, "chi"), expected_map(maps, "r2star")
    true = {}
    for name, (centre, radii, *values) in shapes.items():
        away = [(abs(where[0]) - centre[0]) / radii[0]]
        away += [(where[a] - centre[a]) / radii[a] for a in (1, 2)]
        true[name] = np.sum(np.square(away), axis=0) < 1
        chi[true[name]], r2star[true[name]] = values
    rough = gaussian_filter(np.random.default_rng(3).normal(size=size), 0.7)
    chi += 0.01 * rough / rough.std()
    magnitude = np.where(true["thalamus"], 0.85 * template.t1, template.t1)
    brain = maps[0] < 0.5
    found = place(
        template.grid, a_fit(template), magnitude=magnitude, mask=brain, chi=chi, support=brain,
        r2star=r2star,
    )  # fmt: skip
    labels = read_volume(found.labels[0], np.int32).array
    for name, region in true.items():
        ours = np.isin(labels, [r.index for r in template.table if r.name == name])
        theirs = np.isin(
            template.regions[::2, ::2, ::2], [r.index for r in template.table if r.name == name]
        )
        assert dice(ours, region) > 0.88 > 0.85 > dice(theirs, region), name
        assert chi[ours].mean() == pytest.approx(chi[region].mean(), abs=0.003), name
