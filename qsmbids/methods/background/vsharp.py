"""V-SHARP (6.a, Table S2.2)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qsmbids.methods.background.data import BackgroundData, BackgroundRemoval
from qsmbids.methods.declaration import Answer, Clause, Method, setting

if TYPE_CHECKING:
    from qsmbids.core.background.result import BackgroundResult
    from qsmbids.core.maths.arrays import Float32Array, Mask

    RemoveOfBlocks = Callable[[Float32Array, list[int]], BackgroundResult]

__all__ = ["METHOD", "Vsharp"]

_DECONVOLUTION = {"variant": ("deconvolution",)}


@dataclass(frozen=True)
class Vsharp:
    """Settings of V-SHARP."""

    variant: str = setting(
        "deconvolution",
        "V-SHARP variant",
        doc="sepia reproduces the paper's software, which leaves out the deconvolution and so"
        " loses about a fifth of the field.",
        choices=("deconvolution", "sepia"),
        paper="sepia",
    )
    maximum_radius: int = setting(
        12, "largest sphere", "voxels", "Radius.", minimum=1, maximum=60, paper=12
    )
    minimum_radius: int = setting(
        1, "smallest sphere", "voxels", "Radius.", minimum=1, maximum=60, paper=1
    )
    truncation: float = setting(
        0.05,
        "truncation of the deconvolution",
        doc="Smallest kernel value that is inverted.",
        minimum=0.0,
        maximum=0.5,
        when=_DECONVOLUTION,
    )
    refinements: int = setting(
        3,
        "deconvolution refinements",
        doc="Steps that deconvolve every voxel's own radius; 0 is plain V-SHARP, with a slope of"
        " 0.92 on a head phantom instead of 0.94.",
        minimum=0,
        maximum=50,
        when=_DECONVOLUTION,
    )
    rim_outlier: float = setting(
        5.0,
        "limit of outliers at the rim",
        "robust standard deviations",
        "The field of rim voxels beyond it is not deconvolved: it comes from bone in the mask and"
        " would spread.",
        minimum=1e-3,
        when=_DECONVOLUTION,
    )
    put_back: bool = setting(
        True,
        "local field that was removed, put back",
        doc="What V-SHARP takes of the field of the head's own fine structure, estimated from a"
        " quick map of what it left. Without it nuclei are weaker by 1 to 8 ppb. Never before the"
        " adaptive Huber inversion, which sets itself for the error of a field without it and"
        " puts back by itself.",
        when=_DECONVOLUTION,
    )

    def check(self) -> tuple[str, str]:
        """Return what is wrong with the values together and how to mend it, or nothing."""
        if self.minimum_radius > self.maximum_radius:
            return (
                "minimum_radius is larger than maximum_radius",
                "Give V-SHARP radii in the order of Table S2.2 (12 to 1).",
            )
        return "", ""


def _removed(
    field: "Float32Array",
    mask: "Mask",
    voxel_size: tuple[float, float, float],
    settings: Vsharp,
    n_threads: int,
    **options: float,
) -> "BackgroundResult":
    """Return what V-SHARP leaves of a field in a mask."""
    from qsmbids.core.background.vsharp import vsharp

    return vsharp(
        field,
        mask,
        voxel_size,
        maximum_radius=settings.maximum_radius,
        minimum_radius=settings.minimum_radius,
        variant=settings.variant,
        truncation=settings.truncation,
        refinements=settings.refinements,
        rim_outlier=options.get("rim_outlier", settings.rim_outlier),
        n_threads=n_threads,
    )


def _restored(
    result: "BackgroundResult", data: BackgroundData, remove: "RemoveOfBlocks"
) -> "BackgroundResult":
    """Return the fields with what V-SHARP has taken of the local one put back."""
    from qsmbids.core.background.lost_field import lost_field

    lost = lost_field(
        result.local_field,
        result.mask,
        data.weights,
        data.voxel_size,
        data.b0_direction,
        remove,
        n_threads=data.n_threads,
    )
    return replace(
        result,
        local_field=result.local_field + lost,
        background_field=result.background_field - lost,
    )


def _compute(data: BackgroundData, settings: Vsharp) -> BackgroundRemoval:
    from qsmbids.core.background.vsharp import vsharp_radii

    run = data.mask, data.voxel_size, settings, data.n_threads
    result = _removed(data.field, *run)
    if settings.variant == "deconvolution" and settings.put_back:
        result = _restored(result, data, _of_blocks(*run))
    radii, _ = vsharp_radii(data.voxel_size, settings.maximum_radius, settings.minimum_radius)
    unit = data.radius_unit
    if unit == "mm":
        radii = [radius * data.length_scale for radius in radii]
    in_unit = f"{radii[0]:g} to {radii[-1]:g} " + ("mm" if unit == "mm" else "voxels")
    size = " x ".join(f"{v:.3g}" for v in data.true_voxel_size)
    return BackgroundRemoval(
        result,
        f"({settings.variant}), radii {in_unit} (voxels of {size} mm)",
        {"RadiusUnit": unit, "Radii": [float(r) for r in radii]},
    )


def _of_blocks(
    mask: "Mask", voxel_size: tuple[float, float, float], settings: Vsharp, n_threads: int
) -> "RemoveOfBlocks":
    """Return V-SHARP as a linear map of a field on blocks of voxels, spheres of the same mm."""
    from qsmbids.core.background.vsharp import vsharp_blocks

    def remove(field: "Float32Array", widths: list[int]) -> "BackgroundResult":
        largest, smallest = settings.maximum_radius, settings.minimum_radius
        blocks = vsharp_blocks(mask, voxel_size, widths, largest, smallest)
        of_blocks = replace(
            settings, maximum_radius=blocks.largest, minimum_radius=blocks.smallest
        )
        return _removed(
            field, blocks.mask, blocks.size, of_blocks, n_threads, rim_outlier=float("inf")
        )

    return remove


def _again(
    settings: Vsharp, mask: "Mask", voxel_size: tuple[float, float, float], n_threads: int
) -> "RemoveOfBlocks":
    """Return V-SHARP as a linear map in the mask of which it left this one (Mask 4)."""
    from qsmbids.core.background.smv import widened
    from qsmbids.core.background.vsharp import vsharp_radii

    radii, unit = vsharp_radii(voxel_size, settings.maximum_radius, settings.minimum_radius)
    return _of_blocks(widened(mask, radii[-1], unit), voxel_size, settings, n_threads)


def _leaves(settings: Vsharp) -> bool:
    return settings.variant == "deconvolution" and not settings.put_back


METHOD = Method(
    name="vsharp",
    titles=("V-SHARP",),
    settings=Vsharp,
    doi="https://doi.org/10.1016/j.neuroimage.2010.11.088",
    answer=Answer("6.a", "background field removal", "pass", "V-SHARP."),
    compute=_compute,
    again=_again,
    leaves=_leaves,
    table="S2.2",
    sentences=(
        Clause(
            "Background fields were removed by V-SHARP [@wu2012; @li2011] with spherical mean"
            " value filters from {maximum_radius} to {minimum_radius} in radius, with"
            " deconvolution (truncation {truncation}, {refinements} refinements, outliers at the"
            " rim beyond {rim_outlier} left out).",
            {"variant": "deconvolution"},
        ),
        Clause(
            "Background fields were removed by V-SHARP [@wu2012; @li2011] as SEPIA [@chan2021]"
            " implements it, with spherical mean value filters from {maximum_radius} to"
            " {minimum_radius} in radius and without deconvolution.",
            {"variant": "sepia"},
        ),
        Clause(
            "What they take of the local field itself was estimated from a rapid two-step"
            " inversion [@kames2018] of what they left, without its local mean and less near the"
            " rim, and put back.",
            {"variant": "deconvolution", "put_back": True},
        ),
        Clause("", {"put_back": False}, ("put_back",)),
        Clause(
            "The smallest filter had a radius of {run.smallest_sphere}, the longest side of a"
            " voxel.",
            {"run.smallest_sphere_larger": True},
        ),
    ),
)
