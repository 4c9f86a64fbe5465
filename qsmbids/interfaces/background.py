"""Background field removal and Mask 4 (Table S2.2)."""

from typing import Any, NamedTuple

import numpy as np

from qsmbids.core.background.ismv import ismv
from qsmbids.core.background.lbv import lbv
from qsmbids.core.background.pdf import pdf
from qsmbids.core.background.resharp import resharp
from qsmbids.core.background.result import BackgroundResult
from qsmbids.core.background.smv import sphere_unit
from qsmbids.core.background.vsharp import vsharp, vsharp_radii
from qsmbids.core.masks.masking import erode, erode_rim, mask_with_holes
from qsmbids.core.maths.polynomial import remove_polynomial
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


class BackgroundInputSpec(BaseInterfaceInputSpec):
    """Inputs of every background removal."""

    field = File(exists=True, mandatory=True, desc="total field [Hz]")
    weights = File(exists=True, mandatory=True, desc="data weights")
    mask3 = File(exists=True, mandatory=True)
    mask2 = File(exists=True, mandatory=True, desc="for the holes of Mask 4")
    b0_direction = traits.List(traits.Float, mandatory=True, desc="along the voxel axes")
    remove_residual_b1_field = traits.Bool(False, usedefault=True)
    erode_before = traits.Int(1, usedefault=True, desc="[voxels]")
    erode_after = traits.Int(0, usedefault=True, desc="[voxels]")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class BackgroundOutputSpec(RecordSpec):
    """Outputs of every background removal."""

    local_field = File(exists=True, desc="[Hz], 0 outside Mask 4")
    background_field = File(exists=True, desc="[Hz], 0 outside Mask 4")
    mask4 = File(exists=True, desc="with the holes of unreliable phase")
    mask4_filled = File(exists=True, desc="support of the maps, without holes")


class Removed(NamedTuple):
    """What a method made of a field."""

    local_field: Any
    mask: Any
    name: str
    parameters: dict[str, Any]
    said: str
    reference: str
    warnings: tuple[str, ...] = ()


class BackgroundRemoval(Step):
    """A background removal: erodes, calls ``_remove``, writes the fields and Mask 4."""

    output_spec = BackgroundOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        total = read_volume(inputs.field)
        mask3 = read_volume(inputs.mask3, np.uint8).array > 0
        reliable = read_volume(inputs.mask2, np.uint8).array > 0
        try:
            removed = self._remove(total, erode_rim(mask3, inputs.erode_before))
            local, mask4 = removed.local_field, removed.mask
            if inputs.erode_after:
                mask4 = erode(mask4, inputs.erode_after)
            if inputs.remove_residual_b1_field:
                local = remove_polynomial(local, mask4)
        except ValueError as error:
            raise InputError(
                f"background removal left nothing ({error})",
                inputs.mask3,
                "The brain mask is too small for the settings of background removal; check it.",
            ) from error
        local[~mask4] = 0.0
        self._write(
            runtime,
            total.affine,
            local_field=local,
            background_field=np.where(mask4, total.array - local, np.float32(0)),
            mask4=mask_with_holes(mask4, reliable),
            mask4_filled=mask4,
        )
        kept = np.count_nonzero(mask4) / max(1, np.count_nonzero(mask3))
        common = {
            "RemoveResidualB1Field": inputs.remove_residual_b1_field,
            "ErodeBefore": inputs.erode_before,
            "ErodeAfter": inputs.erode_after,
        }
        self._results["record"] = record(
            f"{removed.name} {removed.said}: Mask 4 keeps {100 * kept:.1f} % of Mask 3",
            warnings=removed.warnings,
            EstimationAlgorithm=removed.name,
            EstimationReference=removed.reference,
            BackgroundRemoval={
                "Name": removed.name,
                "Parameters": {**removed.parameters, **common},
            },
        )
        return runtime

    def _remove(self, total: Volume, mask: Any) -> Removed:
        """Return the local field [Hz] inside the mask that the method leaves."""
        raise NotImplementedError


class _VsharpInputs(BackgroundInputSpec):
    variant = traits.Enum("deconvolution", "sepia", usedefault=True)
    maximum_radius = traits.Int(12, usedefault=True)
    minimum_radius = traits.Int(1, usedefault=True)
    truncation = traits.Float(0.05, usedefault=True)
    refinements = traits.Int(3, usedefault=True)
    rim_outlier = traits.Float(5.0, usedefault=True)


class RemoveBackgroundVsharp(BackgroundRemoval):
    """V-SHARP (6.a): ``core.background.vsharp.vsharp``."""

    input_spec = _VsharpInputs

    def _remove(self, total: Volume, mask: Any) -> Removed:
        inputs = self.inputs
        result = vsharp(
            total.array,
            mask,
            total.adult_voxel_size,
            maximum_radius=inputs.maximum_radius,
            minimum_radius=inputs.minimum_radius,
            variant=inputs.variant,
            truncation=inputs.truncation,
            refinements=inputs.refinements,
            rim_outlier=inputs.rim_outlier,
            n_threads=inputs.n_threads,
        )
        radii, _ = vsharp_radii(
            total.adult_voxel_size, inputs.maximum_radius, inputs.minimum_radius
        )
        unit = _radius_unit(total)
        if unit == "mm":
            radii = [radius * total.length_scale for radius in radii]
        in_unit = f"{radii[0]:g} to {radii[-1]:g} " + ("mm" if unit == "mm" else "voxels")
        size = " x ".join(f"{v:.3g}" for v in total.voxel_size)
        parameters = {
            "RadiusUnit": unit,
            "Radii": [float(r) for r in radii],
            "Variant": inputs.variant,
            "MaximumRadius": inputs.maximum_radius,
            "MinimumRadius": inputs.minimum_radius,
            "Truncation": inputs.truncation,
            "Refinements": inputs.refinements,
            "RimOutlier": inputs.rim_outlier,
        }
        said = f"({inputs.variant}), radii {in_unit} (voxels of {size} mm)"
        return Removed(
            result.local_field,
            result.mask,
            "V-SHARP",
            parameters,
            said,
            "https://doi.org/10.1016/j.neuroimage.2010.11.088",
        )


class _PdfInputs(BackgroundInputSpec):
    padding_mm = traits.Float(20.0, usedefault=True)
    tissue = traits.Float(0.0, usedefault=True)
    tolerance = traits.Float(2e-3, usedefault=True)
    maximum_iterations = traits.Int(30, usedefault=True)


class RemoveBackgroundPdf(BackgroundRemoval):
    """Projection onto dipole fields (6.a): ``core.background.pdf.pdf``; Mask 4 is Mask 3."""

    input_spec = _PdfInputs

    def _remove(self, total: Volume, mask: Any) -> Removed:
        inputs = self.inputs
        result = pdf(
            total.array,
            mask,
            total.adult_voxel_size,
            inputs.b0_direction,
            weights=read_volume(inputs.weights).array,
            padding_mm=inputs.padding_mm,
            tissue=inputs.tissue,
            tolerance=inputs.tolerance,
            maximum_iterations=inputs.maximum_iterations,
            n_threads=inputs.n_threads,
        )
        parameters = {
            "PdfPaddingMm": inputs.padding_mm,
            "PdfTissue": inputs.tissue,
            "PdfTolerance": inputs.tolerance,
            "PdfMaximumIterations": inputs.maximum_iterations,
        }
        return _solved(result, "PDF", parameters, "https://doi.org/10.1002/nbm.1670")


class _LbvInputs(BackgroundInputSpec):
    peel = traits.Int(1, usedefault=True)
    tolerance = traits.Float(1e-4, usedefault=True)


class RemoveBackgroundLbv(BackgroundRemoval):
    """Laplacian boundary value (6.a): ``core.background.lbv.lbv``."""

    input_spec = _LbvInputs

    def _remove(self, total: Volume, mask: Any) -> Removed:
        inputs = self.inputs
        result = lbv(
            total.array, mask, total.adult_voxel_size, peel=inputs.peel, tolerance=inputs.tolerance
        )
        parameters = {"LbvPeel": inputs.peel, "LbvTolerance": inputs.tolerance}
        return _solved(result, "LBV", parameters, "https://doi.org/10.1002/nbm.3064")


class _ResharpInputs(BackgroundInputSpec):
    radius = traits.Float(4.0, usedefault=True)
    alpha = traits.Float(1e-4, usedefault=True)
    tolerance = traits.Float(1e-4, usedefault=True)


class RemoveBackgroundResharp(BackgroundRemoval):
    """Regularised SHARP (6.a): ``core.background.resharp.resharp``."""

    input_spec = _ResharpInputs

    def _remove(self, total: Volume, mask: Any) -> Removed:
        inputs = self.inputs
        result = resharp(
            total.array,
            mask,
            total.adult_voxel_size,
            radius=inputs.radius,
            tikhonov_weight=inputs.alpha,
            tolerance=inputs.tolerance,
            n_threads=inputs.n_threads,
        )
        parameters = {
            "RadiusUnit": _radius_unit(total),
            "ResharpRadius": inputs.radius,
            "ResharpAlpha": inputs.alpha,
            "ResharpTolerance": inputs.tolerance,
        }
        return _solved(result, "RESHARP", parameters, "https://doi.org/10.1002/mrm.24765")


class _IsmvInputs(BackgroundInputSpec):
    radius = traits.Float(4.0, usedefault=True)
    tolerance = traits.Float(1e-3, usedefault=True)


class RemoveBackgroundIsmv(BackgroundRemoval):
    """Iterated spherical mean values (6.a): ``core.background.ismv.ismv``."""

    input_spec = _IsmvInputs

    def _remove(self, total: Volume, mask: Any) -> Removed:
        inputs = self.inputs
        result = ismv(
            total.array,
            mask,
            total.adult_voxel_size,
            radius=inputs.radius,
            tolerance=inputs.tolerance,
            n_threads=inputs.n_threads,
        )
        parameters = {
            "RadiusUnit": _radius_unit(total),
            "IsmvRadius": inputs.radius,
            "IsmvTolerance": inputs.tolerance,
        }
        return _solved(result, "iSMV", parameters, "https://doi.org/10.1002/mrm.24998")


def _radius_unit(total: Volume) -> str:
    """Return what radii of spheres are counted in: mm where the voxels are clearly anisotropic."""
    return "mm" if np.any(sphere_unit(total.voxel_size) != 1.0) else "voxel"


def _solved(
    result: BackgroundResult, name: str, parameters: dict[str, Any], reference: str
) -> Removed:
    """Say how a solver ended."""
    end = f"{result.n_iterations} iterations (relative residual {result.relative_residual:.2g})"
    return Removed(
        result.local_field,
        result.mask,
        name,
        {**parameters, "Iterations": result.n_iterations, "Converged": result.converged},
        f"{'converged' if result.converged else 'stopped'} after {end}",
        reference,
    )
