"""Put the echoes of a run into the order of their echo times.

BIDS numbers the images of a run by ``echo-<index>`` and does not ask that the index rise with the
echo time, while every step of the pipeline takes the echoes in time.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qsmbids.errors import MetadataError
from qsmbids.io.runs import Run
from qsmbids.io.stated import as_number

__all__ = ["in_order_of_echo_times"]


def in_order_of_echo_times(
    run: Run, echo_times: Sequence[float] | None = None
) -> tuple[Run, tuple[float, ...] | None]:
    """Sort the echoes of a run by their echo times.

    Parameters
    ----------
    run : Run
        By rising echo number.
    echo_times : sequence of float, optional
        One per echo number, instead of the sidecars'.

    Returns
    -------
    run : Run
        By rising echo time, as far as the times are known; ``echoes`` keeps the numbers.
    echo_times : tuple of float or None
        Those that were given, in the order of the run.

    Raises
    ------
    MetadataError
        The times that were given order the echoes in another way than the sidecars do.
    """
    by_sidecar = _order([as_number(s.get("EchoTime")) for s in run.sidecars])
    if echo_times is None:
        return (run if by_sidecar is None else _sorted(run, by_sidecar)), None
    times = list(echo_times)
    order = _order(times) if len(times) == len(run.echoes) else None
    if order is None:  # of another number, or equal: refused where the times are read
        return run, tuple(times)
    if by_sidecar is not None and by_sidecar != order:
        numbers = ", ".join(str(run.echoes[i]) for i in by_sidecar)
        raise MetadataError(
            f"--echo-times contradicts the sidecars, by whose EchoTime the echoes come in the"
            f" order {numbers}",
            run.label,
            "Leave --echo-times out, for echoes are sorted by their EchoTime; or give one time"
            " per echo number; or correct the sidecars.",
        )
    return _sorted(run, order), tuple(times[i] for i in order)


def _order(times: Sequence[float | None]) -> list[int] | None:
    """Return the indices by rising time; None where a time is missing or occurs twice."""
    known = [te for te in times if te is not None]
    if len(known) < len(times) or len(set(known)) < len(known):
        return None
    return sorted(range(len(known)), key=lambda i: known[i])


def _sorted(run: Run, order: Sequence[int]) -> Run:
    """Return the run with all that it holds per echo in another order."""
    per_echo = ("echoes", "magnitude", "phase", "sidecars", "real", "imag")
    columns: dict[str, Any] = {
        name: tuple(column[i] for i in order)
        for name in per_echo
        if (column := getattr(run, name))
    }
    return replace(run, **columns)
