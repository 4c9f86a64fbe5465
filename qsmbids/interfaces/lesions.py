"""Lesions that were given, measured one by one."""

from typing import Any

import numpy as np

from qsmbids.core.reference.lesions import Lesion, describe_lesions, separate_lesions
from qsmbids.interfaces.base import (
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.interfaces.roi import MEASURED, MeasuredMapsSpec
from qsmbids.interfaces.roi_table import describe_column, number_cell
from qsmbids.io.nifti import read_volume, write_text, write_volume

__all__ = ["COLUMNS", "MeasureLesions"]

#: Columns of the table of lesions: unit and meaning.
COLUMNS = {
    "reference": ("", "Region whose mean susceptibility is zero"),
    "index": ("", "Label of the lesion in the image of lesions"),
    "name": ("", "Name of the lesion"),
    "n_voxels": ("", "Voxels of the lesion"),
    "volume_mm3": ("mm^3", "Volume of the lesion"),
    "n_mask4": ("", "Voxels of the lesion inside Mask 4 without holes, which count"),
    "mean": ("ppm", "Mean susceptibility"),
    "std": ("ppm", "Standard deviation over the voxels (of the population)"),
    "median": ("ppm", "Median susceptibility"),
    "rim_mean": ("ppm", "Mean over the outermost voxels of the lesion"),
    "core_mean": ("ppm", "Mean over the other voxels; n/a of a lesion that is all rim"),
    "rim_minus_core": ("ppm", "Rim less core; positive of a paramagnetic rim"),
    "surroundings_mean": (
        "ppm",
        "Mean over a shell of two voxels around the lesion, one voxel away, without other lesions",
    ),
    "paramagnetic_share": ("", "Share of its voxels above zero, 0 to 1"),
    "diamagnetic_share": ("", "Share of its voxels below zero, 0 to 1"),
}


class _MeasureLesionsInputs(MeasuredMapsSpec):
    labels = traits.List(File(exists=True), mandatory=True, desc="one image, on the run's grid")
    regions = traits.List(
        traits.Tuple(traits.Int, traits.Str, traits.Str), desc="those that have a name"
    )


class _MeasureLesionsOutputs(RecordSpec):
    labels = File(exists=True, desc="a number for each lesion")
    names = File(exists=True, desc="index and name of each label")
    table = File(exists=True, desc="every lesion under every reference")


class MeasureLesions(Step):
    """Volume, rim against core, and share above and below zero: ``core.reference.lesions``."""

    input_spec = _MeasureLesionsInputs
    output_spec = _MeasureLesionsOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        given = read_volume(inputs.labels[0], np.int32)
        labels, separated = separate_lesions(given.array)
        inside = read_volume(inputs.mask, np.uint8).array > 0
        inside &= read_volume(inputs.support, np.uint8).array > 0
        named = inputs.regions if isinstance(inputs.regions, list) and not separated else []
        names = {index: name for index, name, _ in named}
        rows = ["\t".join(COLUMNS)]
        found: list[Lesion] = []
        for reference in MEASURED:
            path = getattr(inputs, reference)
            if isinstance(path, str):
                found = describe_lesions(read_volume(path).array, labels, inside)
                rows += [_row(reference, one, names, given.voxel_size) for one in found]
        image = write_volume(self._path(runtime, "lesions.nii"), labels, given.affine)
        listed = [f"{one.index}\t{_name(one, names)}\n" for one in found]
        self._results |= {
            "labels": str(image),
            "names": str(
                write_text(self._path(runtime, "lesions.tsv"), "index\tname\n" + "".join(listed))
            ),
            "table": str(write_text(self._path(runtime, "values.tsv"), "\n".join(rows) + "\n")),
        }
        how = "pieces of a mask" if separated else "as labelled"
        lost = [_name(one, names) for one in found if not one.n_inside]
        self._results["record"] = record(
            f"lesions: {len(found)}, {how}" if found else "no voxel is a lesion",
            warnings=[f"outside Mask 4 and not measured: {', '.join(lost[:8])}" if lost else ""],
            **{name: describe_column(*column) for name, column in COLUMNS.items()},
        )
        return runtime


def _name(one: Lesion, names: dict[int, str]) -> str:
    return names.get(one.index, f"lesion{one.index}")


def _row(reference: str, one: Lesion, names: dict[int, str], voxel_size: tuple[float, ...]) -> str:
    volume = one.n_voxels * float(np.prod(voxel_size))
    cells = [reference, str(one.index), _name(one, names), str(one.n_voxels), f"{volume:.2f}"]
    numbers = (number_cell(value) for value in one[3:])
    return "\t".join([*cells, str(one.n_inside), *numbers])
