"""Which interface, with which values, each method of the settings stands for."""

from typing import Any

from qsmbids.config import Settings
from qsmbids.interfaces.background import RemoveBackgroundVsharp
from qsmbids.interfaces.inversion import InvertFansi
from qsmbids.io.metadata import Acquisition

__all__ = ["background_removal", "dipole_inversion"]


def background_removal(settings: Settings, b0_direction: list[float], n_threads: int) -> Any:
    """Return the interface of the background removal that the settings name."""
    bfr = settings.background_field
    common = {
        "b0_direction": b0_direction,
        "remove_residual_b1_field": bfr.remove_residual_b1_field,
        "erode_before": bfr.erode_before,
        "erode_after": bfr.erode_after,
        "n_threads": n_threads,
    }
    return RemoveBackgroundVsharp(
        variant=bfr.vsharp_variant,
        maximum_radius=bfr.maximum_radius,
        minimum_radius=bfr.minimum_radius,
        truncation=bfr.truncation,
        refinements=bfr.refinements,
        rim_outlier=bfr.rim_outlier,
        **common,
    )


def dipole_inversion(
    settings: Settings,
    acquisition: Acquisition,
    b0_direction: list[float],
    holes: str,
    n_threads: int,
) -> Any:
    """Return the interface of the inversion that the settings name."""
    inv = settings.dipole_inversion
    common = {
        "b0_direction": b0_direction,
        "centre_frequency": float(acquisition.centre_frequency_hz),
        "holes": holes,
        "n_threads": n_threads,
    }
    return InvertFansi(
        echo_time=float(acquisition.echo_times[-1]),
        gradient_l1_penalty=inv.gradient_l1_penalty,
        gradient_consistency=inv.gradient_consistency,
        fidelity_consistency=inv.fidelity_consistency,
        tolerance_percent=inv.tolerance_percent,
        maximum_iterations=inv.maximum_iterations,
        solver=inv.solver,
        linear_start=inv.linear_start,
        regularisation_weight=inv.regularisation_weight,
        weak_harmonic=inv.weak_harmonic,
        harmonic_constraint=inv.harmonic_constraint,
        harmonic_consistency=inv.harmonic_consistency,
        **common,
    )
