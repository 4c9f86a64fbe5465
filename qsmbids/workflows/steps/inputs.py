"""Inputs that several steps take from the context."""

from typing import Any

from qsmbids.workflows.graph import RunContext

__all__ = ["IMAGE", "b0", "csf", "echo_times"]

#: The magnitude of the echoes and Mask 1.
IMAGE = {"magnitude": "magnitude", "mask": "mask1"}


def echo_times(run: RunContext) -> dict[str, Any]:
    """Return the echo times [s]."""
    return {"echo_times": run.echo_times}


def b0(run: RunContext) -> dict[str, Any]:
    """Return the direction of B0 along the axes of the array."""
    return {"b0_direction": run.b0_direction}


def csf(run: RunContext) -> dict[str, Any]:
    """Return the settings of the fluid of the ventricles."""
    chosen = run.settings.reference
    return {
        "r2star_threshold": chosen.csf_r2star_threshold,
        "centre_radius_mm": chosen.csf_centre_radius_mm,
        "smallest_volume_ml": chosen.csf_smallest_volume_ml,
        "largest_volume_ml": chosen.csf_largest_volume_ml,
    }
