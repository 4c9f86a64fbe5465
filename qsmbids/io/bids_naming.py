"""Give images that make a susceptibility map their BIDS names; leave the others out.

:mod:`qsmbids.io.recognition` says what each image is, :mod:`qsmbids.io.grouping` which belong
together, :mod:`qsmbids.io.completeness` what a run lacks. Whatever is left out has a reason.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qsmbids.core.phase.phase_scale import PhaseScale, detect_phase_scale, phase_statistics
from qsmbids.errors import InputError
from qsmbids.io.completeness import continued, echoes_of_one_time, incomplete, superseded
from qsmbids.io.grouping import Run, group, series_numbers
from qsmbids.io.layout import coil_labels
from qsmbids.io.nifti import read_volume
from qsmbids.io.phase_choice import ALONE, left_out_beside, part_filtered
from qsmbids.io.phase_filter import FILTER_KEY, NOTE_KEY
from qsmbids.io.recognition import (
    COIL_KEY,
    COMPONENT_KEY,
    PARTS,
    Candidate,
    ConvertedImage,
    image_type,
    recognise,
)

__all__ = ["ConvertedImage", "NamedImage", "Naming", "clean_sidecar", "name_images"]

_ONE_COIL = "the image of one receive coil; QSM needs those of all, with their phase"
_PRIVATE = re.compile(
    r"^Patient(?!Position$)|Physician|Operator|Performer|Institution|Station|Accession|Birth|Sex$"
    r"|Weight|Referring|Comments?$|Study|ProcedureStep|Serial|UID|Date|InstanceID"
    r"|^(?:Acquisition|Series|Content|Study|Instance)\w*Time$|^BidsGuess$|^Private|Address|^ID$",
    re.IGNORECASE,
)


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


def name_images(
    images: Sequence[ConvertedImage],
    *,
    participant: str,
    session: str | None = None,
    acquisition: str | None = None,
    accept_filtered: bool = False,
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
    accept_filtered : bool
        Take phase that the scanner filtered where there is no other.

    Returns
    -------
    Naming
        What is left out has a reason; the names are those of a raw dataset.
    """
    naming = Naming()
    coils: dict[str, list[Candidate]] = defaultdict(list)
    for image in images:
        candidate = recognise(image)
        if isinstance(candidate, str):
            naming.skipped.append((image, candidate))
        else:
            coils[candidate.coil].append(candidate)
    stem = f"sub-{participant}" + (f"_ses-{session}" if session else "")
    combined = coils.pop("", [])
    if len(coils) == 1:
        ((_, alone),) = coils.items()
        naming.skipped.extend((c.image, _ONE_COIL) for c in alone)
        coils.clear()
    groups = [(combined, "")]
    groups += [(coils[name], label) for name, label in coil_labels(coils).items()]
    for candidates, reconstruction in groups:
        complete = _complete(candidates, accept_filtered, naming)
        labels = _labels([run for run, *_ in complete], acquisition, reconstruction)
        for (run, scale, factor, note), label in zip(complete, labels, strict=True):
            naming.runs[stem + label] = _named(run, stem + label, scale, factor, note)
    naming.warnings[:] = dict.fromkeys(naming.warnings)  # what is said of every coil, once
    return naming


def _complete(
    candidates: list[Candidate], accept_filtered: bool, naming: Naming
) -> list[tuple[Run, PhaseScale | None, float, dict[str, Any]]]:
    """Return the complete runs of images of one coil, or of all together; the rest has reasons."""
    untimed = echoes_of_one_time(candidates)
    naming.skipped.extend(
        (c.image, untimed[c.image.series]) for c in candidates if c.image.series in untimed
    )
    candidates = [c for c in candidates if c.image.series not in untimed]
    runs, notes = _runs(candidates, accept_filtered, naming)
    reasons = [incomplete(run, runs) for run in runs]
    whole = [run for run, why in zip(runs, reasons, strict=True) if not why]
    complete = []
    for run, why in zip(runs, reasons, strict=True):
        reason = why or superseded(run, whole)
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
                naming.warnings.append(f"series {series_numbers(run)}: {scale.warning}")
            if go_on := continued(run, whole):
                naming.warnings.append(go_on)
            complete.append((run, scale, factor, notes.get(id(run), {})))
    return complete


def _runs(
    candidates: Sequence[Candidate], accept_filtered: bool, naming: Naming
) -> tuple[list[Run], dict[int, dict[str, Any]]]:
    """Group images into runs, phase without the scanner's filter first.

    Returns the runs and, by their identity, what the sidecars of their phase say of a filter.
    """
    plain, filtered = part_filtered(candidates, naming.warnings)
    runs = group(plain, naming.warnings)
    if not filtered:
        return runs, {}
    whole = [run for run in runs if not incomplete(run, runs)]
    needless, chosen = left_out_beside(filtered, whole)
    naming.skipped.extend((c.image, needless[id(c)]) for c, _ in filtered if id(c) in needless)
    naming.warnings.extend(chosen.values())
    notes: dict[int, dict[str, Any]] = {
        key: {FILTER_KEY: False, NOTE_KEY: text} for key, text in chosen.items()
    }
    alone = {id(c): why for c, why in filtered if id(c) not in needless}
    if not accept_filtered:
        refused = [(c.image, ALONE.format(why)) for c, why in filtered if id(c) in alone]
        naming.skipped.extend(refused)
        return runs, notes
    taken = {id(c) for run in whole for c in run.members} | needless.keys()
    others = group([c for c in candidates if id(c) not in taken], naming.warnings)
    for run in others:
        because = {alone[id(c)] for c in run.members if id(c) in alone}
        if because:
            text = "; ".join(sorted(because))
            notes[id(run)] = {FILTER_KEY: True, NOTE_KEY: text}
            naming.warnings.append(
                f"series {series_numbers(run)}: phase filtered by the scanner ({text}) is taken,"
                " as it was asked for; it lacks most of the field"
            )
    return [*whole, *others], notes


def clean_sidecar(sidecar: dict[str, Any]) -> dict[str, Any]:
    """Return a sidecar without what could tell who was scanned, where and when."""
    return {k: v for k, v in sidecar.items() if not _PRIVATE.search(k)}


def _phase_scale(run: Run) -> tuple[PhaseScale, float]:
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
    return detect_phase_scale(statistics, image_type=image_type(sidecar)), factor


def _labels(runs: Sequence[Run], acquisition: str | None, reconstruction: str) -> list[str]:
    """Return ``_acq-``, ``_rec-`` and ``_run-`` of each run, as far as they are needed."""
    own = [run.label for run in runs]
    if acquisition:
        own = [acquisition] * len(runs)
    elif len(set(own)) == 1:
        own = [""] * len(runs)
    heads = [f"_acq-{label}" if label else "" for label in own]
    corrections: dict[str, set[str]] = defaultdict(set)
    for head, run in zip(heads, runs, strict=True):
        corrections[head].add(run.correction)
    heads = [
        f"{head}_rec-{run.correction}" if run.correction and len(corrections[head]) > 1 else head
        for head, run in zip(heads, runs, strict=True)
    ]
    if reconstruction:  # BIDS has one label for both
        heads = [f"{head.partition('_rec-')[0]}_rec-{reconstruction}" for head in heads]
    total, seen = Counter(heads), Counter[str]()
    out = []
    for head in heads:
        seen[head] += 1
        out.append(f"{head}_run-{seen[head]}" if total[head] > 1 else head)
    return out


def _named(
    run: Run, label: str, scale: PhaseScale | None, factor: float, note: dict[str, Any]
) -> list[NamedImage]:
    """Name the images of a run; echoes are counted by rising echo time."""
    times = sorted({te for _, te in run.slots})
    out = []
    for c in sorted(run.members, key=lambda c: (c.slot[1], PARTS.index(c.part))):
        echo = times.index(c.slot[1]) + 1
        middle = f"_echo-{echo}" if len(times) > 1 else ""
        suffix = "MEGRE" if len(times) > 1 else "T2starw"
        sidecar = clean_sidecar(c.image.sidecar)
        # the echo times are of the protocol; others would take them for a difference
        for key in ("EchoTime1", "EchoTime2", COMPONENT_KEY, COIL_KEY):
            sidecar.pop(key, None)
        if "RepetitionTime" in sidecar:
            sidecar.setdefault("RepetitionTimeExcitation", sidecar["RepetitionTime"])
        if len(times) > 1:
            sidecar["EchoNumber"] = echo
        if c.part == "phase" and scale is not None:
            sidecar["Units"] = "rad" if scale.rule.startswith("radians") else "arbitrary"
            if factor != 1.0:
                sidecar["UsePhilipsFloatNotDisplayScaling"] = 0
        elif c.part in ("real", "imag"):
            sidecar["Units"] = "arbitrary"
        if c.part != "mag":
            sidecar |= note
        named = NamedImage(c.image, c.part, f"{label}{middle}_part-{c.part}_{suffix}", sidecar)
        out.append(replace(named, factor=factor) if c.part == "phase" else named)
    return out
