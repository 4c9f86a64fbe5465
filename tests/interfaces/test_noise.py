"""The noise of the field, also of images that have none."""

import nibabel as nib
import numpy as np
import pytest

from qsmbids.interfaces.field import CombineEchoes, WeightData
from qsmbids.interfaces.start_image import RatePhase

SHAPE, TIMES = (20, 20, 20), [0.005, 0.010, 0.015]
MASK = ((np.indices(SHAPE) - 9.5) ** 2).sum(axis=0) < 81


@pytest.fixture
def echoes(tmp_path, monkeypatch):
    """Write echoes with a magnitude of steps and this noise; return their files by input."""
    monkeypatch.chdir(tmp_path)

    def write(name, volume):
        path = tmp_path / f"{name}.nii"
        nib.save(nib.Nifti1Image(volume.astype(np.float32), np.eye(4)), path)
        return str(path)

    def call(sigma):
        rng = np.random.default_rng(0)
        steps = np.where(np.indices(SHAPE)[0] < 10, 1000.0, 500.0)
        both = {"magnitude": [], "phase": []}
        for n, time in enumerate(TIMES):
            noise = sigma * rng.standard_normal(SHAPE)
            both["magnitude"].append(write(f"mag{n}", steps * np.exp(-20 * time) + noise))
            both["phase"].append(write(f"phase{n}", np.full(SHAPE, 2 * np.pi * 10 * time)))
        return both | {"echo_times": TIMES, "mask": write("mask", MASK)}

    return call


@pytest.mark.parametrize("step", [CombineEchoes, RatePhase])
def test_images_without_noise_are_weighted_and_it_is_said(echoes, step):
    """As a simulation writes them: a noise of zero would be one that nobody knows."""
    given = echoes(0)
    found = step(**given).run().outputs
    (warning,) = found.record["warnings"]
    assert "no noise at all" in warning
    weighted = WeightData(noise=found.noise, **given).run().outputs
    weights = np.asarray(nib.load(weighted.weights).dataobj)
    assert (weights[MASK] > 0).all()
    assert weights[2:8][MASK[2:8]].mean() > weights[12:18][MASK[12:18]].mean()


@pytest.mark.parametrize("step", [CombineEchoes, RatePhase])
def test_of_images_with_noise_nothing_is_said(echoes, step):
    found = step(**echoes(5.0)).run().outputs
    assert found.record["warnings"] == []
    noise = np.asarray(nib.load(found.noise).dataobj)[MASK]
    assert (noise > 0).all()
