"""Find the images of a run among DICOM files, and be certain that they are those of the run.

Nothing in a BIDS dataset says whose it is. So the place of the voxels must agree, and the sum of
squares of the images must be that of the magnitude that the run kept: another person, or another
scan of the same person, differs.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from qsmbids.errors import InputError
from qsmbids.io.archive import is_archive, unpack
from qsmbids.io.dicom_out.geometry import Affine, in_order_of
from qsmbids.io.dicom_out.planes import Plane, Stack, pixels_of, stacks_of
from qsmbids.io.dicom_series import scan_dicom
from qsmbids.io.grids import difference, is_same_place
from qsmbids.io.gzipped import is_gzipped_dicom, unpack_gzipped
from qsmbids.io.nifti import Volume

__all__ = ["Exam", "Source", "read_exam", "unpacked"]

#: Part of the squared magnitude that the source need not explain: rounding, no more.
_UNEXPLAINED = 0.02
#: Least part of the squared magnitude that an image of the run gives.
_LEAST_SHARE = 1e-3
#: Slices that are compared.
_N_COMPARED = 16
#: Voxels that are compared.
_MOST_VOXELS = 200_000
#: Largest difference of echo times that are the same [ms].
_SAME_MS = 0.05


@dataclass(frozen=True)
class Source:
    """The images that a run was made from.

    Attributes
    ----------
    stacks : tuple of Stack
        Of one grid; the first is a magnitude.
    numbers : frozenset of int
        Of all series of the study, so that new ones get others.
    compared : bool
        Whether the voxels were compared, for the run may have kept no magnitude.
    """

    stacks: tuple[Stack, ...]
    numbers: frozenset[int]
    compared: bool = True

    @property
    def leader(self) -> Stack:
        """The volume whose place all maps have."""
        return self.stacks[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices."""
        return self.leader.shape

    @property
    def affine(self) -> Affine:
        """Column, row, slice to scanner RAS+ [mm]."""
        return self.leader.affine

    @property
    def header(self) -> Any:
        """Header of one file, with patient and study."""
        return self.leader.planes[0].dataset

    def at_slice(self, number: int) -> list[Plane]:
        """Return the images of one slice."""
        return [stack.planes[number] for stack in self.stacks]


@dataclass(frozen=True)
class Exam:
    """All volumes of a folder of DICOM files, which is of one patient.

    Attributes
    ----------
    where : str
        The folder as it was given.
    stacks : list of Stack
    lacking : list of str
        What is wrong with slices of a series.
    numbers : frozenset of int
        Of the series.
    """

    where: str
    stacks: list[Stack]
    lacking: list[str]
    numbers: frozenset[int]

    def source_of(
        self,
        label: str,
        grid: Volume,
        magnitude: Volume | None,
        echo_times_ms: Sequence[float],
    ) -> Source:
        """Return the images of a run.

        Parameters
        ----------
        label : str
            Of the run, for messages.
        grid : Volume
            A map of the run.
        magnitude : Volume, optional
            Root of the sum of squares of its echoes. Without it, place and echo times decide.
        echo_times_ms : sequence of float
            Of the run [ms].

        Raises
        ------
        InputError
            No series, or not every series, of the run is there.
        """
        here = self._in_place(label, grid)
        if magnitude is None:
            used = self._only_magnitude(label, here)
        else:
            used = self._explaining(label, here, magnitude)
        used += self._phase_of(used, here)
        self._raise_if_incomplete(label, used, echo_times_ms)
        studies = {str(p.dataset.get("StudyInstanceUID")) for s in used for p in s.planes}
        if len(studies) > 1:
            raise InputError(f"holds {label} in {len(studies)} examinations", self.where, _ONE)
        used.sort(key=lambda s: (s.part not in ("mag", "real"), s.number, s.echo_time))
        return Source(tuple(used), self.numbers, magnitude is not None)

    @property
    def _lacks(self) -> str:
        """What is wrong with the slices of a series, for a message."""
        return f"; {self.lacking[0]}" if self.lacking else ""

    def _in_place(self, label: str, grid: Volume) -> list[Stack]:
        """Return the volumes whose voxels are those of the run, with their slices in one order."""
        here, nearest = [], ""
        for stack in self.stacks:
            try:
                in_order_of(grid.array, grid.affine, stack.shape, stack.affine, label)
            except InputError:
                shape = grid.array.shape
                how = difference(stack.shape, stack.affine, shape, grid.affine)
                nearest = f"; series {stack.number} {how or 'has other voxels'}"
            else:
                here.append(stack)
        if not here:
            raise InputError(
                f"holds no series with the voxels of {label}{self._lacks or nearest}",
                self.where,
                "Give the DICOM files of the gradient echo scan itself.",
            )
        here.sort(key=lambda s: s.derived)  # a reformatted volume may have the same voxels
        first = here[0]
        both = (turn for stack in here for turn in (stack, stack.backwards()))
        return [s for s in both if is_same_place(first.shape, s.affine, first.affine)]

    def _explaining(self, label: str, here: list[Stack], magnitude: Volume) -> list[Stack]:
        """Return the volumes whose squares add up to that of the magnitude of the run."""
        first = here[0]
        wanted = in_order_of(magnitude.array, magnitude.affine, first.shape, first.affine, label)
        step = max(1, -(-wanted.shape[2] // _N_COMPARED))
        slices = list(range(step // 2, wanted.shape[2], step))
        squared = wanted[:, :, slices].astype(np.float64) ** 2
        shares, rest = _fit(squared, [pixels_of(stack, slices) ** 2 for stack in here])
        if rest > _UNEXPLAINED:
            numbers = ", ".join(str(n) for n in sorted({s.number for s in here}))
            raise InputError(
                f"holds series {numbers} with the place of {label}, but other values: another"
                f" person or scan, or the magnitude of an echo is missing{self._lacks}",
                self.where,
                "Give the DICOM files that the run was made from, all of them.",
            )
        return [s for s, share in zip(here, shares, strict=True) if share > _LEAST_SHARE]

    def _only_magnitude(self, label: str, here: list[Stack]) -> list[Stack]:
        """Return the magnitudes of the one scan that there is, without a look at the voxels."""
        used = [s for s in here if s.part in ("mag", "real", "imag") and not s.derived]
        if len({(s.echo_time, s.part) for s in used}) < len(used):
            raise InputError(
                f"holds several scans with the place of {label}, and the magnitude of the run"
                " is not there to tell which",
                self.where,
                "Give the files of one scan.",
            )
        return used

    def _phase_of(self, used: list[Stack], here: list[Stack]) -> list[Stack]:
        """Return the phase that was acquired with the magnitudes."""
        times = {s.acquired for s in used if s.acquired}
        series = {s.series for s in used}
        phase = [
            stack
            for stack in here
            if stack.part in ("phase", "real", "imag")
            and stack not in used
            and "SWI" not in stack.planes[0].kind.split("\\")
            and any(abs(stack.echo_time - s.echo_time) < _SAME_MS for s in used)
        ]
        own = [s for s in phase if s.series in series or s.acquired in times]
        if own or not phase:
            return own

        def apart(stack: Stack) -> int:
            return min(abs(stack.number - s.number) for s in used)

        nearest = min(map(apart, phase))
        return [stack for stack in phase if apart(stack) == nearest]

    def _raise_if_incomplete(
        self, label: str, used: list[Stack], echo_times_ms: Sequence[float]
    ) -> None:
        """Refuse a source that lacks the magnitude or phase of an echo of the run."""
        for parts, name in ((("mag", "real"), "magnitude"), (("phase", "imag"), "phase")):
            there = [s.echo_time for s in used if s.part in (*parts, "")]
            lacking = [
                f"{te:g}"
                for te in echo_times_ms
                if not any(abs(te - own) < _SAME_MS for own in there)
            ]
            if lacking or not there:
                at = f" at {', '.join(lacking)} ms" if lacking else ""
                raise InputError(
                    f"lacks the {name} of {label}{at}{self._lacks}",
                    self.where,
                    "Give the folder with all series of the gradient echo scan.",
                )


_ONE = "Give the files of one examination."


@contextmanager
def unpacked(source: Path) -> Iterator[list[Path]]:
    """Yield the folders of a source: a folder, in which there may be archives, or an archive."""
    with tempfile.TemporaryDirectory(prefix="qsmbids-dicom-") as work:
        folder = Path(work)
        if is_archive(source):
            folders = [unpack(source, folder / "unpacked")]
        elif source.is_dir():
            inside = sorted(p for p in source.rglob("*") if is_archive(p))
            folders = [source]
            folders += [unpack(p, folder / f"unpacked-{n}") for n, p in enumerate(inside)]
        else:
            raise InputError(
                "is neither a folder nor a zip or tar archive",
                str(source),
                "Give the folder with the DICOM files as they were exported.",
            )
        packed = [p for place in folders for p in place.rglob("*") if is_gzipped_dicom(p)]
        if packed:
            folders.append(unpack_gzipped(packed, folder / "gunzipped")[0])
        yield folders


def read_exam(folders: Iterable[Path], where: str) -> Exam:
    """Read the headers of all MR images below folders.

    Parameters
    ----------
    folders : iterable of Path
    where : str
        What to call them in messages.

    Raises
    ------
    InputError
        There is no DICOM image, or those of more than one patient.
    """
    series, _ = scan_dicom(*folders, where=where)
    stacks: list[Stack] = []
    lacking = []
    for one in series:
        if one.refusal:
            continue
        stacks += stacks_of(one.files)
        if reason := one.lacking:
            lacking.append(f"series {one.number}: {reason}")
    return Exam(where, stacks, lacking, frozenset(one.number for one in series))


def _fit(
    squared: npt.NDArray[np.float64], columns: Sequence[npt.NDArray[np.float64]]
) -> tuple[npt.NDArray[np.float64], float]:
    """Return what each volume gives of the squared magnitude, and the part that none gives."""
    inside = squared.ravel() > 0
    thin = slice(None, None, max(1, int(inside.sum()) // _MOST_VOXELS))
    wanted = squared.ravel()[inside][thin]
    given = np.stack([column.ravel()[inside][thin] for column in columns], axis=1)
    scale = np.linalg.norm(given, axis=0)
    scale[scale == 0] = 1.0
    norm = float(np.linalg.norm(wanted))
    if norm == 0:
        return np.zeros(len(columns)), 1.0
    weights, rest = nnls(given / scale, wanted)
    shares = weights / scale * given.mean(axis=0) / wanted.mean()
    return shares, float(rest) / norm
