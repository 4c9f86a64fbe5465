"""Compare the maps of finished runs with the published ones of the same scan.

Both are brought to the grid of the run's map, and susceptibility to the mean of the mask that they
share. A verdict is given where the run repeats the pipeline of the published map, which its
recorded settings tell; other pairs are only measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.config import PRESETS, Settings, flattened, load_settings
from qsmbids.core.maths.arrays import Float32Array, Mask
from qsmbids.core.quality.agreement import Agreement, agreement
from qsmbids.core.quality.xsim import xsim
from qsmbids.errors import QSMError
from qsmbids.io.example_data import PIPELINES, ExampleRun
from qsmbids.io.nifti import read_volume
from qsmbids.io.nifti_header import Header, read_header
from qsmbids.io.published import read_on_grid
from qsmbids.reports.comparison.limits import LIMITS, NUCLEUS_PPM, outside
from qsmbids.reports.comparison.nuclei import Nucleus, measure_nuclei
from qsmbids.reports.run.record import RunRecord

__all__ = ["CHI", "FIELD", "Compared", "Pair", "compare_pair", "preset_of"]

FIELD, CHI = "local field", "chi"
#: Key of the run's map, its masks by preference, SEPIA's word and its masks, by map.
_MAPS = {
    FIELD: ("local_field", ("mask4", "mask4noholes"), "localfield", ("mask_localfield",)),
    CHI: ("chi", ("mask4noholes", "mask4"), "Chimap", ("mask_QSM", "mask_localfield")),
}
#: Less in common [part of the smaller mask]: hardly the same scan.
_LEAST_COMMON = 0.5
#: Options that replace a part of the pipeline.
_GIVEN = ("--mask", "--unwrapped", "--total-field", "--local-field")


@dataclass(frozen=True)
class Compared:
    """One map compared.

    Attributes
    ----------
    unit : str
    agreement : Agreement
    xsim : float or None
        The local field in ppm; None where its frequency is not known.
    dice : float
        Of the two masks.
    """

    unit: str
    agreement: Agreement
    xsim: float | None
    dice: float


@dataclass
class Pair:
    """A run and one pipeline of published maps.

    Attributes
    ----------
    label, pipeline : str
    preset : str
        Of the run, "" where it is not recorded.
    judged : bool
        Whether the run repeats the pipeline.
    why : str
        Why it is not judged.
    maps : dict
        What was compared, by name.
    nuclei : list of Nucleus
    notes : list of str
        What was left out or done to the maps.
    missed : list of str
        Limits that are missed, and maps of a judged run that cannot be compared.
    volumes : tuple
        Published and own susceptibility [ppm], NaN outside their masks, with the mask that they
        share and the affine, for the picture.
    """

    label: str
    pipeline: str
    preset: str = ""
    judged: bool = False
    why: str = ""
    maps: dict[str, Compared] = field(default_factory=dict)
    nuclei: list[Nucleus] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    volumes: tuple[Float32Array, Float32Array, Mask, npt.NDArray[np.float64]] | None = None

    @property
    def verdict(self) -> str:
        """Return "agrees", "outside the limits" or "not judged"."""
        if not self.judged:
            return "not judged"
        return "outside the limits" if self.missed else "agrees"


def preset_of(record: RunRecord) -> tuple[str, str]:
    """Return the preset of a run, and what keeps it from being that preset's result."""
    execution = record.settings.get("execution", {})
    preset = str(execution.get("preset", ""))
    if not preset:
        return "", "the settings of the run were not kept (logs/*/qsmbids.toml)"
    if preset not in PRESETS:
        return preset, f"preset {preset} is unknown to this version"
    tables = {k: v for k, v in record.settings.items() if k != "execution"}
    try:
        usual, used = load_settings(preset), Settings().updated(tables, "qsmbids.toml")
    except QSMError as error:
        return preset, f"the settings of the run are of another version ({error})"
    theirs = flattened(usual.as_dict())
    changed = [k for k, value in flattened(used.as_dict()).items() if value != theirs[k]]
    words = str(execution.get("command", "")).replace("=", " ").split()
    changed += [option for option in _GIVEN if option in words]
    return preset, f"settings differ from the preset: {', '.join(changed)}" if changed else ""


def compare_pair(
    record: RunRecord, run: ExampleRun, pipeline: str, published: Mapping[str, Path]
) -> Pair:
    """Compare a run with the published maps of one pipeline.

    Parameters
    ----------
    record : RunRecord
        What the run left behind.
    run : ExampleRun
    pipeline : str
        "Pipeline_FANSI" or "Pipeline_MEDI".
    published : mapping
        Files by SEPIA's word.

    Returns
    -------
    Pair
        What cannot be read or compared is in its notes.
    """
    pair = Pair(run.label, pipeline)
    pair.preset, changed = preset_of(record)
    wanted = PIPELINES[pipeline]
    pair.judged = pair.preset == wanted and not changed
    if not pair.judged:
        made = f"made with preset {pair.preset}" if pair.preset else "made with an unknown preset"
        same = f"{made}, but {changed}" if pair.preset == wanted else made
        pair.why = f"{same}; {wanted} repeats {pipeline}"
        if wanted not in PRESETS:
            pair.why += f", and this version has no preset {wanted}"
    for name, (_, _, word, _) in _MAPS.items():
        if word not in published:
            pair.notes.append(f"{name} is left out: there is no published {word}")
            continue
        try:
            _compare_map(pair, record, name, published)
        except (QSMError, ValueError) as error:
            text = f"{name} is left out: {error}"
            (pair.missed if pair.judged else pair.notes).append(text)
    if pair.judged and not (pair.maps or pair.missed):
        pair.judged, pair.why = False, "neither Chimap nor localfield was published"
    if CHI in pair.maps:
        _compare_nuclei(pair, record)
    return pair


def _compare_map(pair: Pair, record: RunRecord, name: str, published: Mapping[str, Path]) -> None:
    """Add the comparison of one map to a pair."""
    key, own_masks, word, masks = _MAPS[name]
    if key not in record.images:
        raise ValueError(f"the run left no {name} (status {record.status})")
    path = record.images[key]
    grid = read_header(path)
    own = read_volume(path).array
    own_mask = _own_mask(record, own_masks, own, grid)
    theirs, note = read_on_grid(published[word], grid)
    mask_word = next((m for m in masks if m in published), "")
    if mask_word:
        their_mask = read_on_grid(published[mask_word], grid, labels=True)[0] > 0
        their_mask &= theirs != 0 if name == FIELD else True
    else:
        their_mask = theirs != 0
    if note:
        pair.notes.append(f"the published {word} {note}")
    common = own_mask & their_mask & np.isfinite(own)
    smaller = min(np.count_nonzero(own_mask), np.count_nonzero(their_mask))
    if np.count_nonzero(common) < max(3, _LEAST_COMMON * smaller):
        raise ValueError(
            f"the masks have {np.count_nonzero(common)} voxels in common, of {smaller}: is it the"
            " same scan?"
        )
    dice = 2 * np.count_nonzero(common) / (own_mask.sum() + their_mask.sum())
    scale: float | None = 1.0
    if name == CHI:  # one reference for both: the mean of what they share
        own, theirs = (v - v[common].mean(dtype=np.float64) for v in (own, theirs))
        pair.volumes = (
            np.where(their_mask, theirs, np.nan).astype(np.float32),
            np.where(own_mask, own, np.nan).astype(np.float32),
            common,
            grid.affine,
        )
    else:
        scale = _hz_per_ppm(record.sidecars.get(key, {}), record.metadata)
    measure = agreement(own, theirs, common)
    similarity = None if scale is None else xsim(own / scale, theirs / scale, common)
    unit = "ppm" if name == CHI else "Hz"
    pair.maps[name] = Compared(unit, measure, similarity, float(dice))
    if pair.judged:
        pair.missed += outside(pair.preset, name, measure, similarity)


def _own_mask(record: RunRecord, names: tuple[str, ...], own: Float32Array, grid: Header) -> Mask:
    """Return where a map of the run is known: its mask, else where it is not zero."""
    for name in names:
        if name in record.images:
            mask = read_volume(record.images[name], np.uint8).array > 0
            if mask.shape == grid.shape:
                return np.asarray(mask & (own != 0) if name == "mask4noholes" else mask)
    return np.asarray(own != 0)


def _hz_per_ppm(*sidecars: Mapping[str, Any]) -> float | None:
    for sidecar in sidecars:
        frequency = sidecar.get("ImagingFrequency")
        if isinstance(frequency, int | float) and frequency > 0:
            return float(frequency)
    return None


def _compare_nuclei(pair: Pair, record: RunRecord) -> None:
    """Add the deep nuclei of the run's segmentations, where there are any."""
    assert pair.volumes is not None  # noqa: S101 - the susceptibility was compared
    theirs, own, common, affine = pair.volumes
    pair.nuclei, notes = measure_nuclei(record, own, theirs, common, affine)
    pair.notes += notes
    if pair.judged:
        pair.missed += [
            f"{n.name}: {n.found:+.3f} ppm, published {n.published:+.3f}, most {NUCLEUS_PPM:g} off"
            for n in pair.nuclei
            if abs(n.found - n.published) > NUCLEUS_PPM and pair.preset in LIMITS
        ]
