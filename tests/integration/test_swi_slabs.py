"""Susceptibility-weighted images of slabs that lie otherwise than across the body."""

import json

import nibabel as nib
import numpy as np
import pytest

from qsmbids.core.phantom.head import make_phantom
from qsmbids.interfaces.swi import WeightByChi, WeightByPhase
from qsmbids.io.write import write_volume


@pytest.fixture(scope="module")
def phantom():
    return make_phantom((40, 46, 36), (2.4, 2.4, 2.4))


def _weighted(interface, folder, order, volumes, **inputs):
    """Run a step on volumes with permuted axes, and return its images in the old order."""
    affine = np.diag([2.4, 2.4, 2.4, 1.0])[:, [*order, 3]]
    folder.mkdir()
    for name, volume in volumes.items():
        turned = np.ascontiguousarray(volume.transpose(order))
        inputs[name] = str(write_volume(folder / f"{name}.nii", turned, affine))
    step = interface(slice_axis=order.index(2), **inputs)
    outputs = step.run(cwd=str(folder)).outputs
    back = np.argsort(order)
    found = [
        np.asarray(nib.load(path).dataobj).transpose(back)
        for path in (outputs.image, outputs.projection)
    ]
    return found, outputs.record


@pytest.mark.parametrize("kind", ["phase", "chi"])
def test_the_order_of_the_axes_does_not_matter(tmp_path, phantom, rng, kind):
    volumes = {
        "magnitude": (phantom.s0 * np.exp(-0.02 * phantom.r2star)).astype(np.float32),
        "mask": phantom.mask.astype(np.uint8),
    }
    chi = np.where(phantom.mask, phantom.chi, 0).astype(np.float32)
    noise = rng.normal(0, 0.005, chi.shape).astype(np.float32)
    volumes["chi" if kind == "chi" else "field"] = chi if kind == "chi" else chi / 3 + noise
    interface = WeightByChi if kind == "chi" else WeightByPhase
    first, said = _weighted(interface, tmp_path / "a", (0, 1, 2), volumes)
    second, turned = _weighted(interface, tmp_path / "b", (2, 0, 1), volumes)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)
    assert said["metadata"]["SusceptibilityWeighting"]["SliceAxis"] == 2
    assert turned["metadata"]["SusceptibilityWeighting"]["SliceAxis"] == 0
    vein, white = phantom.region("vein"), phantom.region("whitematter")
    ratio = np.median(first[0][vein]) / np.median(first[0][white])
    plain = np.median(volumes["magnitude"][vein]) / np.median(volumes["magnitude"][white])
    assert ratio < 0.8 * plain


@pytest.mark.slow
def test_an_oblique_slab_and_one_echo(qsmbids, write_small_dataset, tmp_path):
    bids = write_small_dataset(tmp_path / "bids", tilt_degrees=25, echo_times=(0.02,))
    out = tmp_path / "out"
    code, _, said = qsmbids(
        bids, out, "participant", "--swi", "--work-dir", tmp_path / "work", "--sloppy",
        "--skip-bids-validation", "--nprocs", 1, "--oblique", "rotate",
    )  # fmt: skip
    assert code == 0, said
    for name in ("swi", "swimip", "smwi", "smwimip"):
        path = next(out.rglob(f"*_desc-{name}_T2starw.nii.gz"))
        image = np.asarray(nib.load(path).dataobj)
        assert np.isfinite(image).all()
        assert 0.2 < np.median(image[image > 0]) < 1.2
        sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        assert {"Units", "Sources", "SkullStripped", "Description"} <= set(sidecar)
