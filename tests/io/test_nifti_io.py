import errno
import gc
import gzip
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from qsmbids.errors import InputError, OutputError
from qsmbids.io import nifti_header
from qsmbids.io.nifti import read_echoes, read_volume, write_json, write_text, write_volume
from qsmbids.io.nifti_header import read_header

AFFINE = np.array([[-0.7, 0, 0.1, 5], [0, 0.7, 0.2, -3], [0.05, -0.1, 2.0, 9], [0, 0, 0, 1.0]])


def _save(path: Path, array: np.ndarray, affine=AFFINE, slope=None, inter=None, **fields) -> Path:
    image = nib.Nifti1Image(array, affine)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
        image.header.set_data_dtype(array.dtype)
    image.to_filename(path)
    if fields:
        _patch(path, **fields)
    return path


def _patch(path: Path, **fields) -> None:
    """Overwrite header fields on disk, whatever nibabel thinks of them."""
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rb") as file:
        content = bytearray(file.read())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    with opener(path, "wb") as file:
        file.write(bytes(content))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(
    "dtype", [np.int16, np.uint16, np.uint8, np.float32, np.float64, np.int32]
)
def test_reads_what_nibabel_reads(tmp_path, rng, name, dtype):
    array = rng.integers(0, 200, (5, 6, 7)).astype(dtype)
    path = _save(tmp_path / name, array)
    volume = read_volume(path)
    assert volume.array.dtype == np.float32
    assert volume.array.flags.c_contiguous
    assert_array_equal(volume.array, nib.load(path).get_fdata(dtype=np.float32))
    assert_allclose(volume.affine, AFFINE, atol=1e-6)
    assert_allclose(volume.voxel_size, np.linalg.norm(AFFINE[:3, :3], axis=0), rtol=1e-5)


def test_reads_big_endian_and_nifti2(tmp_path, rng):
    array = rng.integers(-4096, 4094, (4, 5, 6)).astype(np.int16)
    nib.Nifti2Image(array, AFFINE).to_filename(tmp_path / "two.nii.gz")
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.Nifti1Image(array, AFFINE, header).to_filename(tmp_path / "big.nii")
    for name in ("two.nii.gz", "big.nii"):
        assert_array_equal(read_volume(tmp_path / name).array, array)


def test_slope_and_intercept_are_applied(tmp_path):
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = _save(tmp_path / "a.nii.gz", stored, scl_slope=2, scl_inter=-4096)
    assert_array_equal(read_volume(path).array, 2 * stored - 4096.0)
    assert_array_equal(read_volume(path, np.int16).array, 2 * stored - 4096)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_no_slope_means_as_stored(tmp_path, slope):
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = _save(tmp_path / "a.nii", stored, scl_slope=slope, scl_inter=7)
    assert_array_equal(read_volume(path).array, stored)


def test_masks_and_labels(tmp_path):
    stored = np.array([0, 1, 2.6, np.nan, 0.4, -1], np.float32).reshape(1, 2, 3)
    path = _save(tmp_path / "a.nii", stored)
    mask = read_volume(path, bool).array.ravel()
    assert_array_equal(mask, [False, True, True, False, True, True])
    assert_array_equal(read_volume(path, np.int32).array.ravel(), [0, 1, 3, 0, 0, -1])


def test_trailing_axis_of_one_is_dropped_and_more_is_refused(tmp_path):
    path = _save(tmp_path / "one.nii", np.ones((3, 4, 5, 1), np.int16))
    assert read_volume(path).array.shape == (3, 4, 5)
    path = _save(tmp_path / "many.nii", np.ones((3, 4, 5, 2), np.int16))
    with pytest.raises(InputError, match=r"many.nii: holds several volumes.*echo-1"):
        read_header(path)


def test_the_transform_whose_code_says_scanner_is_used(tmp_path):
    image = nib.Nifti1Image(np.ones((3, 4, 5), np.int16), AFFINE)
    scanner = np.diag([1.0, 2.0, 3.0, 1.0])
    for s_code, q_code, wanted in [
        (1, 1, AFFINE),
        (4, 1, scanner),
        (3, 2, scanner),
        (2, 1, scanner),
        (1, 2, AFFINE),
        (2, 2, AFFINE),
        (4, 4, AFFINE),
        (2, 0, AFFINE),
        (4, 0, AFFINE),
        (0, 1, scanner),
    ]:
        image.set_sform(AFFINE, s_code)
        image.set_qform(scanner, q_code)
        image.to_filename(tmp_path / "a.nii")
        assert_allclose(read_header(tmp_path / "a.nii").affine, wanted, atol=1e-6)


def test_unknown_orientation_is_told(tmp_path):
    path = _save(tmp_path / "a.nii", np.ones((3, 4, 5), np.int16), sform_code=0, qform_code=0)
    assert read_header(path).affine_source == "none"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "corrupt header"),
        ({"dim": [3, 300, 300, 300, 1, 1, 1, 1]}, "truncated"),
        ({"dim": [3, 0, 4, 5, 1, 1, 1, 1]}, "not a volume"),
        ({"dim": [3, -3, 4, 5, 1, 1, 1, 1]}, "corrupt header"),
        ({"dim": [2, 3, 4, 1, 1, 1, 1, 1]}, "not a volume"),
        ({"dim": [99, 3, 4, 5, 1, 1, 1, 1]}, "corrupt header"),
        ({"vox_offset": 1e12}, "corrupt header"),
        ({"vox_offset": np.nan}, "corrupt header"),
        ({"datatype": 128}, "colour"),
        ({"datatype": 32}, "complex"),
        ({"datatype": 77}, "unknown data type"),
        ({"srow_x": [0, 0, 0, 0], "qform_code": 0}, "singular"),
        ({"srow_x": [np.nan, 0, 0, 0], "qform_code": 0}, "singular"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 2.0}, "singular"),
        ({"magic": b"ni1"}, "single-file"),
        ({"magic": b""}, "single-file"),
    ],
)
def test_corrupt_headers_are_refused(tmp_path, fields, message):
    path = _save(tmp_path / "broken.nii", np.ones((3, 4, 5), np.int16), **fields)
    with pytest.raises(InputError, match=f"broken.nii: .*{message}") as caught:
        read_volume(path)
    assert caught.value.fix


def test_absurd_size_in_a_small_gzip_is_refused_before_reading(tmp_path):
    path = _save(tmp_path / "a.nii.gz", np.ones((3, 4, 5), np.int16))
    _patch(path, dim=[3, 1000, 1000, 900, 1, 1, 1, 1])
    with pytest.raises(InputError, match="truncated"):
        read_header(path)


def test_truncated_and_damaged_gzip(tmp_path, rng):
    whole = _save(tmp_path / "a.nii.gz", rng.integers(0, 4096, (30, 30, 30)).astype(np.int16))
    content = whole.read_bytes()
    for size in (len(content) - 4, len(content) // 2, 600, 15, 5, 0):
        part = tmp_path / f"part{size}.nii.gz"
        part.write_bytes(content[:size])
        with pytest.raises(InputError, match=part.name):
            read_volume(part)
    for at in (len(content) - 6, len(content) // 2):  # the checksum, and the data under it
        flipped = bytearray(content)
        flipped[at] ^= 0xFF
        (tmp_path / "flipped.nii.gz").write_bytes(flipped)
        with pytest.raises(InputError, match=r"flipped.nii.gz: is (damaged|truncated)"):
            read_volume(tmp_path / "flipped.nii.gz")


def test_truncated_nii(tmp_path):
    path = _save(tmp_path / "a.nii", np.ones((3, 4, 5), np.int16))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="truncated"):
        read_volume(path)


def test_gzip_of_several_members_is_read(tmp_path, rng):
    array = rng.integers(0, 4096, (9, 8, 7)).astype(np.int16)
    plain = _save(tmp_path / "a.nii", array).read_bytes()
    members = [gzip.compress(plain[i : i + 300]) for i in range(0, len(plain), 300)]
    (tmp_path / "a.nii.gz").write_bytes(b"".join(members))
    with pytest.raises(InputError, match="truncated"):  # the header itself is split
        read_volume(tmp_path / "a.nii.gz")
    members = [gzip.compress(plain[:400]), gzip.compress(plain[400:])]
    (tmp_path / "b.nii.gz").write_bytes(b"".join(members) + bytes(512))
    assert_array_equal(read_volume(tmp_path / "b.nii.gz").array, array)


def test_missing_folder_link_and_text(tmp_path):
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "annex")
    (tmp_path / "text.nii").write_text("not an image " * 100)
    (tmp_path / "folder.nii").mkdir()
    for name, message in [
        ("none.nii", "does not exist"),
        ("link.nii.gz", "datalad get"),
        ("text.nii", "not a NIfTI"),
        ("folder.nii", "folder"),
    ]:
        with pytest.raises(InputError, match=f"{name}: .*{message}"):
            read_volume(tmp_path / name)


def test_echoes_come_first_and_must_agree(tmp_path, rng):
    arrays = rng.integers(0, 99, (3, 4, 5, 6)).astype(np.int16)
    paths = [_save(tmp_path / f"{i}.nii.gz", a) for i, a in enumerate(arrays)]
    echoes, affine = read_echoes(paths, n_threads=2)
    assert_array_equal(echoes, arrays)
    assert echoes.dtype == np.float32
    assert_allclose(affine, AFFINE, atol=1e-6)
    odd = _save(tmp_path / "odd.nii.gz", np.ones((4, 5, 7), np.int16))
    with pytest.raises(InputError, match=r"odd.nii.gz: has the shape"):
        read_echoes([*paths, odd])
    with pytest.raises(InputError):
        read_echoes([])


@pytest.mark.parametrize("name", ["new/folder/map.nii.gz", "map.nii"])
def test_round_trip(tmp_path, rng, name):
    array = rng.normal(size=(5, 6, 7)).astype(np.float32)
    path = write_volume(tmp_path / name, array, AFFINE)
    volume = read_volume(path)
    assert_array_equal(volume.array, array)
    assert_allclose(volume.affine, AFFINE, atol=1e-6)
    image = nib.load(path)
    assert_array_equal(image.get_fdata(dtype=np.float32), array)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    assert os.listdir(path.parent) == [path.name]


def test_types_on_disk(tmp_path):
    for given, stored in [(bool, "u1"), (np.float64, "f4"), (np.int64, "i4"), (np.int16, "i2")]:
        path = write_volume(tmp_path / "a.nii.gz", np.ones((2, 3, 4), given), np.eye(4))
        assert read_header(path).dtype == np.dtype(stored)
    path = write_volume(tmp_path / "a.nii.gz", np.ones((2, 3, 4)), np.eye(4), dtype=np.float64)
    assert read_header(path).dtype == np.float64


def test_same_content_gives_same_bytes_and_keeps_the_time_stamp(tmp_path, rng):
    array = rng.normal(size=(5, 6, 7)).astype(np.float32)
    a = write_volume(tmp_path / "a.nii.gz", array, AFFINE)
    b = write_volume(tmp_path / "b.nii.gz", array, AFFINE)
    assert a.read_bytes() == b.read_bytes()
    assert a.read_bytes()[3:8] == bytes(5)  # neither a file name nor a time
    for path, write in [
        (a, lambda: write_volume(a, array, AFFINE)),
        (tmp_path / "a.json", lambda: write_json(tmp_path / "a.json", {"x": np.float32(1)})),
        (tmp_path / "a.txt", lambda: write_text(tmp_path / "a.txt", "text µ\n")),
    ]:
        write()
        os.utime(path, (1, 1))
        write()
        assert path.stat().st_mtime == 1
    write_volume(a, array + 1, AFFINE)
    assert a.stat().st_mtime > 1


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "may not be written"),
        (errno.EIO, "cannot be written"),
    ],
)
def test_failed_write_leaves_nothing_behind(tmp_path, monkeypatch, number, message):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    write_text(tmp_path / "a.txt", "before")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError, match=rf"a\.txt: .*{message}") as caught:
        write_text(tmp_path / "a.txt", "after")
    assert caught.value.fix
    assert os.listdir(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_write_into_a_file_as_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_json_is_strict_and_in_order(tmp_path):
    path = write_json(tmp_path / "a.json", {"b": np.arange(2), "a": Path("x"), "µ": np.bool_(1)})
    assert path.read_text() == '{\n  "b": [\n    0,\n    1\n  ],\n  "a": "x",\n  "µ": true\n}\n'
    path = write_json(path, {"a": float("nan"), "b": [np.inf, (np.float64(2),)], "c": {1: None}})
    assert json.loads(path.read_text()) == {"a": None, "b": [None, [2.0]], "c": {"1": None}}


def test_only_volumes_are_written(tmp_path):
    with pytest.raises(ValueError, match="3-D"):
        write_volume(tmp_path / "a.nii", np.ones((2, 2, 2, 2)), np.eye(4))
    with pytest.raises(ValueError, match="nii"):
        write_volume(tmp_path / "a.img", np.ones((2, 2, 2)), np.eye(4))


def test_the_size_limit_is_checked_first(tmp_path, monkeypatch):
    path = _save(tmp_path / "a.nii", np.ones((3, 4, 5), np.int16))
    monkeypatch.setattr(nifti_header, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="corrupt header"):
        read_header(path)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.int32])
def test_numbers_that_no_type_holds_make_no_noise(tmp_path, recwarn, dtype):
    array = np.full((2, 3, 4), 7.0)
    array[0] = 1e300
    path = _save(tmp_path / "a.nii", array)
    gc.collect()  # what other tests left open is told when it is collected
    recwarn.clear()
    assert_array_equal(read_volume(path, dtype).array[1], 7)
    assert not [str(w.message) for w in recwarn if w.category is not ResourceWarning]
