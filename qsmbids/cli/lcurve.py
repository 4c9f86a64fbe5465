"""``qsmbids-lcurve OUTPUT_DIR``: the L-curve of finished runs, and its corner as a preset."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qsmbids import __version__
from qsmbids.cli.console import end, guarded, log_to_console
from qsmbids.errors import ConfigError, InputError, MetadataError
from qsmbids.execution import available_cpus

__all__ = ["build_parser", "main"]

logger = logging.getLogger("qsmbids")

PRESET = "lcurve.toml"
#: Weakest and strongest of each method: three decades about the value of the paper.
_RANGES = {"fansi": (3e-5, 3e-2), "medi": (6e4, 6e1)}
_NAMES = {"fansi": "alpha1", "medi": "lambda"}
#: mu1 over alpha1 in Table S2.3.
MU1_RATIO = 100.0

_EPILOG = """\
The local field is inverted at every strength with the other settings of the run: with FANSI, each
from the result before, or with MEDI, whose lambda is large where the regularisation is weak.
OUTPUT_DIR/logs/lcurve/ takes the table and the picture of each run, and lcurve.toml with the
strength at the corner (of several runs the geometric mean) for --config-file.
exit codes: 0 a corner was found; 1 none was, or the folder cannot be written; 2 wrong usage;
3 no finished run, or one without weights (output level standard); 70 internal error.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``qsmbids-lcurve``."""
    parser = argparse.ArgumentParser(
        prog="qsmbids-lcurve",
        description="Find the regularisation strength at the corner of the L-curve of"
        " runs that qsmbids has finished (recommendation 7.b: once per protocol, then fixed).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("output_dir", type=Path, help="derivatives dataset of qsmbids")
    add(
        "--participant-label",
        "--participant_label",
        nargs="+",
        type=lambda text: text.removeprefix("sub-"),
        metavar="LABEL",
        help="with or without sub- (all)",
    )
    add(
        "--inversion",
        choices=sorted(_RANGES),
        help="whose strength: alpha1 of fansi or lambda of medi (that of the runs, or fansi)",
    )
    add("--strengths", type=int, default=13, metavar="N", help="how many (%(default)s)")
    add("--weakest", type=float, metavar="VALUE", help="alpha1 (3e-5) or lambda (6e4)")
    add("--strongest", type=float, metavar="VALUE", help="alpha1 (3e-2) or lambda (60)")
    add("--nprocs", type=int, help="processors (all that are granted)")
    add("--version", action="version", version=f"qsmbids {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    args = build_parser().parse_args(argv)
    log_to_console()
    return guarded("qsmbids-lcurve", lambda: _main(args), "the tables of finished runs are kept")


def _main(args: argparse.Namespace) -> int:
    """Find the corner of every run and write it down."""
    if args.strengths < 5:
        raise ConfigError("an L-curve needs at least five strengths", "--strengths")
    _strengths(args, args.inversion or "fansi")  # refused before anything is read
    if args.nprocs is not None and args.nprocs < 1:
        raise ConfigError("must be at least 1", "--nprocs")
    from qsmbids.io.write import write_bytes, write_text
    from qsmbids.reports.run.l_curve import curve_table, draw_l_curve
    from qsmbids.reports.run.record import find_results, read_run

    out_dir = args.output_dir.resolve()
    results = find_results(out_dir, args.participant_label)
    records = [r for r in (read_run(out_dir, x) for x in results) if "local_field" in r.images]
    if not records:
        raise InputError(
            "holds no finished run with a local field",
            str(args.output_dir),
            "Run qsmbids ... participant first.",
        )
    method = args.inversion or _method_of(records)
    strengths = _strengths(args, method)
    folder = out_dir / "logs" / "lcurve"
    folder.mkdir(parents=True, exist_ok=True)
    corners = {}
    for record in records:
        curve = _curve(record, method, strengths, args.nprocs or available_cpus())
        table = curve_table(curve, method)
        print(f"\n{record.label}\n{table.expandtabs(18)}", flush=True)
        write_text(folder / f"{record.label}.tsv", table)
        for form in ("svg", "png"):
            picture = draw_l_curve(curve, record.label, form, method)
            write_bytes(folder / f"{record.label}.{form}", picture)
        if curve.at_the_edge:
            logger.warning("WARNING: %s: no corner between these strengths", record.label)
        else:
            corner = curve.corner
            corners[record.label] = corner if method == "fansi" else 1.0 / corner
    name = _NAMES[method]
    if not corners:
        first, last = min(strengths), max(strengths)
        text = f"no corner between {name} = {first:.2g} and {last:.2g}; see {folder}"
        return end("qsmbids-lcurve", text, 1)
    strength = float(np.exp(np.mean(np.log(list(corners.values())))))
    write_text(folder / PRESET, _preset(strength, corners, method))
    return end(
        "qsmbids-lcurve",
        f"corner at {name} = {strength:.2e}, {len(corners)} of {len(records)} run(s);"
        f" use --config-file {folder / PRESET}",
        0,
    )


def _method_of(records: Sequence[Any]) -> str:
    """Return the inversion of most runs if it has a strength to tune, else FANSI."""
    names = [r.settings.get("dipole_inversion", {}).get("method") for r in records]
    most = max(set(names), key=names.count)
    return most if most in _RANGES else "fansi"


def _strengths(args: argparse.Namespace, method: str) -> Any:
    """Return the strengths, from weak to strong.

    Raises
    ------
    ConfigError
        They are not > 0, or the weakest is not the weaker one.
    """
    weakest, strongest = (
        strength if strength is not None else usual
        for strength, usual in zip((args.weakest, args.strongest), _RANGES[method], strict=True)
    )
    ordered = weakest < strongest if method == "fansi" else strongest < weakest
    if not (ordered and min(weakest, strongest) > 0):
        large = "a small to a large alpha1" if method == "fansi" else "a large to a small lambda"
        raise ConfigError(f"give strengths from {large} > 0", "--weakest, --strongest")
    return np.geomspace(weakest, strongest, args.strengths)


class _Problem(NamedTuple):
    """What the L-curve of a run is made from."""

    settings: Any
    field_hz: Any
    mask: Any
    weights: Any
    voxel_size: Any
    b0_direction: Any
    echo_times: Any
    centre_frequency: float


def _read_problem(record: Any) -> _Problem:
    """Read the derivatives of a run, and the settings under which they were made."""
    from qsmbids.config.settings import Settings
    from qsmbids.io.derivatives import derivative_path
    from qsmbids.io.nifti import read_volume

    path = derivative_path(
        record.out_dir, record.entities, datatype="anat", suffix="T2starw", desc="weights"
    )
    if not path.is_file() or "mask4noholes" not in record.images:
        raise InputError(
            "the data weights or Mask 4 of the run are missing",
            str(path),
            "Run qsmbids again with --output-level standard.",
        )
    field = read_volume(record.images["local_field"])
    weights = read_volume(path).array
    mask = read_volume(record.images["mask4noholes"], np.uint8).array > 0
    tables = {k: v for k, v in record.settings.items() if k != "execution"}
    settings: Any = Settings().updated(tables, str(record.log_dir)).dipole_inversion
    if settings.holes == "weight":
        weights = weights * (read_volume(record.images["mask4"], np.uint8).array > 0)
    about = record.sidecars["local_field"]
    try:
        b0, times = about["B0Direction"], about["EchoTime"]
        frequency = 1e6 * float(about["ImagingFrequency"])
    except (KeyError, TypeError, ValueError) as error:
        raise MetadataError(
            f"{error} is missing in the sidecar", str(record.images["local_field"])
        ) from error
    return _Problem(settings, field.array, mask, weights, field.voxel_size, b0, times, frequency)


def _curve(record: Any, method: str, strengths: Any, n_threads: int) -> Any:
    """Return the L-curve of a run from its derivatives."""

    def progress(number: int, strength: float) -> None:
        shown = strength if method == "fansi" else 1.0 / strength
        logger.info(
            "%s  %d of %d: %s = %.2e", record.label, number, len(strengths), _NAMES[method], shown
        )

    problem = _read_problem(record)
    common: dict[str, Any] = {
        "centre_frequency": problem.centre_frequency,
        "n_threads": n_threads,
        "progress": progress,
    }
    if method == "medi":
        return _medi_curve(record, problem, strengths, common)
    return _fansi_curve(problem, strengths, common)


def _fansi_curve(problem: _Problem, strengths: Any, common: dict[str, Any]) -> Any:
    from qsmbids.core.inversion.l_curve import fansi_l_curve

    settings = problem.settings.fansi
    return fansi_l_curve(
        problem.field_hz,
        problem.mask,
        problem.weights,
        problem.voxel_size,
        problem.b0_direction,
        gradient_l1_penalties=strengths,
        consistency_ratio=MU1_RATIO,
        echo_time=float(problem.echo_times[-1]),
        fidelity_consistency=settings.fidelity_consistency,
        tolerance_percent=settings.tolerance_percent,
        maximum_iterations=settings.maximum_iterations,
        weak_harmonic=settings.weak_harmonic,
        harmonic_constraint=settings.harmonic_constraint,
        harmonic_consistency=settings.harmonic_consistency,
        nonlinear=settings.solver == "nonlinear",
        start=settings.start,
        iterations=settings.scheme,
        regularisation_weight=settings.regularisation_weight,
        **common,
    )


def _medi_curve(record: Any, problem: _Problem, strengths: Any, common: dict[str, Any]) -> Any:
    """Return the L-curve of MEDI; the fluid of MEDI+0 has no part in it."""
    from qsmbids.core.inversion.medi_l_curve import medi_l_curve
    from qsmbids.io.nifti import read_volume

    if "magnitude" not in record.images:
        raise InputError("the magnitude of the run is missing", str(record.out_dir))
    settings, weights, times = problem.settings.medi, problem.weights, problem.echo_times
    if settings.data_weighting == "none":
        weights = np.where(weights > 0, np.float32(1), np.float32(0))
    spacing = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else times[0]
    return medi_l_curve(
        problem.field_hz,
        problem.mask,
        weights,
        read_volume(record.images["magnitude"]).array,
        problem.voxel_size,
        problem.b0_direction,
        data_weights=strengths,
        echo_spacing=float(spacing),
        edge_percentage=settings.edge_percentage,
        smv_radius_mm=settings.smv_radius_mm,
        merit=settings.merit,
        maximum_steps=settings.maximum_steps,
        tolerance=settings.tolerance,
        preconditioner=settings.preconditioner,
        margin=None if settings.padding == "none" else "auto",
        **common,
    )


def _preset(strength: float, corners: dict[str, float], method: str = "fansi") -> str:
    """Return what differs from a preset, with what it was derived from."""
    from qsmbids.config import dump_toml, nested
    from qsmbids.core.inversion.adaptive_weight import CONSISTENCY_LIMIT
    from qsmbids.methods.dipole_inversion import INVERSION

    what = "Gradient penalty" if method == "fansi" else "Lambda of MEDI"
    runs = f"{len(corners)} run{'s' if len(corners) != 1 else ''}"
    lines = [
        f"# {what} at the corner of the L-curve (7.b), qsmbids {__version__}.",
        "# For all data of this protocol: qsmbids ... --config-file " + PRESET,
        *(f"# {label}: {corner:.3e}" for label, corner in corners.items()),
    ]
    section = f"dipole_inversion.{method}"
    values: dict[str, Any] = {
        "dipole_inversion.method": method,
        "dipole_inversion.regularisation_from": f"corner of the L-curve of {runs}",
        f"{section}.{INVERSION[method].strength}": float(f"{strength:.3g}"),
    }
    if method == "fansi":
        consistency = min(MU1_RATIO * strength, CONSISTENCY_LIMIT)
        values[f"{section}.regularisation"] = "fixed"
        values[f"{section}.gradient_consistency"] = float(f"{consistency:.3g}")
    return "\n".join(lines) + "\n\n" + dump_toml(nested(values))


if __name__ == "__main__":
    raise SystemExit(main())
