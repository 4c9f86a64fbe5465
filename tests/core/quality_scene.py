"""A simulated run as arrays, into which the tests of the quality measures put artefacts."""

from dataclasses import replace

import numpy as np

from qsmbids.core.echo_combination import field_noise, noise_std, weighted_echo_average
from qsmbids.core.fansi import fansi
from qsmbids.core.masking import background_mask, erode
from qsmbids.core.phantom import make_phantom, multi_echo_signal, phase_offset, simulate_field
from qsmbids.core.quality import QualityInputs, measure_quality
from qsmbids.core.relaxometry import r2star_map
from qsmbids.core.vsharp import vsharp
from qsmbids.units import TWO_PI, centre_frequency_hz

VOXEL = (2.0, 2.0, 2.0)
ECHO_TIMES = (0.004, 0.010, 0.016, 0.022, 0.028)


def simulate(
    *, seed=1, b0_tesla=3.0, b0=(0.0, 0.0, 1.0), times=ECHO_TIMES, noise=0.02, corrupt=None, **more
):
    """Return the inputs of the measures of a run; ``corrupt`` may change the total field."""
    phantom = make_phantom((48, 56, 40), VOXEL, b0_direction=b0, seed=seed)
    total, _ = simulate_field(phantom, b0_tesla=b0_tesla)
    offset = phase_offset(phantom)
    signal = multi_echo_signal(
        phantom, total, times, offset=offset, b0_tesla=b0_tesla, noise_std=noise, seed=seed
    )
    truth = np.stack([TWO_PI * t * total for t in times]).astype(np.float32)
    phase = truth + np.angle(signal * np.exp(-1j * (truth + offset))).astype(np.float32)
    magnitude = np.abs(signal)
    mask = phantom.mask
    sd = noise_std(magnitude, mask)
    combined = np.sqrt(np.sum(magnitude**2, axis=0))
    given = QualityInputs(
        chi=np.zeros(mask.shape, np.float32),
        support=mask,
        total_field=weighted_echo_average(phase, magnitude, times) * mask,
        local_field=np.zeros(mask.shape, np.float32),
        noise=field_noise(magnitude, times, noise_std=sd),
        magnitude=combined,
        mask1=mask,
        mask2=combined > 0.2 * np.median(combined[mask]),
        mask3=mask,
        mask4=mask,
        mask4_filled=mask,
        voxel_size=VOXEL,
        b0_direction=phantom.b0_direction,
        echo_times=times,
        centre_frequency_hz=centre_frequency_hz(b0_tesla),
        r2star=r2star_map(magnitude, times, mask).r2star if len(times) > 1 else None,
        unwrapped=list(phase * mask),
        wrapped=np.angle(signal[-1]),
    )
    given = replace(given, **more)
    return reconstruct(given if corrupt is None else corrupt(given))


def reconstruct(given):
    """Return the inputs with local field, Mask 4 and map made anew from the total field."""
    mask3 = background_mask(given.mask1, given.mask2, voxel_size=VOXEL)
    local, mask4 = vsharp(given.total_field, erode(mask3, 1), VOXEL)
    given = replace(given, local_field=local, mask3=mask3, mask4_filled=mask4)
    return invert(replace(given, mask4=mask4 & given.mask2))


def invert(given):
    """Return the inputs with the map made anew from the local field."""
    found = fansi(
        given.local_field,
        given.mask4_filled,
        given.mask4.astype(np.float32),
        VOXEL,
        given.b0_direction,
        centre_frequency_hz=given.centre_frequency_hz,
        echo_time=given.echo_times[-1],
        tol=0.3,
        max_iter=150,
        margin=12,
    )
    return replace(given, chi=found.chi, support=given.mask4_filled)


def measured(given):
    """Return the measures by name."""
    return {m.name: m for m in measure_quality(given)}


def unusual(given):
    """Return the names that the verdict "look" falls on."""
    return {m.name for m in measure_quality(given) if m.verdict == "look"}
