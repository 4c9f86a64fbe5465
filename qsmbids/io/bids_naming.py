"""Decide what each converted image is, which belong together, and their BIDS names.

dcm2niix writes one NIfTI file and one sidecar per echo and part. Only gradient echo images with
phase make a susceptibility map; everything else is left out, with the reason.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError

from qsmbids.core.phase_scale import PhaseScale, detect_phase_scale, phase_statistics
from qsmbids.errors import InputError
from qsmbids.io.nifti import read_volume

__all__ = ["ConvertedImage", "NamedImage", "Naming", "clean_sidecar", "name_images"]

PARTS = ("mag", "phase", "real", "imag")
FEWEST_SLICES = 4
_FILE_ENDINGS = {"ph": "phase", "real": "real", "imaginary": "imag", "fieldmaphz": "map"}
_TOKENS = {
    "P": "phase",
    "PHASE": "phase",
    "R": "real",
    "REAL": "real",
    "I": "imag",
    "IMAGINARY": "imag",
    "M": "mag",
    "MAGNITUDE": "mag",
}
#: Words by which scanners tell the series of one scan apart.
_PART_WORDS = re.compile(
    r"(?:(?<=[_\W])|^)(?:mag(?:nitude)?|pha(?:se)?|ph|real?|im(?:ag(?:inary)?)?|[mpri])(?=[_\W]|$)",
    re.IGNORECASE,
)
_DIFFERENCE = re.compile(r"(?:phase|pha|ph)[\W_]*diff|delta[\W_]*(?:phase|phi)")
_IS_DIFFERENCE = "the phase difference of two echoes; the phase of each echo is needed"
_PRIVATE = re.compile(
    r"^Patient(?!Position$)|Physician|Operator|Performer|Institution|Station|Accession|Birth|Sex$"
    r"|Weight|Referring|Comments?$|Study|ProcedureStep|Serial|UID|Date|InstanceID"
    r"|^(?:Acquisition|Series|Content|Study|Instance)\w*Time$|^BidsGuess$|^Private|Address|^ID$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ConvertedImage:
    """A NIfTI file of dcm2niix, its sidecar, and the index of the DICOM series it is from."""

    path: Path
    sidecar: dict[str, Any]
    series: int


@dataclass(frozen=True)
class NamedImage:
    """An image that goes into the dataset.

    Attributes
    ----------
    source : ConvertedImage
    part : str
        "mag", "phase", "real" or "imag".
    name : str
        BIDS name without extension.
    sidecar : dict
        Anonymous, with what BIDS asks for.
    factor : float
        What the stored numbers are multiplied with, by the slope of the header.
    """

    source: ConvertedImage
    part: str
    name: str
    sidecar: dict[str, Any]
    factor: float = 1.0


@dataclass(frozen=True)
class Naming:
    """The images of each run by its label, and those that are left out with the reason."""

    runs: dict[str, list[NamedImage]] = field(default_factory=dict)
    skipped: list[tuple[ConvertedImage, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Candidate:
    """A gradient echo image whose part is known."""

    image: ConvertedImage
    part: str
    echo_time: float
    shape: tuple[int, ...]
    affine: npt.NDArray[np.float64]

    @property
    def slot(self) -> tuple[str, int]:
        """What there is once per run: part and echo time [us]."""
        return self.part, round(self.echo_time * 1e6)

    def text(self, key: str) -> str:
        """Return a text of the sidecar, "" where there is none."""
        return str(self.image.sidecar.get(key) or "")

    @property
    def label(self) -> str:
        """Series description without the words for the part, letters and digits only."""
        text = self.text("SeriesDescription") or self.text("ProtocolName")
        return re.sub(r"[^A-Za-z0-9]", "", _PART_WORDS.sub("", text))


@dataclass
class _Run:
    """Images that were acquired together."""

    members: list[_Candidate]

    @property
    def slots(self) -> set[tuple[str, int]]:
        return {c.slot for c in self.members}

    def times(self, part: str) -> set[int]:
        """Return the echo times [us] of a part."""
        return {te for p, te in self.slots if p == part}


def name_images(
    images: Sequence[ConvertedImage],
    *,
    participant: str,
    session: str | None = None,
    acquisition: str | None = None,
) -> Naming:
    """Sort images into runs and name them.

    Parameters
    ----------
    images : sequence of ConvertedImage
        Of one participant and session, in the order of their series.
    participant, session : str
        Labels without ``sub-`` and ``ses-``.
    acquisition : str, optional
        ``acq-`` label of all runs. Default: made of the series descriptions where these differ.

    Returns
    -------
    Naming
        What is left out has a reason; the names are those of a raw dataset.
    """
    naming = Naming()
    candidates = []
    for image in images:
        candidate = _candidate(image)
        if isinstance(candidate, str):
            naming.skipped.append((image, candidate))
        else:
            candidates.append(candidate)
    complete = []
    for run in _runs(candidates, naming.warnings):
        reason = _phase_difference(run) or _incomplete(run)
        scale: PhaseScale | None = None
        factor = 1.0
        if not reason and run.times("phase"):
            try:
                scale, factor = _phase_scale(run)
            except (ValueError, InputError) as error:
                reason = str(error)
        if reason:
            naming.skipped.extend((c.image, reason) for c in run.members)
        else:
            if scale is not None and scale.warning:
                naming.warnings.append(f"series {_numbers(run)}: {scale.warning}")
            complete.append((run, scale, factor))
    stem = f"sub-{participant}" + (f"_ses-{session}" if session else "")
    labels = _labels([run for run, _, _ in complete], acquisition)
    for (run, scale, factor), label in zip(complete, labels, strict=True):
        naming.runs[stem + label] = _named(run, stem + label, scale, factor)
    return naming


def clean_sidecar(sidecar: dict[str, Any]) -> dict[str, Any]:
    """Return a sidecar without what could tell who was scanned, where and when."""
    return {k: v for k, v in sidecar.items() if not _PRIVATE.search(k)}


def _tokens(sidecar: dict[str, Any]) -> list[str]:
    return [str(token).upper() for token in sidecar.get("ImageType") or ()]


def _part(image: ConvertedImage) -> str:
    """Return the part, or "map" for a field map; the last word of ImageType that tells wins."""
    for ending in reversed(image.path.name.split(".")[0].split("_")):
        if ending in _FILE_ENDINGS:
            return _FILE_ENDINGS[ending]
    return next((_TOKENS[t] for t in reversed(_tokens(image.sidecar)) if t in _TOKENS), "mag")


def _candidate(image: ConvertedImage) -> _Candidate | str:
    """Return what an image is, or why it is of no use."""
    sidecar, part = image.sidecar, _part(image)
    reason = _other_contrast(sidecar, part)
    if reason:
        return reason
    try:
        header = nib.load(image.path)
    except (OSError, ValueError, ImageFileError) as error:
        return f"the converted image cannot be read ({error})"
    shape = tuple(int(n) for n in header.shape)
    if len(shape) != 3:
        volumes = " x ".join(str(n) for n in shape[3:])
        return f"{volumes} volumes of one echo (repetitions or coils); one is needed"
    if min(shape) < FEWEST_SLICES:
        return f"only {min(shape)} slices, a localiser or a test"
    if re.search(r"_c[A-Z0-9]+(?:_|\.|$)", image.path.name):
        return "the image of one receive coil; combine the coils, with their phase, first"
    echo_time = sidecar.get("EchoTime")
    if not isinstance(echo_time, int | float) or not 0 < echo_time < 0.5:
        return f"EchoTime is {'missing' if echo_time is None else repr(echo_time)}"
    return _Candidate(image, part, float(echo_time), shape, np.asarray(header.affine, dtype=float))


def _other_contrast(sidecar: dict[str, Any], part: str) -> str:
    """Return why an image is no part of a gradient echo scan, "" if it may be one."""
    tokens = set(_tokens(sidecar))
    sequence = str(sidecar.get("ScanningSequence") or "").upper()
    technique = set(re.split(r"[\\/_,\s\[\]']+", sequence)) - {""}
    name = str(sidecar.get("SequenceName") or "").lower()
    text = f"{sidecar.get('SeriesDescription', '')} {sidecar.get('ProtocolName', '')}".lower()
    units = str(sidecar.get("Units") or "").lower()
    if part == "map" or units == "hz" or tokens & {"FIELDMAPHZ", "B0", "B0 MAP", "FIELD_MAP"}:
        return "a field map in Hz, not the phase of an echo"
    two = {"EchoTime1", "EchoTime2"} <= set(sidecar)
    if part == "phase" and ((two and "EchoTime" not in sidecar) or _DIFFERENCE.search(text)):
        return _IS_DIFFERENCE
    if "LOCALIZER" in tokens or re.search(r"\b(localizer|scout|survey|aahead)", text):
        return "a localiser"
    if technique & {"EP"} or re.search(r"ep2d|epfid|epise|^\*?ep_|fepi", name):
        return "echo planar, not a spoiled gradient echo"
    if technique & {"SE"} and "GR" not in technique:
        return "a spin echo, whose phase holds no field"
    if technique & {"IR"}:
        return "inversion prepared, not a spoiled gradient echo"
    if tokens & {"MNIP", "MINIP", "MIP", "MPR", "SWI", "SWIP", "PROJECTION IMAGE"}:
        return "susceptibility weighted or projected by the scanner"
    filtered = "pha_images" in text or re.search(r"filter|high.?pass|\bhpf?\b", text)
    if part == "phase" and (filtered or tokens & {"FILTERED", "HPF"}):
        return "phase filtered by the scanner (SWI); the unfiltered phase is needed"
    if part == "phase" and re.match(r"\*?swi\dd1r", name):
        return "phase of the single-echo SWI sequence, which is high-pass filtered"
    return ""


def _runs(candidates: Sequence[_Candidate], warnings: list[str]) -> list[_Run]:
    """Group images: all echoes and parts of one series, then the series of one scan."""
    units: dict[tuple[Any, ...], list[_Candidate]] = defaultdict(list)
    for c in candidates:
        repeat = sum(
            c.slot == d.slot for key in units for d in units[key] if key[0] == c.image.series
        )
        geometry = (c.shape, *np.round(c.affine, 2).ravel())
        units[(c.image.series, c.part, repeat, geometry)].append(c)
    runs: list[_Run] = []
    for unit in units.values():
        fitting = [(score, i) for i, run in enumerate(runs) if (score := _fit(run, unit))]
        if not fitting:
            runs.append(_Run(list(unit)))
            continue
        best = max(fitting)
        if sum(score[:-1] == best[0][:-1] for score, _ in fitting) > 1:
            warnings.append(
                f"series {_numbers(_Run(unit))} may belong to several scans; it was joined with"
                f" series {_numbers(runs[best[1]])}, check it"
            )
        runs[best[1]].members += unit
    return runs


def _fit(run: _Run, unit: Sequence[_Candidate]) -> tuple[float, ...] | None:
    """Return how well images belong to a run, None if they cannot."""
    first, new = run.members[0], unit[0]
    same_grid = first.shape == new.shape and np.allclose(first.affine, new.affine, atol=1e-2)
    if not same_grid or run.slots & {c.slot for c in unit}:
        return None
    times = {c.slot[1] for c in unit}
    others = {te for part, te in run.slots if part != new.part}
    mine = run.times(new.part)
    if mine:  # further echoes of a part: only where every echo is a series of its own
        numbers = [
            c.image.sidecar.get("EchoNumber") for c in (*run.members, *unit) if c.part == new.part
        ]
        if len(times) > 1 or None in numbers or len(set(numbers)) < len(numbers):
            return None
    elif not (times & others):
        return None
    same = {
        key: bool(first.text(key)) and first.text(key) == new.text(key)
        for key in ("AcquisitionTime", "ProtocolName")
    }
    same_label = first.label == new.label
    if not (same_label or any(same.values())):
        return None
    near = -min(abs(_number(c) - _number(new)) for c in run.members)
    return (same["AcquisitionTime"], same_label, same["ProtocolName"], times == others, near)


def _number(c: _Candidate) -> int:
    return int(c.image.sidecar.get("SeriesNumber") or 0)


def _numbers(run: _Run) -> str:
    """Return the series numbers of a run, for people."""
    return ", ".join(str(n) for n in sorted({_number(c) for c in run.members}))


def _phase_difference(run: _Run) -> str:
    """Return why the phase is that between two echoes, "" if it is that of its own echoes.

    A Siemens field map has two magnitudes and one phase image, which bears the second echo time.
    ``EchoTime1`` and ``EchoTime2`` prove nothing by themselves: dcm2niix writes the first two
    echo times of the protocol beside every phase image of this vendor (dcm2niix#400), also the
    preset of a second echo that a single-echo scan does not have.
    """
    phase = [c for c in run.members if c.part == "phase"]
    if len(phase) != 1:
        return ""
    sidecar = phase[0].image.sidecar
    if re.match(r"\*?fm\dd", phase[0].text("SequenceName").lower()):
        return _IS_DIFFERENCE
    first, second = (sidecar.get(f"EchoTime{n}") for n in (1, 2))
    if not isinstance(first, int | float) or not isinstance(second, int | float):
        return ""
    to_first, to_second = (abs(phase[0].echo_time - te) for te in (first, second))
    return _IS_DIFFERENCE if to_second < to_first else ""


def _incomplete(run: _Run) -> str:
    """Return why images are no run, "" if they are."""
    times = {part: run.times(part) for part in PARTS}
    pairs = [("mag", "phase"), ("real", "imag")]
    whole = [pair for pair in pairs if times[pair[0]] and times[pair[0]] == times[pair[1]]]
    if whole:
        return ""
    present = [part for part in PARTS if times[part]]
    if present == ["mag"]:
        return "magnitude only; QSM needs the phase (or real and imaginary part)"
    for a, b in pairs:
        if times[a] and times[b]:
            te = ", ".join(f"{t / 1000:g}" for t in sorted(times[a] ^ times[b]))
            return f"the echo at {te} ms is there as {a} or as {b} alone"
    missing = {"phase": "magnitude", "real": "imaginary part", "imag": "real part"}
    needed = next(missing[p] for p in ("phase", "real", "imag") if p in present)
    return f"{' and '.join(present)} without the {needed}"


def _phase_scale(run: _Run) -> tuple[PhaseScale, float]:
    """Return the encoding of the phase and the factor that makes it known.

    "Precise" Philips numbers are the displayed milliradians divided by rescale slope times scale
    slope, which is 1000 (radians) on most systems only (section 1.2).
    """
    phase = [c for c in run.members if c.part == "phase"]
    volumes = [read_volume(c.image.path).array for c in phase]
    sidecar = phase[0].image.sidecar
    factor = 1.0
    if sidecar.get("UsePhilipsFloatNotDisplayScaling"):
        slopes = [sidecar.get(f"Philips{kind}Slope") or 0 for kind in ("Rescale", "Scale")]
        product = float(slopes[0]) * float(slopes[1])
        if product and abs(product / 1000 - 1) > 0.01:
            factor = product
    statistics = phase_statistics([v * np.float32(factor) for v in volumes])
    return detect_phase_scale(statistics, image_type=_tokens(sidecar)), factor


def _labels(runs: Sequence[_Run], acquisition: str | None) -> list[str]:
    """Return ``_acq-`` and ``_run-`` of each run, as far as they are needed."""
    own = [run.members[0].label for run in runs]
    if acquisition:
        own = [acquisition] * len(runs)
    elif len(set(own)) == 1:
        own = [""] * len(runs)
    heads = [f"_acq-{label}" if label else "" for label in own]
    total, seen = Counter(heads), Counter[str]()
    out = []
    for head in heads:
        seen[head] += 1
        out.append(f"{head}_run-{seen[head]}" if total[head] > 1 else head)
    return out


def _named(run: _Run, label: str, scale: PhaseScale | None, factor: float) -> list[NamedImage]:
    """Name the images of a run; echoes are counted by rising echo time."""
    times = sorted({te for _, te in run.slots})
    out = []
    for c in sorted(run.members, key=lambda c: (c.slot[1], PARTS.index(c.part))):
        echo = times.index(c.slot[1]) + 1
        middle = f"_echo-{echo}" if len(times) > 1 else ""
        suffix = "MEGRE" if len(times) > 1 else "T2starw"
        sidecar = clean_sidecar(c.image.sidecar)
        if "RepetitionTime" in sidecar:
            sidecar.setdefault("RepetitionTimeExcitation", sidecar["RepetitionTime"])
        if len(times) > 1:
            sidecar["EchoNumber"] = echo
        if c.part == "phase" and scale is not None:
            sidecar["Units"] = "rad" if scale.rule.startswith("radians") else "arbitrary"
            if factor != 1.0:
                sidecar["UsePhilipsFloatNotDisplayScaling"] = 0
        named = NamedImage(c.image, c.part, f"{label}{middle}_part-{c.part}_{suffix}", sidecar)
        out.append(replace(named, factor=factor) if c.part == "phase" else named)
    return out
