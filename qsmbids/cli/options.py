"""What may be asked for on the command line, group by group."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsmbids.config import DEFAULT_PRESET, PRESETS
from qsmbids.execution import OUTPUT_LEVELS
from qsmbids.methods.sections import PARAMETERS

__all__ = ["REFERENCES", "SETTING_OPTIONS", "add_execution", "add_maps", "add_selection"]


@dataclass(frozen=True)
class SettingOption:
    """An option that stands for a setting; its values are those that the setting may have.

    Attributes
    ----------
    flag, key : str
        Of the command line, and of the settings.
    help : str
    words : dict
        What the option calls the values, where it has other words.
    """

    flag: str
    key: str
    help: str
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the parsed argument."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def choices(self) -> list[str]:
        """Values that may follow the option."""
        known = next(p.choices for p in PARAMETERS if p.key == self.key)
        return list(self.words or known or ())


#: Options that change one setting each.
SETTING_OPTIONS = (
    SettingOption(
        "--phase-sign", "phase.sign", "+1: phase grows with the field (write --phase-sign=-1)"
    ),
    SettingOption(
        "--echo-combination",
        "total_field.echo_phase_combination",
        "weighted averaging after ROMEO (default), or the nonlinear complex fit",
        {"romeo": "romeo-weighted-average", "nonlinear": "nonlinear-fit"},
    ),
    SettingOption(
        "--oblique",
        "background_field.oblique",
        "a tilted slab: tilt the dipole kernel (default), or rotate the unwrapped field",
    ),
    SettingOption("--background", "background_field.method", "background field removal (vsharp)"),
    SettingOption(
        "--inversion",
        "dipole_inversion.method",
        "dipole inversion (fansi); those in one step are for quick looks",
    ),
    SettingOption(
        "--holes",
        "dipole_inversion.holes",
        "voxels of unreliable phase: count as they are weighted (default), have no weight, or"
        " come from a second inversion",
    ),
    SettingOption(
        "--regions",
        "regions.atlas",
        "what a run is measured in where no segmentation is given: the regions of a template"
        " (default), or none",
    ),
)

#: What ``--reference`` takes besides a file, and the setting it stands for.
REFERENCES = {
    "wholebrain": "brain-mask",
    "csf": "csf",
    "white-matter": "white-matter",
    "internal-capsule": "internal-capsule",
    "none": "none",
}


def _label(prefix: str) -> Any:
    def strip(text: str) -> str:
        return text.removeprefix(prefix)

    strip.__name__ = "label"
    return strip


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add what tells which runs are processed."""
    group = parser.add_argument_group("what is processed")
    group.add_argument(
        "--participant-label",
        nargs="+",
        type=_label("sub-"),
        metavar="LABEL",
        help="with or without sub-; all when absent",
    )
    group.add_argument(
        "--session-label", nargs="+", type=_label("ses-"), metavar="LABEL", help="likewise"
    )
    group.add_argument(
        "--bids-filter-file",
        type=Path,
        metavar="JSON",
        help='more entities to select by: {"megre": {"acquisition": "hires", "run": null}};'
        ' "t1w" likewise',
    )
    group.add_argument("--bids-database-dir", type=Path, metavar="DIR", help="keep the index here")
    group.add_argument(
        "--skip-bids-validation", action="store_true", help="leave out the BIDS validator"
    )
    group.add_argument(
        "--include-epi",
        action="store_true",
        help="also take echo planar series with phase (func/*_part-mag_bold, *_part-phase_bold):"
        " the complex mean of their first volumes becomes a scan in OUTPUT_DIR/sourcedata/raw",
    )
    group.add_argument(
        "--no-convert",
        action="store_true",
        help="leave DICOM below sourcedata/ alone; default: what has no raw images is converted,"
        " into BIDS_DIR, or into OUTPUT_DIR/sourcedata/raw where BIDS_DIR is read-only",
    )
    group.add_argument(
        "--no-scanner-key",
        action="store_true",
        help="of DICOM: no anonymous key that tells scanners of one model apart",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="print what was found and would be done"
    )
    group.add_argument(
        "--reports-only",
        action="store_true",
        help="make the reports of what was processed before again, and nothing else",
    )
    group.add_argument(
        "--boilerplate-only",
        action="store_true",
        help="print the methods text of what would be processed and write logs/CITATION.*",
    )


def add_maps(parser: argparse.ArgumentParser) -> None:
    """Add what changes the maps and what is measured in them."""
    group = parser.add_argument_group("the maps")
    group.add_argument(
        "--preset", default=DEFAULT_PRESET, help=f"one of {', '.join(PRESETS)} (%(default)s)"
    )
    group.add_argument(
        "--config-file", type=Path, metavar="TOML", help="settings that differ from the preset"
    )
    group.add_argument(
        "--mask",
        type=Path,
        metavar="PATH",
        help="Mask 1 instead of BET, used as it is (of fractions, what is above 0.5): an image, or"
        " a BIDS derivative with one mask per run",
    )
    _add_start(group)
    for setting in SETTING_OPTIONS:
        group.add_argument(setting.flag, choices=setting.choices, help=setting.help)
    group.add_argument(
        "--accept-filtered-phase",
        action="store_true",
        help="process phase that the scanner high-pass filtered, as for SWI, where there is no"
        " other: values come out too small",
    )
    group.add_argument(
        "--adaptive-from",
        type=Path,
        metavar="OUTPUT_DIR",
        help="one strength of the regularisation for the whole study: the median of those that"
        " finished runs with --preset adaptive found there",
    )
    group.add_argument(
        "--reference",
        metavar="REGION",
        help=f"{', '.join(REFERENCES)}, or an image or BIDS derivative with a mask of the region",
    )
    group.add_argument(
        "--uncertainty",
        action="store_true",
        help="with --preset adaptive: also the standard error of the susceptibility, of each voxel"
        " and of the means of regions",
    )
    group.add_argument(
        "--swi",
        action="store_true",
        help="also make susceptibility-weighted images and their minimum projections",
    )
    _add_regions(group)
    group.add_argument(
        "--b0-dir",
        nargs=3,
        type=float,
        metavar=("X", "Y", "Z"),
        help="B0 in scanner axes (right, anterior, superior); for open magnets",
    )
    group.add_argument(
        "--field-strength", type=float, metavar="T", help="instead of the sidecar's"
    )
    group.add_argument(
        "--echo-times",
        nargs="+",
        type=float,
        metavar="S",
        help="one per echo number, instead of the sidecars' [s]",
    )
    _add_dicom(group)
    group.add_argument("--sloppy", action="store_true", help="quick and rough, to try things out")
    group.add_argument(
        "--output-level",
        choices=OUTPUT_LEVELS,
        default="standard",
        help="how much is written (%(default)s)",
    )


def _add_start(group: argparse._ArgumentGroup) -> None:
    """Add the images that may take the place of the first steps."""
    start = group.add_mutually_exclusive_group()
    for option, what, units in (
        ("--unwrapped", "unwrapped phase, one image per echo", "rad"),
        ("--total-field", "total field", "Hz, rad/s, ppm or T"),
        (
            "--local-field",
            "local field; known where desc-mask4noholes or its values say",
            "Hz, ...",
        ),
    ):
        start.add_argument(
            option,
            type=Path,
            metavar="PATH",
            help=f"start from a given {what}: an image, or a BIDS derivative such as an earlier"
            f" output of this program; the sidecar's Units are {units}. Weights and masks still"
            " come from the raw magnitude and phase, which must be there",
        )


def _add_regions(group: argparse._ArgumentGroup) -> None:
    """Add what brings regions of interest to the maps."""
    group.add_argument(
        "--segmentation",
        type=Path,
        action="append",
        metavar="PATH",
        help="regions of interest to measure: an image of labels, or a BIDS derivative with"
        " *_dseg.nii.gz; names from the *_dseg.tsv beside it. May be given several times",
    )
    group.add_argument(
        "--lesions",
        type=Path,
        metavar="PATH",
        help="lesions to measure one by one: an image of labels, or a mask, whose pieces count; or"
        " a BIDS derivative with *_label-lesion_mask.nii.gz for each run",
    )
    group.add_argument(
        "--t1w",
        metavar="IMAGE",
        help="T1w image that segmentations belong to, or 'auto' for the one of the dataset; it is"
        " registered to the gradient echo (pip install qsmbids[registration])",
    )
    group.add_argument(
        "--t1w-transform",
        metavar="PATH",
        help="instead of registration: rigid or affine transform from the T1w image to the"
        " gradient echo (ITK .txt or ANTs .mat), a BIDS derivative with *_from-T1w_to-MEGRE_"
        "mode-image_xfm.txt, or 'identity'",
    )


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Add what changes nothing but how the work is done."""
    group = parser.add_argument_group("how it runs")
    group.add_argument(
        "--nprocs", "--nthreads", "--n-cpus", type=int, metavar="N", help="processors in all"
    )
    group.add_argument("--omp-nthreads", type=int, metavar="N", help="threads of one step")
    group.add_argument(
        "--mem", "--mem-mb", metavar="SIZE", help="memory in all: megabytes, or with K, M, G, T"
    )
    group.add_argument(
        "-w", "--work-dir", type=Path, metavar="DIR", help="intermediate files, for resuming"
    )
    group.add_argument(
        "--clean-workdir", action="store_true", help="remove those of each run that finished"
    )
    group.add_argument(
        "--use-plugin", type=Path, metavar="YAML", help="Nipype plugin and plugin_args"
    )
    group.add_argument(
        "--stop-on-first-crash", action="store_true", help="no other runs after one"
    )
    group.add_argument("--random-seed", type=int, help="accepted; nothing here is random")
    group.add_argument("--notrack", action="store_true", help="accepted; nothing is ever reported")
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more; -vv all")


def _add_dicom(group: argparse._ArgumentGroup) -> None:
    """Add what writes the maps as DICOM too."""
    group.add_argument(
        "--dicom-out",
        type=Path,
        metavar="DEST",
        help="also write the maps of finished runs as DICOM (pip install qsmbids[dicom]), as"
        " qsmbids-dicom does it for one participant",
    )
    group.add_argument(
        "--dicom-source",
        type=Path,
        metavar="DIR",
        help="the DICOM files that the runs were made from: of one participant, or in it a folder"
        " or archive sub-LABEL for each; default BIDS_DIR/sourcedata",
    )
    group.add_argument(
        "--dicom-form",
        choices=["parametric-map", "classic", "both"],
        default="parametric-map",
        help="for viewers that read no Parametric Map: classic (%(default)s)",
    )
