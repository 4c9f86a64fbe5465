"""Time, peak memory and FFT share of every step, on a dataset or on a phantom of any size.

    python tests/benchmarks/bench_steps.py                         # built-in phantom, 1 mm
    python tests/benchmarks/bench_steps.py BIDS_DIR --participant 01
    python tests/benchmarks/bench_steps.py --shape 96 112 80 --voxel 2 2 2

Each step is called once to compile its loops, then once more with the clock running. ``--others``
adds the background methods and inversions that are not of the default run. Where the program
``niimath`` is found (``pip install niimath``), its ROMEO is timed as the process it is, files and
all, beside ours.
"""

import argparse
import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import scipy.fft

from qsmbids.config import load_settings
from qsmbids.core.background.lbv import lbv
from qsmbids.core.background.pdf import pdf
from qsmbids.core.background.vsharp import vsharp
from qsmbids.core.field.echo_combination import field_noise, noise_std, weighted_echo_average
from qsmbids.core.field.relative_residual import relative_residual, residual_weight
from qsmbids.core.field.relaxometry import r2star_map
from qsmbids.core.field.romeo import unwrap_echoes
from qsmbids.core.field.romeo_weights import quality_map
from qsmbids.core.field.weights import sepia_weights
from qsmbids.core.inversion.fansi import fansi
from qsmbids.core.inversion.medi import medi
from qsmbids.core.inversion.rts import rts
from qsmbids.core.masks.bet import bet
from qsmbids.core.masks.masking import background_mask, erode, reliable_phase_mask
from qsmbids.core.phantom.head import make_phantom, multi_echo_signal, simulate_field
from qsmbids.core.phase.offset import mcpc3ds
from qsmbids.core.phase.phase_scale import detect_phase_scale, phase_statistics, to_radians
from qsmbids.units import larmor_frequency


class FftClock:
    """Counts the transforms of ``scipy.fft`` and the time spent in them."""

    def __init__(self):
        self.seconds, self.calls = 0.0, 0
        for name in ("rfftn", "irfftn"):
            setattr(scipy.fft, name, self._timed(getattr(scipy.fft, name)))

    def _timed(self, function):
        def call(*args, **kwargs):
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - began
                self.calls += 1

        return call


class Bench:
    """Runs steps and prints a row for each."""

    def __init__(self, repeat):
        self.fft, self.repeat, self.total = FftClock(), repeat, 0.0
        print(
            f"{'step':<34}{'first s':>9}{'time s':>9}"
            f"{'FFT s':>8}{'FFT %':>7}{'FFTs':>6}{'peak GB':>9}"
        )

    def __call__(self, name, function):
        began = time.perf_counter()
        result = function()
        first = time.perf_counter() - began
        took, fft, calls = first, 0.0, 0
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        for _ in range(self.repeat):
            del result
            fft, calls = self.fft.seconds, self.fft.calls
            began = time.perf_counter()
            result = function()
            took = min(took, time.perf_counter() - began)
            fft, calls = self.fft.seconds - fft, self.fft.calls - calls
        self.total += took
        share = 100 * fft / took if took else 0.0
        print(
            f"{name:<34}{first:>9.2f}{took:>9.2f}{fft:>8.2f}{share:>7.0f}{calls:>6d}{_peak_gb():>9.2f}",
            flush=True,
        )
        return result


def _peak_gb():
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1e6


def _load(bids_dir, participant):
    from qsmbids.io.layout import collect_runs
    from qsmbids.io.metadata import read_acquisition
    from qsmbids.io.nifti import read_echoes

    runs, _ = collect_runs(bids_dir, participants=[participant] if participant else None)
    run, acq = runs[0], read_acquisition(runs[0])
    phase, _ = read_echoes(run.phase)
    magnitude, _ = read_echoes(run.magnitude)
    scale = detect_phase_scale(phase_statistics(phase), units=acq.phase_units)
    phase = np.stack([to_radians(p, scale) for p in phase])
    return (
        phase,
        magnitude,
        acq.echo_times,
        acq.voxel_size,
        acq.b0_direction,
        acq.centre_frequency_hz,
    )


def _simulate(shape, voxel):
    phantom = make_phantom(tuple(shape), tuple(voxel))
    times = (0.00525, 0.01108, 0.01691, 0.02274, 0.02857)
    field, _ = simulate_field(phantom, b0_tesla=3.0)
    signal = multi_echo_signal(phantom, field, times)
    phase, magnitude = np.angle(signal).astype(np.float32), np.abs(signal).astype(np.float32)
    return phase, magnitude, times, tuple(voxel), (0.0, 0.0, 1.0), larmor_frequency(3.0)


def _niimath(folder, phase, magnitude, times, mask, voxel):
    """Return a call of niimath's ROMEO on the same echoes, or None without the program."""
    program = shutil.which("niimath")
    if program is None:
        return None
    volumes = {"phase": phase, "magnitude": magnitude, "mask": mask.astype(np.uint8)}
    for name, volume in volumes.items():
        last = np.moveaxis(volume, 0, -1) if volume.ndim == 4 else volume
        nib.save(nib.Nifti1Image(last, np.diag((*voxel, 1.0))), Path(folder) / f"{name}.nii")
    listed = ",".join(f"{1e3 * t:.4f}" for t in times)
    options = ["-t", listed, "-k", "mask.nii", "-g"]
    command = [program, "phase.nii", "-romeo", "magnitude.nii", *options, "out.nii"]
    return lambda: subprocess.run(command, cwd=folder, check=True, capture_output=True)


def _others(bench, removed, field, mask3, weights, magnitude, scan, n):
    """Time what a default run does not need: other background methods and inversions."""
    voxel, b0_direction, frequency, times = scan
    weights = np.where(removed.mask, weights, np.float32(0))
    inverse = (removed.local_field, removed.mask, weights)
    whole = {"centre_frequency": frequency, "n_threads": n}
    strength = np.sqrt(np.square(magnitude).sum(axis=0))
    bench("LBV", lambda: lbv(field, mask3, voxel))
    bench("PDF", lambda: pdf(field, mask3, voxel, b0_direction, weights=weights, n_threads=n))
    bench("RTS", lambda: rts(*inverse, voxel, b0_direction, **whole))
    bench(
        "linear TV",
        lambda: fansi(
            *inverse, voxel, b0_direction, echo_time=times[-1], nonlinear=False,
            weak_harmonic=False, **whole,
        ),
    )  # fmt: skip
    bench(
        "MEDI",
        lambda: medi(
            *inverse, strength, voxel, b0_direction, echo_spacing=times[1] - times[0], **whole
        ),
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bids_dir", nargs="?", type=Path)
    parser.add_argument("--participant")
    parser.add_argument("--shape", nargs=3, type=int, default=[192, 240, 168])
    parser.add_argument("--voxel", nargs=3, type=float, default=[1.0, 1.0, 1.0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--repeat", type=int, default=1, help="timed repetitions; the least counts"
    )
    parser.add_argument("--preset", default="consensus-fansi")
    parser.add_argument("--others", action="store_true", help="time the other methods, too")
    args = parser.parse_args(argv)
    data = (
        _load(args.bids_dir, args.participant)
        if args.bids_dir
        else _simulate(args.shape, args.voxel)
    )
    phase, magnitude, times, voxel, b0_direction, frequency = data
    settings, n = load_settings(args.preset), args.threads
    inv, bfr = settings.dipole_inversion.fansi, settings.background_field
    print(f"{phase.shape[1:]} voxels of {voxel} mm, {len(times)} echoes, {n} threads\n")
    bench = Bench(args.repeat)
    mask = bench("BET", lambda: bet(magnitude[0], voxel, n_threads=n))
    bench("R2*", lambda: r2star_map(magnitude, times, mask, n_threads=n))
    r2star = r2star_map(magnitude, times, mask, n_threads=n).r2star
    clean, _ = bench(
        "MCPC-3D-S", lambda: mcpc3ds(phase, magnitude, times, voxel, mask, n_threads=n)
    )
    quality = bench(
        "ROMEO quality",
        lambda: quality_map(
            phase[0], magnitude=magnitude[0], phase2=phase[1], echo_times=times[:2], n_threads=n
        ),
    )
    unwrapped = bench(
        "ROMEO unwrapping", lambda: unwrap_echoes(clean, magnitude, times, mask, n_threads=n)
    )
    with tempfile.TemporaryDirectory() as folder:
        peer = _niimath(folder, clean, magnitude, times, mask, voxel)
        if peer is not None:
            bench("  niimath, as a process", peer)
    field = bench(
        "echo combination", lambda: weighted_echo_average(unwrapped, magnitude, times, n_threads=n)
    )
    noise = bench(
        "field noise",
        lambda: field_noise(magnitude, times, noise_std(magnitude, mask)),
    )
    weights = bench(
        "relative residual and weights",
        lambda: sepia_weights(
            noise,
            mask,
            residual_weight(
                relative_residual(phase, magnitude, times, field, r2star, mask=mask, n_threads=n),
                0.3,
            ),
        ),
    )
    mask3 = bench(
        "Masks 2 and 3",
        lambda: background_mask(
            mask,
            reliable_phase_mask(quality, settings.masks.quality_threshold),
            closing_mm=settings.masks.closing_mm,
            voxel_size=voxel,
        ),
    )
    removed = bench(
        f"V-SHARP {bfr.vsharp.maximum_radius}..{bfr.vsharp.minimum_radius}",
        lambda: vsharp(
            field,
            erode(mask3, bfr.erode_before),
            voxel,
            maximum_radius=bfr.vsharp.maximum_radius,
            minimum_radius=bfr.vsharp.minimum_radius,
            n_threads=n,
        ),
    )
    result = bench(
        "FANSI weak harmonic",
        lambda: fansi(
            removed.local_field,
            removed.mask,
            np.where(removed.mask, weights, np.float32(0)),
            voxel,
            b0_direction,
            centre_frequency=frequency,
            echo_time=times[-1],
            gradient_l1_penalty=inv.gradient_l1_penalty,
            tolerance_percent=inv.tolerance_percent,
            maximum_iterations=inv.maximum_iterations,
            iterations=inv.scheme,
            n_threads=n,
        ),
    )
    if args.others:
        scan = (voxel, b0_direction, frequency, times)
        _others(bench, removed, field, mask3, weights, magnitude, scan, n)
    print(f"\nFANSI: {result.n_iterations} iterations; all steps {bench.total:.1f} s")


if __name__ == "__main__":
    main()
