"""Dipole inversion (7.a, 7.b), and the merge of two of them (5.c)."""

from typing import Any

import numpy as np

from qsmbids.core.inversion.two_pass import STRONG_PPM, merge_two_pass, set_aside
from qsmbids.core.masks.wrong_turns import find_wrong_turns
from qsmbids.core.maths.arrays import Mask
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    settings_record,
    traits,
)
from qsmbids.io.compiling import loops_of
from qsmbids.io.nifti import Volume, read_volume
from qsmbids.methods.background_field import BACKGROUND
from qsmbids.methods.dipole_inversion import INVERSION
from qsmbids.methods.inversion.data import InversionData


class _InvertDipoleFieldInputs(BaseInterfaceInputSpec):
    local_field = File(exists=True, mandatory=True, desc="[Hz]")
    weights = File(exists=True, mandatory=True, desc="data weights")
    magnitude = File(exists=True, mandatory=True, desc="combined, for edges")
    r2star = File(exists=True, desc="[1/s], for edges, for a method that asks for it")
    mask = File(exists=True, mandatory=True, desc="Mask 4 without holes")
    mask_holes = File(exists=True, mandatory=True, desc="Mask 4")
    fluid = File(exists=True, desc="cerebrospinal fluid, for a method that asks for it")
    method = traits.Enum(*INVERSION, mandatory=True)
    settings = traits.Dict(mandatory=True, desc="of the method")
    holes = traits.Enum(
        "fill",
        "weight",
        usedefault=True,
        desc="voxels of unreliable phase count as others, or have no weight",
    )
    b0_direction = traits.List(traits.Float, mandatory=True, desc="along the voxel axes")
    centre_frequency = traits.Float(mandatory=True, desc="[Hz]")
    echo_times = traits.List(traits.Float, mandatory=True, desc="[s]")
    regularisation_from = traits.Str("", usedefault=True, desc="of its strength, for the record")
    removal = traits.Dict(
        usedefault=True,
        desc="method and settings of the background removal, where what it took may be put back",
    )
    uncertainty = traits.Bool(False, usedefault=True, desc="whether its error is wanted")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _InvertDipoleFieldOutputs(RecordSpec):
    chi = File(exists=True, desc="[ppm], not referenced, 0 outside the support")
    support = File(exists=True, desc="where chi is known")


class _InvertDipoleFieldWithErrorOutputs(_InvertDipoleFieldOutputs):
    standard_error = File(exists=True, desc="of chi [ppm], where it was wanted")
    errors = traits.List(File(exists=True), desc="simulated ones [ppm], likewise")
    error_factor = traits.Float(desc="how many times those the errors of chi are")


class InvertDipoleField(Step):
    """Dipole inversion by the method of the settings (7.a, 7.b): ``methods.inversion``."""

    input_spec = _InvertDipoleFieldInputs
    output_spec = _InvertDipoleFieldWithErrorOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        method = INVERSION[inputs.method]
        settings = method.settings(**inputs.settings)
        field = read_volume(inputs.local_field)
        data, n_off = self._input(field)
        with loops_of("inversion"):
            result = method.compute(data, settings)
        self._write(runtime, field.affine, chi=result.chi, support=result.support)
        if result.standard_error is not None and result.errors is not None:
            self._write(
                runtime, field.affine, standard_error=result.standard_error, errors=result.errors
            )
            self._results["error_factor"] = result.error_factor
        title = result.title or method.title
        strength = {"RegularisationFrom": inputs.regularisation_from} if method.strength else {}
        error = {"Uncertainty": inputs.uncertainty} if method.uncertain else {}
        self._results["record"] = record(
            *result.decisions,
            f"{n_off} voxels of unreliable phase are about a turn of the phase off those around"
            " them: they have no weight in the inversion"
            if n_off
            else "",
            warnings=result.warnings,
            EstimationAlgorithm=title,
            EstimationReference=method.doi,
            DipoleInversion={
                "Name": title,
                "Parameters": {
                    **strength,
                    **settings_record(settings),
                    **result.parameters,
                    "Holes": inputs.holes,
                    **error,
                },
                "VoxelsTurnsOff": n_off,
                **result.facts,
            },
        )
        return runtime

    def _input(self, field: Volume) -> tuple[InversionData, int]:
        """Read what every inversion gets, and count the voxels whose phase is turns off."""
        inputs = self.inputs
        weights = read_volume(inputs.weights).array
        support = read_volume(inputs.mask, np.uint8).array > 0
        reliable = read_volume(inputs.mask_holes, np.uint8).array > 0
        off = find_wrong_turns(field.array, support, reliable, weights, inputs.echo_times)
        if off.any():
            weights = np.where(off, np.float32(0), weights)
        if inputs.holes == "weight":
            weights = np.where(reliable, weights, np.float32(0))
        fluid = None
        if isinstance(inputs.fluid, str):
            fluid = (read_volume(inputs.fluid, np.uint8).array > 0) & support
        r2star = read_volume(inputs.r2star).array if isinstance(inputs.r2star, str) else None
        data = InversionData(
            field=field.array,
            support=support,
            weights=weights,
            magnitude=read_volume(inputs.magnitude).array,
            r2star=r2star,
            voxel_size=field.adult_voxel_size,
            b0_direction=inputs.b0_direction,
            centre_frequency=inputs.centre_frequency,
            echo_times=inputs.echo_times,
            fluid=fluid,
            removal=self._removal(support, field),
            uncertainty=inputs.uncertainty,
            n_threads=inputs.n_threads,
        )
        return data, int(np.count_nonzero(off))

    def _removal(self, support: Mask, field: Volume) -> Any:
        """Return the background removal as a linear map, where what it took can be put back."""
        if not self.inputs.removal:
            return None
        method = BACKGROUND[self.inputs.removal["method"]]
        if method.again is None:
            raise ValueError(f"{method.name} leaves nothing to be put back")
        settings = method.settings(**self.inputs.removal["settings"])
        return method.again(settings, support, field.adult_voxel_size, self.inputs.n_threads)


class _SetAsideInputs(BaseInterfaceInputSpec):
    local_field = File(exists=True, mandatory=True, desc="[Hz]")
    chi = File(exists=True, mandatory=True, desc="[ppm], of all voxels")
    support = File(exists=True, mandatory=True, desc="where that is known")
    mask_holes = File(exists=True, mandatory=True, desc="Mask 4")
    b0_direction = traits.List(traits.Float, mandatory=True, desc="along the voxel axes")
    centre_frequency = traits.Float(mandatory=True, desc="[Hz]")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _SetAsideOutputs(RecordSpec):
    local_field = File(exists=True, desc="[Hz], without the field of strong sources")
    reliable = File(exists=True, desc="the other voxels of the support")


class SetAsideStrongSources(Step):
    """Field of the tissue without strong sources: ``core.inversion.two_pass.set_aside``."""

    input_spec = _SetAsideInputs
    output_spec = _SetAsideOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        field, chi = read_volume(inputs.local_field), read_volume(inputs.chi)
        filled = read_volume(inputs.support, np.uint8).array > 0
        holes = (read_volume(inputs.mask_holes, np.uint8).array > 0) & filled
        rest = set_aside(
            field.array,
            chi.array,
            holes,
            filled,
            field.adult_voxel_size,
            inputs.b0_direction,
            centre_frequency=inputs.centre_frequency,
            n_threads=inputs.n_threads,
        )
        self._write(runtime, field.affine, local_field=rest.local_field, reliable=rest.reliable)
        n_voxels = int(np.count_nonzero(filled & ~rest.reliable))
        self._results["record"] = record(
            f"strong sources and unreliable phase set aside: {n_voxels} voxels",
            SetAside={"Voxels": n_voxels, "StrongPpm": STRONG_PPM},
        )
        return runtime


class _MergeTwoPassInputs(BaseInterfaceInputSpec):
    chi_holes = File(exists=True, mandatory=True, desc="[ppm], of the tissue")
    chi_filled = File(exists=True, mandatory=True, desc="[ppm], of all voxels")
    support_holes = File(exists=True, mandatory=True, desc="where it counts")
    support_filled = File(exists=True, mandatory=True)


class _MergeTwoPassOutputs(_InvertDipoleFieldOutputs):
    from_filled = File(exists=True, desc="voxels whose value is of the inversion without holes")


class MergeTwoPass(Step):
    """Reliable tissue from one inversion, the rest from the other: ``core.inversion.two_pass``."""

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
