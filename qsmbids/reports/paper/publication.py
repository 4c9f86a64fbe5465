"""All that a publication needs of one run, in one call: for the report and for logs/CITATION."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qsmbids.config import Settings
from qsmbids.core.inversion.b0_direction import b0_direction_from_affine, tilt_degrees
from qsmbids.errors import MetadataError
from qsmbids.io.metadata import Acquisition
from qsmbids.io.nifti_header import Header
from qsmbids.reports.paper.acquisition_check import check_acquisition
from qsmbids.reports.paper.findings import Finding, Table
from qsmbids.reports.paper.interpretation import Caveat, interpretation
from qsmbids.reports.paper.methods_text import methods_markdown
from qsmbids.reports.paper.paper_tables import paper_tables
from qsmbids.reports.paper.pipeline_check import check_pipeline
from qsmbids.reports.paper.settings_in_force import disagreements, settings_table
from qsmbids.units import larmor_frequency

__all__ = ["Publication", "acquisition_from_record", "prepare_publication"]


@dataclass(frozen=True)
class Publication:
    """Checks, tables and text of one run.

    Attributes
    ----------
    acquisition, pipeline : tuple of Finding
        Section 2 and recommendations 3.a to 8.g.
    tables : tuple of Table
        Tables 3, 4 and 5 of the paper.
    settings : Table
        Every setting in force.
    methods : str
        Markdown with ``[@key]``, for :func:`qsmbids.reports.paper.citations.write_citations`.
    caveats : tuple of Caveat
        What to bear in mind when the map is interpreted.
    disagreements : tuple of str
        Where the sidecars name another value than the settings; should be empty.
    """

    acquisition: tuple[Finding, ...]
    pipeline: tuple[Finding, ...]
    tables: tuple[Table, Table, Table]
    settings: Table
    methods: str
    caveats: tuple[Caveat, ...]
    disagreements: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Items of the tables that the author has to fill in, essential ones first."""
        essential = [name for table in self.tables for name in table.missing_essential]
        others = [name for table in self.tables for name in table.missing]
        return tuple(dict.fromkeys([*essential, *others]))


def prepare_publication(
    settings: Settings,
    acquisition: Acquisition,
    sidecars: Sequence[Mapping[str, Any]],
    record: Mapping[str, Any] | None = None,
) -> Publication:
    """Check a run against the paper and fill in its tables and text.

    Parameters
    ----------
    settings : Settings
        In force.
    acquisition : Acquisition
    sidecars : sequence of mapping
        Merged raw metadata, one per echo, as in :class:`qsmbids.io.runs.Run`.
    record : mapping, optional
        Sidecars of the run; what has no record there was not done.
    """
    record = record or {}
    n_echoes = len(acquisition.echo_times)
    return Publication(
        acquisition=check_acquisition(sidecars, acquisition, record),
        pipeline=check_pipeline(settings, record, sidecars=sidecars, acquisition=acquisition),
        tables=paper_tables(sidecars, acquisition, settings, record),
        settings=settings_table(settings, n_echoes, record),
        methods=methods_markdown(settings, record, acquisition=acquisition, sidecars=sidecars),
        caveats=interpretation(record, acquisition.b0_tesla),
        disagreements=disagreements(settings, record),
    )


def acquisition_from_record(
    record: Mapping[str, Any], header: Header, *, manufacturer: str = ""
) -> Acquisition:
    """Return the acquisition as the sidecar and the header of a finished map tell it.

    Parameters
    ----------
    record : mapping
        Sidecar with EchoTime [s], MagneticFieldStrength [T] and ImagingFrequency [MHz].
    header : Header
        Of any map of the run, all of which lie on the array of the images.
    manufacturer : str
        From the raw sidecars; the derived ones do not name it.

    Raises
    ------
    MetadataError
        The sidecar has no echo times or no field strength.
    """
    try:
        times = tuple(float(t) for t in record["EchoTime"])
        b0 = float(record["MagneticFieldStrength"])
        stated = record.get("ImagingFrequency")
        frequency = 1e6 * float(stated) if stated else larmor_frequency(b0)
        x, y, z = record.get("B0Direction") or b0_direction_from_affine(header.affine)
    except (KeyError, TypeError, ValueError) as error:
        raise MetadataError(f"the sidecar of a map is not complete ({error!r})") from error
    direction = (float(x), float(y), float(z))
    return Acquisition(
        echo_times=times,
        b0_tesla=b0,
        centre_frequency_hz=frequency,
        centre_frequency_source="ImagingFrequency" if stated else "MagneticFieldStrength",
        voxel_size=header.voxel_size,
        matrix=header.shape,
        affine=tuple(tuple(float(v) for v in row) for row in header.affine),
        b0_direction=direction,
        tilt_degrees=tilt_degrees(direction),
        manufacturer=manufacturer,
        phase_units=None,
    )
