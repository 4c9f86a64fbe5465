"""What the name of a NIfTI file says of the image, whoever chose it.

heudiconv, dcm2bids and dcm2niix each have their habits, older drafts of BIDS had other suffixes
(``_GRE``, ``_swi``), and people write ``mag_e1`` and ``phase_e1``.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = ["ECHO_PLANAR", "OTHER_KINDS", "WhatNameSays", "read_name", "stem_of"]

#: Suffixes of BIDS that no spoiled gradient echo with phase has.
OTHER_KINDS = frozenset(
    "T1w T2w PDw PDT2 FLAIR inplaneT1 inplaneT2 angio UNIT1 T1map T2map T2starmap R1map R2map"
    " R2starmap MTRmap MTsat dwi bold cbv sbref epi asl m0scan mask probseg dseg events defacemask"
    " TB1map TB1AFI TB1TFL TB1EPI TB1DAM TB1RFM RB1map RB1COR MP2RAGE MPM MTS MTR MESE VFA IRT1"
    " Chimap QSM".split()
)
ECHO_PLANAR = frozenset("bold cbv dwi sbref epi asl m0scan".split())
_PARTS = {
    "mag": "mag|magn|magnitude|m",
    "phase": "pha|phs|phase|ph|p",
    "real": "real|re|r",
    "imag": "imag|imaginary|im|i",
}
_PART = {re.compile(rf"(?:{words})", re.IGNORECASE): part for part, words in _PARTS.items()}
#: An echo number: ``echo-1``, ``echo1``, ``e1``, ``TE1``, but not the time in ``TE4.9ms``.
_ECHO = re.compile(
    r"(?<![A-Za-z0-9])(?:echo|eco|te|e)[-_ ]?0*(\d{1,2})(?![\d.,]|ms)(?=[a-z]?(?:[^A-Za-z0-9]|$))",
    re.IGNORECASE,
)
_ENDS_WITH_PART = re.compile(r"(.+?)(mag|magnitude|pha|phase)", re.IGNORECASE)
_PART_KEYS = ("part", "rec", "acq")
#: A receive coil: ``coilH1``, ``coil-03``, ``_cH12`` (dcm2niix), ``ch5``.
_COIL = re.compile(
    r"(?<![A-Za-z0-9])(?:coil[-_ ]?|channel[-_ ]?|ch[-_]?|c(?=[A-Z]*\d))([A-Z]*\d+(?:-\d+)?)"
    r"(?=[^A-Za-z0-9]|$)",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"(?:(?<=_)|^)([a-zA-Z]+)-([a-zA-Z0-9+]+)(?=_|$)")
#: Words that tell the image from others of its scan, or nothing: counters, times, dates.
_COUNTER = re.compile(r"\d+[a-z]?")
#: Folders that say nothing of who was scanned.
_FOLDERS = re.compile(
    r"(?:anat|swi|fmap|func|gre|qsm|nii|nifti|niftis|images?|data|raw|sourcedata|derivatives"
    r"|echo[-_]?\d+|e\d+|te\d+|output|out|input|scans?|series|mri|dcm2niix|tmp_dcm2bids|helper)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class WhatNameSays:
    """What a file name says; "" or None where it says nothing.

    Attributes
    ----------
    participant, session, acquisition, reconstruction, run : str
        Labels without their keys.
    part : str
        "mag", "phase", "real" or "imag".
    echo : int or None
    coil : str
        What the name calls a receive coil.
    suffix : str
        Last word of a name in the manner of BIDS.
    words : str
        What is left of the name, letters and digits.
    """

    participant: str = ""
    session: str = ""
    acquisition: str = ""
    reconstruction: str = ""
    run: str = ""
    part: str = ""
    echo: int | None = None
    coil: str = ""
    suffix: str = ""
    words: str = ""


def stem_of(name: str) -> str:
    """Return a file name without ``.nii`` or ``.nii.gz``."""
    return re.sub(r"\.nii(?:\.gz)?$", "", name)


def read_name(path: PurePosixPath) -> WhatNameSays:
    """Return what the path of an image, from the folder that is searched, says of it.

    Examples
    --------
    >>> says = read_name(PurePosixPath("sub-01/swi/sub-01_echo-2_part-phase_GRE.nii.gz"))
    >>> says.participant, says.part, says.echo, says.suffix
    ('01', 'phase', 2, 'GRE')
    >>> says = read_name(PurePosixPath("anna/gre_magnitude1.nii"))
    >>> says.participant, says.part, says.echo, says.words
    ('anna', 'mag', 1, 'gre')
    """
    stem = stem_of(path.name)
    entities = {key.lower(): value for key, value in _ENTITY.findall(stem)}
    in_path = dict(pair for folder in path.parts[:-1] for pair in _ENTITY.findall(folder))
    rest = _ENTITY.sub(" ", stem)
    suffix = stem.rsplit("_", 1)[-1] if "sub" in entities else ""
    echo = _number(entities.get("echo", ""))
    if echo is None and (match := _ECHO.search(rest)):
        echo = int(match[1])
        rest = rest[: match.start()] + rest[match.end() :]
    coil = ""
    if match := _COIL.search(rest):
        coil, rest = match[1], rest[: match.start()] + rest[match.end() :]
    elif match := re.fullmatch(r"coil(s|\d+)", entities.get("rec", "")):
        coil = match[1].replace("s", "all")
        entities.pop("rec")
    part, numbered, words = _part_of(rest)
    # heudiconv wrote rec-magnitude before BIDS had part-mag, and people acq-phase
    part = next(filter(None, (_known_part(entities.get(k, "")) for k in _PART_KEYS)), part)
    acquisition = _no_part(entities.get("acq", ""))
    if not part and (match := _ENDS_WITH_PART.fullmatch(acquisition)):
        acquisition, part = match[1], _known_part(match[2])
    if not part:
        part = next(filter(None, map(_known_part, reversed(path.parts[:-1]))), "")
    if echo is None:
        folders = (_ECHO.search(folder) for folder in reversed(path.parts[:-1]))
        echo = next((int(match[1]) for match in folders if match), numbered)
    told = {"sub", "ses", "acq", "rec", "run", "echo", "part"}
    more = "".join(f"{key}{value}" for key, value in entities.items() if key not in told)
    return WhatNameSays(
        participant=entities.get("sub") or in_path.get("sub") or _person(path),
        session=entities.get("ses") or in_path.get("ses", ""),
        acquisition=acquisition + more,
        reconstruction=_no_part(entities.get("rec", "")),
        run=entities.get("run", ""),
        part=part,
        echo=echo,
        coil=coil,
        suffix=suffix,
        words=words,
    )


def _no_part(label: str) -> str:
    return "" if _known_part(label) else label


def _known_part(word: str) -> str:
    return next((part for pattern, part in _PART.items() if pattern.fullmatch(word)), "")


def _part_of(text: str) -> tuple[str, int | None, str]:
    """Return the part, a number that follows its word, and the words that are left."""
    part, number, left = "", None, []
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)  # MagPhase
    words = re.split(r"[\W_]+", apart)
    for word in reversed(words):
        match = re.fullmatch(r"([A-Za-z]+)(\d{0,2})", word)
        known = _known_part(match[1]) if match else ""
        # a single letter tells the part only where it stands alone
        if known and not part and match and (len(match[1]) > 1 or not match[2]):
            part, number = known, _number(match[2])
        elif not _COUNTER.fullmatch(word):
            left.append(word)
    return part, number, "".join(reversed(left))


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _person(path: PurePosixPath) -> str:
    """Return a label made of the outermost folder that may be named after a participant."""
    for folder in path.parts[:-1]:
        label = re.sub(r"^(?:sub|subj|subject)(?=[\W_]|\d)|[^A-Za-z0-9]", "", folder)
        if label and not _FOLDERS.fullmatch(folder) and not _known_part(folder):
            return label
    return ""
