"""Rigid registration of a T1w image to the gradient echo, with antspyx where it is installed."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from qsmbids.core.inversion.b0_direction import b0_direction_from_affine
from qsmbids.core.masks.bet import bet
from qsmbids.core.maths.boxes import centroid
from qsmbids.core.maths.mutual_information import dice, normalised_mutual_information
from qsmbids.core.maths.resample import resample_image, resample_labels
from qsmbids.errors import ConfigError, InputError
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.nifti import Volume, read_volume
from qsmbids.io.transforms import read_affine, write_affine

#: Brains that overlap less are not the same brain in the same place.
DICE_THRESHOLD = 0.85
#: Around Mask 1; the skull helps, jaw and neck move on their own.
MARGIN_MM = 10.0
_SEED = "1"


class _RegisterT1wInputs(BaseInterfaceInputSpec):
    t1w = File(exists=True, mandatory=True)
    magnitude = File(exists=True, mandatory=True, desc="combined")
    mask = File(exists=True, mandatory=True, desc="Mask 1")
    dice_threshold = traits.Float(DICE_THRESHOLD, usedefault=True, desc="warn below")


class _RegisterT1wOutputs(RecordSpec):
    transform = File(exists=True, desc="from T1w to MEGRE, ITK text")


class RegisterT1w(Step):
    """Find the rigid transform from a T1w image to the magnitude, and say how good it is.

    The metric is the mutual information over Mask 1 and its surroundings, on one thread and with
    a fixed seed. It starts from the scanner's coordinates and from the centres of mass, and the
    better end counts. How well the brains then agree is measured with the brain extraction of
    ``core.masks.bet`` on the T1w image, of which the registration knows nothing.
    """

    input_spec = _RegisterT1wInputs
    output_spec = _RegisterT1wOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        magnitude, t1w = read_volume(inputs.magnitude), read_volume(inputs.t1w)
        mask = read_volume(inputs.mask, np.uint8).array > 0
        if not np.isfinite(t1w.array).all():
            t1w = t1w._replace(array=np.nan_to_num(t1w.array, posinf=0.0, neginf=0.0))

        def information(transform: np.ndarray) -> float:
            moved = resample_image(
                t1w.array, to_voxel(transform, magnitude, t1w), magnitude.array.shape
            )
            return normalised_mutual_information(magnitude.array, moved, mask)

        transforms = [
            _rigid(magnitude, t1w, _around(mask, magnitude.voxel_size), start, Path(runtime.cwd))
            for start in ("Identity", "centres of mass")
        ]
        before = information(np.eye(4))
        gained = [information(transform) for transform in transforms]
        best = int(np.argmax(gained))
        transform, after = transforms[best], gained[best]
        overlap = _brain_overlap(magnitude, t1w, mask, transform)
        path = self._path(runtime, "from-T1w_to-MEGRE_mode-image_xfm.txt")
        self._results["transform"] = str(write_affine(path, transform))
        shift, turn = _motion(transform, magnitude, mask)
        warnings = []
        if overlap < inputs.dice_threshold:
            warnings.append(
                f"the T1w image may be misplaced: its brain and Mask 1 overlap by {overlap:.2f}"
                f" (Dice, expected above {inputs.dice_threshold:g}); look at the segmentation"
            )
        if after <= before and shift > 0.5:
            warnings.append(
                "registration made T1w image and magnitude no more alike; look at the segmentation"
            )
        self._results["record"] = record(
            f"T1w image registered: moved {shift:.1f} mm, turned {turn:.1f} degrees; brains"
            f" overlap by {overlap:.3f} (Dice), mutual information {before:.3f} to {after:.3f}",
            warnings=warnings,
            Registration={
                "Name": "antspyx",
                "Version": _version(),
                "Transform": "rigid",
                "T1w": Path(inputs.t1w).name,
                "Matrix": transform.tolist(),
                "BrainDice": round(overlap, 4),
                "NormalisedMutualInformationBefore": round(before, 4),
                "NormalisedMutualInformation": round(after, 4),
                "DiceThreshold": inputs.dice_threshold,
            },
        )
        return runtime


def to_voxel(transform: np.ndarray, target: Volume, source: Volume) -> np.ndarray:
    """Return the matrix from voxels of the target to voxels of the source."""
    return np.linalg.inv(source.affine) @ transform @ target.affine


def _rigid(
    fixed: Volume, moving: Volume, mask: np.ndarray, start: str, folder: Path
) -> np.ndarray:
    """Return the transform from points of ``fixed`` to points of ``moving``, RAS+ [mm]."""
    # read when the library is loaded; with more threads sums depend on their number
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    os.environ["ANTS_RANDOM_SEED"] = _SEED
    try:
        import ants
    except ImportError as error:
        raise ConfigError(
            "registration needs antspyx, which is not installed",
            "--t1w",
            "Install it with 'pip install qsmbids[registration]', or give --t1w-transform.",
        ) from error

    def image(volume: Volume, array: np.ndarray) -> Any:
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        return ants.from_numpy(
            array.astype(np.float32),
            origin=lps[:3, 3].tolist(),
            spacing=spacing.tolist(),
            direction=lps[:3, :3] / spacing,
        )

    options = {"initial_transform": "Identity"} if start == "Identity" else {}
    try:
        result = ants.registration(
            image(fixed, fixed.array),
            image(moving, moving.array),
            type_of_transform="Rigid",
            mask=image(fixed, mask),
            outprefix=str(folder / start.replace(" ", "_")),
            singleprecision=False,
            **options,
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the T1w image cannot be registered ({error})", "--t1w", "Give --t1w-transform."
        ) from error
    return read_affine(Path(result["fwdtransforms"][-1]))


def _around(mask: np.ndarray, voxel_size: tuple[float, float, float]) -> np.ndarray:
    distance = ndimage.distance_transform_edt(~mask, sampling=voxel_size)
    return distance <= MARGIN_MM


def _brain_overlap(
    magnitude: Volume, t1w: Volume, mask: np.ndarray, transform: np.ndarray
) -> float:
    """Return the Dice coefficient of Mask 1 and the brain of the T1w image where both see."""
    brain = bet(t1w.array, t1w.voxel_size, superior=b0_direction_from_affine(t1w.affine))
    matrix, shape = to_voxel(transform, magnitude, t1w), magnitude.array.shape
    seen = resample_labels(np.ones(t1w.array.shape, np.int32), matrix, shape) > 0
    return dice(mask & seen, resample_labels(brain.astype(np.int32), matrix, shape) > 0)


def _motion(transform: np.ndarray, image: Volume, mask: np.ndarray) -> tuple[float, float]:
    """Return how far the centre of the brain moves [mm] and the angle of rotation [degrees]."""
    centre = image.affine[:3, :3] @ centroid(mask) + image.affine[:3, 3]
    moved = transform[:3, :3] @ centre + transform[:3, 3]
    cosine = np.clip((np.trace(transform[:3, :3]) - 1.0) / 2.0, -1.0, 1.0)
    return float(np.linalg.norm(moved - centre)), float(np.degrees(np.arccos(cosine)))


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("antspyx")
    except PackageNotFoundError:
        return "unknown"
