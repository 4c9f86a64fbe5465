"""From the susceptibility to referenced maps, regions and measures (section 8)."""

from typing import Any

from qsmbids.io.segmentation_labels import TEMPLATE
from qsmbids.workflows.graph import RunContext, Step
from qsmbids.workflows.steps.inputs import b0, csf, echo_times

CHECK_SIGN = Step(
    "check_sign",
    "sign check",
    "qsmbids.interfaces.checks:CheckSign",
    (0, 8),
    {"chi": "chi", "mask": "support", "r2star": "r2star", "labels": "template_labels?"},
    checks=("chi",),
)
FIND_CSF = Step(
    "find_csf",
    "CSF region",
    "qsmbids.interfaces.reference:FindCsf",
    (0, 10),
    {
        "chi": "chi",
        "mask": "support",
        "magnitude": "combined_magnitude",
        "r2star": "r2star",
    },
    {"csf": "region"},
    csf,
)
FIT_TEMPLATE = Step(
    "fit_template",
    "template on a quick map",
    "qsmbids.interfaces.regions:FitTemplate",
    (0, 14),
    {
        "magnitude": "brain_image",
        "mask": "mask1",
        "local_field": "local_field",
        "known": "mask4_filled",
        "weights": "weights",
        "r2star": "r2star?",
        "fit": "template_fit?",
    },
    {"template_fit": "fit"},
    lambda run: {**b0(run), "centre_frequency": run.centre_frequency},
)
PLACE_REGIONS = Step(
    "place_regions",
    "regions of the template",
    "qsmbids.interfaces.regions:PlaceRegions",
    (0, 40),
    {
        "magnitude": "brain_image",
        "mask": "mask1",
        "chi": "chi",
        "support": "support",
        "r2star": "r2star?",
        "fit": "template_fit?",
    },
    {
        "template_labels": "labels",
        "template_table": "tables",
        "white_matter": "white_matter",
        "internal_capsule": "internal_capsule",
    },
    lambda run: {"atlas": run.settings.regions.atlas},
)
GIVEN_REGION = Step(
    "given_region",
    "given reference region",
    "qsmbids.interfaces.reference:TakeRegion",
    (0, 4),
    {"mask": "support"},
    {"region": "region"},
    lambda run: {"region": str(run.plan.region)},
)
_TO_REFERENCE = {"chi": "chi", "mask": "support"}
REFERENCE_CHI = Step(
    "reference_chi",
    "reference",
    "qsmbids.interfaces.reference:ReferenceChi",
    (0, 6),
    {**_TO_REFERENCE, "region": "mask4"},
    {"chi_wholebrain": "chi"},
    lambda run: {"region_name": "brain (Mask 4)"},
)
REFERENCE_CHI_CSF = Step(
    "reference_chi_csf",
    "reference (CSF)",
    "qsmbids.interfaces.reference:ReferenceChi",
    (0, 6),
    {**_TO_REFERENCE, "region": "csf"},
    {"chi_csf": "chi"},
    lambda run: {"region_name": "cerebrospinal fluid of the ventricles"},
)
REFERENCE_CHI_WHITE_MATTER = Step(
    "reference_chi_white_matter",
    "reference (white matter)",
    "qsmbids.interfaces.reference:ReferenceChi",
    (0, 6),
    {**_TO_REFERENCE, "region": "white_matter"},
    {"chi_whitematter": "chi"},
    lambda run: {"region_name": "white matter (template)"},
)
REFERENCE_CHI_CAPSULE = Step(
    "reference_chi_capsule",
    "reference (internal capsule)",
    "qsmbids.interfaces.reference:ReferenceChi",
    (0, 6),
    {**_TO_REFERENCE, "region": "internal_capsule"},
    {"chi_internalcapsule": "chi"},
    lambda run: {"region_name": "internal capsule (template)"},
)
REFERENCE_CHI_REGION = Step(
    "reference_chi_region",
    "reference (given region)",
    "qsmbids.interfaces.reference:ReferenceChi",
    (0, 6),
    {**_TO_REFERENCE, "region": "region"},
    {"chi_region": "chi"},
    lambda run: {"region_name": f"given: {run.plan.region.name if run.plan.region else ''}"},
)
DESCRIBE_REFERENCES = Step(
    "describe_references",
    "reference regions",
    "qsmbids.interfaces.reference:DescribeReferences",
    (0, 6),
    {
        "chi": "chi",
        "support": "support",
        "brain": "mask4",
        "csf": "csf?",
        "white_matter": "white_matter?",
        "internal_capsule": "internal_capsule?",
        "given": "region?",
    },
    {"reference_table": "table"},
    lambda run: {"chosen": run.settings.reference.region},
)


def _weighted(run: RunContext) -> dict[str, Any]:
    # veins are looked at in slabs across the body, whatever way the slices were acquired
    b0 = [abs(b) for b in run.b0_direction]
    return {
        "bias_mm": run.settings.swi.bias_mm,
        "projection_mm": run.settings.swi.projection_mm,
        "slice_axis": b0.index(max(b0)),
    }


WEIGHT_BY_PHASE = Step(
    "weight_by_phase",
    "susceptibility-weighted image",
    "qsmbids.interfaces.swi:WeightByPhase",
    (0, 14),
    {"magnitude": "combined_magnitude", "mask": "mask1", "field": "field"},
    {"swi": "image", "swi_mip": "projection"},
    lambda run: {
        **_weighted(run),
        "high_pass_mm": run.settings.swi.high_pass_mm,
        "phase_strength": run.settings.swi.phase_strength,
    },
)
WEIGHT_BY_CHI = Step(
    "weight_by_chi",
    "susceptibility map-weighted image",
    "qsmbids.interfaces.swi:WeightByChi",
    (0, 14),
    {"magnitude": "combined_magnitude", "mask": "support", "chi": "chi_wholebrain"},
    {"smwi": "image", "smwi_mip": "projection"},
    lambda run: {
        **_weighted(run),
        "chi_limit_ppm": run.settings.swi.chi_limit_ppm,
        "chi_power": run.settings.swi.chi_power,
    },
)

REGISTER_T1W = Step(
    "register_t1w",
    "registration of the T1w image",
    "qsmbids.interfaces.registration:RegisterT1w",
    (0, 50),
    {"magnitude": "combined_magnitude", "mask": "mask1"},
    {"t1w_transform": "transform"},
    lambda run: {"t1w": str(run.plan.t1w)},
)


def _regions(run: RunContext) -> list[list[tuple[Any, ...]]]:
    return [[tuple(region) for region in s.regions] for s in run.plan.segmentations]


BRING_SEGMENTATION = Step(
    "bring_segmentation",
    "segmentation",
    "qsmbids.interfaces.roi:BringSegmentation",
    (0, 30),
    {"like": "combined_magnitude", "transform": "t1w_transform?"},
    {"segmentation": "labels", "segmentation_table": "tables"},
    lambda run: {
        "segmentations": [str(s.image) for s in run.plan.segmentations],
        "spaces": [s.space for s in run.plan.segmentations],
        "regions": _regions(run),
    },
)


def _measured(run: RunContext) -> dict[str, Any]:
    """Return the names of the regions: of the segmentations that were given, else the template."""
    given = run.plan.segmentations
    if given:
        return {
            "names": [s.label for s in given],
            "regions": _regions(run),
            "only_named": [s.only_named for s in given],
        }
    # the template comes with its registration, whose loops an outline of the steps has no use for
    from qsmbids.core.anatomy.template import NUCLEI
    from qsmbids.io.template import template_regions

    regions = template_regions()
    return {
        "names": [TEMPLATE],
        "regions": [[tuple(region) for region in regions]],
        "only_named": [True],
        # the others keep clear of their borders already
        "thick": [[r.label for r in regions if r.name.rpartition("-")[0] in NUCLEI]],
    }


MEASURE_ROIS = Step(
    "measure_rois",
    "regions of interest",
    "qsmbids.interfaces.roi:MeasureRois",
    (0, 16),
    {
        "labels": "segmentation",
        "mask": "mask4_filled",
        "support": "support",
        "r2star": "r2star?",
        "errors": "chi_errors?",
        "error_factor": "chi_error_factor?",
        "reference_wholebrain": "mask4?",
        "reference_csf": "csf?",
        "reference_whitematter": "white_matter?",
        "reference_internalcapsule": "internal_capsule?",
        "reference_region": "region?",
    },
    inputs=_measured,
)


def _lesions(run: RunContext) -> dict[str, Any]:
    given = run.plan.lesions
    if given is None:  # the step is added for a plan with lesions alone
        return {}
    return {
        "segmentations": [str(given.image)],
        "spaces": [given.space],
        "regions": [[tuple(region) for region in given.regions]],
        "may_be_empty": True,
    }


BRING_LESIONS = Step(
    "bring_lesions",
    "given lesions",
    "qsmbids.interfaces.roi:BringSegmentation",
    (0, 30),
    BRING_SEGMENTATION.needs,
    {"given_lesions": "labels"},
    _lesions,
)
MEASURE_LESIONS = Step(
    "measure_lesions",
    "lesions",
    "qsmbids.interfaces.lesions:MeasureLesions",
    (0, 16),
    {"labels": "given_lesions", "mask": "mask4_filled", "support": "support"},
    inputs=lambda run: {"regions": _lesions(run).get("regions", [[]])[0]},
)
MEASURE_IMAGES = Step(
    "measure_images",
    "measures of the maps",
    "qsmbids.interfaces.quality:MeasureImages",
    (1, 20),
    {
        "chi": "chi",
        "support": "support",
        "total_field": "field",
        "local_field": "local_field",
        "noise": "field_noise",
        "magnitude": "combined_magnitude",
        "mask1": "mask1",
        "mask3": "mask3",
        "mask4": "mask4",
        "mask4_filled": "mask4_filled",
        "r2star": "r2star?",
        "unwrapped": "unwrapped_phase?",  # of a nonlinear fit no echo is unwrapped
        "wrapped": "prepared_phase",
    },
    {"image_measures": "values", "length_scale": "length_scale"},
    lambda run: {
        **echo_times(run),
        **b0(run),
        "centre_frequency_hz": run.centre_frequency,
    },
)
MEASURE_QUALITY = Step(
    "measure_quality",
    "quality measures",
    "qsmbids.interfaces.quality:MeasureQuality",
    (0, 0),
    {"values": "image_measures", "length_scale": "length_scale"},
    {"quality_table": "table"},
    # whose own findings are among the measures
    records=("check_phase", "check_sign", "invert_dipole_field"),
)
