"""``qsmbids-lcurve OUTPUT_DIR``: the L-curve of finished runs, and its corner as a preset."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qsmbids import __version__
from qsmbids.cli.console import end, guarded, log_to_console
from qsmbids.errors import ConfigError, InputError, MetadataError
from qsmbids.execution import available_cpus

__all__ = ["build_parser", "main"]

logger = logging.getLogger("qsmbids")

PRESET = "lcurve.toml"
#: mu1 over alpha1 in Table S2.3.
MU1_RATIO = 100.0

_EPILOG = """\
The local field is inverted with FANSI at every strength, each from the result before, with the
other settings of the run. OUTPUT_DIR/logs/lcurve/ takes the table and the picture of each run, and
lcurve.toml with the strength at the corner (of several runs the geometric mean) for --config-file.
exit codes: 0 a corner was found; 1 none was, or the folder cannot be written; 2 wrong usage;
3 no finished run, or one without weights (output level standard); 70 internal error.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``qsmbids-lcurve``."""
    parser = argparse.ArgumentParser(
        prog="qsmbids-lcurve",
        description="Find the regularisation strength of FANSI at the corner of the L-curve of"
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
    add("--strengths", type=int, default=13, metavar="N", help="how many (%(default)s)")
    add("--weakest", type=float, default=3e-5, metavar="ALPHA", help="least (%(default)s)")
    add("--strongest", type=float, default=3e-2, metavar="ALPHA", help="largest (%(default)s)")
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
    if args.strengths < 5 or not 0 < args.weakest < args.strongest:
        raise ConfigError(
            "an L-curve needs at least five strengths, from a small to a large one > 0",
            "--strengths, --weakest, --strongest",
        )
    if args.nprocs is not None and args.nprocs < 1:
        raise ConfigError("must be at least 1", "--nprocs")
    from qsmbids.io.write import write_bytes, write_text
    from qsmbids.reports.l_curve import curve_table, draw_l_curve
    from qsmbids.reports.record import find_results, read_run

    out_dir = args.output_dir.resolve()
    results = find_results(out_dir, args.participant_label)
    records = [r for r in (read_run(out_dir, x) for x in results) if "local_field" in r.images]
    if not records:
        raise InputError(
            "holds no finished run with a local field",
            str(args.output_dir),
            "Run qsmbids ... participant first.",
        )
    alphas = np.geomspace(args.weakest, args.strongest, args.strengths)
    folder = out_dir / "logs" / "lcurve"
    folder.mkdir(parents=True, exist_ok=True)
    corners = {}
    for record in records:
        curve = _curve(record, alphas, args.nprocs or available_cpus())
        table = curve_table(curve)
        print(f"\n{record.label}\n{table.expandtabs(18)}", flush=True)
        write_text(folder / f"{record.label}.tsv", table)
        for form in ("svg", "png"):
            write_bytes(folder / f"{record.label}.{form}", draw_l_curve(curve, record.label, form))
        if curve.at_the_edge:
            logger.warning("WARNING: %s: no corner between these strengths", record.label)
        else:
            corners[record.label] = curve.corner_alpha
    if not corners:
        return end(
            "qsmbids-lcurve",
            f"no corner between {alphas[0]:.2g} and {alphas[-1]:.2g}; see {folder}",
            1,
        )
    alpha = float(np.exp(np.mean(np.log(list(corners.values())))))
    write_text(folder / PRESET, _preset(alpha, corners))
    return end(
        "qsmbids-lcurve",
        f"corner at alpha1 = {alpha:.2e}, {len(corners)} of {len(records)} run(s);"
        f" use --config-file {folder / PRESET}",
        0,
    )


def _curve(record: Any, alphas: Any, n_threads: int) -> Any:
    """Return the L-curve of a run from its derivatives."""
    from qsmbids.config.settings import Settings
    from qsmbids.core.l_curve import fansi_l_curve
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
    chosen = Settings().updated(tables, str(record.log_dir)).dipole_inversion
    if chosen.holes == "weight":
        weights = weights * (read_volume(record.images["mask4"], np.uint8).array > 0)
    about = record.sidecars["local_field"]
    try:
        b0, times = about["B0Direction"], about["EchoTime"]
        frequency = 1e6 * float(about["ImagingFrequency"])
    except (KeyError, TypeError, ValueError) as error:
        raise MetadataError(
            f"{error} is missing in the sidecar", str(record.images["local_field"])
        ) from error

    def progress(number: int, alpha: float) -> None:
        logger.info("%s  %d of %d: alpha1 = %.2e", record.label, number, len(alphas), alpha)

    return fansi_l_curve(
        field.array,
        mask,
        weights,
        field.voxel_size,
        b0,
        alphas=alphas,
        mu1_ratio=MU1_RATIO,
        centre_frequency_hz=frequency,
        echo_time=float(times[-1]),
        mu2=chosen.fidelity_consistency,
        tol=chosen.tolerance_percent,
        max_iter=chosen.maximum_iterations,
        weak_harmonic=chosen.weak_harmonic,
        beta=chosen.harmonic_constraint,
        muh=chosen.harmonic_consistency,
        nonlinear=chosen.solver == "nonlinear",
        start=chosen.start,
        iterations=chosen.iterations,
        regularisation_weight=chosen.regularisation_weight,
        n_threads=n_threads,
        progress=progress,
    )


def _preset(alpha: float, corners: dict[str, float]) -> str:
    """Return what differs from a preset, with what it was derived from."""
    from qsmbids.config import dump_toml
    from qsmbids.core.adaptive_weight import MU1_LIMIT

    lines = [
        f"# Gradient penalty at the corner of the L-curve (7.b), qsmbids {__version__}.",
        "# For all data of this protocol: qsmbids ... --config-file " + PRESET,
        *(f"# {label}: {corner:.3e}" for label, corner in corners.items()),
    ]
    table = {
        "method": "fansi",
        "regularisation": "fixed",
        "gradient_l1_penalty": float(f"{alpha:.3g}"),
        "gradient_consistency": float(f"{min(MU1_RATIO * alpha, MU1_LIMIT):.3g}"),
    }
    return "\n".join(lines) + "\n\n" + dump_toml({"dipole_inversion": table})


if __name__ == "__main__":
    raise SystemExit(main())
