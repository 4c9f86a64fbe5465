"""Find the unwrapped phase or field that a user supplies for a run, and what its numbers mean."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.errors import InputError, MetadataError
from qsmbids.io.derivatives import derivative_path
from qsmbids.io.masks import conform
from qsmbids.io.matching import best_matches
from qsmbids.io.metadata import Acquisition
from qsmbids.io.nifti import Volume, read_volume
from qsmbids.io.nifti_header import read_header
from qsmbids.io.runs import Run
from qsmbids.units import GAMMA_BAR_HZ_PER_T, TWO_PI

__all__ = ["OPTIONS", "StartImage", "find_start", "read_start"]

#: What can be given, and the option that takes it.
OPTIONS = {
    "unwrapped": "--unwrapped",
    "total": "--total-field",
    "local": "--local-field",
}
_TITLES = {"unwrapped": "unwrapped phase", "total": "total field", "local": "local field"}
_DESC = re.compile(r"_desc-([a-zA-Z0-9+]+)_")
_UNITS_HELP = (
    "The Units of the sidecar beside the image must be Hz, rad/s, ppm or T for a field, and rad"
    " for a phase."
)


@dataclass(frozen=True)
class StartImage:
    """Images that take the place of the steps before them.

    Attributes
    ----------
    kind : str
        "unwrapped", "total" or "local".
    paths : tuple of Path
        One image, or one per echo of unwrapped phase.
    scale : float
        By which the numbers become rad or Hz that grow with the field.
    units : str
        Of the numbers in the files.
    notes : tuple of str
        What was found out and what was assumed.
    mask : Path, optional
        Where a local field is known; where it is not zero, if there is none.
    total : StartImage, optional
        Total field beside a local field, for the weights.
    """

    kind: str
    paths: tuple[Path, ...]
    scale: float
    units: str
    notes: tuple[str, ...] = ()
    mask: Path | None = None
    total: "StartImage | None" = None

    @property
    def title(self) -> str:
        """What it is, in words."""
        return _TITLES[self.kind]


def find_start(kind: str, source: Path, run: Run, acquisition: Acquisition) -> StartImage:
    """Return what is given for a run, after a look at its sidecars and grids.

    Parameters
    ----------
    kind : str
        "unwrapped", "total" or "local".
    source : Path
        An image, or a BIDS derivative with one per run (and echo, for unwrapped phase).
    run : Run
    acquisition : Acquisition
        For units of ppm.

    Raises
    ------
    InputError
        Nothing fits, more than one does, or the grid is not that of the run.
    MetadataError
        The units are missing or unknown.
    """
    option = OPTIONS[kind]
    if source.is_file():
        if not source.name.endswith((".nii", ".nii.gz")):
            raise InputError("is not a NIfTI image", str(source), "Give a .nii or .nii.gz file.")
        if kind == "unwrapped" and len(run.echoes) > 1:
            raise InputError(
                f"one image cannot be the unwrapped phase of {len(run.echoes)} echoes",
                str(source),
                "Give a BIDS derivative with one image per echo.",
            )
        paths: tuple[Path, ...] = (source,)
    elif source.is_dir():
        echoes = run.echoes if kind == "unwrapped" else (None,)
        paths = tuple(_find(kind, source, run, echo) for echo in echoes)
    else:
        raise InputError("does not exist", str(source), f"Check {option}.")
    for path in paths:
        _check_grid(path, run, _TITLES[kind])
    read = [_meaning(kind, path, acquisition) for path in paths]
    if len({(scale, units) for scale, units, _ in read}) > 1:
        raise MetadataError("the echoes have different units or signs", str(source), _UNITS_HELP)
    scale, units, notes = read[0]
    mask = total = None
    if kind == "local":
        mask = _beside(source, run, "anat", "mask", desc="mask4noholes", label="brain")
        if mask is not None:
            _check_grid(mask, run, "mask")
        if _beside(source, run, "fmap", "fieldmap", desc="total") is not None:
            total = find_start("total", source, run, acquisition)
    return StartImage(kind, paths, scale, units, notes, mask, total)


def read_start(path: str, scale: float, like: str, what: str) -> Volume:
    """Read one image in the voxel order of a run, in rad or Hz.

    Parameters
    ----------
    path, like : str
        The image, and one that has the run's grid.
    scale : float
        Of :class:`StartImage`.
    what : str
        Named in errors.

    Raises
    ------
    InputError
        The grids differ, or a voxel is not finite.
    """
    image = read_volume(like)
    array = conform(read_volume(path), image, path, what)
    if not np.isfinite(array).all():
        raise InputError(f"the {what} has voxels that are NaN or infinite", path, "Set them to 0.")
    scaled: npt.NDArray = (array * np.float32(scale)).astype(np.float32)
    return Volume(scaled, image.affine, image.voxel_size)


def _name(kind: str, run: Run, echo: int | None) -> dict[str, Any]:
    """Return what names our own output of a kind."""
    if kind != "unwrapped":
        return {"datatype": "fmap", "suffix": "fieldmap", "desc": kind}
    numbered = {"echo": str(echo)} if run.suffix == "MEGRE" else {}
    return {
        "datatype": "anat",
        "suffix": run.suffix,
        "part": "phase",
        "desc": "unwrapped",
        **numbered,
    }


def _find(kind: str, source: Path, run: Run, echo: int | None) -> Path:
    """Return the image of a derivative dataset: our own name first, then what resembles it."""
    name = _name(kind, run, echo)
    ours = derivative_path(source, run.entities, **name)
    if ours.exists():
        return ours
    folder = source / f"sub-{run.subject}"
    images = [p for p in folder.rglob(f"*_{name['suffix']}.nii*") if _is_kind(p.name, kind, echo)]
    named = [p for p in images if f"_desc-{name['desc']}_" in p.name]
    chosen = best_matches(named or images, run)
    if len(chosen) == 1:
        return chosen[0]
    what = _TITLES[kind] + (f" of echo {echo}" if name.get("echo") else "")
    if chosen:
        names = ", ".join(p.name for p in chosen[:4])
        raise InputError(
            f"several images may be the {what} of {run.label}: {names}",
            str(source),
            f"Name one of them with desc-{name['desc']}, or give the file itself.",
        )
    raise InputError(
        f"no {what} fits {run.label}", str(source), f"Expected {ours.relative_to(source)} there."
    )


def _is_kind(name: str, kind: str, echo: int | None) -> bool:
    """Tell whether a name may be that of a kind; one without desc may be a total field."""
    desc = _DESC.search(name)
    if kind != "unwrapped":
        return desc[1] == kind if desc else kind == "total"
    number = re.search(r"_echo-([0-9]+)_", name)
    right = int(number[1]) == echo if number else echo in (None, 1)
    return right and "_part-phase_" in name and desc is not None and desc[1] == "unwrapped"


def _beside(source: Path, run: Run, datatype: str, suffix: str, **entities: str) -> Path | None:
    """Return a file of our own names in a dataset, if it is there."""
    if not source.is_dir():
        return None
    path = derivative_path(source, run.entities, datatype=datatype, suffix=suffix, **entities)
    return path if path.exists() else None


def _check_grid(path: Path, run: Run, what: str) -> None:
    """Refuse an image of another grid, from the headers alone."""
    image, header = (read_header(p) for p in (run.images[0], path))
    empty = Volume(np.broadcast_to(np.uint8(0), header.shape), header.affine, header.voxel_size)
    conform(empty, image, str(path), what)


def _meaning(
    kind: str, path: Path, acquisition: Acquisition
) -> tuple[float, str, tuple[str, ...]]:
    """Return the scale to rad or Hz, the units, and what was said about them."""
    sidecar_file = path.with_name(re.sub(r"\.nii(\.gz)?$", ".json", path.name))
    try:
        sidecar = json.loads(sidecar_file.read_text("utf-8-sig"))
    except FileNotFoundError:
        sidecar = {}
    except (OSError, ValueError) as error:
        raise MetadataError(f"cannot be read ({error})", str(sidecar_file)) from error
    sidecar = sidecar if isinstance(sidecar, dict) else {}
    units = str(sidecar.get("Units") or "")
    scales = _scales(kind, acquisition)
    if units.lower() not in scales:
        problem = f"has units {units!r}" if units else "has no Units in a sidecar"
        raise MetadataError(
            f"the {_TITLES[kind]} {problem}",
            str(path),
            f"{_UNITS_HELP} See {OPTIONS[kind]} in --help.",
        )
    scale = scales[units.lower()]
    target = "rad" if kind == "unwrapped" else "Hz"
    notes = [f"{_TITLES[kind]} given: {path.name}, {units}"]
    if units != target:
        notes[0] += f" times {scale:.6g} to {target}"
    sign, text = _sign(str(sidecar.get("FieldSignConvention") or ""))
    return sign * scale, units, (*notes, f"sign of the given {_TITLES[kind]}: {text}")


def _scales(kind: str, acquisition: Acquisition) -> dict[str, float]:
    """Return the factor to the house unit for every unit that is understood."""
    if kind == "unwrapped":
        return {"rad": 1.0}
    return {
        "hz": 1.0,
        "rad/s": 1.0 / TWO_PI,
        "ppm": 1e-6 * acquisition.centre_frequency_hz,
        "t": GAMMA_BAR_HZ_PER_T,
    }


def _sign(convention: str) -> tuple[float, str]:
    """Return the sign by a sidecar's FieldSignConvention."""
    words = re.sub(r"\s+", "", convention.lower()).replace("\N{MINUS SIGN}", "-")
    if re.search(r"-2(\*)?pi|diamagneticispositive|paramagneticisnegative", words):
        return -1.0, f"turned over ({convention})"
    if re.search(r"\+2(\*)?pi|paramagneticispositive|diamagneticisnegative", words):
        return 1.0, convention
    return 1.0, "assumed to grow with the field, the sidecar has no known FieldSignConvention"
