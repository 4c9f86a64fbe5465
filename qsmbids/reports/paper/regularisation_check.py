"""Whether the strength of the regularisation fits the protocol of a run (7.b)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from qsmbids.config import Settings
from qsmbids.io.metadata import Acquisition
from qsmbids.methods.declaration import declared, sidecar_key
from qsmbids.methods.dipole_inversion import INVERSION
from qsmbids.methods.sections import Parameter
from qsmbids.reports.paper.findings import Finding
from qsmbids.reports.paper.protocols import PROTOCOLS
from qsmbids.reports.paper.settings_in_force import looked_up, rounded, shown

__all__ = ["check_regularisation", "protocol_differences"]

_TOPIC = "strength of the regularisation"
#: The sample data on which the strengths of Tables S2.3 and S2.4 were used were acquired so.
_PAPER = next(p for p in PROTOCOLS if p.b0_tesla == 3.0)
#: Ratio from which a length, a field strength or an echo time is another one.
_OTHER = 1.2
#: Noise of the field as an angle at the last echo [rad] that the sample protocol has at a
#: signal-to-noise ratio of 50 in the first echo. There, the strength of Table S2.3 is the best
#: one for the head phantom; with 2.5 times the noise, the error is 1.4 times that of the best.
_NOISE_RAD = 0.02
_NOISIER, _CLEANER = 2.0, 0.25


def check_regularisation(
    rows: Sequence[tuple[Parameter, Any]],
    record: Mapping[str, Any],
    acquisition: Acquisition | None,
) -> Finding:
    """Judge the strength of the regularisation.

    Parameters
    ----------
    rows : sequence of (Parameter, value)
        Settings that had a part in the run.
    record : mapping
        Sidecars of the run.
    acquisition : Acquisition, optional
        Without it the protocol is not compared.
    """
    values = {row.key: value for row, value in rows}
    name = values.get("dipole_inversion.method", "")
    method, section = INVERSION.get(name), f"dipole_inversion.{name}"
    if method is None or not method.strength:
        text = "The paper has no strength for this method."
        return Finding("7.b", _TOPIC, "changed", text, name)
    if values.get(f"{section}.regularisation") == "adaptive":
        key = f"DipoleInversion.Parameters.{sidecar_key(method.strength)}"
        label = declared(method.settings)[method.strength].label
        error = looked_up(record, "DipoleInversion.FieldErrorPercent")
        text = "Found from the noise of this run alone"
        if error is not None:
            text = (
                f"The field holds an error of {rounded(error)} % that no susceptibility explains,"
                " and the penalties follow from it. Found in this run alone"
            )
        text += (
            ", so that the next run of the same protocol has another. For a study fix it:"
            " --adaptive-from OUTPUT_DIR takes the median of finished runs."
        )
        return Finding(
            "7.b", _TOPIC, "changed", text, f"{label} {rounded(looked_up(record, key))}"
        )
    key = f"{section}.{method.strength}"
    strength = values.get(key)
    value = shown(strength)
    if origin := values.get("dipole_inversion.regularisation_from"):
        text = f"Tuned on data of a protocol and then fixed: {origin}."
        return Finding("7.b", _TOPIC, "pass", text, value)
    differences = protocol_differences(record, acquisition)
    default = Settings().value(key)
    if strength != default:
        text = (
            f"Not the default ({shown(default)}): say how it was tuned, and keep it for the study."
        )
        return Finding("7.b", _TOPIC, "changed", text, value)
    if differences:
        text = f"The paper's, which is for its own protocol; here {', '.join(differences)}: "
        return Finding("7.b", _TOPIC, "advice", f"{text}{method.tune}.", value)
    compared = "The paper's, and the protocol is like the paper's in what could be compared."
    if acquisition is None:
        compared = "The paper's; whether the protocol is like the paper's is not known."
        return Finding("7.b", _TOPIC, "unknown", compared, value)
    return Finding("7.b", _TOPIC, "pass", compared, value)


def protocol_differences(record: Mapping[str, Any], acquisition: Acquisition | None) -> list[str]:
    """Return in what a run is not like the 3 T sample protocol (S1.5) and its noise.

    Parameters
    ----------
    record : mapping
        Sidecars of the run, for ``FieldNoiseMedianHz``.
    acquisition : Acquisition, optional
    """
    if acquisition is None:
        return []
    found = []
    sizes = acquisition.voxel_size
    if any(_is_other(v, _PAPER.voxel_size) for v in sizes):
        said = " x ".join(f"{v:.3g}" for v in sizes)
        found.append(f"voxels of {said} mm (paper: {_PAPER.voxel_size:g} mm)")
    if _is_other(acquisition.b0_tesla, _PAPER.b0_tesla):
        found.append(f"{acquisition.b0_tesla:.3g} T (paper: {_PAPER.b0_tesla:g} T)")
    first, last = acquisition.echo_times[0], acquisition.echo_times[-1]
    paper_last = _PAPER.last_echo
    if len(acquisition.echo_times) < 3 or _is_other(last, paper_last):
        n = len(acquisition.echo_times)
        times = f"{1e3 * first:.3g} to {1e3 * last:.3g} ms" if n > 1 else f"{1e3 * last:.3g} ms"
        found.append(
            f"{n} echo{'es' if n > 1 else ''} at {times} (paper: {_PAPER.n_echoes} at"
            f" {1e3 * _PAPER.first_echo:g} to {1e3 * paper_last:g} ms)"
        )
    noise = looked_up(record, "FieldNoiseMedianHz")
    if isinstance(noise, int | float) and math.isfinite(noise) and noise > 0:
        ratio = 2 * math.pi * noise * last / _NOISE_RAD
        if not _CLEANER <= ratio <= _NOISIER:
            found.append(
                f"a noise of the field of {ratio:.2g} times that of the paper's protocol at a"
                " signal-to-noise ratio of 50"
            )
    return found


def _is_other(value: float, paper: float) -> bool:
    return not paper / _OTHER <= value <= paper * _OTHER
