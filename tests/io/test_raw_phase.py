"""The phase as it lies in the dataset is judged as the run judges it, and read once."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from qsmbids.core.phase.missing_phase import read_phase_numbers
from qsmbids.errors import InputError
from qsmbids.io import nifti
from qsmbids.io.nifti import read_echoes
from qsmbids.io.phase_filter import TOO_EARLY
from qsmbids.io.raw_phase import measure_filter_of, read_raw_phase

SHAPE = (70, 80, 90)  # more voxels than are sampled


def _write(path, numbers, slope=1.0, inter=0.0):
    image = nib.Nifti1Image(numbers, np.eye(4), dtype=numbers.dtype)
    nib.save(image, path)
    # nibabel stores scaled numbers; here the stored ones are given
    with path.open("r+b") as file:
        file.seek(112)
        file.write(np.array([slope, inter], "<f4").tobytes())
        file.seek(352)
        file.write(numbers.tobytes(order="F"))
    return path


def _run(paths):
    return SimpleNamespace(phase=tuple(paths), magnitude=(), real=())


def _acquisition(units=None, echo_times=(0.004, 0.028)):
    return SimpleNamespace(phase_units=units, extra={}, echo_times=echo_times, b0_tesla=3.0)


def _siemens(rng):
    return [rng.integers(0, 4096, SHAPE, dtype=np.int16) for _ in range(3)]


def _signed(rng):
    return [rng.integers(-2048, 2048, SHAPE).astype(np.int16) for _ in range(2)]


def _with_holes(rng):
    phase = rng.uniform(-np.pi, np.pi, SHAPE).astype(np.float32)
    phase[:20] = np.nan
    return [phase, np.full(SHAPE, np.nan, np.float32)]


def _filled(rng):
    numbers = _siemens(rng)
    for volume in numbers:
        volume[:, :, :9] = -32768
    return numbers


def _one_voxel_far_out(rng):
    # between the samples: only who reads all sees it
    numbers = [rng.integers(0, 360, SHAPE).astype(np.float64) for _ in range(2)]
    numbers[1][1, 2, 3] = 4095
    return numbers


@pytest.mark.parametrize(
    ("make", "slope", "inter"),
    [
        (_siemens, 1.0, 0.0),
        (_siemens, 2.0, -4096.0),
        (_siemens, -0.25, 3.0),
        (_signed, np.pi / 2048, 0.0),
        (_with_holes, 1.0, 0.0),
        (_filled, 1.0, 0.0),
        (_one_voxel_far_out, 1.0, 0.0),
    ],
)
def test_as_the_run(tmp_path, make, slope, inter):
    files = [
        _write(tmp_path / f"echo-{n}.nii", volume, slope, inter)
        for n, volume in enumerate(make(np.random.default_rng(1)), 1)
    ]
    volumes = list(read_echoes(files).array)

    def outcome(find):
        try:
            return find()
        except ValueError as error:
            return str(error)

    expected = outcome(lambda: read_phase_numbers(volumes).scale)
    assert outcome(lambda: read_raw_phase(_run(files), _acquisition(), n_threads=2).scale) == (
        expected
    )


def test_every_file_once(tmp_path, monkeypatch):
    files = [
        _write(tmp_path / f"echo-{n}.nii", volume)
        for n, volume in enumerate(_siemens(np.random.default_rng(2)), 1)
    ]
    read = []
    voxels = nifti._voxels
    monkeypatch.setattr(
        nifti, "_voxels", lambda path, *rest: read.append(path) or voxels(path, *rest)
    )
    raw = read_raw_phase(_run(files), _acquisition())
    assert sorted(read) == files
    np.testing.assert_array_equal(raw.last, read_echoes(files[-1:]).array[0])


def test_shapes_that_differ(tmp_path):
    first, second = _siemens(np.random.default_rng(3))[:2]
    files = [_write(tmp_path / "a.nii", first), _write(tmp_path / "b.nii", second[:-1])]
    with pytest.raises(InputError, match=r"but a\.nii has"):
        read_raw_phase(_run(files), _acquisition())


def test_early_echoes_tell_nothing(tmp_path):
    files = [_write(tmp_path / "a.nii", _siemens(np.random.default_rng(4))[0])]
    raw = read_raw_phase(_run(files), _acquisition())
    # no magnitude is read for it
    assert measure_filter_of(raw, _run(files), _acquisition(echo_times=(0.002,))) is TOO_EARLY
