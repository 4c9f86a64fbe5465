"""Codes of regions: what a segment is, and on which side."""

import hashlib
import re
from typing import NamedTuple

from qsmbids.io.segmentation_labels import Region

__all__ = ["OWN_SCHEME", "Concept", "anatomy_of", "own_code", "side_of"]


class Concept(NamedTuple):
    """A code, the scheme that defines it, and what it means."""

    value: str
    scheme: str
    meaning: str


#: Designator of codes of this program, for what no public scheme names.
OWN_SCHEME = "99QSMBIDS"

_ANATOMY = Concept("91723000", "SCT", "Anatomical Structure")
_TISSUE = Concept("85756007", "SCT", "Tissue")
_SUBSTANCE = Concept("91720002", "SCT", "Body Substance")
_ALTERED = Concept("49755003", "SCT", "Morphologically Altered Structure")

_SIDES = {"L": Concept("7771000", "SCT", "Left"), "R": Concept("24028007", "SCT", "Right")}

#: Codes of DICOM's own tables (PS3.16, CID 7140 and 7153); UBERON for nuclei they lack.
_KNOWN: tuple[tuple[str, Concept, Concept], ...] = (
    (r"thalamus(proper)?", Concept("42695009", "SCT", "Thalamus"), _ANATOMY),
    (r"caudate(nucleus)?|caudatus", Concept("11000004", "SCT", "Caudate nucleus"), _ANATOMY),
    (r"putamen", Concept("89278009", "SCT", "Putamen"), _ANATOMY),
    (
        r"(globus)?pallid(um|us)",
        Concept("14738005", "SCT", "Globus pallidus"),
        _ANATOMY,
    ),
    (
        r"(globus)?pallid(um|us)extern(al|us)",
        Concept("UBERON:0002476", "UBERON", "lateral globus pallidus"),
        _ANATOMY,
    ),
    (
        r"(globus)?pallid(um|us)intern(al|us)",
        Concept("UBERON:0002477", "UBERON", "medial globus pallidus"),
        _ANATOMY,
    ),
    (r"hippocampus", Concept("5366008", "SCT", "Hippocampus"), _ANATOMY),
    (r"amygdala", Concept("4958002", "SCT", "Amygdala"), _ANATOMY),
    (
        r"(nucleus)?accumbens(area|nucleus)?",
        Concept("427667007", "SCT", "Nucleus accumbens"),
        _ANATOMY,
    ),
    (r"ventral(dc|diencephalon)", Concept("110700", "DCM", "Ventral Diencephalon"), _ANATOMY),
    (r"(substantia)?nigra", Concept("70007007", "SCT", "Substantia nigra"), _ANATOMY),
    (r"red(nucleus)?|nucleusruber", Concept("UBERON:0001947", "UBERON", "red nucleus"), _ANATOMY),
    (r"dentate(nucleus)?", Concept("UBERON:0002132", "UBERON", "dentate nucleus"), _ANATOMY),
    (
        r"subthalamic(nucleus)?|stn",
        Concept("UBERON:0001906", "UBERON", "subthalamic nucleus"),
        _ANATOMY,
    ),
    (r"insula", Concept("36169008", "SCT", "Insula"), _ANATOMY),
    (r"corpuscallosum", Concept("88442005", "SCT", "Corpus callosum"), _ANATOMY),
    (r"internalcapsule", Concept("85637007", "SCT", "Internal capsule"), _ANATOMY),
    (r"brainstem", Concept("119238007", "SCT", "Brain stem"), _ANATOMY),
    (r"midbrain", Concept("61962009", "SCT", "Midbrain"), _ANATOMY),
    (r"cerebellum", Concept("113305005", "SCT", "Cerebellum"), _ANATOMY),
    (
        r"cerebellum(white(matter)?|wm)|cerebellarwhitematter",
        Concept("33060004", "SCT", "Cerebellar white matter"),
        _ANATOMY,
    ),
    (
        r"cerebellumcortex|cerebellarcortex",
        Concept("25991003", "SCT", "Cerebellar cortex"),
        _ANATOMY,
    ),
    (
        r"cerebralwhitematter",
        Concept("68523003", "SCT", "Cerebral white matter"),
        _ANATOMY,
    ),
    (r"cerebralcortex", Concept("40146001", "SCT", "Cerebral cortex"), _ANATOMY),
    (r"whitematter|wm", Concept("389080008", "SCT", "White matter"), _TISSUE),
    (r"gr[ae]ymatter|gm", Concept("389081007", "SCT", "Gray matter"), _TISSUE),
    (r"lateralventricle", Concept("66720007", "SCT", "Lateral ventricle"), _ANATOMY),
    (r"(3rd|third)ventricle", Concept("49841001", "SCT", "Third ventricle"), _ANATOMY),
    (
        r"(ventricle)?(cerebrospinalfluid|csf)",
        Concept("65216001", "SCT", "Cerebrospinal fluid"),
        _SUBSTANCE,
    ),
    (r"veins?", Concept("29092000", "SCT", "Vein"), _ANATOMY),
    (r"skull", Concept("89546000", "SCT", "Skull"), _ANATOMY),
    (r"scalp", Concept("41695006", "SCT", "Scalp"), _ANATOMY),
    (r"brain", Concept("12738006", "SCT", "Brain"), _ANATOMY),
    (
        r"calcifications?",
        Concept("18115005", "SCT", "Pathologic calcification, calcified structure"),
        _ALTERED,
    ),
)
_SIDE_WORDS = re.compile(r"(?:^|[-_. ])(?:left|right|lh|rh|l|r)(?=[-_. ]|$)", re.IGNORECASE)
_NO_LETTERS = re.compile(r"[^a-z0-9]")


def anatomy_of(region: Region) -> tuple[Concept, Concept, bool]:
    """Return category and type of a region, and whether a public scheme names it.

    A name that no public scheme is known for is its own code: a wrong structure would be worse
    than none.

    Examples
    --------
    >>> anatomy_of(Region(11, "Left-Caudate", "L"))[1].meaning
    'Caudate nucleus'
    >>> anatomy_of(Region(7, "label7", "n/a"))[1]
    Concept(value='label7', scheme='99QSMBIDS', meaning='label7')
    """
    bare = _NO_LETTERS.sub("", _SIDE_WORDS.sub(" ", region.name).lower())
    for pattern, concept, category in _KNOWN:
        if re.fullmatch(pattern, bare):
            return category, concept, True
    return _ANATOMY, own_code(region.name), False


def side_of(region: Region) -> Concept | None:
    """Return the code of the side, None for what is in the middle or on both."""
    return _SIDES.get(region.hemisphere)


def own_code(name: str) -> Concept:
    """Return a code of this program; a code has 16 characters at most, its meaning 64."""
    value = " ".join(name.split()) or "unnamed"
    if len(value) > 16:  # names that begin alike stay apart
        value = f"{value[:9]}-{hashlib.sha256(value.encode()).hexdigest()[:6]}"
    return Concept(value, OWN_SCHEME, (" ".join(name.split()) or "unnamed")[:64])
