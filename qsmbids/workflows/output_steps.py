"""The steps behind the outputs, as far as a graph has them, each chain longer than the last."""

__all__ = ["CHI", "FIELD", "LOCAL", "MASK3", "PHASE", "TISSUE", "UNWRAPPED"]

PHASE = ("prepare_phase", "mask1", "check_phase", "correct_readout")
UNWRAPPED = (*PHASE, "remove_phase_offset", "unwrap_phase", "rate_phase", "given_phase")
FIELD = (*UNWRAPPED, "given_field", "combine_echoes")
MASK3 = (*FIELD, "map_r2star", "weight_data", "mask2", "mask3")
LOCAL = (*MASK3, "straighten_slab", "remove_background_field", "given_local_field")
TISSUE = (*LOCAL, "invert_dipole_field", "set_aside_strong_sources", "invert_tissue_field")
CHI = (*TISSUE, "merge_two_pass")
