"""Which interface, with which values, each method of the settings stands for."""

from typing import Any

from qsmbids.config import Settings
from qsmbids.interfaces.background import (
    RemoveBackgroundIsmv,
    RemoveBackgroundLbv,
    RemoveBackgroundPdf,
    RemoveBackgroundResharp,
    RemoveBackgroundVsharp,
)
from qsmbids.interfaces.fansi import InvertFansi
from qsmbids.interfaces.medi import InvertMedi
from qsmbids.interfaces.quick_inversion import InvertL2, InvertTkd
from qsmbids.interfaces.reference import FindCsf
from qsmbids.io.metadata import Acquisition

__all__ = ["background_removal", "csf_finder", "dipole_inversion"]

#: Method: interface, and its inputs with the settings they take.
BACKGROUND: dict[str, tuple[Any, dict[str, str]]] = {
    "vsharp": (
        RemoveBackgroundVsharp,
        {
            "variant": "vsharp_variant",
            "maximum_radius": "maximum_radius",
            "minimum_radius": "minimum_radius",
            "truncation": "truncation",
            "refinements": "refinements",
            "rim_outlier": "rim_outlier",
        },
    ),
    "pdf": (
        RemoveBackgroundPdf,
        {
            "padding_mm": "pdf_padding_mm",
            "tissue": "pdf_tissue",
            "tolerance": "pdf_tolerance",
            "maximum_iterations": "pdf_maximum_iterations",
        },
    ),
    "lbv": (RemoveBackgroundLbv, {"peel": "lbv_peel", "tolerance": "lbv_tolerance"}),
    "resharp": (
        RemoveBackgroundResharp,
        {
            "radius": "resharp_radius",
            "alpha": "resharp_alpha",
            "tolerance": "resharp_tolerance",
        },
    ),
    "ismv": (RemoveBackgroundIsmv, {"radius": "ismv_radius", "tolerance": "ismv_tolerance"}),
}
INVERSION: dict[str, tuple[Any, dict[str, str]]] = {
    "fansi": (
        InvertFansi,
        {
            "regularisation": "regularisation",
            "gradient_l1_penalty": "gradient_l1_penalty",
            "gradient_consistency": "gradient_consistency",
            "fidelity_consistency": "fidelity_consistency",
            "tolerance_percent": "tolerance_percent",
            "maximum_iterations": "maximum_iterations",
            "solver": "solver",
            "constraint": "constraint",
            "tgv_ratio": "tgv_ratio",
            "start": "start",
            "iterations": "iterations",
            "regularisation_weight": "regularisation_weight",
            "weak_harmonic": "weak_harmonic",
            "harmonic_constraint": "harmonic_constraint",
            "harmonic_consistency": "harmonic_consistency",
        },
    ),
    "medi": (
        InvertMedi,
        {
            "lambda_": "medi_lambda",
            "data_weighting": "medi_data_weighting",
            "edge_percentage": "medi_edge_percentage",
            "smv_radius_mm": "medi_smv_radius_mm",
            "merit": "medi_merit",
            "zero_reference": "medi_zero_reference",
            "fluid_lambda": "medi_fluid_lambda",
            "maximum_steps": "medi_maximum_steps",
            "tolerance": "medi_tolerance",
            "padding": "medi_padding",
            "preconditioner": "medi_preconditioner",
        },
    ),
    "tkd": (InvertTkd, {"threshold": "tkd_threshold"}),
    "l2": (InvertL2, {"lambda_": "l2_lambda"}),
}


def background_removal(settings: Settings, b0_direction: list[float], n_threads: int) -> Any:
    """Return the interface of the background removal that the settings name."""
    chosen = settings.background_field
    interface, inputs = BACKGROUND[chosen.method]
    return interface(
        b0_direction=b0_direction,
        remove_residual_b1_field=chosen.remove_residual_b1_field,
        erode_before=chosen.erode_before,
        erode_after=chosen.erode_after,
        n_threads=n_threads,
        **{name: getattr(chosen, setting) for name, setting in inputs.items()},
    )


def dipole_inversion(
    settings: Settings,
    acquisition: Acquisition,
    b0_direction: list[float],
    holes: str,
    n_threads: int,
) -> Any:
    """Return the interface of the inversion that the settings name."""
    chosen = settings.dipole_inversion
    interface, inputs = INVERSION[chosen.method]
    times = [float(t) for t in acquisition.echo_times]
    spacing = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else times[0]
    needed = {"fansi": {"echo_time": times[-1]}, "medi": {"echo_spacing": spacing}}
    return interface(
        b0_direction=b0_direction,
        centre_frequency=float(acquisition.centre_frequency_hz),
        holes=holes,
        regularisation_from=chosen.regularisation_from,
        n_threads=n_threads,
        **needed.get(chosen.method, {}),
        **{name: getattr(chosen, setting) for name, setting in inputs.items()},
    )


def csf_finder(settings: Settings) -> FindCsf:
    """Return the interface that finds the fluid of the ventricles."""
    chosen = settings.reference
    return FindCsf(
        r2star_threshold=chosen.csf_r2star_threshold,
        centre_radius_mm=chosen.csf_centre_radius_mm,
        smallest_volume_ml=chosen.csf_smallest_volume_ml,
        largest_volume_ml=chosen.csf_largest_volume_ml,
    )
