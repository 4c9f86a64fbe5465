"""What the recommendations ask of the steps, judged by the records that the steps have left.

A step without a record was not done in the run, and nothing is claimed of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from qsmbids.core.reference.kinds import REFERENCES
from qsmbids.reports.paper.findings import Finding, Verdict
from qsmbids.reports.paper.settings_in_force import brain_extraction, looked_up, ran, shown

__all__ = ["STEP_CHECKS", "StepCheck", "missing_because"]

Record = Mapping[str, Any]
#: Verdict, text and value.
Judgement = tuple[Verdict, str, str]


@dataclass(frozen=True)
class StepCheck:
    """A recommendation about a step.

    Attributes
    ----------
    recommendation, topic : str
    steps : tuple of str
        All of them must have run.
    judge : callable
        Returns verdict, text and value of a run in which they did.
    """

    recommendation: str
    topic: str
    steps: tuple[str, ...]
    judge: Callable[[Record], Judgement]

    def __call__(self, record: Record) -> Finding:
        """Return what was found, or that it was not done."""
        if all(ran(record, step) for step in self.steps):
            return Finding(self.recommendation, self.topic, *self.judge(record))
        return Finding(self.recommendation, self.topic, "absent", missing_because(record))


def missing_because(record: Record) -> str:
    """Return why a step has left no record."""
    for step, what in (
        ("given_local_field", "a local field was given"),
        ("given_field", "a total field was given"),
        ("given_phase", "unwrapped phase was given"),
    ):
        if ran(record, step):
            return f"Not done in this run: {what}."
    return "Not done in this run."


def _unwrapping(record: Record) -> Judgement:
    weights = looked_up(record, "Unwrapping.Weights") or looked_up(record, "Unwrapping.FitWeights")
    return "pass", "ROMEO, a path-based method, is exact.", f"ROMEO, {weights}"


def _check_unwrapping(record: Record) -> Finding:
    topic = "exact unwrapping"
    if looked_up(record, "Unwrapping.Name") == "ROMEO":
        return Finding("4.a", topic, *_unwrapping(record))
    if ran(record, "given_phase") and not ran(record, "given_local_field"):
        text = "The phase was given unwrapped; by which method is not on record."
        return Finding("4.a", topic, "unknown", text)
    return Finding("4.a", topic, "absent", missing_because(record))


def _order(record: Record) -> Finding:
    topic = "order of the steps"
    if looked_up(record, "EchoCombination.Name") == "single echo":
        text = "Not done in this run: there was one echo, and nothing to combine."
        return Finding("4.b", topic, "absent", text)
    if ran(record, "combine_echoes") and ran(record, "remove_background_field"):
        text = "Echoes were combined before background removal."
        return Finding("4.b", topic, "pass", text)
    return Finding("4.b", topic, "absent", missing_because(record))


def _offset(record: Record) -> Finding:
    topic = "phase offset"
    if ran(record, "remove_phase_offset"):
        return Finding("4.c", topic, "pass", "Removed explicitly, by MCPC-3D-S.", "mcpc-3d-s")
    if looked_up(record, "EchoCombination.Name") == "nonlinear complex fit":
        return Finding("4.c", topic, "pass", "Fitted together with the field.")
    if not ran(record, "unwrap_phase"):
        return Finding("4.c", topic, "absent", missing_because(record))
    if looked_up(record, "EchoCombination.Name") == "single echo":
        text = "With one echo it cannot be told from the field: acquire more echoes."
        if ran(record, "flatten_offset"):
            text += " Its curvature alone was taken off."
        return Finding("4.c", topic, "advice", text)
    text = "The phase at TE = 0 stays in the field; background removal takes only part of it."
    return Finding("4.c", topic, "changed", text, "none")


def _mask1(record: Record) -> Judgement:
    name = str(looked_up(record, "BrainExtraction.Name") or "")
    if brain_extraction(record) == "given":
        text = "A brain mask was given; how it was made is not on record."
        return "unknown", text, name
    image = looked_up(record, "BrainExtraction.Parameters.image")
    words = {"first-echo": "the magnitude of the first echo", "combined": "the combined magnitude"}
    return "pass", f"Brain extraction on {words.get(image, 'the magnitude')}.", name


def _mask3(record: Record) -> Judgement:
    if looked_up(record, "ReliablePhase.Measure") == "none":
        text = "Mask 3 is Mask 1 with its holes filled: there was no Mask 2 to multiply it with."
        return "changed", text, ""
    filled = looked_up(record, "FilledVoxels")
    return (
        "pass",
        "Masks 1 and 2 were multiplied and holes filled.",
        "" if filled is None else f"{filled} voxels filled",
    )


def _holes(record: Record) -> Judgement:
    if ran(record, "merge_two_pass"):
        text = "Strong sources and holes were inverted apart from the tissue, and merged."
        return "pass", text, "two-pass"
    value = shown(looked_up(record, "DipoleInversion.Parameters.Holes") or "")
    if looked_up(record, "ReliablePhase.Measure") == "none":
        return (
            "pass",
            "There was no Mask 2 whose holes could be reintroduced; 5.c is optional.",
            "",
        )
    if value == "weight":
        return "pass", "Reintroduced in the inversion, against streaks.", value
    return "pass", "Stayed filled; 5.c leaves this open.", value


def _support(record: Record) -> Judgement:
    kept = looked_up(record, "DipoleInversion.Coverage")
    less = f" The inversion keeps {100 * kept:.0f} % of it." if kept and kept < 1 else ""
    if ran(record, "remove_background_field"):
        text = "The map is zero outside the mask of the background removal without holes."
        return "pass", text + less, ""
    text = "The map is zero outside the region of the local field that was given."
    return "unknown", text + less, ""


def _erosion(record: Record) -> Judgement:
    before = looked_up(record, "BackgroundRemoval.Parameters.ErodeBefore") or 0
    after = looked_up(record, "BackgroundRemoval.Parameters.ErodeAfter") or 0
    text = "Eroded at the surface of the brain, for there the field is least reliable."
    if not before and not after:
        text = "No erosion beyond that of the method: look for artifacts at the surface."
    return "pass", text, f"{shown(before, 'voxels')} before, {shown(after, 'voxels')} after"


def _reliable_voxels(record: Record) -> Finding:
    topic = "reliable voxels"
    if ran(record, "measure_rois"):
        text = "Regions were measured inside Mask 4 without holes only."
        return Finding("8.b", topic, "pass", text)
    text = "For the study: restrict regions of interest to Mask 4 without holes, beside the map."
    return Finding("8.b", topic, "unknown", text)


def _reference_shape(record: Record) -> Finding:
    topic, region = "3D reference region", record.get("MainReference")
    if region == "wholebrain":
        text = "The brain (Mask 4), a region in 3D."
        return Finding("8.e", topic, "pass", text)
    if region == "csf":
        return Finding("8.e", topic, "pass", "The fluid was segmented in 3D.")
    if region == "region":
        text = "The region was given; how it was segmented is not on record."
        return Finding("8.e", topic, "unknown", text)
    return Finding("8.e", topic, "absent", "Not done in this run: the map has no reference.")


def _reference_table(record: Record) -> Finding:
    topic = "common reference regions"
    known = record.get("ReferenceValues")
    if not isinstance(known, Mapping) or not known:
        return Finding("8.f", topic, "absent", "Not done in this run: there is no table of them.")
    value = ", ".join(sorted(known))
    asked = [kind.name for desc, kind in REFERENCES.items() if desc not in known]
    asked = [name for name in asked if name != REFERENCES["region"].name]
    text = (
        "For the study: report mean and standard deviation of these, which are in"
        " desc-references_stats.tsv"
    )
    if asked:
        return Finding("8.f", topic, "unknown", f"{text}, and of {', '.join(asked)}.", value)
    return Finding("8.f", topic, "pass", "Every region of Table 2 was measured.", value)


def _segmentation(record: Record) -> Finding:
    topic = "contrast of the segmentation"
    used = looked_up(record, "RegionAtlas.Used")
    if used and looked_up(record, "RegionAtlas.Channels") and not _given_regions(record):
        channels = [str(c) for c in looked_up(record, "RegionAtlas.Channels")]
        text = (
            "Regions of a template were registered to susceptibility and more; look at their"
            " outlines."
        )
        return Finding("8.g", topic, "pass", text, ", ".join(channels))
    if used is False:
        text = "Not done in this run: the template does not fit, and no regions were given."
        return Finding("8.g", topic, "absent", text)
    if not ran(record, "measure_rois"):
        return Finding("8.g", topic, "absent", "Not done in this run: no regions were given.")
    if ran(record, "register_t1w"):
        text = (
            "For the study: the regions came from a T1w image; ensure that they are accurate on"
            " the map, above all in the deep nuclei, or segment with the contrast of the map."
        )
    else:
        text = (
            "For the study: regions were given; if they rest on T1w contrast alone, ensure that"
            " they are accurate on the map."
        )
    return Finding("8.g", topic, "unknown", text)


def _given_regions(record: Record) -> bool:
    """Return whether regions were given, which then are those that were measured."""
    return ran(record, "bring_segmentation")


def _partial_volume(record: Record) -> Finding:
    topic = "partial volume of regions"
    if not ran(record, "measure_rois"):
        return Finding("S1.6", topic, "absent", "Not done in this run: there are no regions.")
    if _given_regions(record):
        text = (
            "For the study: the regions that were given were measured as they are; n_eroded of"
            " the tables tells how many voxels each would keep without its outermost ones."
        )
        return Finding("S1.6", topic, "unknown", text)
    text = "Nuclei that keep enough voxels were measured without their outermost ones."
    return Finding("S1.6", topic, "pass", text)


def _study(recommendation: str, topic: str, text: str) -> Callable[[Record], Finding]:
    """Return what no single run can tell."""
    return lambda record: Finding(recommendation, topic, "unknown", f"For the study: {text}")


#: In the order of the paper.
STEP_CHECKS: tuple[Callable[[Record], Finding], ...] = (
    _check_unwrapping,
    _order,
    _offset,
    StepCheck("5.a", "Mask 1", ("mask1",), _mask1),
    StepCheck("5.b", "Mask 3", ("mask3",), _mask3),
    StepCheck("5.c", "holes of unreliable phase", ("invert_dipole_field",), _holes),
    StepCheck("5.d", "support of the map", ("invert_dipole_field",), _support),
    StepCheck("6.c", "erosion against field quality", ("remove_background_field",), _erosion),
    _study("8.a", "outliers", "exclude regions with artifacts, by a rule set beforehand."),
    _reliable_voxels,
    _study(
        "8.d",
        "choice of the reference",
        "discuss how pathology may bias it; repeat with a second reference.",
    ),
    _reference_shape,
    _reference_table,
    _segmentation,
    _partial_volume,
)
