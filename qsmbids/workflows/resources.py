"""Memory that each step needs, from the size of its images."""

__all__ = ["run_memory_gb", "step_memory_gb"]

#: A worker with its libraries and compiled loops [GB].
_BASE_GB = 0.35

#: step: (volumes per echo, volumes in all), each of 4 bytes a voxel; measured maxima, rounded up.
_VOLUMES = {
    "prepare_phase": (3, 4),
    "bet": (0, 8),
    "mask1": (0, 8),
    "map_r2star": (1, 6),
    "check_phase": (2, 6),
    "correct_readout": (3, 10),
    "remove_phase_offset": (3, 10),
    "unwrap_phase": (3, 14),
    "combine_echoes": (2, 14),
    "rate_phase": (2, 10),
    "given_phase": (2, 4),
    "given_field": (0, 6),
    "weight_data": (2, 8),
    "mask2": (0, 5),
    "mask3": (0, 6),
    "given_local_field": (0, 8),
    "straighten_slab": (0, 16),
    "remove_background_field": (0, 16),
    "invert_dipole_field": (0, 28),
    "restore_slab": (0, 16),
    "set_aside_strong_sources": (0, 24),
    "invert_tissue_field": (0, 28),
    "merge_two_pass": (0, 8),
    "find_csf": (0, 10),
    "find_fluid": (0, 10),
    "given_region": (0, 4),
    "reference_chi": (0, 6),
    "reference_chi_csf": (0, 6),
    "reference_chi_region": (0, 6),
    "describe_references": (0, 6),
    "check_sign": (0, 8),
    "weight_by_phase": (0, 14),
    "weight_by_chi": (0, 14),
    "register_t1w": (0, 50),
    "bring_segmentation": (0, 30),
    "measure_rois": (0, 16),
    "measure_quality": (1, 20),
}


def step_memory_gb(step: str, n_voxels: int, n_echoes: int) -> float:
    """Return an upper estimate of the memory [GB] of one step."""
    per_echo, fixed = _VOLUMES[step]
    return round(_BASE_GB + 4e-9 * n_voxels * (per_echo * n_echoes + fixed), 3)


def run_memory_gb(n_voxels: int, n_echoes: int) -> float:
    """Return the estimate [GB] of the most demanding step of a run."""
    return max(step_memory_gb(step, n_voxels, n_echoes) for step in _VOLUMES)
