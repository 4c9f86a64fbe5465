"""What the node of background removal says of an input that it cannot use."""

import nibabel as nib
import numpy as np
import pytest

from qsmbids.errors import InputError
from qsmbids.interfaces.background import RemoveBackgroundField
from qsmbids.methods.background_field import BACKGROUND

SHAPE = (20, 22, 18)


@pytest.fixture
def remove(tmp_path, monkeypatch):
    """Return a call of the node on a ball of noise, with what is wrong."""
    monkeypatch.chdir(tmp_path)

    def call(method="vsharp", radius=8, change=None, **inputs):
        r = np.indices(SHAPE) - np.reshape([n // 2 for n in SHAPE], (3, 1, 1, 1))
        mask = (r**2).sum(axis=0) <= radius**2
        field = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
        if change is not None:
            field[SHAPE[0] // 2, SHAPE[1] // 2, SHAPE[2] // 2] = change
        volumes = {
            "field": field,
            "weights": np.ones(SHAPE, np.float32),
            "mask2": mask.astype(np.uint8),
            "mask3": mask.astype(np.uint8),
        }
        for name, volume in volumes.items():
            nib.save(nib.Nifti1Image(volume, np.diag([9.0, 9.0, 9.0, 1.0])), f"{name}.nii")
        settings = vars(BACKGROUND[method].settings())
        files = {name: str(tmp_path / f"{name}.nii") for name in volumes}
        node = RemoveBackgroundField(
            **files, method=method, settings=settings, b0_direction=[0.0, 0.0, 1.0], **inputs
        )
        return node.run()

    return call


@pytest.mark.parametrize("method", BACKGROUND)
def test_every_method_records_its_settings_and_how_it_ended(remove, method):
    found = remove(method).outputs.record["metadata"]["BackgroundRemoval"]
    assert found["Name"] in BACKGROUND[method].titles
    kept = set(found["Parameters"])
    assert len(kept) >= len(vars(BACKGROUND[method].settings())) + 3


@pytest.mark.parametrize("method", BACKGROUND)
def test_a_mask_of_which_nothing_is_left_is_too_small(remove, method):
    with pytest.raises(InputError, match="mask is too small") as caught:
        remove(method, radius=0)
    assert "mask3.nii" in str(caught.value)


@pytest.mark.parametrize("method", BACKGROUND)
def test_a_field_that_is_not_finite_is_named_as_that(remove, method):
    with pytest.raises(InputError, match="not finite") as caught:
        remove(method, change=np.nan)
    assert "field.nii" in str(caught.value)
    assert "too small" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "setting", "one_echo", "again"),
    [
        ("vsharp", "auto", True, True),
        ("vsharp", "auto", False, False),
        ("lbv", "auto", True, False),
        ("lbv", "on", False, True),
        ("vsharp", "off", True, False),
    ],
)
def test_what_is_left_of_the_background_is_removed_where_it_pays(
    remove, method, setting, one_echo, again
):
    once = np.array(nib.load(remove(method).outputs.local_field).dataobj)  # written over
    out = remove(method, residual_removal=setting, slices_of_one_echo=one_echo).outputs
    said = out.record["metadata"]["BackgroundRemoval"]
    assert (said["SecondPass"], said["Parameters"]["ResidualRemoval"]) == (again, setting)
    assert any("then PDF" in text for text in out.record["decisions"]) == again
    assert np.array_equal(once, nib.load(out.local_field).get_fdata()) != again
