"""Storage that is unusual but sound, and data that only look like it, through the command line."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

ANAT = Path("sub-demo/anat")
OPTIONS = ("--output-level", "minimal", "--inversion", "tkd")
CHI = ANAT / "sub-demo_desc-wholebrain_Chimap.nii.gz"


def images(bids, part):
    return sorted((bids / ANAT).glob(f"*_echo-*_part-{part}_MEGRE.nii.gz"))


def stack(bids, *, listed=True):
    """Replace the files of each part by one 4-D file; return the volumes that were in them."""
    kept = {}
    for part in ("mag", "phase"):
        paths = images(bids, part)
        volumes = [nib.load(path) for path in paths]
        kept[part] = np.stack([np.asarray(v.dataobj) for v in volumes], axis=-1)
        affine = volumes[0].affine
        whole = bids / ANAT / f"sub-demo_part-{part}_MEGRE.nii.gz"
        nib.Nifti1Image(kept[part], affine).to_filename(whole)
        sidecars = [Path(str(path).replace(".nii.gz", ".json")) for path in paths]
        content = [json.loads(path.read_text()) for path in sidecars]
        times = {"EchoTime": [c["EchoTime"] for c in content]} if listed else {}
        merged = {k: v for k, v in content[0].items() if not k.startswith("Echo")} | times
        Path(str(whole).replace(".nii.gz", ".json")).write_text(json.dumps(merged))
        for path in (*paths, *sidecars):
            path.unlink()
    return kept


@pytest.mark.slow
def test_4d_files_are_split_and_processed(attempt):
    volumes = stack(attempt.bids)
    before = sorted(attempt.bids.rglob("*"))
    code, last, said = attempt("--dry-run")
    assert code == 0, said
    assert "0 to process, 1 to convert first, 0 cannot be" in last
    assert "sub-demo would be split from 4-D files" in said
    code, last, said = attempt()
    assert code == 0, said
    assert "1 ok, 0 failed" in last
    assert "4-D files of 5 echoes were split" in said
    raw = attempt.out / "sourcedata" / "raw"
    for part, expected in volumes.items():
        for echo, path in enumerate(images(raw, part)):
            np.testing.assert_array_equal(nib.load(path).dataobj, expected[..., echo])
    chi = json.loads((attempt.out / str(CHI).replace(".nii.gz", ".json")).read_text())
    assert chi["EchoTime"] == pytest.approx([0.004, 0.01, 0.016, 0.022, 0.028])
    assert sorted(attempt.bids.rglob("*")) == before
    code, last, said = attempt()
    assert code == 0, said
    assert "were split" not in said
    # a 4-D file that changed afterwards is not passed over in silence
    whole = attempt.bids / ANAT / "sub-demo_part-mag_MEGRE.nii.gz"
    nib.Nifti1Image(volumes["mag"] + 1, nib.load(whole).affine).to_filename(whole)
    code, last, said = attempt()
    assert code == 1, said
    assert "is another image" in said
    assert "Remove it" in said


def test_4d_files_without_echo_times_name_the_cure(attempt):
    stack(attempt.bids, listed=False)
    code, last, said = attempt()
    assert code == 3, said
    assert "0 ok, 1 failed" in last
    assert "--echo-times" in said
    times = ("--echo-times", "0.004", "0.010", "0.016", "0.022", "0.028")
    code, last, said = attempt("--dry-run", *times)
    assert code == 0, said
    code, last, said = attempt("--no-convert", *times)
    assert code == 3
    assert "split a 4-D file" in said


def test_4d_files_are_refused_by_the_validator(attempt, qsmbids, tmp_path):
    stack(attempt.bids)
    code, last, said = qsmbids(attempt.bids, tmp_path / "other", "participant", "--dry-run")
    assert code == 3
    assert "0 to process, 1 cannot be" in last
    assert "--skip-bids-validation" in said
    assert "part-phase_MEGRE" in said


def test_coils_are_refused_with_the_cure(attempt):
    for part in ("mag", "phase"):
        for path in images(attempt.bids, part):
            image = nib.load(path)
            coils = np.repeat(np.asarray(image.dataobj)[:8, :8, :8, None], 4, axis=-1)
            nib.Nifti1Image(coils, image.affine).to_filename(path)
    code, last, said = attempt()
    assert code == 3, said
    assert "0 ok, 1 failed" in last
    assert "combine them first" in said
    assert "MCPC-3D-S or ASPIRE" in said
    assert "Traceback" not in said


def test_magnitude_in_another_matrix_is_refused_with_both_names(attempt):
    for path in images(attempt.bids, "mag"):
        image = nib.load(path)
        affine = image.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
        nib.Nifti1Image(np.asarray(image.dataobj)[::2, ::2, ::2], affine).to_filename(path)
    code, _, said = attempt()
    assert code == 3, said
    assert "sub-demo_echo-1_part-mag_MEGRE.nii.gz" in said
    assert "sub-demo_echo-1_part-phase_MEGRE.nii.gz" in said
    assert "(19, 22, 16)" in said


def _as_mirrored(path, dtype, slope, inter):
    """Store the same numbers in another type, order and handedness."""
    plain = nib.load(path)
    codes = ("S", "L", "A") if np.linalg.det(plain.affine) > 0 else ("S", "R", "A")
    turned = nib.orientations.axcodes2ornt(codes)
    image = plain.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(plain.affine), turned)
    )
    assert np.linalg.det(plain.affine) * np.linalg.det(image.affine) < 0
    stored = ((np.asarray(image.dataobj, dtype=np.float64) - inter) / slope).astype(dtype)
    new = nib.Nifti1Image(stored, image.affine)
    new.header.set_slope_inter(slope, inter)
    new.to_filename(path)


@pytest.mark.slow
def test_type_scaling_handedness_and_unequal_spacing_change_nothing(attempt):
    for part in ("mag", "phase"):
        images(attempt.bids, part)[2].unlink()  # 4, 10, 22 and 28 ms
    code, _, said = attempt(out="out")
    assert code == 0, said
    for path in images(attempt.bids, "mag"):
        _as_mirrored(path, np.float64, 0.5, 3.0)
    for path in images(attempt.bids, "phase"):
        _as_mirrored(path, np.uint16, 0.5, -7.0)
    code, _, said = attempt(out="odd")
    assert code == 0, said
    plain, odd = (
        np.asarray(nib.as_closest_canonical(nib.load(attempt.out.with_name(o) / CHI)).dataobj)
        for o in ("out", "odd")
    )
    inside = (plain != 0) & (odd != 0)
    assert inside.sum() > 0.98 * (plain != 0).sum()
    assert np.corrcoef(plain[inside], odd[inside])[0, 1] > 0.99
