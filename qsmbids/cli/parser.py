"""The command line of ``qsmbids``, and what it means for the settings."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qsmbids import __version__
from qsmbids.cli.options import (
    REFERENCES,
    SETTING_OPTIONS,
    add_execution,
    add_maps,
    add_selection,
)
from qsmbids.config import Settings, nested
from qsmbids.errors import ConfigError
from qsmbids.methods.dipole_inversion import INVERSION

__all__ = ["build_parser", "check_uncertainty", "parse_args", "settings_overrides"]


_EPILOG = """\
exit codes: 0 every run finished; 1 a run failed; 2 wrong usage; 3 wrong or missing input;
70 internal error; 130 interrupted. The last line says how many runs finished and failed.
The group level ends with 0 when its tables and page were written, whatever runs failed before.
A run that was stopped goes on where it was when it is started again with the same --work-dir.
"""


class _Parser(argparse.ArgumentParser):
    """Takes ``--some_option`` for ``--some-option``, as older BIDS Apps write it."""

    def parse_known_args(  # type: ignore[override]  # its overloads differ in the namespace alone
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
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
    add_selection(parser)
    add_maps(parser)
    add_execution(parser)
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
    if (args.t1w or args.t1w_transform) and not (args.segmentation or args.lesions):
        parser.error(
            "--t1w and --t1w-transform bring the regions of a --segmentation, or --lesions"
        )
    fixable = [method.name for method in INVERSION.values() if method.study]
    if args.adaptive_from is not None and args.inversion not in (None, *fixable):
        parser.error(f"--adaptive-from gives the strength of --inversion {' or '.join(fixable)}")
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

        strength = study_strength(args.adaptive_from)
        if args.inversion not in (None, strength["dipole_inversion.method"]):
            raise ConfigError(
                f"holds runs of --inversion {strength['dipole_inversion.method']},"
                f" not {args.inversion}",
                str(args.adaptive_from),
            )
        changed |= strength
    if args.reference is not None:
        changed["reference.region"] = REFERENCES.get(args.reference, "region")
    if args.accept_filtered_phase:
        changed["phase.accept_filtered"] = True
    if args.uncertainty:
        changed["dipole_inversion.uncertainty"] = True
    if args.swi:
        changed["swi.enabled"] = True
    if args.sloppy:
        changed["dipole_inversion.fansi.maximum_iterations"] = 20
        changed["dipole_inversion.fansi.weak_harmonic"] = False
        changed.setdefault("regions.atlas", "none")
    return nested(changed)


def check_uncertainty(settings: Settings) -> None:
    """Refuse a standard error where the inversion has none.

    Raises
    ------
    ConfigError
        The method does not tell it, or a map is made of another one.
    """
    chosen = settings.dipole_inversion
    if not chosen.uncertainty:
        return
    if not INVERSION[chosen.method].uncertain:
        able = ", ".join(method.name for method in INVERSION.values() if method.uncertain)
        raise ConfigError(
            f"{chosen.method} does not tell how sure it is",
            "--uncertainty",
            f"Use --preset adaptive, or --inversion {able}.",
        )
    if chosen.holes == "two-pass" or settings.background_field.oblique == "rotate":
        raise ConfigError(
            "is of one inversion on the grid of the images",
            "--uncertainty",
            "Leave out --holes two-pass and --oblique rotate.",
        )
