"""Write the simulated head as a raw BIDS dataset, with its truth in ``derivatives/truth``."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.b0_direction import b0_direction_from_affine
from qsmbids.core.phantom.head import (
    make_phantom,
    multi_echo_signal,
    simulate_field,
)
from qsmbids.io.phantom_files import (
    MAGNITUDE_SCALE,
    dataset_description,
    modality_folder,
    run_stem,
    save_image,
)
from qsmbids.io.phantom_truth import write_truth
from qsmbids.io.write import write_json, write_text
from qsmbids.units import larmor_frequency

__all__ = [
    "DEFAULT_ECHO_TIMES",
    "ENCODINGS",
    "write_phantom_dataset",
]

DEFAULT_ECHO_TIMES = (0.004, 0.010, 0.016, 0.022, 0.028)
README = """\
# Simulated multi-echo gradient echo scan of a head

No person was scanned. Ellipsoids of known magnetic susceptibility stand for brain tissue, skull,
air cavities, veins and a calcification; their field, signal, noise and phase offset were
computed by qsmbids (`qsmbids-demo`). Sidecars name a manufacturer only because the encoding of the
phase follows that manufacturer. The truth is in `derivatives/truth`.
"""

Complex = npt.NDArray[np.complex64]


@dataclass(frozen=True)
class _Part:
    """One stored image of an echo: the ``part`` entity, numbers, header scaling, units."""

    part: str
    numbers: npt.NDArray
    slope: float | None = None
    intercept: float = 0.0
    units: str | None = None


def _magnitude(signal: Complex) -> _Part:
    scaled = np.rint(np.abs(signal) * MAGNITUDE_SCALE).clip(0, 32767)
    return _Part("mag", scaled.astype(np.int16))


def _levels(signal: Complex) -> npt.NDArray[np.int16]:
    """Phase in 4096 levels; level 2048 is zero and the circle closes after 4095."""
    levels = np.rint(np.angle(signal) * (2048.0 / math.pi)).astype(np.int16) + np.int16(2048)
    return levels & np.int16(4095)


def _siemens(signal: Complex) -> list[_Part]:
    numbers = _levels(signal).astype(np.uint16)
    return [_magnitude(signal), _Part("phase", numbers, units="arbitrary")]


def _siemens_signed(signal: Complex) -> list[_Part]:
    phase = _Part("phase", _levels(signal), slope=2.0, intercept=-4096.0, units="arbitrary")
    return [_magnitude(signal), phase]


def _milliradians(signal: Complex) -> list[_Part]:
    numbers = np.rint(np.angle(signal) * 1000.0).astype(np.int16)
    return [_magnitude(signal), _Part("phase", numbers, units="arbitrary")]


def _float(signal: Complex) -> list[_Part]:
    return [_magnitude(signal), _Part("phase", np.angle(signal), units="rad")]


def _ge(signal: Complex) -> list[_Part]:
    """Opposite phase, and every second slice negated, as real and imaginary images."""
    alternating = (-1.0) ** np.arange(signal.shape[2])
    stored = np.conj(signal) * alternating * MAGNITUDE_SCALE
    return [
        _Part("real", np.rint(stored.real).astype(np.int16)),
        _Part("imag", np.rint(stored.imag).astype(np.int16)),
    ]


#: How an echo is stored, and the manufacturer that stores it so.
ENCODINGS: dict[str, tuple[str, Callable[[Complex], list[_Part]]]] = {
    "siemens": ("Siemens", _siemens),
    "siemens-signed": ("Siemens", _siemens_signed),
    "milliradians": ("Philips", _milliradians),
    "float": ("Philips", _float),
    "ge": ("GE", _ge),
}


def write_phantom_dataset(
    folder: str | Path,
    *,
    subject: str = "demo",
    session: str | None = None,
    run: int | None = None,
    encoding: str = "siemens",
    shape: tuple[int, int, int] = (96, 112, 80),
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0),
    tilt_degrees: float | tuple[float, float] = 0.0,
    echo_times: Sequence[float] = DEFAULT_ECHO_TIMES,
    b0_tesla: float = 3.0,
    readout: str = "monopolar",
    noise_std: float = 0.02,
    seed: int = 1,
    truth: bool = True,
    n_threads: int = 1,
) -> Path:
    """Write one scan of the simulated head; call again to add sessions, runs or subjects.

    Parameters
    ----------
    folder : path
        Root of the dataset; made if it does not exist.
    subject, session : str
        Labels without ``sub-`` and ``ses-``.
    run : int, optional
        Index of the run; leaves ``run-`` out if not given.
    encoding : {"siemens", "siemens-signed", "milliradians", "float", "ge"}
        Numbers of the phase images; ``"ge"`` writes real and imaginary images of
        opposite sign with alternating slices.
    shape, voxel_size : (3,) tuple
        Voxels and their size [mm]; the head fills the field of view.
    tilt_degrees : float or (2,) tuple of float
        Rotation of the slab about the left-right axis, then, if a second is given, about its own
        anterior axis; B0 stays along scanner z.
    echo_times : sequence of float
        [s].
    b0_tesla : float
        [T].
    readout : {"monopolar", "bipolar"}
        Bipolar adds a phase ramp of alternating sign along the first axis.
    noise_std : float
        Relative to the signal of grey matter at TE = 0.
    seed : int
        Of the cortex folding and the noise.
    truth : bool
        Write ``derivatives/truth`` as well: susceptibility [ppm], R2* [1/s], brain mask, tissue
        labels, total and local field [Hz].
    n_threads : int
        Threads of the transforms.

    Returns
    -------
    Path
        The root of the dataset.

    Raises
    ------
    ValueError
        Unknown encoding or readout, a label that BIDS does not allow, or no echo.
    """
    _check_words(encoding, readout, subject, session)
    root = Path(folder)
    affine = _tilted_affine(shape, voxel_size, tilt_degrees)
    b0 = b0_direction_from_affine(affine)
    phantom = make_phantom(shape, voxel_size, b0_direction=b0, seed=seed)
    total, local = simulate_field(phantom, b0_tesla=b0_tesla, n_threads=n_threads)
    signal = multi_echo_signal(
        phantom,
        total,
        echo_times,
        b0_tesla=b0_tesla,
        noise_std=noise_std,
        bipolar_rad=1.5 if readout == "bipolar" else 0.0,
        seed=seed,
    )
    manufacturer, encode = ENCODINGS[encoding]
    scan = {
        "Manufacturer": manufacturer,
        "ManufacturersModelName": "simulated",
        "PulseSequenceType": "Multi-echo gradient echo",
        "PulseSequenceDetails": f"simulated, {readout} readout",
        "MRAcquisitionType": "3D",
        "MagneticFieldStrength": b0_tesla,
        "ImagingFrequency": larmor_frequency(b0_tesla) * 1e-6,
        "FlipAngle": 15,
        "RepetitionTimeExcitation": math.ceil(1000.0 * max(echo_times) + 5.0) / 1000.0,
    }
    stem = modality_folder(root, subject, session, "anat") / run_stem(subject, session, run)
    for index, (te, echo) in enumerate(zip(echo_times, signal, strict=True), start=1):
        timed = {**scan, "EchoTime": float(te), "EchoNumber": index}
        _save_echo(Path(f"{stem}_echo-{index}"), encode(echo), affine, timed)
    write_json(root / "dataset_description.json", dataset_description("qsmbids demo head", "raw"))
    write_text(root / "README.md", README)
    _add_participant(root / "participants.tsv", subject)
    if truth:
        fields = {"total": total, "local": local}
        names = (subject, session, run)
        write_truth(root / "derivatives" / "truth", names, phantom, fields, affine, b0_tesla)
    return root


def _check_words(encoding: str, readout: str, subject: str, session: str | None) -> None:
    if encoding not in ENCODINGS:
        raise ValueError(f"unknown encoding '{encoding}'; known are {', '.join(ENCODINGS)}")
    if readout not in ("monopolar", "bipolar"):
        raise ValueError(f"the readout is monopolar or bipolar, not '{readout}'")
    for label in (subject, session):
        if label is not None and not label.isalnum():
            raise ValueError(f"'{label}' is no BIDS label: letters and digits only")


def _save_echo(
    stem: Path, parts: Sequence[_Part], affine: npt.NDArray[np.float64], scan: dict[str, Any]
) -> None:
    """Write the images of one echo, each with its sidecar."""
    for part in parts:
        sidecar = {**scan, "Units": part.units} if part.units else scan
        path = Path(f"{stem}_part-{part.part}_MEGRE")
        save_image(path, part.numbers, affine, sidecar, slope=part.slope, intercept=part.intercept)


def _tilted_affine(
    shape: tuple[int, int, int],
    voxel_size: tuple[float, float, float],
    tilt_degrees: float | tuple[float, float],
) -> npt.NDArray[np.float64]:
    """Voxel to scanner, RAS, with the middle of the slab at the isocentre."""
    about_x, about_y = np.radians(np.append(tilt_degrees, 0.0)[:2])
    sine, cosine = math.sin(about_x), math.cos(about_x)
    rotation = np.array([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])
    sine, cosine = math.sin(about_y), math.cos(about_y)
    rotation = rotation @ [[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]]
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.asarray(voxel_size, dtype=float)
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2.0)
    return affine


def _add_participant(path: Path, subject: str) -> None:
    """Keep the participants that are there and add one."""
    known = set(path.read_text(encoding="utf-8").split()[1:]) if path.exists() else set()
    rows = sorted(known | {f"sub-{subject}"})
    write_text(path, "\n".join(["participant_id", *rows, ""]))
