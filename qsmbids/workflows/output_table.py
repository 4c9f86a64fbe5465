"""What is written for a run: names, levels, units, and which steps each map comes from."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

__all__ = ["OUTPUTS", "Output"]

_PHASE = ("prepare_phase", "mask1", "check_phase", "correct_readout")
_FIELD = (*_PHASE, "remove_phase_offset", "unwrap_phase", "combine_echoes")
_MASK3 = (*_FIELD, "weight_data", "mask2", "mask3")
_LOCAL = (*_MASK3, "straighten_slab", "remove_background_field")
_TISSUE = (*_LOCAL, "invert_dipole_field", "set_aside_strong_sources", "invert_tissue_field")
_CHI = (*_TISSUE, "merge_two_pass")


@dataclass(frozen=True)
class Output:
    """One derivative of a run.

    ``node`` names the step, or steps of which the first is taken; ``requires`` and ``unless`` name
    a step that must be, or must not be, in the graph as well. An ``optional`` output may turn out
    not to exist.
    """

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
    extension: str = ".nii.gz"
    mask_type: str = "Brain"
    optional: bool = False
    requires: str = ""
    unless: str = ""

    def step(self, nodes: Collection[str]) -> str | None:
        """Return the step of the graph that makes this output, None if there is none."""
        if (self.requires and self.requires not in nodes) or self.unless in nodes:
            return None
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
    ),
    Output(
        "chi_unreferenced",
        "restore_slab|merge_two_pass|invert_dipole_field",
        "chi",
        "full",
        "Chimap",
        "Magnetic susceptibility as the inversion gave it, without a reference",
        {"desc": "unreferenced"},
        units="ppm",
        consensus="7.a, 7.b",
        steps=_CHI,
        sources=("local_field", "mask4", "mask4noholes"),
    ),
    Output(
        "chi_csf",
        "reference_chi_csf",
        "chi",
        "standard",
        "Chimap",
        "Magnetic susceptibility, zero at the mean of the cerebrospinal fluid of the ventricles",
        {"desc": "csf"},
        units="ppm",
        consensus="7.a, 7.b, 8.c",
        steps=(*_CHI, "find_csf", "reference_chi_csf", "check_sign"),
        sources=("local_field", "mask4", "mask4noholes", "csf"),
        optional=True,
    ),
    Output(
        "chi_region",
        "reference_chi_region",
        "chi",
        "minimal",
        "Chimap",
        "Magnetic susceptibility, zero at the mean of the region that was given",
        {"desc": "region"},
        units="ppm",
        consensus="7.a, 7.b, 8.c",
        steps=(*_CHI, "given_region", "reference_chi_region", "check_sign"),
        sources=("local_field", "mask4", "mask4noholes"),
    ),
    Output(
        "chi_filled",
        "invert_dipole_field",
        "chi",
        "full",
        "Chimap",
        "Magnetic susceptibility from all voxels, for the strong sources",
        {"desc": "passfilled"},
        units="ppm",
        consensus="5.c",
        steps=(*_LOCAL, "invert_dipole_field"),
        sources=("local_field", "mask4noholes"),
        requires="merge_two_pass",
        unless="restore_slab",
    ),
    Output(
        "chi_tissue",
        "invert_tissue_field",
        "chi",
        "full",
        "Chimap",
        "Magnetic susceptibility without strong sources and their field",
        {"desc": "passtissue"},
        units="ppm",
        consensus="5.c",
        steps=_TISSUE,
        sources=("local_field", "mask4"),
        requires="merge_two_pass",
        unless="restore_slab",
    ),
    Output(
        "merge",
        "restore_slab|merge_two_pass",
        "from_filled",
        "standard",
        "mask",
        "Voxels whose susceptibility comes from the inversion of all voxels",
        {"label": "brain", "desc": "twopass"},
        boolean=True,
        mask_type="ROI",
        consensus="5.c",
        steps=("set_aside_strong_sources", "merge_two_pass"),
        sources=("mask4", "mask4noholes"),
        requires="merge_two_pass",
    ),
    Output(
        "csf",
        "find_csf",
        "region",
        "standard",
        "mask",
        "Cerebrospinal fluid of the ventricles: reference region",
        {"label": "CSF", "desc": "reference"},
        boolean=True,
        mask_type="ROI",
        consensus="8.c",
        steps=("find_csf",),
        sources=("r2star", "mask4noholes"),
        optional=True,
    ),
    Output(
        "references",
        "describe_references",
        "table",
        "minimal",
        "stats",
        "Mean and spread of every reference region under every reference",
        {"desc": "references"},
        units="ppm",
        consensus="8.d, 8.f",
        steps=("find_csf", "given_region", "describe_references"),
        sources=("mask4", "csf"),
        extension=".tsv",
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
        "weights",
        "weight_data",
        "weights",
        "standard",
        "T2starw",
        "Weights of the data in the inversion: inverse noise of the field with outliers softened,"
        " zero where the echoes contradict each other; median 1 in Mask 1",
        {"desc": "weights"},
        units="arbitrary",
        steps=(*_FIELD, "weight_data"),
        sources=("raw", "mask1"),
        consensus="4.b",
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
