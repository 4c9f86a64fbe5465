"""Every step of the pipeline: what it needs, provides, is called and weighs."""

from qsmbids.workflows.graph import step_memory_gb
from qsmbids.workflows.steps import chi, field, values

__all__ = ["INTERFACES", "STEPS", "STEP_TITLES", "run_memory_gb"]

#: In the order of the pipeline; where several can take one place, they share its name.
STEPS = (
    field.PREPARE_MAGNITUDE,
    field.PREPARE_PHASE,
    field.FIT_R2STAR,
    field.BET,
    field.MASK1,
    field.GUIDE_MASK1,
    field.MAP_R2STAR,
    field.CHECK_PHASE,
    field.CORRECT_READOUT,
    field.REMOVE_PHASE_OFFSET,
    field.UNWRAP_PHASE,
    field.RATE_PHASE,
    field.GIVEN_PHASE,
    field.GIVEN_FIELD,
    field.COMBINE_ECHOES,
    field.WEIGHT_DATA,
    chi.MASK2,
    chi.MASK3,
    chi.FIND_UNSURE_RIM,
    chi.ALIGN_SLICES,
    chi.FLATTEN_OFFSET,
    chi.FIND_FLUID,
    chi.GIVEN_LOCAL_FIELD,
    chi.STRAIGHTEN_SLAB,
    chi.REMOVE_BACKGROUND_FIELD,
    chi.INVERT_DIPOLE_FIELD,
    chi.RESTORE_SLAB,
    chi.SET_ASIDE_STRONG_SOURCES,
    chi.INVERT_TISSUE_FIELD,
    chi.MERGE_TWO_PASS,
    values.FIND_CSF,
    values.FIT_TEMPLATE,
    values.PLACE_REGIONS,
    values.GIVEN_REGION,
    values.REFERENCE_CHI,
    values.REFERENCE_CHI_CSF,
    values.REFERENCE_CHI_WHITE_MATTER,
    values.REFERENCE_CHI_CAPSULE,
    values.REFERENCE_CHI_REGION,
    values.DESCRIBE_REFERENCES,
    values.CHECK_SIGN,
    values.WEIGHT_BY_PHASE,
    values.WEIGHT_BY_CHI,
    values.REGISTER_T1W,
    values.BRING_SEGMENTATION,
    values.MEASURE_ROIS,
    values.BRING_LESIONS,
    values.MEASURE_LESIONS,
    values.MEASURE_IMAGES,
    values.MEASURE_QUALITY,
)

#: Node name to what a person reads.
STEP_TITLES = {step.name: step.title for step in STEPS}

#: Modules of the package that have the interfaces of the steps.
INTERFACES = tuple(
    sorted({s.interface.partition(":")[0] for s in STEPS if s.interface.startswith("qsmbids.")})
)


def run_memory_gb(n_voxels: int, n_echoes: int) -> float:
    """Return the estimate [GB] of the most demanding step of a run."""
    return max(step_memory_gb(step, n_voxels, n_echoes) for step in STEPS)
