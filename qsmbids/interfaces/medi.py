"""Dipole inversion with MEDI (Table S2.4)."""

from typing import Any

import numpy as np

from qsmbids.core.inversion.medi import medi
from qsmbids.interfaces.base import File, record, traits
from qsmbids.interfaces.inversion import Inversion, InversionInputSpec
from qsmbids.io.nifti import Volume, read_volume

__all__ = ["InvertMedi"]


class _InvertMediInputs(InversionInputSpec):
    echo_spacing = traits.Float(mandatory=True, desc="[s]; the echo time of a single echo")
    fluid = File(exists=True, desc="cerebrospinal fluid, for MEDI+0")
    lambda_ = traits.Float(2000.0, usedefault=True)
    data_weighting = traits.Enum("snr", "none", usedefault=True)
    edge_percentage = traits.Float(90.0, usedefault=True)
    smv_radius_mm = traits.Float(5.0, usedefault=True)
    merit = traits.Bool(True, usedefault=True)
    zero_reference = traits.Bool(False, usedefault=True)
    fluid_lambda = traits.Float(100.0, usedefault=True)
    maximum_steps = traits.Int(10, usedefault=True)
    tolerance = traits.Float(0.1, usedefault=True)
    padding = traits.Enum("auto", "none", usedefault=True)
    preconditioner = traits.Bool(True, usedefault=True)


class InvertMedi(Inversion):
    """Morphology enabled dipole inversion (7.a, 7.b): ``core.inversion.medi.medi``."""

    input_spec = _InvertMediInputs

    def _invert(
        self, field: Volume, weights: Any, support: Any
    ) -> tuple[Any, Any, dict[str, Any]]:
        inputs = self.inputs
        if inputs.data_weighting == "none":
            weights = np.where(weights > 0, np.float32(1), np.float32(0))
        fluid, missing = None, ""
        if inputs.zero_reference:
            if isinstance(inputs.fluid, str):
                fluid = (read_volume(inputs.fluid, np.uint8).array > 0) & support
            if fluid is None or not fluid.any():
                fluid, missing = None, "MEDI+0 found no cerebrospinal fluid and is plain MEDI"
        result = medi(
            field.array,
            support,
            weights,
            read_volume(inputs.magnitude).array,
            field.adult_voxel_size,
            inputs.b0_direction,
            centre_frequency=inputs.centre_frequency,
            echo_spacing=inputs.echo_spacing,
            data_weight=inputs.lambda_,
            edge_percentage=inputs.edge_percentage,
            smv_radius_mm=inputs.smv_radius_mm,
            merit=inputs.merit,
            fluid=fluid,
            fluid_weight=inputs.fluid_lambda,
            maximum_steps=inputs.maximum_steps,
            tolerance=inputs.tolerance,
            margin=None if inputs.padding == "none" else "auto",
            preconditioner=inputs.preconditioner,
            n_threads=inputs.n_threads,
        )
        name = "MEDI+0" if fluid is not None else "MEDI"
        parameters = {
            "RegularisationFrom": inputs.regularisation_from,
            "MediLambda": inputs.lambda_,
            "MediDataWeighting": inputs.data_weighting,
            "MediEdgePercentage": inputs.edge_percentage,
            "MediSmvRadiusMm": inputs.smv_radius_mm,
            "MediMerit": inputs.merit,
            "MediZeroReference": fluid is not None,
            "MediFluidLambda": inputs.fluid_lambda,
            "MediMaximumSteps": inputs.maximum_steps,
            "MediTolerance": inputs.tolerance,
            "MediPadding": inputs.padding,
            "MediPreconditioner": inputs.preconditioner,
            "EchoSpacing": inputs.echo_spacing,
            "Holes": inputs.holes,
        }
        kept = np.count_nonzero(result.mask) / max(1, np.count_nonzero(support))
        end = f"after {result.n_steps} steps ({result.n_cg_steps} conjugate gradient steps)"
        said = record(
            f"{name} {'converged' if result.converged else 'stopped'} {end}; the map covers"
            f" {100 * kept:.1f} % of its mask",
            warnings=[
                "" if result.converged else f"{name} did not converge, it stopped {end}",
                missing,
            ],
            EstimationAlgorithm=name,
            EstimationReference="https://doi.org/10.1002/mrm.22816",
            DipoleInversion={
                "Name": name,
                "Parameters": parameters,
                "Steps": result.n_steps,
                "ConjugateGradientSteps": result.n_cg_steps,
                "EdgeThreshold": float(result.edge_threshold),
                "EdgesPerVoxel": float(result.edge_fraction),
                "Coverage": kept,
                "Converged": bool(result.converged),
            },
        )
        return result.chi, result.mask, said
