"""The volumes of the viewer: 8 bits per voxel, compressed, as text inside the page."""

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from scipy import ndimage

from qsmbids.reports.paper.geometry import EDGES, DisplayGrid
from qsmbids.reports.run.catalogue import MAPS, MASKS, explained
from qsmbids.reports.run.drawn import Drawn
from qsmbids.reports.run.images import Images
from qsmbids.reports.run.windows import Coding

__all__ = ["packed_maps", "viewer_payload"]

#: Voxels above which maps of little detail are shown at every second slice.
_FINE_VOXELS = 2_000_000
#: Shown around the brain where a map has noise instead of zero [mm].
_MARGIN_MM = 6.0
#: Characters that all volumes may have; a page of 15 MB can still be mailed.
_BUDGET = 13_000_000
#: Maps that lose every second slice first when they have more.
_COARSEN = ("quality", "wrapped", "r2star", "unwrapped", "total_field", "magnitude")


def viewer_payload(
    images: Images, n_threads: int = 2, drawn: Drawn | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what the script needs to know, and the volumes.

    Parameters
    ----------
    images : Images
    n_threads : int
        Volumes compressed at a time.
    drawn : Drawn, optional
        Volumes that were packed before are taken from it.

    Returns
    -------
    description : dict
        For JSON: grid, maps with the value of each of 256 codes, masks with their bits.
    volumes : dict
        Zlib streams in base64 by map, "masks" and "regions". Voxels run along right first, then
        anterior, then superior.
    """
    memory = Drawn() if drawn is None else drawn
    packed = packed_maps(images, n_threads, memory)
    entries = {key: result[0] for key, result in packed.items()}
    volumes = {key: result[1] for key, result in packed.items()}
    masks = _bits(images.masks)
    if masks is not None:
        volumes["masks"] = _packed(masks)
    if images.regions is not None:
        volumes["regions"] = _packed(images.regions.codes)
    for key in (k for k in _COARSEN * 2 if k in entries):
        if sum(map(len, volumes.values())) <= _BUDGET:
            break
        entry, code = _coded(images, key, _around(images, memory), 2 * entries[key]["step"])
        entries[key], volumes[key] = entry, _packed(code)
    grid: DisplayGrid = images.grid
    description = {
        "shape": list(images.shape),
        "view": [[part.start, part.stop] for part in images.brain_box],
        "voxel": [round(v, 5) for v in grid.voxel_size],
        "affine": np.round(grid.display_affine, 5).tolist(),
        "stored": np.round(grid.to_stored, 5).tolist(),
        "start": list(images.start),
        "edges": EDGES,
        "maps": list(entries.values()),
        "masks": [
            {"key": key, "title": MASKS[key][0], "colour": MASKS[key][1], "bit": 1 << bit}
            for bit, key in enumerate(images.masks)
        ],
        "regions": [] if images.regions is None else list(images.regions.names),
    }
    return description, volumes


def packed_maps(
    images: Images, n_threads: int, drawn: Drawn
) -> dict[str, tuple[dict[str, Any], str]]:
    """Return what the viewer needs of each map: its description, and its volume as text."""
    keys = list(images.maps)
    around = _around(images, drawn)

    def packed(key: str) -> tuple[dict[str, Any], str]:
        entry, code = _coded(images, key, around)
        return entry, _packed(code)

    def made(key: str) -> tuple[dict[str, Any], str]:
        # what it says of the map is of the whole run, and not yet known when it is drawn ahead
        said = explained(key, images.sidecar)
        result: tuple[dict[str, Any], str] = drawn.once(
            ("volume", images.shown(key), said), lambda: packed(key)
        )
        return result

    with ThreadPoolExecutor(max_workers=n_threads) as pool:
        return dict(zip(keys, pool.map(made, keys), strict=True))


_Coded = tuple[dict[str, Any], npt.NDArray[np.uint8]]


def _coded(images: Images, key: str, around: npt.NDArray | None, step: int = 0) -> _Coded:
    """Return the description and the codes of one map, at every ``step``-th slice."""
    kind, window, image = MAPS[key], images.windows[key], images.maps[key]
    step = step or (1 if kind.detail or image.size <= _FINE_VOXELS else 2)
    image = image[:, :, ::step]
    coding = Coding.of(window, kind)
    code = coding.encode(image)
    support = images.support(key)
    if support is None and not kind.detail:
        support = around
    if support is not None:
        code[~support[:, :, ::step]] = 0
    entry = {
        "key": key,
        "title": kind.title,
        "unit": kind.unit,
        "explanation": explained(key, images.sidecar),
        "window": [window.low, window.high],
        "values": coding.table(),
        "shape": [int(n) for n in code.shape],
        "step": step,
    }
    return entry, code


def _bits(masks: dict[str, npt.NDArray]) -> npt.NDArray[np.uint8] | None:
    """Return one volume with a bit per mask."""
    volume = None
    for bit, mask in enumerate(masks.values()):
        plane = mask.astype(np.uint8) << np.uint8(bit)
        volume = plane if volume is None else volume | plane
    return volume


def _around(images: Images, drawn: Drawn) -> npt.NDArray | None:
    """Return Mask 1 with a margin, where it is known."""
    mask = images.masks.get("mask1")
    if mask is None or not mask.any():
        return None

    def widened() -> npt.NDArray:
        wide = mask.view(np.uint8)
        for axis, size in enumerate(images.grid.voxel_size):
            wide = ndimage.maximum_filter1d(wide, 2 * round(_MARGIN_MM / size) + 1, axis=axis)
        return wide > 0

    around: npt.NDArray = drawn.once(("around", images.stamps.get("mask1")), widened)
    return around


def _packed(volume: npt.NDArray[np.uint8]) -> str:
    """Compress a volume and write it as text; at level 6 of zlib it takes 16 times as long."""
    return base64.b64encode(isal_zlib.compress(volume.tobytes(order="F"), 2)).decode("ascii")
