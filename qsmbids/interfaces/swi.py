"""Susceptibility-weighted images from the field and from the susceptibility map."""

from typing import Any

import numpy as np

from qsmbids.core.field.swi import (
    even_magnitude,
    high_pass,
    minimum_projection,
    phase_mask,
    slab_slices,
    susceptibility_mask,
)
from qsmbids.errors import InputError
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.nifti import Volume, read_volume

_AXES = ("first", "second", "third")


class _WeightedInputs(BaseInterfaceInputSpec):
    magnitude = File(exists=True, mandatory=True, desc="combined over the echoes")
    mask = File(exists=True, mandatory=True, desc="where the image is wanted")
    bias_mm = traits.Float(16.0, usedefault=True, desc="smoothing of the receive bias [mm]")
    projection_mm = traits.Float(10.0, usedefault=True, desc="slab of the projection [mm]")
    slice_axis = traits.Range(low=0, high=2, value=2, usedefault=True)
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _WeightedOutputs(RecordSpec):
    image = File(exists=True, desc="weighted magnitude, about 1 in tissue, 0 outside the mask")
    projection = File(exists=True, desc="its running minimum over a slab")


class _Weighted(Step):
    """An even magnitude times a factor, and the minimum projection of the product."""

    output_spec = _WeightedOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        magnitude = read_volume(inputs.magnitude)
        mask = read_volume(inputs.mask, np.uint8).array > 0
        try:
            image = even_magnitude(
                magnitude.array,
                mask,
                magnitude.adult_voxel_size,
                smoothing_mm=inputs.bias_mm,
                n_threads=inputs.n_threads,
            )
        except ValueError as error:
            raise InputError(f"cannot be weighted ({error})", inputs.magnitude) from error
        factor, name, parameters, reference = self._factor(magnitude, mask)
        image *= factor
        lowest = minimum_projection(
            image,
            mask,
            magnitude.adult_voxel_size,
            thickness_mm=inputs.projection_mm,
            slice_axis=inputs.slice_axis,
        )
        self._write(runtime, magnitude.affine, image=image, projection=lowest)
        spacing = float(magnitude.adult_voxel_size[inputs.slice_axis])
        n_slices = slab_slices(spacing, inputs.projection_mm)
        self._results["record"] = record(
            f"{name}: minimum over {n_slices} slices ({n_slices * spacing:.3g} mm) along the"
            f" {_AXES[inputs.slice_axis]} voxel axis",
            EstimationAlgorithm=name,
            EstimationReference=reference,
            SusceptibilityWeighting={
                "Name": name,
                "DarkFor": "paramagnetic sources",
                "Parameters": {
                    **parameters,
                    "BiasMm": inputs.bias_mm,
                    "ProjectionMm": inputs.projection_mm,
                },
                "ProjectionSlices": n_slices,
                "SliceAxis": inputs.slice_axis,
            },
        )
        return runtime

    def _factor(self, magnitude: Volume, mask: Any) -> tuple[Any, str, dict[str, float], str]:
        """Return the factor of the magnitude, its name, parameters and reference."""
        raise NotImplementedError


class _WeightByPhaseInputs(_WeightedInputs):
    field = File(exists=True, mandatory=True, desc="total field, unwrapped [Hz]")
    high_pass_mm = traits.Float(4.0, usedefault=True, desc="Gaussian of the filter [mm]")
    phase_strength = traits.Float(4.0, usedefault=True)


class WeightByPhase(_Weighted):
    """Susceptibility-weighted image from the unwrapped field: ``core.field.swi``."""

    input_spec = _WeightByPhaseInputs

    def _factor(self, magnitude: Volume, mask: Any) -> tuple[Any, str, dict[str, float], str]:
        inputs = self.inputs
        local = high_pass(
            read_volume(inputs.field).array,
            mask,
            magnitude.adult_voxel_size,
            smoothing_mm=inputs.high_pass_mm,
            slice_axis=inputs.slice_axis,
        )
        factor = phase_mask(local, mask, strength=inputs.phase_strength)
        parameters = {"HighPassMm": inputs.high_pass_mm, "PhaseStrength": inputs.phase_strength}
        reference = "https://doi.org/10.1016/j.neuroimage.2021.118175"
        return factor, "susceptibility-weighted image", parameters, reference


class _WeightByChiInputs(_WeightedInputs):
    chi = File(exists=True, mandatory=True, desc="referenced [ppm], 0 outside its support")
    chi_limit_ppm = traits.Float(1.0, usedefault=True, desc="[ppm]")
    chi_power = traits.Float(4.0, usedefault=True)


class WeightByChi(_Weighted):
    """Susceptibility map-weighted image: ``core.field.swi``."""

    input_spec = _WeightByChiInputs

    def _factor(self, magnitude: Volume, mask: Any) -> tuple[Any, str, dict[str, float], str]:
        inputs = self.inputs
        limit, power = inputs.chi_limit_ppm, inputs.chi_power
        factor = susceptibility_mask(read_volume(inputs.chi).array, limit_ppm=limit, power=power)
        parameters = {"ChiLimitPpm": limit, "ChiPower": power}
        reference = "https://doi.org/10.1002/mrm.24920"
        return factor, "susceptibility map-weighted image", parameters, reference
