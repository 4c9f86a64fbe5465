"""Options of the command line and what they mean for the settings."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsmbids import __version__
from qsmbids.config import DEFAULT_PRESET, PRESETS, nested
from qsmbids.execution import OUTPUT_LEVELS
from qsmbids.methods.sections import PARAMETERS

__all__ = ["REFERENCES", "build_parser", "parse_args", "settings_overrides"]


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
)

#: What ``--reference`` takes besides a file, and the setting it stands for.
REFERENCES = {"wholebrain": "brain-mask", "csf": "csf", "none": "none"}

_EPILOG = """\
exit codes: 0 every run finished; 1 a run failed; 2 wrong usage; 3 wrong or missing input;
70 internal error; 130 interrupted. The last line says how many runs finished and failed.
The group level ends with 0 when its tables and page were written, whatever runs failed before.
A run that was stopped goes on where it was when it is started again with the same --work-dir.
"""


class _Parser(argparse.ArgumentParser):
    """Takes ``--some_option`` for ``--some-option``, as older BIDS Apps write it."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        import sys

        words = list(sys.argv[1:] if args is None else args)
        spelled = [
            w.partition("=")[0].replace("_", "-") + "".join(w.partition("=")[1:])
            if w.startswith("--")
            else w
            for w in words
        ]
        return super().parse_known_args(spelled, namespace)


class _ListSettings(argparse.Action):
    """Prints the settings and ends, as ``--help`` does."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from qsmbids.config.reference import settings_reference

        print(settings_reference(), end="")
        parser.exit()


def _label(prefix: str) -> Any:
    def strip(text: str) -> str:
        return text.removeprefix(prefix)

    strip.__name__ = "label"
    return strip


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``qsmbids``."""
    parser = _Parser(
        prog="qsmbids",
        description="Quantitative susceptibility mapping after the ISMRM consensus paper,"
        " from a BIDS dataset to referenced maps.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("bids_dir", type=Path, help="raw BIDS dataset")
    parser.add_argument("output_dir", type=Path, help="derivatives dataset, made if absent")
    parser.add_argument(
        "analysis_level",
        choices=["participant", "group"],
        help="participant: make maps; group: tables and a page of what OUTPUT_DIR holds by then",
    )
    parser.add_argument("--version", action="version", version=f"qsmbids {__version__}")
    parser.add_argument(
        "--list-settings",
        action=_ListSettings,
        help="print every setting of a TOML file, its unit, limits and the paper's value",
    )

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
    for option in SETTING_OPTIONS:
        group.add_argument(option.flag, choices=option.choices, help=option.help)
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
        "--swi",
        action="store_true",
        help="also make susceptibility-weighted images and their minimum projections",
    )
    group.add_argument(
        "--segmentation",
        type=Path,
        action="append",
        metavar="PATH",
        help="regions of interest to measure: an image of labels, or a BIDS derivative with"
        " *_dseg.nii.gz; names from the *_dseg.tsv beside it. May be given several times",
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
    group.add_argument(
        "--dicom-out",
        type=Path,
        metavar="DEST",
        help="also write the maps of finished runs as DICOM (pip install qsmbids[dicom]); as"
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
    group.add_argument("--sloppy", action="store_true", help="quick and rough, to try things out")
    group.add_argument(
        "--output-level",
        choices=OUTPUT_LEVELS,
        default="standard",
        help="how much is written (%(default)s)",
    )

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
        "--clean-workdir", action="store_true", help="remove them when every run finished"
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
    return parser


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse and check what needs no dataset."""
    parser = build_parser()
    args = parser.parse_args(argv)
    for name in ("nprocs", "omp_nthreads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if args.field_strength is not None and not 0.01 <= args.field_strength <= 30:
        parser.error("--field-strength must be in tesla, between 0.01 and 30")
    if (args.t1w or args.t1w_transform) and not args.segmentation:
        parser.error("--t1w and --t1w-transform bring the regions of a --segmentation")
    if args.adaptive_from is not None and args.inversion not in (None, "fansi"):
        parser.error("--adaptive-from gives the strength of --inversion fansi")
    if args.dicom_source is not None and args.dicom_out is None:
        parser.error("--dicom-source is that of --dicom-out")
    if args.b0_dir is not None and not any(args.b0_dir):
        parser.error("--b0-dir must not be zero")
    return args


def settings_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the command line changes, section by section."""
    changed: dict[str, Any] = {}
    for option in SETTING_OPTIONS:
        value = getattr(args, option.name)
        if value is not None:
            changed[option.key] = option.words.get(value, value)
    if args.adaptive_from is not None:
        from qsmbids.cli.study_strength import study_strength

        changed |= study_strength(args.adaptive_from)
    if args.reference is not None:
        changed["reference.region"] = REFERENCES.get(args.reference, "region")
    if args.swi:
        changed["swi.enabled"] = True
    if args.sloppy:
        changed["dipole_inversion.fansi.maximum_iterations"] = 20
        changed["dipole_inversion.fansi.weak_harmonic"] = False
    return nested(changed)
