"""Dipole inversion (Table S2.3)."""

from typing import Any

import numpy as np

from qsmbids.core.fansi import fansi
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.nifti import read_volume, write_volume


class _InvertDipoleFieldInputs(BaseInterfaceInputSpec):
    local_field = File(exists=True, mandatory=True, desc="[Hz]")
    weights = File(exists=True, mandatory=True, desc="data weights")
    mask = File(exists=True, mandatory=True, desc="Mask 4 without holes: support of chi")
    mask_holes = File(exists=True, mandatory=True, desc="Mask 4: where the data count")
    holes = traits.Enum("fill", "weight", usedefault=True)
    b0_direction = traits.List(traits.Float, mandatory=True, desc="along the voxel axes")
    centre_frequency = traits.Float(mandatory=True, desc="[Hz]")
    echo_time = traits.Float(mandatory=True, desc="last echo [s]")
    gradient_l1_penalty = traits.Float(5e-4, usedefault=True)
    gradient_consistency = traits.Float(0.05, usedefault=True)
    fidelity_consistency = traits.Float(1.0, usedefault=True)
    tolerance_percent = traits.Float(0.1, usedefault=True)
    maximum_iterations = traits.Int(400, usedefault=True)
    solver = traits.Enum("nonlinear", "linear", usedefault=True)
    linear_start = traits.Int(10, usedefault=True)
    regularisation_weight = traits.Str("vector-absolute", usedefault=True)
    weak_harmonic = traits.Bool(True, usedefault=True)
    harmonic_constraint = traits.Float(150.0, usedefault=True)
    harmonic_consistency = traits.Float(3.0, usedefault=True)
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _InvertDipoleFieldOutputs(RecordSpec):
    chi = File(exists=True, desc="[ppm], not referenced, 0 outside the mask")


class InvertDipoleField(Step):
    """FANSI total variation with weak harmonics (7.a, 7.b): ``core.fansi.fansi``."""

    input_spec = _InvertDipoleFieldInputs
    output_spec = _InvertDipoleFieldOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        field = read_volume(inputs.local_field)
        weights = read_volume(inputs.weights).array
        mask = read_volume(inputs.mask, np.uint8).array > 0
        data = (
            read_volume(inputs.mask_holes, np.uint8).array > 0
            if inputs.holes == "weight"
            else mask
        )
        result = fansi(
            field.array,
            mask,
            np.where(data, weights, np.float32(0)),
            field.voxel_size,
            inputs.b0_direction,
            centre_frequency_hz=inputs.centre_frequency,
            echo_time=inputs.echo_time,
            alpha1=inputs.gradient_l1_penalty,
            mu1=inputs.gradient_consistency,
            mu2=inputs.fidelity_consistency,
            tol=inputs.tolerance_percent,
            max_iter=inputs.maximum_iterations,
            weak_harmonic=inputs.weak_harmonic,
            beta=inputs.harmonic_constraint,
            muh=inputs.harmonic_consistency,
            nonlinear=inputs.solver == "nonlinear",
            linear_start=inputs.linear_start,
            regularisation_weight=inputs.regularisation_weight,
            n_threads=inputs.n_threads,
        )
        self._results["chi"] = str(
            write_volume(self._path(runtime, "chi.nii"), result.chi, field.affine)
        )
        parameters = {
            "GradientL1Penalty": inputs.gradient_l1_penalty,
            "GradientConsistency": inputs.gradient_consistency,
            "FidelityConsistency": inputs.fidelity_consistency,
            "TolerancePercent": inputs.tolerance_percent,
            "MaximumIterations": inputs.maximum_iterations,
            "Solver": inputs.solver,
            "Constraint": "tv",
            "LinearStart": inputs.linear_start,
            "RegularisationWeight": inputs.regularisation_weight,
            "WeakHarmonic": inputs.weak_harmonic,
            "HarmonicConstraint": inputs.harmonic_constraint,
            "HarmonicConsistency": inputs.harmonic_consistency,
            "EchoTime": inputs.echo_time,
            "Holes": inputs.holes,
        }
        end = f"after {result.n_iter} iterations (last update {result.update_percent:.3f} %)"
        self._results["record"] = record(
            f"FANSI {'converged' if result.converged else 'stopped'} {end}",
            warnings=["" if result.converged else f"FANSI did not converge, it stopped {end}"],
            DipoleInversion={
                "Name": "FANSI",
                "Parameters": parameters,
                "Iterations": result.n_iter,
                "LastUpdatePercent": float(result.update_percent),
                "Converged": bool(result.converged),
            },
        )
        return runtime
