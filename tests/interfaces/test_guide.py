"""Mask 1 by the template, from files."""

import nibabel as nib
import numpy as np
import pytest

from qsmbids.interfaces.anatomy import GuideMask
from qsmbids.io.template import load_template


@pytest.fixture
def guide(tmp_path, monkeypatch):
    """Return a call of the node with an image and a mask, and what it made of them."""
    monkeypatch.chdir(tmp_path)

    def call(image, mask, affine):
        nib.save(nib.Nifti1Image(image.astype(np.float32), affine), "image.nii")
        nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), "mask.nii")
        files = {"magnitude": str(tmp_path / "image.nii"), "mask": str(tmp_path / "mask.nii")}
        outputs = GuideMask(**files).run().outputs
        return np.asarray(nib.load(outputs.mask).dataobj) > 0, outputs.record

    return call


@pytest.mark.slow
def test_what_is_no_head_leaves_the_mask_as_it_was(guide, rng):
    image = rng.random((40, 44, 36))
    mask = np.zeros(image.shape, bool)
    mask[8:32, 8:36, 8:28] = True
    made, record = guide(image, mask, np.diag([4.0, 4.0, 4.0, 1.0]))
    assert np.array_equal(made, mask)
    assert not record["metadata"]["MaskGuide"]["Used"]
    assert "has no part: run and template share" in record["warnings"][0]


def test_what_is_too_small_for_a_human_head_is_not_registered(guide, rng):
    mask = np.zeros((20, 22, 18), bool)
    mask[4:16, 4:18, 4:14] = True
    made, record = guide(rng.random(mask.shape), mask, np.diag([4.0, 4.0, 4.0, 1.0]))
    assert np.array_equal(made, mask)
    assert not record["metadata"]["MaskGuide"]["Used"]
    assert "48 mm across" in record["metadata"]["MaskGuide"]["Reason"]
    assert not record["warnings"]


@pytest.mark.slow
def test_a_neck_is_cut_off_a_head(guide):
    """The template's own head, moved, with a mask that has a bar of neck below the brain."""
    template = load_template()
    brain = template.brain[::2, ::2, ::2]
    grid = template.fine_grid @ np.diag([2.0, 2.0, 2.0, 1.0])
    image = np.zeros(brain.shape)
    shape = [min(a, b) for a, b in zip(image.shape, template.t1.shape, strict=True)]
    part = tuple(slice(0, n) for n in shape)
    image[part] = template.t1[part]
    moved = grid.copy()
    moved[:3, 3] += [6.0, -4.0, 5.0]
    neck = np.zeros(brain.shape, bool)
    low = int(np.flatnonzero(brain.any(axis=(0, 1)))[0])
    centre = [n // 2 for n in brain.shape]
    neck[centre[0] - 8 : centre[0] + 8, centre[1] - 12 : centre[1] + 4, : low + 8] = True
    made, record = guide(image, brain | neck, moved)
    assert record["metadata"]["MaskGuide"]["Used"]
    outside = neck & ~brain
    assert (made & outside).sum() < 0.4 * outside.sum()
    dice = 2 * (made & brain).sum() / (made.sum() + brain.sum())
    assert dice > 0.93
