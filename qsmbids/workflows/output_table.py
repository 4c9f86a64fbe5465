"""What is written for a run: names, levels, units, and which steps each map comes from."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

__all__ = ["OUTPUTS", "Output"]

_PHASE = ("prepare_phase", "mask1", "check_phase", "correct_readout")
_FIELD = (*_PHASE, "remove_phase_offset", "unwrap_phase", "combine_echoes")
_MASK3 = (*_FIELD, "weight_data", "mask2", "mask3")
_LOCAL = (*_MASK3, "straighten_slab", "remove_background_field")
_CHI = (*_LOCAL, "invert_dipole_field")


@dataclass(frozen=True)
class Output:
    """One derivative of a run; ``node`` names the step, or steps of which the first is taken."""

    name: str
    node: str
    field: str
    level: str
    suffix: str
    description: str
    entities: dict[str, str] = field(default_factory=dict)
    datatype: str = "anat"
    units: str = ""
    boolean: bool = False
    consensus: str = ""
    steps: tuple[str, ...] = ()
    sources: tuple[str, ...] = ("raw",)
    skull_stripped: bool = True
    algorithm: str = ""
    reference: str = ""
    per_echo: bool = False

    def step(self, nodes: Collection[str]) -> str | None:
        """Return the step of the graph that makes this output, None if there is none."""
        return next((name for name in self.node.split("|") if name in nodes), None)


def _mask(number: str, node: str, name: str, steps: tuple[str, ...], **kwargs: Any) -> Output:
    kwargs.setdefault("level", "standard")
    return Output(
        f"mask{number}",
        node,
        name,
        suffix="mask",
        entities={"label": "brain", "desc": f"mask{number}"},
        boolean=True,
        steps=steps,
        **kwargs,
    )


_FANSI_DOI = "https://doi.org/10.1002/mrm.27483"
_VSHARP_DOI = "https://doi.org/10.1016/j.neuroimage.2010.11.088"
_ROMEO_DOI = "https://doi.org/10.1002/mrm.28563"

OUTPUTS = (
    Output(
        "chi",
        "reference_chi",
        "chi",
        "minimal",
        "Chimap",
        "Magnetic susceptibility, zero at the mean of the brain",
        {"desc": "wholebrain"},
        units="ppm",
        consensus="7.a, 7.b, 8.c",
        steps=(*_CHI, "reference_chi", "check_sign"),
        sources=("local_field", "mask4", "mask4noholes"),
        algorithm="FANSI",
        reference=_FANSI_DOI,
    ),
    Output(
        "chi_unreferenced",
        "restore_slab|invert_dipole_field",
        "chi",
        "full",
        "Chimap",
        "Magnetic susceptibility as the inversion gave it, without a reference",
        {"desc": "unreferenced"},
        units="ppm",
        consensus="7.a, 7.b",
        steps=_CHI,
        sources=("local_field", "mask4", "mask4noholes"),
        algorithm="FANSI",
        reference=_FANSI_DOI,
    ),
    Output(
        "r2star",
        "map_r2star",
        "r2star",
        "standard",
        "R2starmap",
        "Effective transverse relaxation rate inside Mask 1",
        units="1/s",
        steps=("prepare_phase", "map_r2star"),
        sources=("raw", "mask1"),
    ),
    Output(
        "t2star",
        "map_r2star",
        "t2star",
        "standard",
        "T2starmap",
        "Effective transverse relaxation time inside Mask 1",
        units="s",
        steps=("prepare_phase", "map_r2star"),
        sources=("raw", "mask1"),
    ),
    Output(
        "s0",
        "map_r2star",
        "s0",
        "standard",
        "S0map",
        "Signal extrapolated to TE = 0 inside Mask 1",
        units="arbitrary",
        steps=("prepare_phase", "map_r2star"),
        sources=("raw", "mask1"),
    ),
    _mask(
        "1",
        "mask1",
        "mask",
        ("mask1",),
        description="Mask 1: whole brain from the magnitude",
        consensus="5.a",
        sources=("magnitude",),
    ),
    _mask(
        "2",
        "mask2",
        "mask",
        ("mask2",),
        description="Mask 2: voxels with reliable phase, whole image",
        consensus="5.b",
        sources=("quality", "mask1"),
    ),
    _mask(
        "3",
        "mask3",
        "mask",
        ("mask1", "mask2", "mask3"),
        description="Mask 3: Mask 1 times Mask 2, holes filled; input of background removal",
        consensus="5.b",
        sources=("mask1", "mask2"),
    ),
    _mask(
        "4",
        "restore_slab|remove_background_field",
        "mask4",
        ("mask1", "mask2", "mask3", "remove_background_field"),
        description="Mask 4: where background removal gave a field and the phase is reliable;"
        " data of the inversion and region of the whole-brain reference",
        consensus="5.c, 6.a",
        sources=("mask3", "mask2"),
        level="minimal",
    ),
    _mask(
        "4noholes",
        "restore_slab|remove_background_field",
        "mask4_filled",
        ("mask1", "mask2", "mask3", "remove_background_field"),
        description="Mask 4 without holes: support of the susceptibility map, for display and"
        " regions of interest",
        consensus="5.d, 8.b",
        sources=("mask3",),
        level="minimal",
    ),
    Output(
        "quality",
        "unwrap_phase|combine_echoes",
        "quality",
        "standard",
        "probseg",
        "ROMEO phase quality of every voxel, 0 (noise) to 1; thresholded to Mask 2",
        {"desc": "phasequality"},
        steps=("prepare_phase", "unwrap_phase"),
        skull_stripped=False,
        consensus="5.b",
    ),
    Output(
        "magnitude_rss",
        "prepare_phase",
        "combined_magnitude",
        "standard",
        "T2starw",
        "Root of the sum of squares over the echo magnitudes",
        {"part": "mag", "desc": "rss"},
        units="arbitrary",
        steps=("prepare_phase",),
        skull_stripped=False,
    ),
    Output(
        "phase_offset",
        "remove_phase_offset",
        "offset",
        "full",
        "T2starw",
        "Phase at TE = 0 that MCPC-3D-S removed",
        {"part": "phase", "desc": "offset"},
        units="rad",
        steps=(*_PHASE, "remove_phase_offset"),
        skull_stripped=False,
        consensus="4.c",
    ),
    Output(
        "magnitude",
        "prepare_phase",
        "combined_magnitude",
        "minimal",
        "magnitude",
        "Root of the sum of squares over the echo magnitudes; reference image of the fields",
        datatype="fmap",
        units="arbitrary",
        steps=("prepare_phase",),
        skull_stripped=False,
    ),
    Output(
        "total_field",
        "combine_echoes",
        "field",
        "standard",
        "fieldmap",
        "Total field inside Mask 1, positive where the phase grows",
        {"desc": "total"},
        datatype="fmap",
        units="Hz",
        steps=_FIELD,
        sources=("raw", "mask1"),
        consensus="4.a, 4.b, 4.c",
        algorithm="ROMEO",
        reference=_ROMEO_DOI,
    ),
    Output(
        "local_field",
        "restore_slab|remove_background_field",
        "local_field",
        "minimal",
        "fieldmap",
        "Local (tissue) field inside Mask 4",
        {"desc": "local"},
        datatype="fmap",
        units="Hz",
        steps=_LOCAL,
        sources=("total_field", "mask3"),
        consensus="6.a",
        algorithm="V-SHARP",
        reference=_VSHARP_DOI,
    ),
    Output(
        "background_field",
        "restore_slab|remove_background_field",
        "background_field",
        "full",
        "fieldmap",
        "Background field that was removed inside Mask 4",
        {"desc": "background"},
        datatype="fmap",
        units="Hz",
        steps=_LOCAL,
        sources=("total_field", "mask3"),
        algorithm="V-SHARP",
        reference=_VSHARP_DOI,
    ),
    Output(
        "field_noise",
        "combine_echoes",
        "noise",
        "full",
        "fieldmap",
        "Standard deviation of the total field from the noise of the magnitude",
        {"desc": "noise"},
        datatype="fmap",
        units="Hz",
        steps=_FIELD,
        skull_stripped=False,
    ),
    Output(
        "unwrapped",
        "unwrap_phase",
        "phase",
        "full",
        "MEGRE",
        "Unwrapped phase without the phase at TE = 0, inside Mask 1",
        {"part": "phase", "desc": "unwrapped"},
        units="rad",
        steps=(*_PHASE, "remove_phase_offset", "unwrap_phase"),
        sources=("raw", "mask1"),
        consensus="4.a",
        per_echo=True,
    ),
    Output(
        "prepared_phase",
        "prepare_phase",
        "phase",
        "debug",
        "MEGRE",
        "Wrapped phase in radians with the sign of the pipeline",
        {"part": "phase", "desc": "preproc"},
        units="rad",
        steps=("prepare_phase",),
        skull_stripped=False,
        per_echo=True,
    ),
    Output(
        "prepared_magnitude",
        "prepare_phase",
        "magnitude",
        "debug",
        "MEGRE",
        "Magnitude, zero where a value was not finite",
        {"part": "mag", "desc": "preproc"},
        units="arbitrary",
        steps=("prepare_phase",),
        skull_stripped=False,
        per_echo=True,
    ),
)
