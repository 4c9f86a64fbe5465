"""Dipole inversion with FANSI (Table S2.3)."""

from typing import Any

from qsmbids.core.inversion.adaptive_weight import adaptive_weight
from qsmbids.core.inversion.fansi import fansi
from qsmbids.core.inversion.tgv import LINEAR_START, tgv
from qsmbids.interfaces.base import record, traits
from qsmbids.interfaces.inversion import Inversion, InversionInputSpec
from qsmbids.io.nifti import Volume

__all__ = ["InvertFansi"]


class _InvertFansiInputs(InversionInputSpec):
    echo_time = traits.Float(mandatory=True, desc="last echo [s]")
    regularisation = traits.Enum("fixed", "adaptive", usedefault=True)
    gradient_l1_penalty = traits.Float(5e-4, usedefault=True)
    gradient_consistency = traits.Float(0.05, usedefault=True)
    fidelity_consistency = traits.Float(1.0, usedefault=True)
    tolerance_percent = traits.Float(0.1, usedefault=True)
    maximum_iterations = traits.Int(400, usedefault=True)
    solver = traits.Enum("nonlinear", "linear", usedefault=True)
    start = traits.Enum("least-squares", "zero", usedefault=True)
    constraint = traits.Enum("tv", "tgv", usedefault=True)
    tgv_ratio = traits.Float(2.0, usedefault=True)
    iterations = traits.Enum("joint", "alternating", usedefault=True)
    regularisation_weight = traits.Str("vector-absolute", usedefault=True)
    weak_harmonic = traits.Bool(True, usedefault=True)
    harmonic_constraint = traits.Float(150.0, usedefault=True)
    harmonic_consistency = traits.Float(3.0, usedefault=True)


class InvertFansi(Inversion):
    """FANSI total variation with weak harmonics (7.a, 7.b): ``core.inversion.fansi.fansi``."""

    input_spec = _InvertFansiInputs

    def _invert(
        self, field: Volume, weights: Any, support: Any
    ) -> tuple[Any, Any, dict[str, Any]]:
        inputs = self.inputs
        alpha1, mu1, rule = inputs.gradient_l1_penalty, inputs.gradient_consistency, ""
        if inputs.regularisation == "adaptive":
            found = adaptive_weight(
                field.array,
                support,
                weights,
                field.adult_voxel_size,
                inputs.b0_direction,
                centre_frequency=inputs.centre_frequency,
                echo_time=inputs.echo_time,
                weak_harmonic=inputs.weak_harmonic,
                nonlinear=inputs.solver == "nonlinear",
                regularisation_weight=inputs.regularisation_weight,
                start=inputs.start,
                n_threads=inputs.n_threads,
            )
            alpha1, mu1, rule = found.gradient_l1_penalty, found.gradient_consistency, found.rule
        common = {
            "centre_frequency": inputs.centre_frequency,
            "echo_time": inputs.echo_time,
            "gradient_l1_penalty": alpha1,
            "gradient_consistency": mu1,
            "fidelity_consistency": inputs.fidelity_consistency,
            "tolerance_percent": inputs.tolerance_percent,
            "maximum_iterations": inputs.maximum_iterations,
            "nonlinear": inputs.solver == "nonlinear",
            "n_threads": inputs.n_threads,
        }
        volumes = (field.array, support, weights, field.adult_voxel_size, inputs.b0_direction)
        if inputs.constraint == "tgv":
            result = tgv(
                *volumes,
                tgv_ratio=inputs.tgv_ratio,
                linear_start=0 if inputs.start == "zero" else LINEAR_START,
                **common,
            )
        else:
            result = fansi(
                *volumes,
                weak_harmonic=inputs.weak_harmonic,
                harmonic_constraint=inputs.harmonic_constraint,
                harmonic_consistency=inputs.harmonic_consistency,
                regularisation_weight=inputs.regularisation_weight,
                start=inputs.start,
                iterations=inputs.iterations,
                **common,
            )
        parameters = {
            "Regularisation": inputs.regularisation,
            "RegularisationFrom": inputs.regularisation_from,
            "GradientL1Penalty": alpha1,
            "GradientConsistency": mu1,
            "FidelityConsistency": inputs.fidelity_consistency,
            "TolerancePercent": inputs.tolerance_percent,
            "MaximumIterations": inputs.maximum_iterations,
            "Solver": inputs.solver,
            "Constraint": inputs.constraint,
            "TgvRatio": inputs.tgv_ratio,
            "Start": inputs.start,
            "Scheme": inputs.iterations,
            "RegularisationWeight": inputs.regularisation_weight,
            "WeakHarmonic": inputs.weak_harmonic and inputs.constraint == "tv",
            "HarmonicConstraint": inputs.harmonic_constraint,
            "HarmonicConsistency": inputs.harmonic_consistency,
            "EchoTime": inputs.echo_time,
            "Holes": inputs.holes,
        }
        end = f"after {result.n_iterations} iterations (last update {result.update_percent:.3f} %)"
        said = record(
            f"penalty from the noise: {rule}" if rule else "",
            f"data of {result.n_turned} voxels moved by whole turns" if result.n_turned else "",
            f"FANSI {'converged' if result.converged else 'stopped'} {end}",
            warnings=["" if result.converged else f"FANSI did not converge, it stopped {end}"],
            EstimationAlgorithm="FANSI",
            EstimationReference="https://doi.org/10.1002/mrm.27483",
            DipoleInversion={
                "Name": "FANSI",
                "Parameters": parameters,
                "Iterations": result.n_iterations,
                "LastUpdatePercent": float(result.update_percent),
                "Converged": bool(result.converged),
                "TurnedVoxels": result.n_turned,
            },
        )
        return result.chi, support, said
