"""Part the images of a DICOM series by the receive coil that each is of.

With "save uncombined" Siemens writes the images of all coils into one series, and dcm2niix stacks
them into a fourth dimension in the order of the files (dcm2niix#631): each coil is converted by
itself. A name of coils alone proves nothing, for combined images bear one too, and slices of a
localiser one each; images of one place, echo and part under several names do, or the number that
the loops of the reconstruction give a coil.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from qsmbids.io.dicom_headers import Header

__all__ = ["part_coils"]


def part_coils(headers: Sequence[Header]) -> list[tuple[str, list[Header]]]:
    """Return the files of each coil of a series, or all under "" where coils are combined.

    Parameters
    ----------
    headers : sequence of Header
        Of one series.

    Returns
    -------
    list of tuple
        Name of a coil and its files.
    """
    coils: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        coils[header.coil].append(header)
    if len(coils) == 1 and (coil := headers[0].coil).isdigit():  # by the loops: it is one for sure
        return [(coil, list(headers))]
    if len(coils) < 2 or "" in coils or any(header.enhanced for header in headers):
        return [("", list(headers))]
    places = Counter(place for own in coils.values() for place in {_place(h) for h in own})
    if any(n != len(coils) for n in places.values()):
        return [("", list(headers))]
    return list(coils.items())


def _place(header: Header) -> tuple[Any, ...]:
    """Return what tells the images of one coil apart."""
    frame = header.frames[0]
    return frame.position, frame.echo_time, frame.kind
