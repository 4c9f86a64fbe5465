"""2-D slices, echo planar series and single coils through the command."""

import json

import nibabel as nib
import numpy as np
import pytest

pytestmark = pytest.mark.slow
OPTIONS = ("participant", "--sloppy", "--nprocs", "1")


def change(path, how):
    """Change the numbers of an image."""
    image = nib.load(path)
    numbers = how(np.asarray(image.dataobj).astype(int))
    nib.save(nib.Nifti1Image(numbers.astype(np.int16), image.affine), path)


def state(folder, **facts):
    for path in folder.rglob("*.json"):
        if "_part-" in path.name:
            path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def chi_of(out):
    """Return the map of a run and its sidecar."""
    (path,) = out.glob("sub-*/anat/*desc-wholebrain_Chimap.nii.gz")
    sidecar = path.with_name(path.name.replace(".nii.gz", ".json"))
    return nib.load(path).get_fdata(), json.loads(sidecar.read_text())


@pytest.mark.parametrize(
    ("times", "worse"),
    # one echo tells the phase of a slice from the field by a model alone
    [((0.015,), 1.4), ((0.006, 0.014, 0.022), 1.15)],
)
def test_a_2d_scan_is_nearly_as_good_as_a_3d_one(
    write_small_dataset, qsmbids, tmp_path, rng, times, worse
):
    errors = {}
    turns = rng.integers(0, 4096, 32)
    for kind in ("3D", "2D"):
        root = write_small_dataset(tmp_path / kind, echo_times=times)
        truth = nib.load(next(root.glob("derivatives/truth/*/anat/*Chimap.nii.gz"))).get_fdata()
        if kind == "2D":
            for path in (root / "sub-demo/anat").glob("*part-phase*.nii.gz"):
                change(path, lambda n: (n + turns) % 4096)
            state(root / "sub-demo", MRAcquisitionType="2D")
        code, _, said = qsmbids(root, tmp_path / f"out-{kind}", *OPTIONS)
        assert code == 0, said
        chi, sidecar = chi_of(tmp_path / f"out-{kind}")
        inside = chi != 0
        errors[kind] = np.std((chi - truth)[inside]) / np.std(truth[inside])
    assert errors["2D"] < worse * errors["3D"], errors
    single = len(times) == 1
    assert ("SliceConstants" in sidecar, "SliceField" in sidecar) == (single, not single)
    assert sidecar["BackgroundRemoval"]["SecondPass"] == single
    assert ("SingleEchoOffset" in sidecar) == single
    page = next((tmp_path / "out-2D").glob("sub-*.html")).read_text()
    assert "outside the paper" in page


def test_echo_planar_series_are_taken_on_request_only(write_small_dataset, qsmbids, tmp_path):
    root = write_small_dataset(tmp_path / "bids", echo_times=(0.013, 0.030))
    func = root / "sub-demo/func"
    func.mkdir()
    for path in sorted((root / "sub-demo/anat").iterdir()):
        new = func / path.name.replace("sub-demo_", "sub-demo_task-rest_").replace("MEGRE", "bold")
        path.rename(new)
        if new.suffix == ".gz":
            image = nib.load(new)
            numbers = np.repeat(np.asarray(image.dataobj)[..., None], 3, axis=3)
            nib.save(nib.Nifti1Image(numbers, image.affine), new)
    state(root / "sub-demo", ScanningSequence="EP", MRAcquisitionType="2D")
    arguments = (root, tmp_path / "out", *OPTIONS, "--skip-bids-validation")
    code, _, said = qsmbids(*arguments)
    assert (code, "--include-epi" in said) == (3, True)
    code, _, said = qsmbids(*arguments, "--include-epi")
    assert code == 0, said
    assert "geometric distortion is left" in said
    assert "complex mean of 3 of 3 volumes" in said
    assert chi_of(tmp_path / "out")[0].any()


def test_dicom_of_single_coils_is_converted_and_combined(
    write_small_dataset, qsmbids, tmp_path, write_coils
):
    times = (0.009, 0.020)
    small = write_small_dataset(tmp_path / "head", echo_times=times) / "sub-demo/anat"
    magnitude, phase = (
        np.stack([nib.load(p).get_fdata() for p in sorted(small.glob(f"*part-{part}*.gz"))])
        for part in ("mag", "phase")
    )
    signal = magnitude * np.exp(1j * phase * 2 * np.pi / 4096)
    coils = [signal * np.exp(1j * offset) for offset in (1, 2.5)]
    root = tmp_path / "bids"
    write_coils(root / "sourcedata/sub-demo/dicom", coils, times, voxel=(2.5, 2.5, 2.5))
    code, _, said = qsmbids(root, tmp_path / "out", *OPTIONS)
    assert code == 0, said
    _, sidecar = chi_of(tmp_path / "out")
    assert sidecar["CoilCombination"] == {"Name": "MCPC-3D-S", "Coils": 2}
    assert "2 single channels were combined" in next((tmp_path / "out").glob("*.html")).read_text()
