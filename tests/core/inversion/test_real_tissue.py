"""The adaptive inversion and its intervals on half a real head whose susceptibility COSMOS tells.

What simulated heads cannot show: an error of the field that has the texture of real tissue.
"""

import nibabel as nib
import numpy as np
import pytest
import scipy.ndimage as ndi

from qsmbids.core.inversion.adaptive_inversion import adaptive_inversion
from qsmbids.core.inversion.error_of_means import ErrorOfMeans
from qsmbids.core.inversion.standard_error import HALF_95, standard_error
from qsmbids.core.quality.xsim import xsim
from qsmbids.units import larmor_frequency

pytestmark = pytest.mark.slow

VOXEL, AXIAL, F0 = (1.0, 1.0, 1.0), (0.0, 0.0, 1.0), larmor_frequency(3.0)


@pytest.fixture(scope="module")
def head(shared_dir):
    """Map, truth (both less their mean where they are scored), where that is, and the result."""
    folder = shared_dir / "data" / "invivo_half_head"

    def one(name):
        return np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, dtype=np.float32)

    mask, scored = one("msk") > 0, one("scoremask") > 0
    result = adaptive_inversion(
        one("phs_tissue") * np.float32(1e-6 * F0), mask, mask.astype(np.float32), VOXEL, AXIAL,
        centre_frequency=F0, echo_time=0.025, n_threads=2,
    )  # fmt: skip
    found, true = (
        np.where(scored, v - v[scored].mean(), 0) for v in (result.chi, one("chi_cosmos"))
    )
    return found, true, scored, result


@pytest.fixture(scope="module")
def nuclei(head):
    _, true, scored, result = head
    labels, _ = ndi.label(
        (ndi.gaussian_filter(true, 1.0) > 0.05)
        & ndi.binary_erosion(result.chi != 0, iterations=12)
        & scored
    )
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return [labels == k for k in np.flatnonzero(sizes >= 300)]


def test_the_error_of_the_map(head, nuclei):
    """No method without training has less; FANSI has 74 % and .36, the aim was 54 % and .90."""
    found, true, scored, _ = head
    assert np.linalg.norm(found - true) < 0.54 * np.linalg.norm(true)
    assert xsim(found, true, scored) > 0.51
    deep = np.any(nuclei, axis=0)
    assert (found[deep] @ true[deep]) / (true[deep] @ true[deep]) > 0.89


def test_intervals_hold_the_truth(head, nuclei):
    """95 % of the voxels, and no interval is so wide that it says nothing."""
    found, true, scored, result = head
    sure = standard_error(result, VOXEL)
    held = np.mean(np.abs(found - true)[scored] < HALF_95 * sure.total_ppm[scored])
    assert 0.90 < held < 0.98
    stated = np.sqrt(np.mean(sure.total_ppm[scored] ** 2))
    assert stated < 1.4 * np.sqrt(np.mean((found - true)[scored] ** 2))
    means = ErrorOfMeans(sure.errors, sure.factor, VOXEL).relative_to(scored)
    assert len(nuclei) == 5
    for region in nuclei:
        of = means.of(region)
        off = found[region].mean() - true[region].mean()
        assert abs(off - of.bias) < HALF_95 * of.standard_error
        assert abs(of.bias) < 0.015
