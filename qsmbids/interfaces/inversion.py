"""Dipole inversion (Tables S2.3 and S2.4) and the merge of two of them (5.c)."""

from typing import Any

import numpy as np

from qsmbids.core.fansi import fansi
from qsmbids.core.two_pass import merge_two_pass
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.nifti import Volume, read_volume


class InversionInputSpec(BaseInterfaceInputSpec):
    """Inputs of every inversion."""

    local_field = File(exists=True, mandatory=True, desc="[Hz]")
    weights = File(exists=True, mandatory=True, desc="data weights")
    magnitude = File(exists=True, mandatory=True, desc="combined, for edges")
    mask = File(exists=True, mandatory=True, desc="Mask 4 without holes")
    mask_holes = File(exists=True, mandatory=True, desc="Mask 4")
    holes = traits.Enum(
        "fill",
        "weight",
        "leave",
        usedefault=True,
        desc="voxels of unreliable phase count as others, have no weight, or are left out",
    )
    b0_direction = traits.List(traits.Float, mandatory=True, desc="along the voxel axes")
    centre_frequency = traits.Float(mandatory=True, desc="[Hz]")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class InversionOutputSpec(RecordSpec):
    """Outputs of every inversion."""

    chi = File(exists=True, desc="[ppm], not referenced, 0 outside the support")
    support = File(exists=True, desc="where chi is known")


class Inversion(Step):
    """A dipole inversion: reads its input, calls ``_invert``, writes chi and its support."""

    output_spec = InversionOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        field = read_volume(inputs.local_field)
        weights = read_volume(inputs.weights).array
        filled = read_volume(inputs.mask, np.uint8).array > 0
        reliable = read_volume(inputs.mask_holes, np.uint8).array > 0
        if inputs.holes == "weight":
            weights = np.where(reliable, weights, np.float32(0))
        support = reliable if inputs.holes == "leave" else filled
        chi, support, said = self._invert(field, weights, support)
        self._write(runtime, field.affine, chi=chi, support=support)
        self._results["record"] = said
        return runtime

    def _invert(
        self, field: Volume, weights: Any, support: Any
    ) -> tuple[Any, Any, dict[str, Any]]:
        """Return chi [ppm], where it is known, and the record."""
        raise NotImplementedError


class _InvertFansiInputs(InversionInputSpec):
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


class InvertFansi(Inversion):
    """FANSI total variation with weak harmonics (7.a, 7.b): ``core.fansi.fansi``."""

    input_spec = _InvertFansiInputs

    def _invert(
        self, field: Volume, weights: Any, support: Any
    ) -> tuple[Any, Any, dict[str, Any]]:
        inputs = self.inputs
        result = fansi(
            field.array,
            support,
            weights,
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
        said = record(
            f"FANSI {'converged' if result.converged else 'stopped'} {end}",
            warnings=["" if result.converged else f"FANSI did not converge, it stopped {end}"],
            EstimationAlgorithm="FANSI",
            EstimationReference="https://doi.org/10.1002/mrm.27483",
            DipoleInversion={
                "Name": "FANSI",
                "Parameters": parameters,
                "Iterations": result.n_iter,
                "LastUpdatePercent": float(result.update_percent),
                "Converged": bool(result.converged),
            },
        )
        return result.chi, support, said


class _MergeTwoPassInputs(BaseInterfaceInputSpec):
    chi_holes = File(exists=True, mandatory=True, desc="[ppm], of reliable phase alone")
    chi_filled = File(exists=True, mandatory=True, desc="[ppm], of all voxels")
    support_holes = File(exists=True, mandatory=True)
    support_filled = File(exists=True, mandatory=True)


class _MergeTwoPassOutputs(InversionOutputSpec):
    from_filled = File(exists=True, desc="voxels whose value is of the inversion without holes")


class MergeTwoPass(Step):
    """Reliable tissue from one inversion, the rest from the other: ``core.two_pass``."""

    input_spec = _MergeTwoPassInputs
    output_spec = _MergeTwoPassOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        first, second = read_volume(inputs.chi_holes), read_volume(inputs.chi_filled)
        filled = read_volume(inputs.support_filled, np.uint8).array > 0
        reliable = (read_volume(inputs.support_holes, np.uint8).array > 0) & filled
        merged = merge_two_pass(first.array, second.array, reliable, filled)
        self._write(
            runtime,
            first.affine,
            chi=merged.chi,
            support=filled,
            from_filled=merged.from_filled,
        )
        n_voxels = int(np.count_nonzero(merged.from_filled))
        self._results["record"] = record(
            f"two-pass merge: {n_voxels} voxels"
            f" ({n_voxels * float(np.prod(first.voxel_size)) / 1000:.2f} ml) from the inversion"
            f" without holes, less {merged.offset:+.6f} ppm",
            TwoPass={"VoxelsFromFilled": n_voxels, "OffsetPpm": merged.offset},
        )
        return runtime
