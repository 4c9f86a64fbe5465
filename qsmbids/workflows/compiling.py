"""Loops that a fresh installation has not compiled yet, compiled before their steps begin.

A step that compiles its loops does so on one processor while the steps after it wait, the longest
in the dipole inversion. A process beside the workers does it while the first steps run; these have
begun by then, and compile their own. What it compiles it leaves where numba keeps it, and a step
waits for the loops that are about to come, so that they are not compiled twice.
"""

import contextlib
import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np

from qsmbids.config import Settings
from qsmbids.core.anatomy.carrying import brain_distance
from qsmbids.core.anatomy.guided_mask import guided_mask
from qsmbids.core.anatomy.regions import fit_regions, place_regions
from qsmbids.core.anatomy.registration import Registration, register
from qsmbids.core.anatomy.template import Template, brain_share, class_maps, expected_map
from qsmbids.core.background.result import BackgroundResult
from qsmbids.core.field.echo_combination import weighted_echo_average
from qsmbids.core.field.relative_residual import relative_residual
from qsmbids.core.field.romeo import unwrap_echoes
from qsmbids.core.field.romeo_weights import quality_map
from qsmbids.core.masks.bet import bet
from qsmbids.core.maths.parallel import numba_threads
from qsmbids.io.compiling import ahead_of_step
from qsmbids.io.template import load_template
from qsmbids.methods.dipole_inversion import INVERSION
from qsmbids.methods.inversion.data import InversionData

__all__ = ["compile_ahead", "is_compiled"]

_SHAPE = (16, 16, 16)
_TIMES = [0.004, 0.010, 0.016]
#: Of so many voxels of the template one is kept along each axis: 8 mm fit in a second.
_COARSE = 4


def compile_ahead(settings: Settings, parts: Sequence[str]) -> None:
    """Compile the loops that some parts of a run wait for, where they are not there."""
    if numba.config.DISABLE_JIT:
        return
    with warnings.catch_warnings(), np.errstate(all="ignore"), numba_threads(1):
        warnings.simplefilter("ignore")  # a cube of noise is no head
        for part in parts:
            loop, call = _parts(settings)[part]
            if loop and not is_compiled(loop):
                # what is compiled until it fails is kept
                with ahead_of_step(part) as in_time, contextlib.suppress(Exception):
                    if in_time:
                        call(settings)


def is_compiled(loop: str) -> bool:
    """Return whether numba keeps a loop of the core, for any types, as it is now.

    Parameters
    ----------
    loop : str
        Module and function, such as ``"field.romeo:_grow"``.
    """
    module, name = loop.split(":")
    dispatcher: Any = getattr(importlib.import_module(f"qsmbids.core.{module}"), name)
    source = Path(dispatcher.py_func.__code__.co_filename)
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    pattern = f"{source.stem}.{name}-*.{version}*.nbi"
    changed = source.stat().st_mtime
    kept = Path(dispatcher._cache.cache_path).glob(pattern)
    return any(index.stat().st_mtime >= changed for index in kept)


def _parts(settings: Settings) -> dict[str, tuple[str, Callable[[Settings], object]]]:
    """Return a loop of each part, and what compiles them all."""
    return {
        "brain": ("masks.bet_mesh:_draw_triangles", _brain),
        "guide": ("anatomy.deformable:_solve", _guide),
        "unwrapping": ("field.romeo:_grow", _unwrapping),
        "inversion": (INVERSION[settings.dipole_inversion.method].loop, _inversion),
        "regions": ("anatomy.neighbours:_settle", _regions),
    }


def _noise(*shape: int) -> Any:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def _inside() -> Any:
    inside = np.zeros(_SHAPE, dtype=bool)
    inside[2:-2, 2:-2, 2:-2] = True
    return inside


def _brain(settings: Settings) -> None:
    head = 100 * _inside().astype(np.float32) + abs(_noise(*_SHAPE))
    bet(head, (12.0, 12.0, 12.0), superior=np.array([0.0, 0.0, 1.0]), iterations=1)


def _guide(settings: Settings) -> None:
    template, brain, _, r2star, fit = _registered()
    distance = brain_distance(fit, template, brain.shape)
    voxel = (float(template.grid[0, 0]),) * 3
    guided_mask(brain, distance, voxel, magnitude=template.t1, r2star=r2star)


def _regions(settings: Settings) -> None:
    template, brain, chi, r2star, fit = _registered()
    looks = {"magnitude": template.t1, "r2star": r2star}
    fit = fit_regions(template, template.grid, brain, brain, chi, **looks, start=fit)
    place_regions(template, template.grid, brain, chi, fit, **looks)


@cache
def _registered() -> tuple[Template, Any, Any, Any, Registration]:
    """Return a coarse template, a head that is as it says, and how the one lies on the other.

    One process compiles the guide and the regions, and both need them.
    """
    whole = load_template()
    volumes = ("t1", "grey", "white", "brain", "regions")
    coarse: dict[str, Any] = {
        name: np.ascontiguousarray(getattr(whole, name)[::_COARSE, ::_COARSE, ::_COARSE])
        for name in volumes
    }
    wide = np.diag([_COARSE, _COARSE, _COARSE, 1.0])
    template = whole._replace(**coarse, grid=whole.grid @ wide, fine_grid=whole.fine_grid @ wide)
    maps = class_maps(template)
    brain = brain_share(maps) > 0.5
    chi, r2star = (expected_map(maps, name) for name in ("chi", "r2star"))
    fit = register(template, template.grid, brain, magnitude=template.t1, r2star=r2star)
    return template, brain, chi, r2star, fit


def _inversion(settings: Settings) -> None:
    section: Any = settings.dipole_inversion
    data = InversionData(
        field=_noise(*_SHAPE),
        support=_inside(),
        weights=np.ones(_SHAPE, dtype=np.float32),
        magnitude=1 + abs(_noise(*_SHAPE)),
        voxel_size=(1.0, 1.0, 1.0),
        b0_direction=[0.0, 0.0, 1.0],
        centre_frequency=123e6,
        echo_times=_TIMES,
        removal=lambda field, _: BackgroundResult(0 * field, field, field == field),
        uncertainty=section.uncertainty,
    )
    few = {n: 2 for n in ("maximum_iterations", "maximum_steps") if hasattr(section.chosen, n)}
    INVERSION[section.method].compute(data, replace(section.chosen, **few))


def _unwrapping(settings: Settings) -> None:
    phase, inside = _noise(len(_TIMES), *_SHAPE), _inside()
    magnitude = np.ones_like(phase)
    weighting = settings.total_field.echo_weighting
    unwrap_echoes(phase, magnitude, _TIMES, inside)
    two = {"phase2": phase[1], "echo_times": _TIMES[:2]}
    quality_map(phase[0], magnitude=magnitude[0], **two)
    field = weighted_echo_average(phase, magnitude, _TIMES, weighting=weighting)
    relative_residual(phase, magnitude, _TIMES, field, np.ones_like(field), mask=inside)
