"""The images of a run on the display grid, each read once."""

from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.errors import QSMError
from qsmbids.io.nifti import Volume, read_volume
from qsmbids.reports.paper.geometry import DisplayGrid
from qsmbids.reports.run.catalogue import MAPS, MASKS
from qsmbids.reports.run.drawn import stamp
from qsmbids.reports.run.outlines import Outlines, read_outlines
from qsmbids.reports.run.record import RunRecord
from qsmbids.reports.run.windows import Window, display_window

__all__ = ["Images", "read_images"]

#: Shown around the brain [mm].
_MARGIN_MM = 8.0


@dataclass(frozen=True)
class Images:
    """Maps and masks as they are shown.

    Attributes
    ----------
    grid : DisplayGrid
    maps : dict
        (X, Y, Z) float32 by key, in the order of the catalogue.
    masks : dict
        (X, Y, Z) bool by key.
    windows : dict
        Of each map.
    start : tuple of int
        Voxel that is looked at first: the middle of the brain.
    problems : list of str
        Images that could not be shown, and why.
    sidecar : mapping
        Sidecars of the run.
    regions : Outlines, optional
        Of its segmentations.
    stamps : dict
        Of the file of each map and mask, see :func:`qsmbids.reports.run.drawn.stamp`.
    """

    grid: DisplayGrid
    maps: dict[str, npt.NDArray]
    masks: dict[str, npt.NDArray]
    windows: dict[str, Window]
    start: tuple[int, int, int]
    problems: list[str] = field(default_factory=list)
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    regions: Outlines | None = None
    stamps: Mapping[str, Hashable] = field(default_factory=dict)

    @cached_property
    def brain_box(self) -> tuple[slice, slice, slice]:
        """The brain with a margin; the whole image where there is no Mask 1."""
        brain = self.masks.get("mask1")
        box = []
        for axis, size in enumerate(self.grid.voxel_size):
            others = tuple(i for i in range(3) if i != axis)
            used = np.flatnonzero(brain.any(axis=others)) if brain is not None else np.empty(0)
            first, end = (used[0], used[-1] + 1) if used.size else (0, self.shape[axis])
            margin = round(_MARGIN_MM / size)
            box.append(
                slice(max(0, int(first) - margin), min(self.shape[axis], int(end) + margin))
            )
        return (box[0], box[1], box[2])

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of the display grid."""
        return next(iter([*self.maps.values(), *self.masks.values()])).shape

    def shown(self, *keys: str) -> Hashable:
        """Return all that a picture of some maps, and of any mask, depends on."""
        files = tuple((key, self.stamps.get(key)) for key in (*keys, *self.masks))
        return files, tuple(str(self.windows[key]) for key in keys), self.start

    def support(self, key: str) -> npt.NDArray | None:
        """Return where a map has values: its mask or, for want of it, where it is not zero."""
        kind = MAPS[key]
        if not kind.support:
            return None
        mask = self.masks.get(kind.support)
        return mask if mask is not None else self.maps[key] != 0


def read_images(
    record: RunRecord, n_threads: int = 2, masks_from: Images | None = None
) -> Images | None:
    """Read what exists; None if there is nothing to look at.

    An image that is damaged or does not fit the others is named in ``problems``. Masks that were
    read before are not read again.
    """
    problems: list[str] = []
    grid: DisplayGrid | None = None
    maps: dict[str, npt.NDArray] = {}
    masks = {} if masks_from is None else dict(masks_from.masks)
    stamps = {key: stamp(path) for key, path in record.images.items()}
    unread = {key: path for key, path in record.images.items() if key not in masks}
    for key, loaded in _read(unread, n_threads):
        name = record.images[key].name
        if isinstance(loaded, str):
            problems.append(loaded)
            continue
        if grid is None:
            a, b, c = loaded.array.shape
            grid = DisplayGrid((a, b, c), loaded.affine)
        if not np.allclose(loaded.affine, grid.affine, atol=1e-2):
            problems.append(f"{name} lies elsewhere than the other images and is not shown")
            continue
        try:
            (masks if key in MASKS else maps)[key] = grid.display(loaded.array)
        except ValueError as error:
            problems.append(f"{name} {error} and is not shown")
    if grid is None or not (maps or masks):
        return None
    metadata = record.metadata
    b0, frequency = (
        _number(metadata.get(name), default)
        for name, default in (("MagneticFieldStrength", 3.0), ("ImagingFrequency", 127.7))
    )
    brain = next((masks[m] for m in ("mask4", "mask3", "mask1") if m in masks), None)
    windows = {
        key: display_window(MAPS[key], image if brain is None else image[brain], b0, frequency)
        for key, image in maps.items()
    }
    shape = next(iter([*maps.values(), *masks.values()])).shape
    middle = _middle(brain, shape)
    regions = read_outlines(record.segmentations, grid)
    return Images(grid, maps, masks, windows, middle, problems, metadata, regions, stamps)


def _read(paths: Mapping[str, Path], n_threads: int) -> Iterator[tuple[str, Volume | str]]:
    """Yield the volumes in the order of the catalogue, or why one cannot be read."""

    def load(key: str) -> Volume | str:
        try:
            return read_volume(paths[key], bool if key in MASKS else np.float32)
        except QSMError as error:
            return str(error)

    keys = [key for key in (*MAPS, *MASKS) if key in paths]
    with ThreadPoolExecutor(max_workers=n_threads) as pool:
        yield from zip(keys, pool.map(load, keys), strict=True)


def _middle(brain: npt.NDArray | None, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the middle voxel of a mask, or of the image."""
    if brain is None or not brain.any():
        a, b, c = (n // 2 for n in shape)
        return (a, b, c)
    middle = []
    for axis in range(3):
        profile = brain.sum(axis=tuple(i for i in range(3) if i != axis), dtype=np.float64)
        middle.append(int(np.searchsorted(np.cumsum(profile), profile.sum() / 2)))
    return (middle[0], middle[1], middle[2])


def _number(value: object, default: float) -> float:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6
    return float(value) if usable else default  # type: ignore[arg-type]
