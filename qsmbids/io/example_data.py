"""The example data of the consensus paper: which runs there are, and what their files are called.

The archive with results has ``converted/<vendor>/<folder>/GRE`` with names that are nearly BIDS
(``part`` before ``echo``, ``imaginary``, ``GRE``), and below ``derivatives/SEPIA`` the published
maps. The archive with DICOM holds another archive, whose folders are spelt differently again.
Only what these names say is known here; no file is opened.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from zipfile import ZipInfo

from qsmbids.io.matching import entities_of

__all__ = [
    "EXAMPLE_RUNS",
    "INNER_ARCHIVE",
    "PIPELINES",
    "SUBJECT",
    "ConvertedRun",
    "ExampleRun",
    "converted_runs",
    "dicom_runs",
    "published_maps",
    "wanted_members",
]

SUBJECT = "001"
#: The archive with DICOM inside the archive with DICOM.
INNER_ARCHIVE = "QSM_CONSENSUS_DATA.zip"
#: Folder of published maps, and the preset that repeats how they were made.
PIPELINES = {"Pipeline_FANSI": "sepia-fansi", "Pipeline_MEDI": "sepia-medi"}
#: SEPIA's words for what is compared; more is left in the archive.
PUBLISHED = ("Chimap", "localfield", "mask_brain", "mask_localfield", "mask_QSM")

#: Words of the scripts for the part of an image, and that of BIDS.
_PARTS = {
    "mag": "mag",
    "magnitude": "mag",
    "phase": "phase",
    "real": "real",
    "imag": "imag",
    "imaginary": "imag",
}
_CONVERTED = re.compile(r"(sub-.+)_(?:ME)?GRE(\.nii|\.nii\.gz|\.json)")
_VENDOR = r"(?P<vendor>GE|PHILL?IPS|SIEMENS)"
_DICOM = re.compile(
    rf"(?:^|.*/){_VENDOR}/(?:(?P<before>CLEAR|SYNERGY)/)?(?P<readout>BIPOLAR|MONOPOLAR)"
    r"(?:_(?P<echoes>\d+)E)?(?:[_/](?P<after>CLEAR|SYNERGY))?/.+",
    re.IGNORECASE,
)
_PUBLISHED = re.compile(
    rf"(?:^|.*/)SEPIA/{_VENDOR}/(?P<readout>Bipolar|Monopolar)(?:_(?P<after>CLEAR|SYNERGY))?/"
    rf"(?:GRE/)?(?P<pipeline>{'|'.join(PIPELINES)})/(?:[^/]*?_)?(?P<what>{'|'.join(PUBLISHED)})"
    r"(?P<extension>\.nii|\.nii\.gz)",
    re.IGNORECASE,
)


@dataclass(frozen=True, order=True)
class ExampleRun:
    """One scan: its session is the scanner's vendor, its acquisition the way of reading out."""

    session: str
    acquisition: str
    #: As the folder of its DICOM files says; 0 if it does not.
    n_echoes: int = field(default=0, compare=False)

    @property
    def label(self) -> str:
        """The run as its file names begin."""
        return f"sub-{SUBJECT}_ses-{self.session}_acq-{self.acquisition}"

    @property
    def folder(self) -> str:
        """Its folder in ``converted`` and ``derivatives/SEPIA``: ``PHILIPS/Bipolar_CLEAR``."""
        words = re.fullmatch("(Bipolar|Monopolar)(.*)", self.acquisition)
        name = "_".join(filter(None, words.groups())) if words else self.acquisition
        return f"{self.session}/{name}"


EXAMPLE_RUNS = (
    ExampleRun("GE", "Bipolar", 8),
    ExampleRun("GE", "Monopolar", 6),
    ExampleRun("PHILIPS", "BipolarCLEAR", 7),
    ExampleRun("PHILIPS", "BipolarSYNERGY", 7),
    ExampleRun("PHILIPS", "MonopolarCLEAR", 5),
    ExampleRun("PHILIPS", "MonopolarSYNERGY", 5),
    ExampleRun("SIEMENS", "Bipolar", 7),
    ExampleRun("SIEMENS", "Monopolar", 5),
)


class ConvertedImage(NamedTuple):
    """One image of ``converted`` and its sidecar; either may be absent."""

    name: str
    image: ZipInfo | None
    sidecar: ZipInfo | None


@dataclass(frozen=True)
class ConvertedRun:
    """The images of one run by part (as BIDS calls it) and number of the echo."""

    run: ExampleRun
    images: dict[tuple[str, int], ConvertedImage]

    @property
    def missing(self) -> list[str]:
        """Names of files that must be there, for the others of the run are."""
        echoes = max(echo for _, echo in self.images)
        out = []
        for part in sorted({part for part, _ in self.images}):
            alike = next(i for (p, _), i in self.images.items() if p == part).name
            for echo in range(1, echoes + 1):
                image = self.images.get((part, echo))
                name = image.name if image else re.sub(r"echo-\d+", f"echo-{echo}", alike)
                if image is None or image.image is None:
                    out.append(f"{name}.nii.gz")
                if image is None or image.sidecar is None:
                    out.append(f"{name}.json")
        return out


def wanted_members(members: Iterable[ZipInfo]) -> list[ZipInfo]:
    """Leave out what operating systems put into archives."""
    return [
        m
        for m in members
        if "__MACOSX" not in m.filename.split("/")
        and not m.filename.rsplit("/", 1)[-1].startswith(".")
    ]


def converted_runs(members: Iterable[ZipInfo]) -> list[ConvertedRun]:
    """Return the runs of ``converted``, whatever folders are around it.

    Of files with one name, that below a folder ``converted`` counts, then the one nearest to the
    top. Entities may stand in any order; files with others than the scripts write are left out.
    """
    runs: dict[ExampleRun, dict[tuple[str, int], dict[str, tuple[tuple[int, int], ZipInfo]]]]
    runs = defaultdict(lambda: defaultdict(dict))
    for member in wanted_members(members):
        *folders, name = member.filename.split("/")
        match = _CONVERTED.fullmatch(name)
        entities = entities_of(match[1]) if match else {}
        part = _PARTS.get(entities.get("part", "").lower())
        if (
            match is None
            or part is None
            or set(entities) != {"sub", "ses", "acq", "part", "echo"}
            or not entities["echo"].isdigit()
            or entities["sub"] != SUBJECT
            or "derivatives" in folders
        ):
            continue
        rank = (0 if "converted" in folders else 1, len(folders))
        kind = ".json" if match[2] == ".json" else ".nii"
        slot = runs[ExampleRun(entities["ses"], entities["acq"])][part, int(entities["echo"])]
        if kind not in slot or rank < slot[kind][0]:
            slot[kind] = (rank, member)
    return [
        ConvertedRun(run, {key: _image(slot) for key, slot in sorted(images.items())})
        for run, images in sorted(runs.items())
    ]


def _image(slot: dict[str, tuple[tuple[int, int], ZipInfo]]) -> ConvertedImage:
    image, sidecar = (slot[k][1] if k in slot else None for k in (".nii", ".json"))
    any_name = next(m.filename for m in (image, sidecar) if m is not None).rsplit("/", 1)[-1]
    return ConvertedImage(re.sub(r"\.(json|nii|nii\.gz)$", "", any_name), image, sidecar)


def dicom_runs(members: Iterable[ZipInfo]) -> dict[ExampleRun, list[ZipInfo]]:
    """Return the files of each run of ``QSM_CONSENSUS_DATA``, named as in ``converted``."""
    runs: dict[ExampleRun, list[ZipInfo]] = defaultdict(list)
    for member in wanted_members(members):
        if match := _DICOM.fullmatch(member.filename):
            run = _run_of(match, int(match["echoes"] or 0))
            runs[run].append(member)
    return dict(sorted(runs.items()))


def published_maps(
    names: Sequence[str],
) -> dict[tuple[ExampleRun, str], dict[str, str]]:
    """Return the published maps among file names by run and pipeline, then by SEPIA's word.

    Examples
    --------
    >>> name = "derivatives/SEPIA/GE/Bipolar/GRE/Pipeline_MEDI/sub-001_Chimap.nii.gz"
    >>> [(run.label, pipeline, list(maps)) for (run, pipeline), maps in
    ...  published_maps([name]).items()]
    [('sub-001_ses-GE_acq-Bipolar', 'Pipeline_MEDI', ['Chimap'])]
    """
    words = {word.lower(): word for word in (*PUBLISHED, *PIPELINES)}
    maps: dict[tuple[ExampleRun, str], dict[str, str]] = defaultdict(dict)
    for name in sorted(names, key=lambda n: (n.count("/"), n)):
        if match := _PUBLISHED.fullmatch(name):
            key = _run_of(match), words[match["pipeline"].lower()]
            maps[key].setdefault(words[match["what"].lower()], name)
    return dict(sorted(maps.items()))


def _run_of(match: re.Match[str], n_echoes: int = 0) -> ExampleRun:
    """Return the run that folders of the archives stand for."""
    words = {k: v for k, v in match.groupdict().items() if v}
    vendor = words["vendor"].upper().replace("PHILLIPS", "PHILIPS")
    coils = words.get("before") or words.get("after") or ""
    return ExampleRun(vendor, words["readout"].capitalize() + coils.upper(), n_echoes)
