"""Tables 3, 4 and 5 hold what the sidecars tell, mark what is essential and invent nothing."""

import statistics

import pytest

from qsmbids.config import Settings
from qsmbids.reports.paper.paper_tables import (
    centre_frequency_table,
    hardware_table,
    paper_tables,
    reconstruction_table,
    sequence_table,
)

#: What Tables 3 and 4 of the paper call essential.
ESSENTIAL = {
    "Field strength",
    "Vendor",
    "Sequence type",
    "Number of echoes, TE1 : spacing : TEmax",
    "TR",
    "Flip angle",
    "Field of view and matrix",
    "Voxel size",
    "Acceleration type and factor",
    "Scan duration",
}


def _essential(*tables):
    return {row[0] for t in tables for row, flag in zip(t.rows, t.essential, strict=True) if flag}


def test_the_paper_decides_what_is_essential(make_sidecars, make_acquisition):
    three, four, five = paper_tables(make_sidecars(), make_acquisition(), Settings())
    assert _essential(three, four) == ESSENTIAL
    assert "Further processing" not in _essential(five)
    assert len(_essential(five)) == len(five.rows) - 1
    assert [len(three.rows), len(four.rows)] == [6, 20]


def test_a_full_sidecar_leaves_no_essential_gap(make_sidecars, make_acquisition):
    three, four, _ = paper_tables(make_sidecars(), make_acquisition(), Settings())
    assert three.missing_essential == ()
    assert four.missing_essential == ()
    values = dict(four.rows)
    assert values["Sequence type"] == "3D GRE"
    assert values["Orientation"] == "pure axial"
    assert values["Number of echoes, TE1 : spacing : TEmax"] == "5 echoes, 5 : 6 : 29 ms"
    assert values["Field of view and matrix"] == "256 x 176 x 144 mm, matrix 256 x 176 x 144"
    assert values["Monopolar or bipolar echoes"] == "monopolar"
    assert values["Acceleration type and factor"] == "GRAPPA acceleration by 2 in phase direction"
    assert values["Scan duration"] == "6 min 34 s"
    assert values["Partial Fourier factor"] == "no"
    assert dict(three.rows)["Coils and number of channels"] == "HeadNeck_64"


def test_nothing_is_invented(make_acquisition):
    three = hardware_table([{}] * 5, make_acquisition(manufacturer=""))
    four = sequence_table([{}] * 5, make_acquisition())
    assert three.missing == tuple(row[0] for row in three.rows if row[0] != "Field strength")
    told = {row[0] for row in four.rows} - set(four.missing)
    assert told == {  # these the images tell
        "Orientation",
        "Number of echoes, TE1 : spacing : TEmax",
        "Field of view and matrix",
        "Voxel size",
        "Centre frequency",
    }
    assert "TR" in four.notes[-1]


@pytest.mark.parametrize(
    ("changed", "item", "value"),
    [
        ({"PartialFourier": 0.75}, "Partial Fourier factor", "0.75"),
        ({"PhaseStabilization": True}, "Phase stabilisation", "yes"),
        ({"NonCartesianTrajectory": "Spiral"}, "k-space trajectory", "spiral"),
    ],
)
def test_what_is_essential_if_used_is_marked_when_used(
    changed, item, value, make_sidecars, make_acquisition
):
    table = sequence_table(make_sidecars(**changed), make_acquisition())
    assert dict(table.rows)[item] == value
    assert _essential(table) - ESSENTIAL == {item}


def test_what_converters_write_is_understood(make_acquisition):
    philips = [
        {
            "AcquisitionDuration": 119.7,
            "PercentSampling": 78.5398,
            "CoilString": "48HAP",
            "ScanOptions": "FC",
        }
    ]
    values = dict(sequence_table(philips, make_acquisition()).rows)
    assert values["Elliptical k-space shutter"] == "yes (78.5 % sampled)"
    assert values["Flow compensation"].startswith("yes")
    assert values["Scan duration"] == "2 min 0 s"
    assert (
        dict(hardware_table(philips, make_acquisition()).rows)["Coils and number of channels"]
        == "48HAP"
    )
    full = [{"PercentSampling": 100}]
    assert "Elliptical k-space shutter" in sequence_table(full, make_acquisition()).missing


def test_an_oblique_slab_is_named(make_sidecars, make_acquisition):
    table = sequence_table(make_sidecars(), make_acquisition(tilt_degrees=21.34))
    assert dict(table.rows)["Orientation"] == "oblique axial, 21.3° to the main field"


def test_table_5_states_the_reference_of_the_run(finished_record):
    table = reconstruction_table(Settings(), finished_record, n_echoes=5)
    values = dict(table.rows)
    assert "-0.002644 ppm" in values["Referencing"]
    assert "in ppm" in values["Referencing"]
    assert "qsmbids 9.8.7" in values["Toolbox used"]
    assert "brain extraction for Mask 1: builtin" in values["Algorithms: masks"]
    assert table.missing == ("Further processing", "Inclusion and exclusion of data")
    unreferenced = Settings().updated({"reference": {"region": "none"}}, "test")
    assert "without a reference" in dict(reconstruction_table(unreferenced).rows)["Referencing"]


def test_table_5_gives_another_reference_relative_to_the_brain(make_record):
    table = [
        {"reference": "wholebrain", "region": "wholebrain", "mean": "0.000000", "std": "0.05"},
        {"reference": "wholebrain", "region": "csf", "mean": "0.012000", "std": "0.021000"},
        {"reference": "csf", "region": "csf", "mean": "0.000000", "std": "0.021000"},
    ]
    csf = Settings().updated({"reference": {"region": "csf"}}, "test")
    record = make_record(csf, ReferenceRegion="cerebrospinal fluid of the ventricles")
    said = dict(reconstruction_table(csf, {**record, "ReferenceTable": table}).rows)
    assert (
        "0.012000 ± 0.021000 ppm (mean ± SD) when referenced to the whole brain"
        in said["Referencing"]
    )
    alone = dict(reconstruction_table(csf, record).rows)["Referencing"]
    assert "not on record" in alone
    brain = dict(reconstruction_table(Settings(), make_record()).rows)["Referencing"]
    assert "whole brain" not in brain


def test_table_5_has_the_inclusions_of_the_group(tmp_path):
    from qsmbids.reports.paper.inclusion import inclusion_text

    assert inclusion_text(tmp_path, "sub-01") == ""
    rows = [
        "run_label\tsuggested\tflags\tinclude\treason",
        "sub-01\tyes\tn/a\tyes\tn/a",
        "sub-02\tcheck\tstreaks\tno\tstreaks in the dentate",
        "sub-03\tcheck\tnoisy\tcheck\tnoisy",
    ]
    (tmp_path / "group_exclusions.tsv").write_text("\n".join(rows) + "\n")
    text = inclusion_text(tmp_path, "sub-02")
    assert text.startswith("1 of 3 runs included; excluded: sub-02 (streaks in the dentate)")
    assert "1 still to be decided; this run: no" in text


def test_the_centre_frequency_is_averaged_by_scanner():
    prisma = {"Manufacturer": "Siemens", "ManufacturersModelName": "Prisma"}
    values = (123.24, 123.26, 123.25)
    runs = [
        *({**prisma, "ImagingFrequency": v, "DeviceSerialNumber": "1"} for v in values),
        {**prisma, "ImagingFrequency": 123.20, "DeviceSerialNumber": "2"},
        {"Manufacturer": "GE", "ImagingFrequency": 127.75e6, "MagneticFieldStrength": 3},
        {"Manufacturer": "GE"},
    ]
    table = centre_frequency_table(runs)
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["Siemens Prisma 1"][:3] == (
        f"{statistics.fmean(values):.6f}",
        f"{statistics.stdev(values):.6f}",
        "3",
    )
    assert rows["Siemens Prisma 2"][1] == "n/a"
    assert rows["GE"][0] == "127.750000"
    assert table.notes == ("Runs that do not state ImagingFrequency: 1.",)
    assert centre_frequency_table([]).rows == ()
