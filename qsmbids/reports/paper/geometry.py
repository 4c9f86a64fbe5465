"""From voxel axes to what a radiologist sees: right of the patient on the left of the image."""

from dataclasses import dataclass
from functools import cached_property

import nibabel as nib
import numpy as np
import numpy.typing as npt

__all__ = ["EDGES", "PLANES", "DisplayGrid", "slice_image"]

#: Voxels that one volume of the page may have; finer data are shown at every second voxel.
MAX_VOXELS = 9_000_000

PLANES = ("axial", "coronal", "sagittal")

#: Left, right, top and bottom edge of each plane.
EDGES = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}

#: Axis of the display grid that each plane is perpendicular to.
NORMAL = {"axial": 2, "coronal": 1, "sagittal": 0}


@dataclass(frozen=True)
class DisplayGrid:
    """The closest grid with axes towards right, anterior and superior; for display only.

    Voxels are permuted, flipped and left out, never interpolated.

    Attributes
    ----------
    shape : tuple of int
        Of the images as stored.
    affine : (4, 4) ndarray
        Stored voxel to scanner RAS+ [mm].
    """

    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]

    @cached_property
    def _orientation(self) -> npt.NDArray:
        orientation = nib.io_orientation(self.affine)
        if np.isnan(orientation).any():  # a flat affine says nothing: leave the axes as they are
            return np.array([[0, 1], [1, 1], [2, 1]], dtype=float)
        return orientation

    @cached_property
    def _to_full(self) -> npt.NDArray[np.float64]:
        """(4, 4), canonical voxel to stored voxel."""
        return nib.orientations.inv_ornt_aff(self._orientation, self.shape)

    @cached_property
    def steps(self) -> tuple[int, int, int]:
        """Every how many voxels are shown along right, anterior, superior."""
        order = np.argsort(self._orientation[:, 0])
        full = np.array(self.shape)[order]
        size = np.linalg.norm((self.affine @ self._to_full)[:3, :3], axis=0)
        steps = np.ones(3, dtype=int)
        while np.prod(-(-full // steps)) > MAX_VOXELS:
            steps[np.argmin(size * steps)] *= 2
        return (int(steps[0]), int(steps[1]), int(steps[2]))

    @cached_property
    def to_stored(self) -> npt.NDArray[np.float64]:
        """(4, 4), display voxel to stored voxel."""
        return self._to_full @ np.diag([*self.steps, 1.0])

    @cached_property
    def display_affine(self) -> npt.NDArray[np.float64]:
        """(4, 4), display voxel to scanner RAS+ [mm]."""
        return self.affine @ self.to_stored

    @cached_property
    def voxel_size(self) -> tuple[float, float, float]:
        """Distance of display voxels [mm] along right, anterior, superior."""
        a, b, c = np.linalg.norm(self.display_affine[:3, :3], axis=0)
        return (float(a), float(b), float(c))

    def display(self, stored: npt.NDArray) -> npt.NDArray:
        """Return a view of a stored volume (X, Y, Z) on the display grid.

        Raises
        ------
        ValueError
            The volume has another shape than the grid.
        """
        if stored.shape != self.shape:
            raise ValueError(f"has the shape {stored.shape}, the map {self.shape}")
        turned = nib.orientations.apply_orientation(stored, self._orientation)
        a, b, c = self.steps
        return turned[::a, ::b, ::c]


def slice_image(volume: npt.NDArray, plane: str, index: int) -> npt.NDArray:
    """Return one slice of a display volume as an image, first row on top.

    Parameters
    ----------
    volume : (X, Y, Z) ndarray
        On a :class:`DisplayGrid`.
    plane : str
        One of :data:`PLANES`; its edges are :data:`EDGES`.
    index : int
        Slice along the normal of the plane.
    """
    flat = np.take(volume, index, axis=NORMAL[plane])
    return flat[::-1, ::-1].T
