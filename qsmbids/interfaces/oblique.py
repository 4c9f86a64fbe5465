"""Rotation of an oblique slab onto B0, and back (``--oblique rotate``)."""

from typing import Any

import numpy as np

from qsmbids.core.background.oblique import (
    Grid,
    from_straight,
    mask_from_straight,
    mask_to_straight,
    straight_grid,
    to_straight,
)
from qsmbids.core.inversion.b0_direction import tilt_degrees
from qsmbids.core.masks.masking import mask_with_holes
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.nifti import Volume, read_volume
from qsmbids.methods.background_field import OVERSAMPLING

__all__ = ["RestoreSlab", "StraightenSlab"]

#: Order of the splines, see :data:`OVERSAMPLING`.
SPLINE = 5


def _grid(image: Volume, mask3: np.ndarray, b0_direction: list[float]) -> Grid:
    """Return the same straight grid in both nodes: it follows from these three alone."""
    return straight_grid(
        image.array.shape, image.voxel_size, b0_direction, mask3, oversampling=OVERSAMPLING
    )


class _StraightenSlabInputs(BaseInterfaceInputSpec):
    field = File(exists=True, mandatory=True, desc="total field [Hz], unwrapped")
    weights = File(exists=True, mandatory=True)
    magnitude = File(exists=True, mandatory=True, desc="combined")
    mask2 = File(exists=True, mandatory=True)
    mask3 = File(exists=True, mandatory=True)
    r2star = File(exists=True, desc="for edges of the inversion")
    region = File(exists=True, desc="fluid, for MEDI+0")
    unsure = File(exists=True, desc="voxels that background removal leaves out")
    b0_direction = traits.List(traits.Float, mandatory=True, desc="along the voxel axes")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _StraightenSlabOutputs(RecordSpec):
    field = File(exists=True)
    weights = File(exists=True)
    magnitude = File(exists=True)
    r2star = File(exists=True)
    region = File(exists=True)
    unsure = File(exists=True)
    mask2 = File(exists=True)
    mask3 = File(exists=True)


class StraightenSlab(Step):
    """Interpolate the unwrapped field on an array whose axis is parallel to B0."""

    input_spec = _StraightenSlabInputs
    output_spec = _StraightenSlabOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        field = read_volume(inputs.field)
        mask3 = read_volume(inputs.mask3, np.uint8).array > 0
        mask2 = read_volume(inputs.mask2, np.uint8).array > 0
        grid = _grid(field, mask3, inputs.b0_direction)
        index = np.eye(4)
        index[:3, :3], index[:3, 3] = grid.matrix, grid.offset
        threads = inputs.n_threads
        sure = mask3
        if isinstance(inputs.unsure, str):
            unsure = read_volume(inputs.unsure, np.uint8).array > 0
            sure = mask3 & ~unsure
        linear = {"weights": inputs.weights, "magnitude": inputs.magnitude}
        if isinstance(inputs.r2star, str):
            linear["r2star"] = inputs.r2star
        straight_mask3 = mask_to_straight(mask3, grid, n_threads=threads)
        volumes = {
            "field": to_straight(field.array, grid, sure, order=SPLINE, n_threads=threads),
            **{
                name: to_straight(read_volume(path).array, grid, mask3, order=1, n_threads=threads)
                for name, path in linear.items()
            },
            "mask2": mask_to_straight(mask2, grid, n_threads=threads),
            "mask3": straight_mask3,
        }
        if isinstance(inputs.region, str):
            region = read_volume(inputs.region, np.uint8).array > 0
            volumes["region"] = mask_to_straight(region, grid, n_threads=threads)
        if isinstance(inputs.unsure, str):  # there is no field there
            left = mask_to_straight(sure, grid, n_threads=threads)
            volumes["unsure"] = straight_mask3 & ~left
        self._write(runtime, field.affine @ index, **volumes)
        tilt = tilt_degrees(inputs.b0_direction)
        self._results["record"] = record(
            f"oblique slab: rotated by {tilt:.1f} degrees onto B0 after unwrapping, for background"
            " removal and inversion, and back",
            Oblique={
                "Method": "rotate",
                "TiltDegrees": tilt,
                "Interpolation": f"spline of order {SPLINE}",
                "Oversampling": OVERSAMPLING,
            },
        )
        return runtime


class _RestoreSlabInputs(BaseInterfaceInputSpec):
    local_field = File(exists=True, mandatory=True, desc="on the straight array [Hz]")
    chi = File(exists=True, mandatory=True, desc="on the straight array [ppm]")
    support = File(exists=True, mandatory=True, desc="of chi, on the straight array")
    from_filled = File(exists=True, desc="of a two-pass merge, on the straight array")
    mask4_filled = File(exists=True, mandatory=True, desc="on the straight array")
    field = File(exists=True, mandatory=True, desc="total field on the original array [Hz]")
    mask2 = File(exists=True, mandatory=True, desc="on the original array")
    mask3 = File(exists=True, mandatory=True, desc="on the original array")
    b0_direction = traits.List(traits.Float, mandatory=True, desc="along the original axes")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _RestoreSlabOutputs(RecordSpec):
    local_field = File(exists=True)
    background_field = File(exists=True)
    chi = File(exists=True)
    support = File(exists=True, desc="of chi")
    from_filled = File(exists=True)
    mask4 = File(exists=True)
    mask4_filled = File(exists=True)


class RestoreSlab(Step):
    """Bring the maps back onto the array of the images."""

    input_spec = _RestoreSlabInputs
    output_spec = _RestoreSlabOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        total = read_volume(inputs.field)
        mask3 = read_volume(inputs.mask3, np.uint8).array > 0
        reliable = read_volume(inputs.mask2, np.uint8).array > 0
        grid = _grid(total, mask3, inputs.b0_direction)
        threads = inputs.n_threads
        filled = mask3
        volumes = {}
        for name, mask_name, path in (
            ("local_field", "mask4_filled", inputs.mask4_filled),
            ("chi", "support", inputs.support),
        ):
            straight = read_volume(path, np.uint8).array > 0
            filled = mask_from_straight(straight, grid, n_threads=threads) & filled
            values = read_volume(getattr(inputs, name)).array
            back = from_straight(values, grid, straight, order=SPLINE, n_threads=threads)
            volumes[name] = np.where(filled, back, np.float32(0))
            volumes[mask_name] = filled
        if isinstance(inputs.from_filled, str):
            straight = read_volume(inputs.from_filled, np.uint8).array > 0
            merged = mask_from_straight(straight, grid, n_threads=threads)
            volumes["from_filled"] = merged & volumes["support"]
        filled, local = volumes["mask4_filled"], volumes["local_field"]
        volumes |= {
            "background_field": np.where(filled, total.array - local, np.float32(0)),
            "mask4": mask_with_holes(filled, reliable),
        }
        self._write(runtime, total.affine, **volumes)
        self._results["record"] = record()
        return runtime
