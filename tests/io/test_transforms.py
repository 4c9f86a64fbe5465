import numpy as np
import pytest
from scipy.io import savemat

from qsmbids.errors import InputError
from qsmbids.io.runs import Run
from qsmbids.io.transforms import (
    IDENTITY,
    find_transform,
    read_affine,
    read_t1w_transform,
    write_affine,
)


def _text(path, kind, parameters, fixed="0 0 0", head="#Insight Transform File V1.0\n"):
    path.write_text(
        f"{head}#Transform 0\nTransform: {kind}\nParameters: {parameters}\n"
        f"FixedParameters: {fixed}\n"
    )
    return path


def test_a_point_goes_where_itk_sends_it(tmp_path):
    # LPS: x' = A (x - c) + t + c; a quarter turn about z through the centre (10, 0, 0)
    path = _text(
        tmp_path / "a.txt", "AffineTransform_double_3_3", "0 -1 0 1 0 0 0 0 1 1 2 3", "10 0 0"
    )
    lps = np.array([12.0, 5.0, 7.0])
    expected = np.array([-5 + 1 + 10, 2 + 2, 7 + 3])
    ras = read_affine(path) @ [-lps[0], -lps[1], lps[2], 1]
    np.testing.assert_allclose(ras[:3], expected * [-1, -1, 1])


@pytest.mark.parametrize(
    ("kind", "parameters", "fixed", "matrix", "shift"),
    [
        ("MatrixOffsetTransformBase_float_3_3", "1 0 0 0 1 0 0 0 1 1 2 3", "0 0 0", np.eye(3),
         [-1, -2, 3]),
        ("TranslationTransform_double_3_3", "1 2 3", "", np.eye(3), [-1, -2, 3]),
        ("IdentityTransform_double_3_3", "", "", np.eye(3), [0, 0, 0]),
        # a quarter turn about x: y to z; in RAS the other way round
        ("Euler3DTransform_double_3_3", f"{np.pi / 2} 0 0 0 0 0", "0 0 0 0",
         [[1, 0, 0], [0, 0, 1], [0, -1, 0]], [0, 0, 0]),
        # two angles do not commute: Rz Rx against Rz Ry Rx differ in nothing, Rx Ry do
        ("Euler3DTransform_double_3_3", f"{np.pi / 2} {np.pi / 2} 0 0 0 0", "0 0 0 0",
         None, [0, 0, 0]),
    ],
)  # fmt: skip
def test_every_kind(tmp_path, kind, parameters, fixed, matrix, shift):
    found = read_affine(_text(tmp_path / "a.tfm", kind, parameters, fixed))
    if matrix is None:  # Rx Ry, by hand: x to -z to y; then in RAS
        quarter_x = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
        quarter_y = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])
        sign = np.diag([-1, -1, 1])
        matrix = sign @ quarter_x @ quarter_y @ sign
    np.testing.assert_allclose(found[:3, :3], matrix, atol=1e-12)
    np.testing.assert_allclose(found[:3, 3], shift, atol=1e-12)


def test_the_mat_file_of_ants(tmp_path):
    numbers = np.array([0, -1, 0, 1, 0, 0, 0, 0, 1, 1, 2, 3], float).reshape(-1, 1)
    content = {"AffineTransform_double_3_3": numbers, "fixed": np.array([[10.0], [0], [0]])}
    savemat(tmp_path / "x0GenericAffine.mat", content, format="4")
    text = _text(
        tmp_path / "a.txt", "AffineTransform_double_3_3", "0 -1 0 1 0 0 0 0 1 1 2 3", "10 0 0"
    )
    np.testing.assert_allclose(
        read_affine(tmp_path / "x0GenericAffine.mat"), read_affine(text), atol=1e-6
    )


def test_what_is_written_is_read(tmp_path, rng):
    affine = np.eye(4)
    affine[:3] += 0.2 * rng.normal(size=(3, 4))
    np.testing.assert_allclose(read_affine(write_affine(tmp_path / "a.txt", affine)), affine)


def test_the_name_says_which_way(tmp_path):
    affine = np.eye(4)
    affine[0, 3] = 5
    to_gre = write_affine(tmp_path / "sub-1_from-T1w_to-MEGRE_mode-image_xfm.txt", affine)
    to_t1w = write_affine(tmp_path / "sub-1_from-MEGRE_to-T1w_mode-image_xfm.txt", affine)
    plain = write_affine(tmp_path / "rigid.txt", affine)
    assert read_t1w_transform(str(to_gre))[0, 3] == 5
    assert read_t1w_transform(str(to_t1w))[0, 3] == -5
    assert read_t1w_transform(str(plain))[0, 3] == 5
    np.testing.assert_array_equal(read_t1w_transform(IDENTITY), np.eye(4))


@pytest.mark.parametrize(
    ("kind", "parameters", "head", "says"),
    [
        ("AffineTransform_double_3_3", "1 0 0", "#Insight Transform File V1.0\n", "not read"),
        ("BSplineTransform", "1", "#Insight Transform File V1.0\n", "BSpline"),
        ("AffineTransform_double_3_3", "0 " * 12, "#Insight Transform File V1.0\n", "singular"),
        ("AffineTransform_double_3_3", "nan " * 12, "#Insight Transform File V1.0\n", "singular"),
        ("AffineTransform_double_3_3", "a " * 12, "#Insight Transform File V1.0\n", "words"),
        ("AffineTransform_double_3_3", "1 " * 12, "", "no ITK"),
        ("X\nTransform: Y", "1", "#Insight Transform File V1.0\n", "2 transforms"),
    ],
)
def test_other_files_are_refused_with_a_cure(tmp_path, kind, parameters, head, says):
    path = _text(tmp_path / "a.txt", kind, parameters, head=head)
    with pytest.raises(InputError, match=says) as error:
        read_affine(path)
    assert "antsApplyTransforms" in str(error.value)


def test_a_file_that_is_no_mat_file_or_absent(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"nothing of the kind" * 9)
    with pytest.raises(InputError, match="ANTs"):
        read_affine(tmp_path / "a.mat")
    with pytest.raises(InputError, match="cannot be read"):
        read_affine(tmp_path / "b.txt")


def test_the_transform_of_a_run(tmp_path):
    run = Run({"subject": "1", "session": "a", "run": "1"}, "MEGRE", (1,), (), (), ())
    assert find_transform("identity", run) == "identity"
    assert find_transform(str(tmp_path / "x.txt"), run) == str(tmp_path / "x.txt")
    with pytest.raises(InputError, match=r"0 transforms instead of one fit sub-1_ses-a_run-1"):
        find_transform(str(tmp_path), run)
    anat = tmp_path / "sub-1/ses-a/anat"
    for name in (
        "ses-a_run-1_from-T1w_to-MEGRE_mode-image",
        "ses-a_run-2_from-T1w_to-MEGRE_mode-image",
        "ses-a_run-1_from-T1w_to-MNI_mode-image",
        "ses-b_run-1_from-T1w_to-MEGRE_mode-image",
    ):
        write_affine(anat / f"sub-1_{name}_xfm.txt", np.eye(4))
    wanted = anat / "sub-1_ses-a_run-1_from-T1w_to-MEGRE_mode-image_xfm.txt"
    assert find_transform(str(tmp_path), run) == str(wanted)
    write_affine(anat / "sub-1_ses-a_from-MEGRE_to-T1w_mode-image_xfm.mat", np.eye(4))
    with pytest.raises(InputError, match="2 transforms"):
        find_transform(str(tmp_path), run)
