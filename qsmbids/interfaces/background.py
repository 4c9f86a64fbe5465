"""Background field removal and Mask 4 (Table S2.2)."""

from typing import Any

import numpy as np

from qsmbids.core.masking import erode, mask_with_holes
from qsmbids.core.polynomial import remove_polynomial
from qsmbids.core.vsharp import vsharp, vsharp_radii
from qsmbids.errors import InputError
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.nifti import read_volume, write_volume


class _RemoveBackgroundFieldInputs(BaseInterfaceInputSpec):
    field = File(exists=True, mandatory=True, desc="total field [Hz]")
    mask3 = File(exists=True, mandatory=True)
    mask2 = File(exists=True, mandatory=True, desc="for the holes of Mask 4")
    variant = traits.Enum("deconvolution", "sepia", usedefault=True)
    maximum_radius = traits.Int(12, usedefault=True)
    minimum_radius = traits.Int(1, usedefault=True)
    truncation = traits.Float(0.05, usedefault=True)
    refinements = traits.Int(3, usedefault=True)
    rim_outlier = traits.Float(5.0, usedefault=True)
    remove_residual_b1_field = traits.Bool(False, usedefault=True)
    erode_before = traits.Int(1, usedefault=True, desc="[voxels]")
    erode_after = traits.Int(0, usedefault=True, desc="[voxels]")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _RemoveBackgroundFieldOutputs(RecordSpec):
    local_field = File(exists=True, desc="[Hz], 0 outside Mask 4")
    background_field = File(exists=True, desc="[Hz], 0 outside Mask 4")
    mask4 = File(exists=True, desc="with the holes of unreliable phase")
    mask4_filled = File(exists=True, desc="support of the maps, without holes")


class RemoveBackgroundField(Step):
    """V-SHARP (6.a) after one erosion: ``core.vsharp.vsharp``."""

    input_spec = _RemoveBackgroundFieldInputs
    output_spec = _RemoveBackgroundFieldOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        total = read_volume(inputs.field)
        mask3 = read_volume(inputs.mask3, np.uint8).array > 0
        reliable = read_volume(inputs.mask2, np.uint8).array > 0
        voxel = total.voxel_size
        try:
            local, mask4 = vsharp(
                total.array,
                erode(mask3, inputs.erode_before),
                voxel,
                max_radius=inputs.maximum_radius,
                min_radius=inputs.minimum_radius,
                variant=inputs.variant,
                truncation=inputs.truncation,
                refinements=inputs.refinements,
                rim_outlier=inputs.rim_outlier,
                n_threads=inputs.n_threads,
            )
            if inputs.erode_after:
                mask4 = erode(mask4, inputs.erode_after)
            if inputs.remove_residual_b1_field:
                local = remove_polynomial(local, mask4)
        except ValueError as error:
            raise InputError(
                f"background removal left nothing ({error})",
                inputs.mask3,
                "The brain mask is too small for the V-SHARP radii; check it.",
            ) from error
        local[~mask4] = 0.0
        volumes = {
            "local_field": local,
            "background_field": np.where(mask4, total.array - local, np.float32(0)),
            "mask4": mask_with_holes(mask4, reliable),
            "mask4_filled": mask4,
        }
        for name, volume in volumes.items():
            self._results[name] = str(
                write_volume(self._path(runtime, f"{name}.nii"), volume, total.affine)
            )
        kept = np.count_nonzero(mask4) / max(1, np.count_nonzero(mask3))
        radii, unit = vsharp_radii(voxel, inputs.maximum_radius, inputs.minimum_radius)
        in_mm = bool(np.any(unit != 1.0))
        in_unit = f"{radii[0]:g} to {radii[-1]:g} " + ("mm" if in_mm else "voxels")
        parameters = {
            "RadiusUnit": "mm" if in_mm else "voxel",
            "Radii": [float(r) for r in radii],
            "Variant": inputs.variant,
            "MaximumRadius": inputs.maximum_radius,
            "MinimumRadius": inputs.minimum_radius,
            "Truncation": inputs.truncation,
            "Refinements": inputs.refinements,
            "RimOutlier": inputs.rim_outlier,
            "RemoveResidualB1Field": inputs.remove_residual_b1_field,
            "ErodeBefore": inputs.erode_before,
            "ErodeAfter": inputs.erode_after,
        }
        self._results["record"] = record(
            f"V-SHARP ({inputs.variant}), radii {in_unit} (voxels of"
            f" {' x '.join(f'{v:.3g}' for v in voxel)} mm): Mask 4 keeps {100 * kept:.1f} %"
            " of Mask 3",
            BackgroundRemoval={"Name": "V-SHARP", "Parameters": parameters},
        )
        return runtime
